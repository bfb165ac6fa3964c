"""One member of an archive: what a listing says of it, and its bytes → a file of the right size and checksum."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import rarfile
from tqdm import tqdm

from src.command import UserError

LONGEST_NAME, LONGEST_PART = 1000, 255  # bytes, which both macOS and Linux can hold
CHUNK = 1 << 20  # bytes in memory at a time
SHORT, WRONG = "the bytes end too early", "the checksum is another one"


@dataclass(frozen=True)
class Member:
    """What a listing says of one member; `text` is where a link points, or of which member a copy is one."""

    archive: Path
    name: str
    path: PurePosixPath
    kind: Literal["file", "folder", "link", "copy", "other"]
    size: int  # in a RAR, that of a link is 0 where the listing itself holds its text
    checksum: int | bytes | None  # CRC-32 or BLAKE2sp
    entry: zipfile.ZipInfo | rarfile.RarInfo
    text: str = ""

    def __str__(self) -> str:
        return f"{self.archive}: {self.name!r}"


def progress(title: str, members: list[Member]) -> tqdm:
    total = sum(member.size for member in members)
    return tqdm(desc=title, total=total, unit="B", unit_scale=True, disable=None if total else True)


class Checksum:
    """Of bytes that come bit by bit, to be compared with that of a member."""

    def __init__(self, member: Member) -> None:
        self._expected = member.checksum
        self._crc = 0
        self._blake = rarfile.Blake2SP() if isinstance(self._expected, bytes) else None

    def update(self, data: bytes) -> None:
        if self._blake:
            self._blake.update(data)
        else:
            self._crc = zlib.crc32(data, self._crc)

    def holds(self) -> bool:
        return self._expected in (None, self._blake.digest() if self._blake else self._crc)


def write(member: Member, read: Callable[[int], bytes], folder: Path, bar: tqdm) -> str:
    """Write what `read` gives, up to the member's size; SHORT or WRONG if that is not what it should be, else ""."""
    checksum, left = Checksum(member), member.size
    try:
        with (folder / member.path).open("xb") as file:
            while left and (data := read(min(left, CHUNK))):
                file.write(data)
                checksum.update(data)
                bar.update(len(data))
                left -= len(data)
    except FileExistsError as error:
        raise UserError(f"{member} and another member have one name on this disk; unpack it on another") from error
    return SHORT if left else "" if checksum.holds() else WRONG
