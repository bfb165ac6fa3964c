"""The folded network against the one that was trained."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from src.model.folding import folded
from src.model.slowfast import SlowFast
from tests.conftest import TINY_MODEL

ARCHITECTURE = {key: TINY_MODEL[key] for key in ("width", "alpha", "beta_inv")}


def trained(**changes) -> SlowFast:
    """A network whose norms are not those of a new one."""
    torch.manual_seed(0)
    network = SlowFast(classes=3, **ARCHITECTURE | changes)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm3d) and "nonlocal" not in name:  # these multiply what is large three times
            for value, low, high in (
                (module.running_mean, -1, 1),
                (module.running_var, 0.5, 2),
                (module.weight, 0.1, 0.5),
                (module.bias, -1, 1),
            ):
                nn.init.uniform_(value, low, high)
    return network.eval()


def clip() -> torch.Tensor:
    return torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("changes", [{"depth": 18}, {"depth": 50, "non_local": True}, {"pathways": "slow"}])
def test_it_answers_the_same(changes):
    network = trained(**changes)
    with torch.inference_mode():
        expected, found = network(clip()), folded(network)(clip())
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=1e-4)


def test_in_bfloat16_too_as_well_as_that_computes():
    network = trained(depth=18)
    with torch.inference_mode():
        exact = network(clip())
        with torch.autocast("cpu", torch.bfloat16):
            plain, found = network(clip()), folded(network)(clip())
    error = (plain - exact).abs().max()
    assert error > 0
    assert (found - exact).abs().max() < 3 * error


def test_no_norm_is_left_but_those_of_non_local_blocks_and_the_given_network_stays_as_it_is():
    network = trained(depth=50, non_local=True)
    before = copy.deepcopy(network.state_dict())
    left = [name for name, module in folded(network).named_modules() if isinstance(module, nn.BatchNorm3d)]
    assert left
    assert all("nonlocal" in name for name in left)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(isinstance(module, nn.BatchNorm3d) for module in network.slow.stem.modules())


def test_a_network_in_training_is_folded_in_evaluation_mode():
    network = trained(depth=18).train()
    found = folded(network)
    assert network.training
    assert not any(module.training for module in found.modules())


def test_gradients_are_the_same_too():
    """What Grad-CAM goes by."""
    network, clips = trained(depth=18), clip().requires_grad_()
    expected, found = (torch.autograd.grad(each(clips)[0, 1], clips)[0] for each in (network, folded(network)))
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clips_of_another_size_and_number_follow(dtype):
    """Weights that lie as the first clips wanted them serve the next."""
    network = trained(depth=18)
    found = folded(network)
    for batch, frames, size in ((2, 8, 32), (5, 16, 48), (1, 4, 32)):
        clips = torch.randn(batch, 3, frames, size, size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            expected, answer = network(clips), found(clips)
        far = 0.1 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(answer, expected, atol=far * expected.abs().max().item(), rtol=1e-4)
