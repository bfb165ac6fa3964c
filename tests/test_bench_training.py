"""The bench of training speed, on a network so small that only its arithmetic is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import training
from src import params, paths

SETTINGS = [
    *("model.width=8", "model.frames=8", "model.crop=32", "extract.short_side=36", "extract.fps=8"),
    *("train.batch=8", "train.windows=1", "train.precision=fp32", "runtime.workers=0"),
]


def test_the_videos_are_as_long_and_as_large_as_asked_for(tmp_path: Path):
    videos = training.make_videos(tmp_path, height=36, fps=8, quality=90)
    assert len(videos) == 64
    assert {video.frames for video in videos} == {58}
    assert {video.label for video in videos} == {0, 1, 2, 3}
    assert all(video.file.exists() for video in videos)


@pytest.mark.usefixtures("one_thread")
def test_all_three_ways_do_the_same_number_of_clips(tmp_path: Path, monkeypatch):
    """Or their speeds could not be compared."""
    monkeypatch.setattr(training, "VIDEOS", 16)
    monkeypatch.setattr(training, "per_second", lambda work, device: work())
    chosen = params.load(paths.PARAMS, overrides=SETTINGS)
    videos = training.make_videos(tmp_path, height=36, fps=8, quality=90)
    found = training.measure(training.prepare(chosen, videos), steps=2)
    assert found.pop("memory") > 0.1  # GB, of PyTorch alone
    assert found == {"step": 16, "loaders": 16, "both": 16}
