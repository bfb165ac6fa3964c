"""A request's video → a file that may be opened and decoded: the limits of `serve`, held before and while it is read.

A video comes as base64, or as the path of a file below the one folder that SERVE_FOLDER names. What the container says
of size and length is looked at before anything is decoded; since it may lie, what is decoded is counted too.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.video.decode import Source, declared, read_frames

FOLDER = "SERVE_FOLDER"
"""The environment variable that names the folder whose files may be asked for; without it, none may."""


class RequestError(Exception):
    """A request that is not answered; the message says why, and nothing of other files."""


@dataclass(frozen=True)
class Limits:
    """`megabytes` (10⁶ bytes) of a file, `pixels` of a picture, `seconds` of video, and of time to answer it in."""

    megabytes: float
    pixels: int
    seconds: float
    patience: float


@contextmanager
def video_of(request: Mapping[str, Any], limits: Limits) -> Iterator[Path]:
    """The file of a request that has either `video`, base64, or `path`. Raises `RequestError`."""
    given = [key for key in ("video", "path") if isinstance(request.get(key), str) and request[key]]
    if len(given) != 1:
        raise RequestError("expected a video: either `video`, the file as base64, or `path`, below the server's folder")
    if given == ["path"]:
        path = allowed(request["path"])
        _small_enough(path.stat().st_size, limits)
        yield path
        return
    _small_enough(len(request["video"]) * 3 // 4 - 2, limits)  # without the padding, which may be two
    try:
        content = base64.b64decode(request["video"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"`video` is not base64: {error}") from None
    _small_enough(len(content), limits)
    with tempfile.NamedTemporaryFile(prefix="request-") as file:
        file.write(content)
        file.flush()
        del content
        yield Path(file.name)


def allowed(asked: str) -> Path:
    """The file itself, wherever links lead. Raises `RequestError` if it is not a file below the folder."""
    if not (name := os.environ.get(FOLDER)):
        raise RequestError("`path`: this server takes none; send the file as `video`, base64")
    folder = Path(name).resolve()
    try:
        path = (folder / asked).resolve(strict=True)
        regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError, RuntimeError):
        path, regular = None, False
    # One answer to all: whether a file outside is there is nobody's business.
    if path is None or not regular or not path.is_relative_to(folder):
        raise RequestError(f"`path`: there is no file {asked!r} in the server's folder")
    return path


def _small_enough(size: int, limits: Limits) -> None:
    if size > limits.megabytes * 1e6:
        raise RequestError(f"the video has {size / 1e6:.1f} MB, and at most {limits.megabytes:g} are taken")


def frames_within(path: Path, limits: Limits, *, short_side: int, fps: float) -> Iterator[np.ndarray]:
    """`read_frames` of a file, held to the limits. Raises `RequestError`, and `UnreadableVideoError`."""
    _short_enough(declared(path), limits)
    source, end = Source(), time.monotonic() + limits.patience
    for number, frame in enumerate(read_frames(path, short_side=short_side, fps=fps, source=source)):
        _short_enough(Source(source.width, source.height, seconds=number / fps), limits)
        if time.monotonic() > end:
            raise RequestError(f"the video takes more than the {limits.patience:g} seconds that an answer may take")
        yield frame


def _short_enough(source: Source, limits: Limits) -> None:
    if source.width * source.height > limits.pixels:
        raise RequestError(
            f"its pictures have {source.width}×{source.height} pixels, and at most {limits.pixels:,} are taken"
        )
    if source.seconds > limits.seconds:
        raise RequestError(f"the video is longer than the {limits.seconds:g} seconds that are taken")
