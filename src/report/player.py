"""Frames → a small video that a page holds in itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import av
import numpy as np

from src.video import jpeg

QUALITY = 28
"""x264's constant rate factor: at the size of a thumbnail its faults are not seen."""


@dataclass(frozen=True)
class Clip:
    """An MP4 that browsers play, its first frame as a JPEG, and its size in pixels."""

    mp4: bytes
    first: bytes
    height: int
    width: int

    @property
    def uri(self) -> str:
        """The video itself, for where a page would name a file."""
        return "data:video/mp4;base64," + base64.b64encode(self.mp4).decode()

    @property
    def poster(self) -> str:
        """What is shown before it plays."""
        return "data:image/jpeg;base64," + base64.b64encode(self.first).decode()


def clip(frames: Iterable[np.ndarray], *, fps: float, short_side: int) -> Clip:
    """An H.264 video of at least one `(H, W, 3)` uint8 RGB frame, scaled down to about `short_side` pixels."""
    file = io.BytesIO()
    waiting = iter(frames)
    first = next(waiting)
    scale = min(1, short_side / min(first.shape[:2]))
    height, width = (max(2, 2 * round(side * scale / 2)) for side in first.shape[:2])
    with av.open(file, "w", format="mp4") as container:
        encode(container, chain([first], waiting), height=height, width=width, fps=fps)
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(first), format="rgb24")
    still = picture.reformat(width=width, height=height, interpolation="AREA").to_ndarray()
    return Clip(file.getvalue(), jpeg.encode(still, quality=80), height, width)


def encode(
    container: av.container.OutputContainer, frames: Iterable[np.ndarray], *, height: int, width: int, fps: float
) -> None:
    """Scale `(H, W, 3)` uint8 RGB frames to `height` × `width`, and write them to `container`.

    Both are even: in the H.264 that every browser plays, two pixels share a colour.
    """
    rate = Fraction(fps).limit_denominator(1001)
    options = {"crf": str(QUALITY), "preset": "veryfast"}
    stream = container.add_stream("libx264", rate=rate, width=width, height=height, pix_fmt="yuv420p", options=options)
    stream.codec_context.thread_count = 2  # each holds frames of its own
    for image in frames:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        container.mux(stream.encode(frame.reformat(width=width, height=height, format="yuv420p", interpolation="AREA")))
    container.mux(stream.encode())
