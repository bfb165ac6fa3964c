"""Frame files and labels → clips for a `DataLoader`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.video import sampling, store
from src.video.manifest import Video
from src.video.transforms import Augment, spatial_crops


class TrainingClips(Dataset):
    """Random clips. A clip is asked for by `(epoch, draw)` and depends on these and `seed` alone.

    `draw // windows` is the video and `draw % windows` the how-manieth clip of it in this epoch. `mirrored[label]`
    is the label that a horizontal flip makes of `label`; None forbids flips.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        frames: int,
        stride: int,
        windows: int,
        augment: Augment,
        mirrored: Sequence[int] | None,
        seed: int,
    ):
        self.videos, self.frames, self.stride, self.windows = videos, frames, stride, windows
        self.augment, self.mirrored, self.seed = augment, mirrored, seed

    def __len__(self) -> int:
        return len(self.videos) * self.windows

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int]:
        """The clip as `(3, T, size, size)` uint8, its label and its draw."""
        epoch, draw = key
        video = self.videos[draw // self.windows]
        rng = np.random.default_rng([self.seed, epoch, draw])
        shape = {"frames": self.frames, "stride": self.stride, "available": video.frames}
        clip = _clip(video, sampling.window(sampling.random_start(rng, **shape), **shape))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            clip, flipped = self.augment(clip)
        return clip.transpose(0, 1).contiguous(), self.mirrored[video.label] if flipped else video.label, draw


class TestViews(Dataset):
    """All views of a video: `views` evenly spread clips times `crops` squares; each frame is decoded once."""

    __test__ = False  # not a test class, though pytest would think so by its name

    def __init__(self, videos: Sequence[Video], *, frames: int, stride: int, size: int, views: int, crops: int):
        self.videos, self.frames, self.stride, self.size = videos, frames, stride, size
        self.views, self.crops = views, crops

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Tensor:
        """`(views * crops, 3, T, size, size)` uint8."""
        video = self.videos[index]
        shape = {"frames": self.frames, "stride": self.stride, "available": video.frames}
        windows = [sampling.window(start, **shape) for start in sampling.even_starts(self.views, **shape)]
        clip = _clip(video, np.concatenate(windows))
        crops = spatial_crops(clip, size=self.size, crops=self.crops)
        return crops.unflatten(1, (self.views, self.frames)).flatten(0, 1).transpose(1, 2).contiguous()


def _clip(video: Video, indices: np.ndarray) -> Tensor:
    """`(T, 3, H, W)` uint8, every frame read from the frame store."""
    return torch.from_numpy(store.read(video.file, indices.tolist())).permute(0, 3, 1, 2)
