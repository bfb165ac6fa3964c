"""Files that are whole or as they were, and hard links of them for queued experiments."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src import paths
from src.command import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` to write to: renamed to `path` at the end, removed if anything is raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the process number alone: containers that share a disk may share that too.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by one that holds `text`."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace the file at `path` by one that holds `content`, on the disk when this returns.

    Raises `UserError` if it cannot be written; what was there stays.
    """
    try:
        with replacing(path) as beside, beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror}; if the disk is full, make room: "
            "the same command goes on from what was last saved"
        ) from error


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder. Raises `FileNotFoundError` if there is neither."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def borrow(directory: Path) -> None:
    """In a queued experiment's copy, start `directory` from the main checkout's files: hard links, no second copy.

    DVC does not cache raw videos and frames, so the copy begins without them. Stages replace files and never write
    into them, so what they do in the copy never reaches the main checkout.
    """
    source = paths.MAIN / directory.relative_to(paths.ROOT)
    if paths.MAIN != paths.ROOT and source.exists() and not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        if source.stat().st_dev != directory.parent.stat().st_dev:
            raise UserError(
                f"{source} lies on another disk, where a queued experiment cannot take hard links from: "
                "use `dvc exp run` without --queue and --temp"
            )
        shutil.copytree(source, directory, symlinks=True, copy_function=os.link)
