"""A lock on a file, which the system frees however its holder ends, and of which anybody may ask who holds it."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of C's `struct flock`: type, whence, start, length, process; the order is the system's.
_LAYOUT, _TYPE, _PROCESS = ("qqihh", 3, 2) if sys.platform == "darwin" else ("hhqqi4x", 0, 4)


class Lock:
    """One process's at a time. Not flock: forked loader workers would share that, and hold it after a kill -9.

    Such a lock goes when *any* descriptor of its file is closed, so its holder never asks for its `holder`.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take it, if it is free."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let go of it, if this process holds it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for it, and hold it while the context lasts."""
        while not self.acquire():
            time.sleep(0.05)
        try:
            yield
        finally:
            self.release()

    @property
    def holder(self) -> int | None:
        """The process that holds it; None if it is free.

        Negative for a process of another machine, 0 for one of another container.
        """
        try:
            file = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fields = [0, 0, 0, 0, 0]
            fields[_TYPE] = fcntl.F_WRLCK
            fields = struct.unpack(_LAYOUT, fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(_LAYOUT, *fields)))
        finally:
            os.close(file)
        return None if fields[_TYPE] == fcntl.F_UNLCK else fields[_PROCESS]
