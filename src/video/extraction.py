"""One video → its frame file and its row of the manifest. Runs in worker processes, here or on other machines."""

from __future__ import annotations

import functools
import hashlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from src import files
from src.command import UserError
from src.video.manifest import COLUMNS, frame_file

if TYPE_CHECKING:
    import numpy as np

Row = dict[str, str]

ROWS = ".rows"
"""Below the frames: the rows of videos that are done and not in the manifest yet."""

ALONE = threading.Lock()
"""A process has one alarm, so the threads that a Dask worker may have take turns."""

GRACE = 2.0  # seconds; a decoder that hands out frames is stopped at the limit itself


def extract_one(
    task: tuple[str, Row | None],
    *,
    raw: Path,
    frames: Path,
    short_side: int,
    fps: float,
    quality: int,
    limit: float,
    made_by: str,
) -> Row:
    """The manifest's row of a video; `task` is its name and the row of what is there already.

    A video that takes longer than `limit` seconds is refused; where the decoder hangs, this process dies of it.
    `made_by` is the caller's `version()`: a machine with other code raises `UserError`.
    """
    if made_by != version():
        raise UserError("runtime.cluster: a worker runs other code than this; bring all machines to the same commit")
    with ALONE:
        return _in_time(task, raw=raw, frames=frames, limit=limit, short_side=short_side, fps=fps, quality=quality)


def _in_time(task: tuple[str, Row | None], *, raw: Path, frames: Path, limit: float, **settings: float) -> Row:
    name, done = task
    # What FFmpeg hangs in, no exception ends; an alarm that nobody handles ends the process.
    signal.setitimer(signal.ITIMER_REAL, limit + GRACE)
    try:
        source = raw / name
        try:
            with source.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return refused(name, "", "the file is gone" if isinstance(error, FileNotFoundError) else error.strerror)
        for row in (done, _noted(frames, name)):
            if row and row["sha256"] == sha256:
                return row
        return _extract(source, name, sha256, frames, limit=limit, **settings)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def too_slow(limit: float) -> str:
    return f"not read within {limit:g} s (extract.time_limit)"


def refused(name: str, sha256: str, reason: str) -> Row:
    """The row of a video without frames."""
    return dict.fromkeys(COLUMNS, "0") | {"video": name, "sha256": sha256, "refused": reason}


def noted(frames: Path) -> list[Row]:
    """The rows of videos that an interrupted run had done after it last wrote the manifest."""
    return [row for path in sorted((frames / ROWS).rglob("*.json")) if (row := _read(path))]


@functools.cache
def version() -> str:
    """A fingerprint of the code that makes frames: other code may make others of the same video."""
    sources = (Path(__file__).with_name(name) for name in ("decode.py", "extraction.py", "jpeg.py", "store.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _extract(
    source: Path, name: str, sha256: str, frames: Path, *, short_side: int, fps: float, quality: int, limit: float
) -> Row:
    from src.video import store
    from src.video.decode import Source, UnreadableVideoError, read_frames

    found, target = Source(), frames / frame_file(name)
    target.unlink(missing_ok=True)  # of another video, or made in another way
    try:
        with files.replacing(target) as beside:
            decoded = _within(limit, read_frames(source, short_side=short_side, fps=fps, source=found))
            count, height, width = store.write(beside, decoded, fps=fps, quality=quality)
            row = {
                "video": name,
                "frames": str(count),
                "height": str(height),
                "width": str(width),
                "seconds": f"{found.seconds:.3f}",
                "source_height": str(found.height),
                "source_width": str(found.width),
                "source_fps": f"{found.frames / found.seconds:.3f}",
                "source_frames": str(found.frames),
                "header_frames": str(found.header_frames),
                "sha256": sha256,
                "refused": "",
            }
            # Before the frames are in place: whoever dies in between has done neither.
            files.write_text(_note(frames, name), json.dumps(row))
    except UnreadableVideoError as error:
        return refused(name, sha256, str(error))
    return row


def _within(limit: float, decoded: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    from src.video.decode import UnreadableVideoError

    began = time.monotonic()
    for frame in decoded:
        if time.monotonic() - began > limit:
            raise UnreadableVideoError(too_slow(limit))
        yield frame


def _note(frames: Path, name: str) -> Path:
    return frames / ROWS / f"{frame_file(name)}.json"


def _noted(frames: Path, name: str) -> Row | None:
    """What a worker did that died before it could hand in its result."""
    row = _read(_note(frames, name))
    return row if row and (frames / frame_file(name)).exists() else None


def _read(note: Path) -> Row | None:
    try:
        return json.loads(note.read_text())
    except (FileNotFoundError, ValueError):  # none, or one that a power cut has emptied
        return None
