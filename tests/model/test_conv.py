"""Convolutions on a CPU, of maps smaller than their kernel too: the plain ones, rounded, and so their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.grad import conv3d_weight

from src.model.conv import Conv3d
from src.model.slowfast import SlowFast

SHAPES = [
    ((2, 4, 4), (3, 1, 1), (1, 1, 1)),
    ((4, 2, 2), (5, 1, 1), (4, 1, 1)),
    ((2, 1, 1), (1, 3, 3), (1, 2, 2)),
    ((2, 2, 2), (3, 3, 3), (1, 2, 2)),
    ((3, 4, 4), (3, 1, 1), (1, 1, 1)),
    ((8, 6, 5), (7, 1, 1), (4, 1, 1)),
    ((3, 6, 5), (1, 3, 3), (1, 2, 2)),
    ((3, 6, 5), (1, 1, 1), (1, 1, 1)),
    ((3, 6, 5), (1, 1, 1), (1, 2, 2)),
    ((4, 6, 5), (3, 3, 3), (1, 2, 2)),
]


def gradients(conv: nn.Conv3d, clip: torch.Tensor, *, bf16: bool) -> list[torch.Tensor]:
    """The answer, its gradient to the clip, and that to the weights."""
    clip = clip.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        answer = conv(clip)
    conv.zero_grad()
    answer.backward(torch.cos(torch.arange(answer.numel())).reshape(answer.shape).to(answer.dtype))
    return [answer.detach().float(), clip.grad.float(), conv.weight.grad]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize(("size", "kernel", "stride"), SHAPES)
def test_it_is_the_plain_convolution_rounded(size, kernel, stride):
    torch.manual_seed(0)
    conv = Conv3d(32, 32, kernel, stride, tuple(k // 2 for k in kernel)).to(memory_format=torch.channels_last_3d)
    plain = nn.Conv3d(32, 32, kernel, stride, conv.padding)
    plain.load_state_dict(conv.state_dict())
    clip = torch.randn(2, 32, *size).to(memory_format=torch.channels_last_3d)
    expected = gradients(plain, clip, bf16=False)
    for bf16, rounding in ((False, 1e-5), (True, 0.02)):
        found = gradients(conv, clip, bf16=bf16)
        assert [apart(*pair) < rounding for pair in zip(found, expected, strict=True)] == [True, True, True]


@pytest.mark.parametrize("frames", [4, 8])
def test_so_is_every_one_of_a_network_of_few_frames(frames):
    torch.manual_seed(0)
    network = SlowFast(classes=4, depth=18, width=8, alpha=4, beta_inv=4, zero_init=False)
    network = network.to(memory_format=torch.channels_last_3d)
    convs = {name: conv for name, conv in network.named_modules() if isinstance(conv, nn.Conv3d)}
    seen = {}
    for name, conv in convs.items():
        conv.register_forward_hook(lambda _, given, answer, name=name: _note(seen, name, given[0], answer))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(4, 3, frames, 32, 32).to(memory_format=torch.channels_last_3d))
    nn.functional.cross_entropy(logits.float(), torch.arange(4)).backward()
    rounding = 0.02 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else 0.05  # by torch itself it is coarser
    for name, (given, gradient) in seen.items():
        conv = convs[name]
        right = conv3d_weight(given, conv.weight.shape, gradient, conv.stride, conv.padding)
        assert apart(conv.weight.grad, right) < rounding, name
    assert seen.keys() == convs.keys()


def _note(seen: dict, name: str, given: torch.Tensor, answer: torch.Tensor) -> None:
    """What a convolution was given, and, once it is known, the gradient to its answer, both in float32."""
    given = given.detach().bfloat16().float()
    answer.register_hook(lambda gradient: seen.update({name: (given, gradient.float())}))
