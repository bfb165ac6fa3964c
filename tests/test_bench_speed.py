"""What the benchmarks of speed rest on: both sides read the same frames, and their sums are right."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from bench import decoding, evaluation, footage, growth, loading, network, readers
from src.video import store
from tests.video import clips

SMALL = footage.Format("", "avi", "mpeg4", 64, 48, options={"qmin": "2", "qmax": "2"})


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """A video of 30 frames whose number is their brightness."""
    path = tmp_path / "counting.avi"
    pictures = (av.VideoFrame.from_ndarray(frame) for frame in clips.numbered(30))
    footage.encode(path, (picture.reformat(format="yuv420p") for picture in pictures), SMALL)
    return path


@pytest.mark.parametrize("size", [(24, 32), None])
@pytest.mark.parametrize("start", [0, 9, 15])
def test_a_decoder_gives_the_frames_that_are_asked_for(counting, start, size):
    indices = list(range(start, start + 15, 2))
    frames = readers.pyav(counting, indices, size)
    assert frames.shape == (8, 3, *(size or (48, 64)))
    assert frames.dtype == torch.uint8
    assert clips.numbers(frames.permute(0, 2, 3, 1).numpy()) == indices


def test_loose_jpegs_are_the_frame_file(tmp_path):
    pictures = [np.random.default_rng(number).integers(0, 256, (32, 40, 3)).astype(np.uint8) for number in range(9)]
    store.write(tmp_path / "frames.avi", pictures, fps=25, quality=decoding.QUALITY)
    decoding._loose(tmp_path, pictures)
    indices = [1, 4, 7]
    assert readers.loose_jpegs(tmp_path, indices, (32, 40)).equal(readers.ours(tmp_path / "frames.avi", indices, None))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_square_is_a_copy_from_its_corner(layout):
    frames = torch.arange(2 * 3 * 128 * 171).remainder(251).to(torch.uint8).view(2, 3, 128, 171)
    square = decoding.Clip(0, 5, (1.0, 0.0)).square(frames.contiguous(memory_format=layout))
    assert square.equal(frames[..., 16:, :112].transpose(0, 1))
    assert (square.stride(0) == 1) == (layout is torch.channels_last)


def test_clips_lie_within_their_videos():
    drawn = decoding.random_clips(3, length=70)
    assert [clip.video for clip in drawn] == [0] * 4 + [1] * 4 + [2] * 4
    assert all(clip.indices[0] >= 0 and clip.indices[-1] < 70 and len(clip.indices) == 32 for clip in drawn)


def test_drawn_footage_moves_and_has_the_size_asked_for():
    first, *_, last = (
        frame.to_ndarray(format="rgb24") for frame in itertools.islice(footage.frames(None, width=96, height=72), 20)
    )
    assert first.shape == (72, 96, 3)
    assert np.abs(first.astype(int) - last).max() > 50


@pytest.mark.parametrize("how", evaluation.PLAIN, ids=lambda how: how.name)
def test_decoded_by_parts_and_at_once_the_answers_are_the_same(tmp_path, monkeypatch, how):
    """On the same frames: only then do their times compare."""
    monkeypatch.setattr(evaluation, "LENGTH", 24)
    monkeypatch.setattr(evaluation, "VIEWS", 2)
    monkeypatch.setattr(evaluation, "MODEL", {"variant": "small", "frames": 8, "stride": 2, "crop": 32, "width": 8})
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.avi")
        noise = np.random.default_rng(number).integers(0, 256, (24, 36, 48, 3)).astype(np.uint8)
        store.write(files[-1], noise, fps=25, quality=90)
    way = decoding.Way("", decoding.OURS, readers.ours, files)
    checkpoint = evaluation.checkpoint_of()
    found = evaluation.answers(evaluation.ours(way, checkpoint, 0), checkpoint)
    assert found.shape == (2, 10)
    assert np.abs(found[0] - found[1]).max() > 1e-5
    how = replace(how, clips=min(how.clips, 2))  # of two
    apart = evaluation.answers(evaluation.plain(way, checkpoint, 0, how), checkpoint)
    np.testing.assert_allclose(apart, found, atol=1e-6)


def test_both_loaders_give_normalised_batches_of_one_shape(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "LENGTH", 70)
    file = tmp_path / "0.avi"
    monkeypatch.setattr(loading, "COLOURS", {"jitter": 0.0, "grey": 0.0})
    store.write(file, np.full((70, 128, 136, 3), 200, np.uint8), fps=25, quality=90)
    way = decoding.Way("", decoding.OURS, readers.ours, [file])
    for start in (loading.our_loader, loading.plain_loader):
        batch = next(start(way, 0))
        assert batch.shape == (8, 3, 32, 112, 112)
        assert batch.dtype == torch.float32
        torch.testing.assert_close(batch, torch.full_like(batch, (200 / 255 - 0.45) / 0.225), atol=0.02, rtol=0)


def test_an_exponent_is_of_what_grows():
    before, after = growth.Point("side", 100, 8.0, 4.0, 0.5), growth.Point("side", 200, 2.0, 2.0, 0.5)
    assert growth.exponent(before, after, "step") == pytest.approx(1)  # four times the area, four times as long
    assert growth.exponent(before, after, "loaders") == pytest.approx(0.5)


def test_a_ratio_is_of_the_best_of_both_sides():
    found = {
        "pytorchvideo, float32, as it comes": 8.0,
        "pytorchvideo, compiled": 4.0,
        "ours": 5.0,
        "ours, compiled": 2.0,
    }
    text = network.report(found, batch=8, work=1e9, rate=8e9)
    assert "Ours at its best is 2.00 times as fast as the best peer." in text
    assert "| ours, compiled | 4.00 | 4.00 | 50% |" in text
