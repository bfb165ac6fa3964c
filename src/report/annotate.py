"""A video and what was answered to each moment of it → the same video with the answer and a bar drawn into it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from src import files
from src.report import player

LINES = 720
"""Of the annotated video at most: a label is read as well, and 4K frames would fill the memory."""

MOST_FPS = 30.0
"""Frames a second of it at most."""

STRIP = 0.14
"""The share of the height that the strip with the label takes."""

SURE, UNSURE = (80, 200, 120), (170, 170, 170)


def write(
    path: Path, frames: Iterable[np.ndarray], *, fps: float, label: Callable[[float], tuple[str, float, bool]]
) -> None:
    """Encode `(H, W, 3)` uint8 RGB frames, `fps` a second, to the MP4 at `path`, which is whole or absent.

    `label` gives for a moment, in seconds, the text, the probability, and whether it is certain.
    """
    waiting = drawn(frames, fps=fps, label=label)
    first = next(waiting)
    height, width = (max(2, side // 2 * 2) for side in first.shape[:2])
    with files.replacing(path) as beside, av.open(str(beside), "w", format="mp4") as container:
        player.encode(container, _chain(first, waiting), height=height, width=width, fps=fps)


def drawn(
    frames: Iterable[np.ndarray], *, fps: float, label: Callable[[float], tuple[str, float, bool]]
) -> Iterator[np.ndarray]:
    """The frames with the label of their moment."""
    for number, frame in enumerate(frames):
        text, share, certain = label(number / fps)
        height, width = frame.shape[:2]
        low = min(height, max(12, round(STRIP * height)))
        picture, cover = strip(text, round(share, 3), certain, width=width, height=low)
        result = frame.copy()
        ground = result[-low:]
        ground[:] = (cover * picture + (1 - cover) * ground).astype(np.uint8)
        yield result


@functools.lru_cache(maxsize=8)
def strip(text: str, share: float, certain: bool, *, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A strip `(height, width, 3)` with the text, the probability and a bar of that length; and how much it covers."""
    image = Image.new("RGBA", (width, height), (0, 0, 0, 150))
    draw = ImageDraw.Draw(image)
    colour = SURE if certain else UNSURE
    margin, bar = height // 8, max(2, height // 6)
    draw.rectangle((0, height - bar, max(0, round(width * share) - 1), height), fill=colour)
    room = width - 2 * margin
    number = f"{share:.0%}"
    size = 0.8 * (height - bar - margin)
    font = ImageFont.load_default(size)
    while size > 6 and font.getlength(f"{text}  {number}") > room:
        size *= 0.9
        font = ImageFont.load_default(size)
    middle = (height - bar) / 2
    draw.text((margin, middle), text, fill="white", font=font, anchor="lm")
    draw.text((width - margin, middle), number, fill="white", font=font, anchor="rm")
    pixels = np.asarray(image)
    return pixels[..., :3], pixels[..., 3:] / 255


def _chain(first: np.ndarray, others: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from others
