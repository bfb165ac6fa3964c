"""Which frames of a video make a clip."""

from __future__ import annotations

import numpy as np


def span(*, frames: int, stride: int) -> int:
    """How many consecutive frames of the video a clip covers; a `stride` of 0 repeats a single frame."""
    return (frames - 1) * stride + 1


def window(start: int, *, frames: int, stride: int, available: int) -> np.ndarray:
    """`frames` indices, `stride` apart, from `start` on; past the end of a short video its last frame repeats."""
    return np.minimum(start + stride * np.arange(frames), available - 1)


def random_start(rng: np.random.Generator, *, frames: int, stride: int, available: int) -> int:
    """A start that is uniform over all that fit."""
    return int(rng.integers(0, max(0, available - span(frames=frames, stride=stride)) + 1))


def even_starts(views: int, *, frames: int, stride: int, available: int) -> np.ndarray:
    """`views` starts spread evenly over the video; a single one is in the middle."""
    room = max(0, available - span(frames=frames, stride=stride))
    return np.array([room // 2]) if views == 1 else np.linspace(0, room, views).round().astype(int)
