"""The beginning of a download on the disk, and of which file on the server it is one.

TARGET.part        what has come so far; the next call goes on from there
TARGET.part.json   what the server said of its file: two files are told apart by any difference in it; and how far
                   the server's own identity was verified, which stays beside the whole file as TARGET.json
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from src import files
from src.command import UserError
from src.fetching.address import identity

TLS = ("none", "switched off", "verified")
"""How far it was verified who sent the bytes; the weakest first."""


@dataclass(frozen=True)
class Version:
    """What a server says of its file: the headers ETag and Last-Modified as they came, and its length in bytes."""

    etag: str | None = None
    modified: str | None = None
    length: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a weak ETag only says that two files mean the same (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def differs(self, other: Version) -> bool:
        """Whether these are two files for certain; what one side does not tell proves nothing."""
        pairs = zip(self._told, other._told, strict=True)
        return any(a is not None and b is not None and a != b for a, b in pairs)

    @property
    def _told(self) -> tuple[str | int | None, ...]:
        # Without the mark of a weak ETag: caches on the way add it to that of the same file.
        return self.etag and self.etag.removeprefix("W/"), self.modified, self.length


class Part:
    """The file that grows, and the version of the server's file that it is the beginning of.

    `tls` is the weakest that any of its bytes came by, `connection` what new ones come by.
    """

    def __init__(self, path: Path, file: BinaryIO, url: str, connection: str):
        self.path = path
        self.file = file
        self.url = url
        self.record = _beside(path)
        self.address = self.version = None
        self.tls = self.connection = connection
        if self.size:
            # Without a record that can be read, as after a power cut, nothing is known.
            with suppress(OSError, ValueError, TypeError, KeyError):
                known = json.loads(self.record.read_bytes())
                self.address, self.tls, self.version = known["address"], known["tls"], Version(**known["version"])
        self.to_beat = 0  # bytes: a try that ends with more has brought something new
        self.misfits = 0  # replies, since the last that went on where it was asked to

    @property
    def size(self) -> int:
        """Bytes so far, none of them in a buffer of this process."""
        return self.file.seek(0, os.SEEK_END)

    @property
    def unusable(self) -> str | None:
        """Why what is there cannot be gone on from; None if it can, or if there is nothing."""
        if not self.size:
            return None
        if self.version is None:
            return "of which file it is a part is not known"
        if self.address != identity(self.url):
            return f"it comes from {self.address}"
        if self.version.length is None and self.version.validator is None:
            return "the server gives nothing to tell by whether its file is still the same"
        return None

    @property
    def whole(self) -> bool:
        """Whether the last byte has come."""
        return self.version is not None and not self.unusable and self.size == self.version.length

    def read(self, start: int, count: int) -> bytes:
        self.file.seek(start)
        return self.file.read(count)

    def to_disk(self) -> None:
        """Every byte, out of this process and its system's cache."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def belongs_to(self, version: Version) -> None:
        """Put on record, before the next byte is written, what the file is a part of and how the byte comes."""
        self.address, self.version = identity(self.url), version
        self.tls = weakest([self.connection, *[self.tls] * bool(self.size)])
        known = {"address": self.address, "tls": self.tls, "version": asdict(version)}
        files.write_bytes(self.record, json.dumps(known, indent=1).encode())

    def cut(self, size: int, why: str) -> None:
        """Drop what is there beyond `size` bytes, and say so."""
        if self.size > size:
            where = f"byte {size:,}" if size else "its first byte"
            print(f"note: {self.path} starts again from {where}: {why}", file=sys.stderr)
        self.file.truncate(size)
        self.version = None

    def becomes(self, target: Path) -> None:
        """Give the file its final name, with what is to be known of it beside it."""
        files.write_bytes(_beside(target), json.dumps({"tls": self.tls}, indent=1).encode())
        self.path.replace(target)
        self.record.unlink()


def tls_of(file: Path) -> str:
    """How far it was verified who sent `file`, whole or growing; where nobody noted it, that was not verified."""
    try:
        return json.loads(_beside(file).read_bytes())["tls"]
    except (OSError, ValueError, TypeError, KeyError):
        return TLS[0]


def weakest(states: Iterable[str]) -> str:
    """The one of `TLS` that is true of all."""
    return min(states, key=TLS.index)


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


@contextmanager
def part_of(target: Path, url: str, connection: str) -> Iterator[Part]:
    """Own the part of `target` for as long as the context lasts, however this process ends; no empty one stays."""
    path = target.with_name(f"{target.name}.part")
    with path.open("a+b") as file:

        def is_ours() -> bool:
            try:
                return os.path.samestat(path.stat(), os.fstat(file.fileno()))
            except FileNotFoundError:
                return False

        try:
            # Not lockf: it would let go as soon as `check` closes the file that it has opened.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = is_ours()  # not if its owner gave it its final name between our opening and our locking it
        except BlockingIOError:
            locked = False
        if not locked:
            raise UserError(f"another process is downloading {target}; wait for it or stop it")
        part = Part(path, file, url, connection)
        try:
            yield part
        finally:
            if is_ours() and not path.stat().st_size:
                part.record.unlink(missing_ok=True)
                path.unlink()
