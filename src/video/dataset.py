"""Frame files and labels → clips for a `DataLoader`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import av
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.command import UserError
from src.video import store
from src.video.manifest import Video
from src.video.sampling import Sampling
from src.video.transforms import spatial_crops

if TYPE_CHECKING:
    from src.video.augment import Augment


class TrainingClips(Dataset):
    """Random clips. A clip is asked for by `(epoch, draw)` and depends on these and `seed` alone.

    An epoch has `windows` clips of each video; with `balanced`, as many altogether, but equally many of each class.
    `speed` and `strides` are those of `Sampling.random`. `mirrored[label]` is the label that a horizontal flip makes
    of `label`; None forbids flips.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        sampling: Sampling,
        windows: int,
        augment: Augment,
        mirrored: Sequence[int] | None,
        seed: int,
        speed: tuple[float, float] = (1.0, 1.0),
        strides: Sequence[int] | None = None,
        balanced: bool = False,
    ):
        self.videos, self.sampling, self.windows = videos, sampling, windows
        self.augment, self.mirrored, self.seed = augment, mirrored, seed
        self.temporal = {"speed": speed, "strides": strides}
        labels = sorted({video.label for video in videos}) if balanced else []
        self.classes = [[video for video in videos if video.label == label] for label in labels]

    def __len__(self) -> int:
        return len(self.videos) * self.windows

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int]:
        """The clip as `(3, T, size, size)` uint8, its label and its draw."""
        epoch, draw = key
        video = self._video(epoch, draw)
        rng = np.random.default_rng([self.seed, epoch, draw])
        frames = self.sampling.random(rng, video.frames, **self.temporal)
        clip, flipped = augmented(self.augment, read(video, frames), rng)
        return clip, self.mirrored[video.label] if flipped else video.label, draw

    def _video(self, epoch: int, draw: int) -> Video:
        """Draws go through the videos in turn, or through the classes, each in an order of its own."""
        if not self.classes:
            return self.videos[draw // self.windows]
        label = draw % len(self.classes)
        members = self.classes[label]
        number, place = divmod(draw // len(self.classes), len(members))
        # The last number tells it from a clip's own generator, above.
        order = np.random.default_rng([self.seed, epoch, label, number, 1]).permutation(len(members))
        return members[order[place]]


class TestViews(Dataset):
    """All views of a video: `views` evenly spread clips times `crops` squares; each frame is decoded once."""

    __test__ = False  # not a test class, though pytest would think so by its name

    def __init__(self, videos: Sequence[Video], *, sampling: Sampling, size: int, views: int, crops: int):
        self.videos, self.sampling, self.size = videos, sampling, size
        self.views, self.crops = views, crops

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Tensor:
        """`(views * crops, 3, T, size, size)` uint8."""
        video = self.videos[index]
        look = {key: getattr(self, key) for key in ("sampling", "size", "views", "crops")}
        return views_of(partial(stored, video), available=video.frames, **look)


def views_of(
    read: Callable[[list[int]], np.ndarray],
    *,
    available: int,
    sampling: Sampling,
    size: int,
    views: int,
    crops: int,
) -> Tensor:
    """All views of a video of `available` frames, as `(views * crops, 3, T, size, size)` uint8.

    `read` gives the frames at some indices as `(T, H, W, 3)` uint8 RGB.
    """
    clip = torch.from_numpy(read(np.concatenate(sampling.views(views, available)).tolist())).permute(0, 3, 1, 2)
    squares = spatial_crops(clip, size=size, crops=crops)
    clips = squares.unflatten(1, (views, sampling.frames)).flatten(0, 1).transpose(1, 2)
    return clips.contiguous(memory_format=torch.channels_last_3d)


class BrokenFramesError(UserError):
    """A frame file that cannot be read any more, by name.

    A `DataLoader` hands an error on as a new one whose text is a whole traceback: its last line is the error itself.
    """

    def __init__(self, text: str):
        super().__init__(text.strip().splitlines()[-1].removeprefix(f"{__name__}.BrokenFramesError: "))


def read(video: Video, indices: np.ndarray) -> Tensor:
    """`(T, 3, H, W)` uint8, every frame read from the frame store. Raises `BrokenFramesError`."""
    return torch.from_numpy(stored(video, indices.tolist())).permute(0, 3, 1, 2)


def stored(video: Video, indices: Sequence[int]) -> np.ndarray:
    """As `store.read` gives them, `(T, H, W, 3)` uint8. Raises `BrokenFramesError`."""
    try:
        return store.read(video.file, indices)
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:  # no file or container, fewer frames, no JPEG
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BrokenFramesError(
            f"{os.path.relpath(video.file)} cannot be read: remove it and run `dvc repro extract_frames` ({reason})"
        ) from None


def augmented(augment: Augment, clip: Tensor, rng: np.random.Generator) -> tuple[Tensor, bool]:
    """`(T, 3, H, W)` → `(3, T, size, size)`, changed in a way that `rng` decides, and whether it was flipped.

    Channels lie last in memory, as the frame store has them and as the network wants them.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it has each kind of GPU seeded as well, a thirtieth of a clip's time.
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        clip, flipped = augment(clip)
    return clip.contiguous(memory_format=torch.channels_last).transpose(0, 1), flipped
