"""A request's video → a file that may be opened and decoded: the limits of `serve`, held before and while it is read.

A video comes as base64, or as the path of a file below the one folder that SERVE_FOLDER names. What the container says
of size and length is looked at before anything is decoded; since it may lie, what is decoded is counted too.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from src.video.decode import Source, declared, read_frames

FOLDER = "SERVE_FOLDER"
"""The environment variable that names the folder whose files may be asked for; without it, none may."""


NARROWEST = 10
"""Times that a picture may be longer than wide."""


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


def frames_within(
    path: Path, limits: Limits, *, short_side: int, fps: float, until: float = math.inf
) -> Iterator[np.ndarray]:
    """`read_frames` of a file, held to the limits, and to the moment `until` of `time.monotonic`.

    Raises `RequestError`, and `UnreadableVideoError`.
    """
    said = declared(path)
    if said.width * said.height:
        _small_pictures(said, limits)
    _short_enough(said.seconds, limits)

    def held(frame: av.VideoFrame) -> None:
        _small_pictures(frame, limits)
        if time.monotonic() > until:
            raise RequestError(f"it takes more than the {limits.patience:g} seconds that an answer may take")

    for number, frame in enumerate(read_frames(path, short_side=short_side, fps=fps, decoded=held)):
        _short_enough(number / fps, limits)
        yield frame


def _small_pictures(picture: Source | av.VideoFrame, limits: Limits) -> None:
    width, height = picture.width, picture.height
    if width * height > limits.pixels:
        raise RequestError(f"its pictures have {width}×{height} pixels, and at most {limits.pixels:,} are taken")
    # Scaled by the shorter side, a narrow picture becomes a large one.
    if max(width, height) > NARROWEST * min(width, height):
        raise RequestError(f"its pictures of {width}×{height} pixels are more than {NARROWEST} times as long as wide")


def _short_enough(seconds: float, limits: Limits) -> None:
    if seconds > limits.seconds:
        raise RequestError(f"the video is longer than the {limits.seconds:g} seconds that are taken")
