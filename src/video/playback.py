"""Ways to play a video that a network can learn to tell apart, without any label of it.

To see that a clip runs too fast, back and forth or in no order at all takes an understanding of how things move, which
is what actions are recognised by: Jenni, Meishvili & Favaro, Video Representation Learning by Recognizing Temporal
Transformations, ECCV 2020 (arXiv:2007.10730). One clip has one answer, so that it takes no large batches, as comparing
clips with others would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.video.dataset import augmented, read
from src.video.manifest import Video
from src.video.sampling import Sampling, random_start, window
from src.video.transforms import spatial_crops

if TYPE_CHECKING:
    from src.video.augment import Augment

SPEEDS = (1, 2, 4)
"""Of these the middle one is the stride that the network is trained and tested with, where it is even."""

PLAYBACKS = ("slow", "normal", "fast", "shuffled", "back and forth", "uneven")


def played(playback: int, rng: np.random.Generator, *, frames: int, stride: int, available: int) -> np.ndarray:
    """Frame numbers `(frames,)` of a clip that is played as `PLAYBACKS[playback]` says.

    Slow, normal and fast are 1, 2 and 4 times half the `stride`, or less of a video that is too short for that. The
    others have the normal clip's frames in any order; its first half, and back; its span at a speed that changes.
    """
    longest = (frames - 1) * SPEEDS[-1]
    base = min(max(1.0, stride / 2), (available - 1) / longest)
    speed = SPEEDS[playback] if playback < len(SPEEDS) else SPEEDS[1]
    shape = {"frames": frames, "stride": speed * base, "available": available}
    clip = window(random_start(rng, **shape), **shape)
    match PLAYBACKS[playback]:
        case "shuffled":
            return clip[rng.permutation(frames)]
        case "back and forth":
            half = clip[: -(-frames // 2)]
            return np.concatenate([half, half[::-1]])[:frames]
        case "uneven":
            steps = rng.choice(SPEEDS, frames - 1)
            moments = np.concatenate([[0], np.cumsum(steps)]) / max(1, steps.sum())
            return clip[0] + np.floor(moments * (clip[-1] - clip[0])).astype(int)
    return clip


class PlayedClips(Dataset):
    """Clips as `TrainingClips` has them, played in a random way; which one is the label."""

    def __init__(self, videos: Sequence[Video], *, sampling: Sampling, windows: int, augment: Augment, seed: int):
        self.videos, self.windows, self.augment, self.seed = videos, windows, augment, seed
        self.shape = {"frames": sampling.frames, "stride": sampling.stride}

    def __len__(self) -> int:
        return len(self.videos) * self.windows

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int]:
        """The clip as `(3, T, size, size)` uint8, how it is played and its draw."""
        epoch, draw = key
        video = self.videos[draw // self.windows]
        rng = np.random.default_rng([self.seed, epoch, draw])
        playback = int(rng.integers(len(PLAYBACKS)))
        frames = played(playback, rng, **self.shape, available=video.frames)
        return augmented(self.augment, read(video, frames), rng)[0], playback, draw


class PlayedViews(Dataset):
    """Every video played in every way, to validate on: item `index` is played as `index % len(PLAYBACKS)` says."""

    def __init__(self, videos: Sequence[Video], *, sampling: Sampling, size: int, seed: int):
        self.videos, self.size, self.seed = videos, size, seed
        self.shape = {"frames": sampling.frames, "stride": sampling.stride}

    @property
    def labels(self) -> list[int]:
        """Of all items, in order."""
        return [index % len(PLAYBACKS) for index in range(len(self))]

    def __len__(self) -> int:
        return len(self.videos) * len(PLAYBACKS)

    def __getitem__(self, index: int) -> Tensor:
        """`(1, 3, T, size, size)` uint8."""
        number, playback = divmod(index, len(PLAYBACKS))
        video, rng = self.videos[number], np.random.default_rng([self.seed, index])
        clip = read(video, played(playback, rng, **self.shape, available=video.frames))
        views = spatial_crops(clip, size=self.size, crops=1).transpose(1, 2)
        return views.contiguous(memory_format=torch.channels_last_3d)
