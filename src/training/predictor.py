"""Frames of any video → calibrated answers: what evaluation answers to a video of the frame store, up to rounding.

Frames come as `src.video.decode.read_frames` scales them, and take the store's JPEG step in memory. A long video, or a
camera, is answered window after window; of its frames no more are held than make a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src.model.checkpoint import Checkpoint
from src.model.folding import folded
from src.training.calibration import Calibration
from src.training.optim import choose_device
from src.training.predict import predict
from src.video.dataset import views_of
from src.video.memory import MemoryStore
from src.video.sampling import Sampling


@dataclass(frozen=True)
class Answer:
    """Calibrated probabilities, `(classes,)`, of what is seen from `start` to `end`, in seconds."""

    start: float
    end: float
    probabilities: np.ndarray


class Predictor:
    """A network that is ready to answer, looking at `views` clips × `crops` squares of a video.

    With a `calibration` it answers as that says, else as the network does. Raises `UserError` for a device that is not
    there.
    """

    def __init__(self, checkpoint: Checkpoint, calibration: Calibration | None, *, views: int, crops: int, device: str):
        self.classes, self.extract, self.calibration = checkpoint.classes, checkpoint.extract, calibration
        if calibration:
            views, crops = calibration.views, calibration.crops
        self.device, self.precision = choose_device(device), checkpoint.precision
        self.network = folded(checkpoint.network()).to(self.device, memory_format=torch.channels_last_3d)
        size = checkpoint.model["crop"]
        self.look = {"sampling": Sampling.of(checkpoint.model), "size": size, "views": views, "crops": crops}

    def answers(self, frames: Iterable[np.ndarray], *, long: float, window: float, hop: float) -> Iterator[Answer]:
        """One answer to a video of at most `long` seconds; of a longer one an answer every `hop` seconds.

        `frames` are `(H, W, 3)` uint8 RGB, as many a second and of the size that the store's have. An answer to a part
        is of `window` seconds, as if these were a video of their own; the last part ends with the video.
        """
        for answer, _ in self.watch(frames, long=long, window=window, hop=hop):
            yield answer

    def watch(
        self, frames: Iterable[np.ndarray], *, long: float, window: float, hop: float
    ) -> Iterator[tuple[Answer, Tensor]]:
        """`answers`, each with one of the clips that were looked at, `(3, T, size, size)` uint8."""
        fps = self.extract["fps"]
        longest, size, step = (max(1, round(seconds * fps)) for seconds in (long, window, hop))
        held = MemoryStore(quality=self.extract["quality"])
        sliding, following, answered = False, 0, 0
        for frame in frames:
            held.append(frame)
            sliding = sliding or len(held) > longest
            while sliding and len(held) >= following + size:
                held.drop(following)  # not before the next part is whole: the last one may need some of them
                yield self._answer(held, size)
                following, answered = step, held.first + size
        if not sliding:
            yield self._answer(held, len(held))
        elif held.first + len(held) > answered:
            held.drop(len(held) - size)
            yield self._answer(held, size)

    def _answer(self, held: MemoryStore, count: int) -> tuple[Answer, Tensor]:
        """The answer to the oldest `count` frames that are held, and one of the clips."""
        views = views_of(held.read, available=count, **self.look)
        probabilities = predict(self.network, [views], device=self.device, precision=self.precision)[0].numpy()
        if self.calibration:
            probabilities = self.calibration.apply(probabilities)
        fps = self.extract["fps"]
        return Answer(held.first / fps, (held.first + count) / fps, probabilities), views[len(views) // 2]
