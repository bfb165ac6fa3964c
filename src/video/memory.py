"""The frame store for a single video, in memory: frames take its JPEG step, and the oldest are let go."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from src.video import jpeg


class MemoryStore:
    """Frames of a video from `first` on, each as the JPEG that data/frames would hold; see `src.video.store`."""

    def __init__(self, *, quality: int):
        self.quality = quality
        self.first = 0
        self._jpegs: deque[bytes] = deque()

    def __len__(self) -> int:
        """How many frames are held."""
        return len(self._jpegs)

    def append(self, frame: np.ndarray) -> None:
        """Take the next `(H, W, 3)` uint8 RGB frame of the video."""
        self._jpegs.append(jpeg.encode(frame, quality=self.quality))

    def drop(self, count: int) -> None:
        """Let go of the `count` oldest frames, or of all."""
        for _ in range(min(count, len(self._jpegs))):
            self._jpegs.popleft()
        self.first += count

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """The frames at `indices`, counted from the oldest that is held, as `(T, H, W, 3)` uint8 RGB.

        Any order, repeats allowed; each distinct frame is decoded once. Raises `IndexError` if there is no such frame.
        """
        indices = [int(index) for index in indices]
        found = {index: jpeg.decode(self._jpegs[index]) for index in set(indices)}
        return np.stack([found[index] for index in indices])
