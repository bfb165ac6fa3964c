"""Which frames of a video make a clip."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sampling:
    """How a clip is taken from a video; the settings of `model` by these names.

    With `sampling` `window`, a clip has `frames` frames that lie `stride` apart, of which a `stride` of 0 makes one
    still frame. With `uniform` it covers the whole video: one frame of each of `frames` equal parts (Wang et al.,
    Temporal Segment Networks, ECCV 2016), whatever the stride. Past the end of a short video its last frame repeats,
    or with `pad` `loop` it begins anew.
    """

    frames: int
    stride: int
    sampling: str = "window"
    pad: str = "repeat"

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Sampling:
        """That of a `model` section, or of a checkpoint's."""
        return cls(**{key: model[key] for key in ("frames", "stride", "sampling", "pad") if key in model})

    def random(
        self,
        rng: np.random.Generator,
        available: int,
        *,
        speed: tuple[float, float] = (1.0, 1.0),
        strides: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Frame numbers `(frames,)` of a training clip, from a video that has `available`.

        Of a window the start is random, and the stride is one of `strides`, if given, times a playback speed between
        the two of `speed`, as likely twice as half. Of each part of a uniform clip, the frame is random.
        """
        if self.sampling == "uniform":
            return self._spread(rng.random(self.frames), available)
        stride = float(rng.choice(strides)) if strides else self.stride
        if speed[0] != speed[1]:
            stride *= math.exp(rng.uniform(*np.log(speed)))
        else:
            stride *= speed[0]
        start = random_start(rng, frames=self.frames, stride=stride, available=available)
        return window(start, frames=self.frames, stride=stride, available=available, pad=self.pad)

    def views(self, count: int, available: int) -> list[np.ndarray]:
        """Frame numbers of `count` clips to test on: evenly spread windows, or uniform clips, shifted evenly."""
        if self.sampling == "uniform":
            return [self._spread((view + 0.5) / count, available) for view in range(count)]
        shape = {"frames": self.frames, "stride": self.stride, "available": available}
        return [window(start, **shape, pad=self.pad) for start in even_starts(count, **shape)]

    def _spread(self, offset: np.ndarray | float, available: int) -> np.ndarray:
        return ((np.arange(self.frames) + offset) / self.frames * available).astype(int)


def span(*, frames: int, stride: float) -> int:
    """How many consecutive frames of the video a clip covers; a `stride` of 0 repeats a single frame."""
    return math.floor((frames - 1) * stride) + 1


def window(start: int, *, frames: int, stride: float, available: int, pad: str = "repeat") -> np.ndarray:
    """`frames` indices, `stride` apart, from `start` on; past the end the last frame repeats, or the video loops."""
    indices = start + np.floor(stride * np.arange(frames)).astype(int)
    return indices % available if pad == "loop" else np.minimum(indices, available - 1)


def random_start(rng: np.random.Generator, *, frames: int, stride: float, available: int) -> int:
    """A start that is uniform over all that fit."""
    return int(rng.integers(0, max(0, available - span(frames=frames, stride=stride)) + 1))


def even_starts(views: int, *, frames: int, stride: float, available: int) -> np.ndarray:
    """`views` starts spread evenly over the video; a single one is in the middle."""
    room = max(0, available - span(frames=frames, stride=stride))
    return np.array([room // 2]) if views == 1 else np.linspace(0, room, views).round().astype(int)
