"""The stem's fast paths against the plain convolution: the same numbers, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from src.model.slowfast import SlowFast
from src.model.stem import StemConv, cell_kernel, cells, neighbours_kernel, with_neighbours

SHAPES = [
    (5, 8, 16, 16),
    (5, 7, 9, 12),
    (1, 3, 15, 15),
    (5, 2, 32, 20),
    (7, 4, 8, 8),
    (3, 1, 7, 10),
    (5, 3, 9, 9),
    (7, 6, 8, 12),
]


def whole_numbers(*shape: int, seed: int) -> torch.Tensor:
    """From -2 to 2: their products and sums are exact in any precision that the fast path computes in."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize(("kernel", "frames", "height", "width"), SHAPES)
@pytest.mark.parametrize(("block", "at_once"), [(1, 1), (2, 2), (2, 4), (2, 8)])
def test_cells_and_their_kernel_are_the_same_convolution(kernel, frames, height, width, block, at_once):
    frames += -frames % at_once
    clip, weight = whole_numbers(2, 3, frames, height, width, seed=0), whole_numbers(6, 3, kernel, 7, 7, seed=1)
    expected = F.conv3d(clip, weight, stride=(1, 2, 2), padding=(kernel // 2, 3, 3))
    moved, stride = cell_kernel(weight, block, at_once), at_once // block
    padding = ((moved.shape[2] - stride) // 2, 0, 0)
    found = F.conv3d(cells(clip, block).float(), moved, stride=(stride, 1, 1), padding=padding)
    found = found.unflatten(1, (at_once, 6)).permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("kernel", "frames", "height", "width"), SHAPES)
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_neighbours_and_their_kernel_are_the_same_convolution(kernel, frames, height, width, at_once):
    frames += -frames % at_once
    clip, weight = whole_numbers(2, 3, frames, height, width, seed=0), whole_numbers(6, 3, kernel, 7, 7, seed=1)
    expected = F.conv3d(clip, weight, stride=(1, 2, 2), padding=(kernel // 2, 3, 3))
    inputs = with_neighbours(clip, kernel, at_once)
    found = F.conv2d(inputs.flatten(0, 1), neighbours_kernel(weight, at_once), stride=2, padding=3)
    found = found.unflatten(0, (2, -1)).unflatten(2, (at_once, 6)).flatten(1, 2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("kernel", "frames", "height", "width"), SHAPES)
@pytest.mark.parametrize("outputs", [2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("learns", [True, False])
def test_it_is_the_plain_convolution_rounded(kernel, frames, height, width, outputs, dtype, learns):
    conv = StemConv(outputs, kernel)
    with torch.no_grad():
        conv.weight.copy_(whole_numbers(*conv.weight.shape, seed=2))
    clip = whole_numbers(2, 3, frames, height, width, seed=3).to(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), torch.set_grad_enabled(learns):
        fast = conv(clip)
    assert fast.dtype == dtype
    if dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported():  # else torch convolves channels first
        assert fast.is_contiguous(memory_format=torch.channels_last_3d)
    plain = F.conv3d(clip, conv.weight, None, conv.stride, conv.padding)
    torch.testing.assert_close(fast, plain.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("outputs", [2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_its_gradients_are_those_of_the_plain_convolution(outputs, dtype):
    conv = StemConv(outputs, 5)
    conv.bias = torch.nn.Parameter(torch.ones(outputs))  # as in a folded network, through which Grad-CAM looks back
    clip = whole_numbers(2, 3, 4, 12, 12, seed=4).requires_grad_()
    grads = whole_numbers(2, outputs, 4, 6, 6, seed=5).sign()
    with torch.no_grad():
        conv.weight.copy_(whole_numbers(*conv.weight.shape, seed=6).sign())
    learnt = [conv.weight, conv.bias, clip]
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = conv(clip)
    fast = torch.autograd.grad(out, learnt, grads.to(dtype))
    plain = torch.autograd.grad(F.conv3d(clip, conv.weight, conv.bias, conv.stride, conv.padding), learnt, grads)
    rounding = 2**-8 if dtype == torch.bfloat16 else 0
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=rounding, atol=0)


def test_both_stems_of_a_network_learn_the_same_with_it(monkeypatch):
    """With their norms and pools. Not the whole network: the rounding of what follows drowns what is compared."""
    torch.manual_seed(0)
    network = SlowFast(classes=3, depth=18, width=16, beta_inv=4, zero_init=False)
    network.to(memory_format=torch.channels_last_3d)
    stems = torch.nn.ModuleList([network.slow.stem, network.fast.stem])
    clip, aims = torch.randn(4, 3, 8, 32, 32), [torch.randn(4, width, 8, 8, 8) for width in (16, 4)]

    def learnt() -> dict[str, torch.Tensor]:
        stems.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            sum((stem(clip).float() * aim).sum() for stem, aim in zip(stems, aims, strict=True)).backward()
        return {name: p.grad.clone() for name, p in stems.named_parameters()}

    fast = learnt()
    monkeypatch.setattr(StemConv, "forward", torch.nn.Conv3d.forward)
    plain = learnt()
    for name, grad in fast.items():
        assert torch.cosine_similarity(grad.flatten(), plain[name].flatten(), dim=0) > 0.98, name
