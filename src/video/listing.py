"""What a command line names → video files: files, folders, patterns, and a list on stdin."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from src.command import UserError
from src.datasets.folder import VIDEO


def videos(named: Iterable[str], *, stdin: Iterable[str]) -> Iterator[Path]:
    """Each file that is named, also one that is not there; all videos below a folder; what a pattern matches; for `-`
    the lines of `stdin`.

    Raises `UserError` for a folder without videos and a pattern that nothing matches.
    """
    for name in named:
        if name == "-":
            for line in stdin:
                if line.strip():
                    yield Path(line.rstrip("\r\n"))
        elif Path(name).is_dir():
            found = sorted(path for path in Path(name).rglob("*") if VIDEO.fullmatch(path.name) and path.is_file())
            if not found:
                raise UserError(f"{name}: no video in this folder or below it")
            yield from found
        elif Path(name).exists() or not glob.has_magic(name):
            yield Path(name)
        else:
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            if not matches:
                raise UserError(f"{name}: nothing matches this pattern")
            yield from map(Path, matches)
