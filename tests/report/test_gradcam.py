"""Grad-CAM of a network whose answer can be stated by hand, and of a SlowFast."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.model.checkpoint import build
from src.report import gradcam
from tests.conftest import TINY_MODEL

pytestmark = pytest.mark.usefixtures("one_thread")


class RedAgainstBlue(nn.Module):
    """Logit 0 is the mean of the red channel less that of the blue, as its one stage hands them on."""

    def __init__(self, *, pooled_to: int | None = None):
        super().__init__()
        stage = nn.Conv3d(3, 3, 1, bias=False)
        stage.weight.data = torch.eye(3).view(3, 3, 1, 1, 1)
        last = [nn.AdaptiveAvgPool3d((None, pooled_to, pooled_to))] if pooled_to else []
        self.slow = nn.Sequential(nn.Identity(), stage, *last)

    def forward(self, clip: Tensor) -> Tensor:
        red, _, blue = self.slow(clip).mean((2, 3, 4)).unbind(1)
        return torch.stack([red - blue, blue - red], dim=1)


def clip() -> Tensor:
    """Red at one place of one frame, blue at another."""
    frames = torch.zeros(3, 2, 8, 8)
    frames[0, 1, 2, 5] = 4.0
    frames[2, 0, 7, 7] = 1.0
    return frames


def test_a_map_is_high_where_the_answer_comes_from():
    cam = gradcam.maps(RedAgainstBlue(), clip(), label=0)["slow"]
    assert cam.shape == (2, 8, 8)
    assert np.argwhere(cam).tolist() == [[1, 2, 5]]
    assert cam[1, 2, 5] == pytest.approx(1)
    cam = gradcam.maps(RedAgainstBlue(), clip(), label=1)["slow"]
    assert np.argwhere(cam).tolist() == [[0, 7, 7]]


def test_a_stage_that_is_too_coarse_to_tell_one_corner_from_another_is_passed_over():
    cam = gradcam.maps(RedAgainstBlue(pooled_to=2), clip(), label=0)["slow"]
    assert np.argwhere(cam).tolist() == [[1, 2, 5]]  # the convolution's, and not the two by two cells after it


def test_where_nothing_speaks_for_the_answer_the_map_is_empty():
    assert gradcam.maps(RedAgainstBlue(), torch.zeros(3, 2, 8, 8), label=0)["slow"].max() == 0


@pytest.mark.parametrize(("pathways", "names"), [("both", ["slow", "fast"]), ("slow", ["slow"]), ("fast", ["fast"])])
def test_a_slowfast_has_a_map_of_each_pathway_at_the_size_of_the_clip(pathways, names):
    torch.manual_seed(0)
    network = build(TINY_MODEL | {"pathways": pathways}, classes=3).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cams = gradcam.maps(network, torch.randn(3, 8, 64, 64), label=2)
    assert list(cams) == names
    for cam in cams.values():
        assert cam.shape == (8, 64, 64)
        assert cam.min() >= 0
    assert max(cam.max() for cam in cams.values()) == pytest.approx(
        1
    )  # of a network that has learnt nothing, one may be empty
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.slow.res2._forward_hooks if pathways != "fast" else not network.fast.res2._forward_hooks


def test_an_overlay_is_grey_where_nothing_speaks_and_glows_where_something_does():
    frame = np.full((2, 2, 3), (90, 30, 60), np.uint8)
    shown = gradcam.overlay(frame, np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert shown[0, 0].tolist() == shown[1, 1].tolist() == [60, 60, 60]
    assert shown[0, 1].tolist() == [int(0.35 * 60 + 0.65 * 255)] * 3
