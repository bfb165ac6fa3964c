"""The JPEGs of a frame file, straight from where its index says that they lie.

An AVI is made of chunks: four letters, four bytes of length, content. A `LIST` holds others: `movi` those of the
frames, each `00dc`. `idx1`, at the end, has sixteen bytes for each of these: letters, flags, place in `movi`, length.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HEAD = struct.Struct("<4sI")
RIFF = struct.Struct("<4s4x4s")
ENTRY = struct.Struct("<4s4xII")
FRAME = b"00dc"


class IndexedFrames:
    """The frames of an open file. Its index ends where a file grows beyond a gigabyte: `len` is how many it lists.

    None where the file is no AVI.
    """

    def __init__(self, file: int):
        self._file = file
        self._movi = self._index = self._length = 0
        place, self._end = RIFF.size, os.fstat(file).st_size
        if self._end < place or RIFF.unpack(self._bytes(0, place)) != (b"RIFF", b"AVI "):
            return
        while place < self._end and not self._index:
            letters, length = HEAD.unpack(self._bytes(place, HEAD.size))
            content = place + HEAD.size
            if letters == b"LIST" and self._bytes(content, 4) == b"movi":
                self._movi = content
            elif letters == b"idx1":
                self._index, self._length = content, length // ENTRY.size
            place = content + length + length % 2

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """The frames of these rising numbers, all below `len`. Raises `ValueError` where something else lies."""
        first = numbers[0]
        entries = self._bytes(self._index + ENTRY.size * first, ENTRY.size * (numbers[-1] + 1 - first))
        for number in numbers:
            letters, place, length = ENTRY.unpack_from(entries, ENTRY.size * (number - first))
            chunk = self._bytes(self._movi + place, HEAD.size + length)
            if letters != FRAME or HEAD.unpack_from(chunk) != (FRAME, length):
                raise ValueError(f"there is no frame where the index has number {number}")
            yield chunk[HEAD.size :]

    def _bytes(self, place: int, count: int) -> bytes:
        if place + count > self._end:
            raise ValueError("the file ends in the middle of a chunk")
        return os.pread(self._file, count, place)


@contextmanager
def indexed(path: Path) -> Iterator[IndexedFrames]:
    """The file at `path`, open as long as this lasts. Raises `OSError`, and `ValueError` for what is no whole AVI."""
    file = os.open(path, os.O_RDONLY)
    try:
        yield IndexedFrames(file)
    finally:
        os.close(file)
