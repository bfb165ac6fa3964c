"""Colours of whole batches, held against torchvision's transforms of single frames, and against numbers by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from src.training.colours import Colours
from src.video.transforms import MEAN, STD, normalise


def noise(low: int = 0, high: int = 256, *, clips: int = 4) -> Tensor:
    """`(B, 3, T, H, W)`, the red of each clip larger than its blue, so that there is a colour to lose."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randint(low, high, (clips, 3, 5, 12, 16), dtype=torch.uint8, generator=generator)
    return found.sort(dim=1, descending=True).values


def changed(clips: Tensor, *, epoch: int = 0, seed: int = 0, draws: list[int] | None = None, **settings) -> Tensor:
    """With values from 0 to 255 again."""
    colours = Colours(**{"jitter": 0.0, "grey": 0.0} | settings, seed=seed)
    found = colours(clips, epoch=epoch, draws=torch.tensor(draws or range(len(clips))))
    return (found * STD + MEAN) * 255


def test_without_changes_clips_are_normalised_and_no_more():
    clips = noise()
    found = Colours(jitter=0.0, grey=0.0, seed=0)(clips, epoch=0, draws=torch.arange(4))
    assert found.equal(normalise(clips))


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_one_map_is_what_torchvision_does_one_after_the_other(channels_last, monkeypatch):
    """Where nothing is cut off at black or white; contrast around the mean of the clip, seen as one tall picture."""
    clips, factors = noise(70, 160), [(1.2, 0.7, 0.4), (0.8, 1.3, 1.1), (1.0, 1.0, 0.0), (0.9, 1.0, 1.0)]
    monkeypatch.setattr(Colours, "_factors", lambda self, epoch, draw: factors[draw])
    given = clips.contiguous(memory_format=torch.channels_last_3d) if channels_last else clips
    found = changed(given, jitter=0.4)
    for clip, one, (brightness, contrast, saturation) in zip(clips, found, factors, strict=True):
        tall = clip.flatten(1, 2) / 255
        for factor, change in (
            (brightness, F.adjust_brightness),
            (contrast, F.adjust_contrast),
            (saturation, F.adjust_saturation),
        ):
            tall = change(tall, factor)
        torch.testing.assert_close(one, 255 * tall.unflatten(1, clip.shape[1:3]), atol=0.01, rtol=0)


def test_autocast_does_not_round_them():
    exact = changed(noise(), jitter=0.4, grey=0.2)
    with torch.autocast("cpu", torch.bfloat16):
        assert changed(noise(), jitter=0.4, grey=0.2).equal(exact)


def test_clips_come_channels_last():
    for settings in ({"jitter": 0.4, "grey": 0.2}, {"jitter": 0.0, "grey": 0.0}):
        found = Colours(**settings, seed=0)(noise(), epoch=0, draws=torch.arange(4))
        assert found.shape == (4, 3, 5, 12, 16)
        assert found.dtype == torch.float32
        assert found.is_contiguous(memory_format=torch.channels_last_3d)


def test_every_frame_is_changed_in_the_same_way():
    """What becomes of a frame does not depend on where it stands among darker and brighter ones."""
    picture = noise(clips=1)[0, :, 0]
    clip = torch.stack([picture, picture // 3, picture, 255 - picture // 2], dim=1)
    for epoch in range(20):
        (one,) = changed(clip[None], epoch=epoch, jitter=0.5, grey=0.3)
        assert one[:, 0].equal(one[:, 2])


def test_each_clip_is_changed_in_its_own_way_which_follows_from_seed_epoch_and_draw():
    clips = noise(clips=1).expand(3, -1, -1, -1, -1)
    first = changed(clips, jitter=0.4)
    assert not first[0].equal(first[1])
    assert first[[2, 0]].equal(changed(clips[:2], jitter=0.4, draws=[2, 0]))
    assert not first.equal(changed(clips, jitter=0.4, epoch=1))
    assert not first.equal(changed(clips, jitter=0.4, seed=1))


def test_grey_has_equal_channels_in_so_many_clips():
    found = changed(noise(clips=1).expand(400, -1, -1, -1, -1), grey=0.25)
    without = [bool(torch.allclose(one, one[:1].expand_as(one), atol=0.01)) for one in found]
    assert 70 < sum(without) < 130
    kept = found[without.index(False)]
    torch.testing.assert_close(kept, noise(clips=1)[0].float(), atol=0.01, rtol=0)


def test_jitter_changes_brightness_within_its_bounds():
    """An even grey has neither contrast nor saturation to change."""
    found = changed(torch.full((60, 3, 2, 4, 4), 100, dtype=torch.uint8), jitter=0.4)
    values = found[:, 0, 0, 0, 0]
    assert torch.allclose(found, values.view(-1, 1, 1, 1, 1).expand_as(found), atol=0.01)
    assert 60 <= values.min() < 65
    assert 135 < values.max() <= 140


def test_contrast_is_changed_around_the_mean_of_the_clip(monkeypatch):
    """Of a dark and a bright frame, even ones: around its own mean neither would move."""
    monkeypatch.setattr(Colours, "_factors", lambda self, epoch, draw: (1.0, 0.5, 1.0))
    clip = torch.tensor([60, 180], dtype=torch.uint8).view(1, 1, 2, 1, 1).expand(1, 3, 2, 4, 4)
    assert changed(clip, jitter=0.4)[0, 0, :, 0, 0].tolist() == pytest.approx([90, 150], abs=0.01)


def test_the_callers_clips_stay_as_they_are():
    for clips in (noise(), noise().contiguous(memory_format=torch.channels_last_3d)):
        changed(clips, jitter=0.4, grey=0.5)
        changed(clips)
        assert clips.equal(noise())
