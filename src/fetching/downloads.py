"""A folder, an archive on disk or an address → a folder with what is in it, unpacked once.

Archives come to DOWNLOADS/HOST/HASH/NAME; what is in them to DOWNLOADS/NAME-HASH, so that another archive of the same
name never passes for the first. The first hash is of the address, the second of the archive, which is compared with
the one of its first use (data/checksums.txt).
"""

from __future__ import annotations

import fcntl
import functools
import glob
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src import files, paths
from src.command import UserError
from src.fetching import archive, rar
from src.fetching.address import below, file_name, identity, is_address, shown, unique_name
from src.fetching.fetch import fetch
from src.fetching.part import tls_of, weakest

Record = dict[str, str | int]

HEADROOM = 3
"""An archive may hold this many times more than is expected of it, and no more."""


@dataclass(frozen=True)
class Downloads:
    """Where archives go (`root`), which hashes they had (`checksums`), and what is trusted while fetching them."""

    root: Path
    checksums: Path
    ca_bundle: Path | None = None
    insecure: bool = False

    def check(self, place: str, *, setting: str, size: int, unpacked: int, nested: bool = False) -> None:
        """Raise `UserError`, naming `setting`, if `place` is not there, cannot be unpacked, or the disk has no room.

        To be asked before the first byte is fetched: about `size` bytes, which hold `unpacked`; if they are `nested`,
        the archives in it take as much again while they are unpacked.
        """
        if _is_folder(place, setting=setting) or self._known(place) is not None:
            return
        rar.require_unpacker(place)
        self._first_hashes()  # or what is wrong with them
        with self._locked():  # what another process unpacks comes and goes while it is counted
            if self._known(place) is None:
                self._check_room(place, size=size, unpacked=_room(unpacked, nested))

    def folder(
        self, place: str, *, setting: str, unpacked: int, sha256: str | None = None, nested: bool = False
    ) -> Path:
        """The folder `place`, or the one into which the archive `place` (a file or an address) has been unpacked.

        `unpacked` is about how many bytes it holds; `sha256` is what the archive's hash must be; `nested`: archives in
        it are unpacked too. Raises `UserError`, naming `setting`, if there is nothing, or it is not what it was. Of
        several processes, one does the work and the others wait for it.
        """
        if _is_folder(place, setting=setting):
            if sha256:
                raise UserError(f"dataset.sha256 is of an archive, and {setting} {place} is a folder; set it to null")
            return _path(place)
        if tree := self._right_tree(place, sha256):
            return tree
        with self._locked():
            if tree := self._right_tree(place, sha256):  # by another process, in the meantime
                return tree
            limit = HEADROOM * unpacked
            accept = functools.partial(
                self._accept, place=place, setting=setting, sha256=sha256, limit=limit, nested=nested
            )
            target = below(self.root, place) if is_address(place) else _path(place)
            if target.exists():
                accept(target)
            else:
                room = _room(unpacked, nested)
                fetch(place, target, check=accept, room=room, ca_bundle=self.ca_bundle, insecure=self.insecure)
            return self._tree(place, self._records()[_key(place)]["sha256"])

    def file(self, address: str, *, setting: str, check: Callable[[Path], None]) -> Path:
        """The file at `address`, fetched once. Raises `UserError`, naming `setting`, if it is not what it first was.

        `check` raises `DamagedError` for one that cannot be the right one, before its hash is noted.
        """

        def accept(file: Path) -> None:
            check(file)
            self._remember(address, self._compared(file, place=address, setting=setting))

        with self._locked():
            target = below(self.root, address)
            if target.exists():
                accept(target)
            else:
                fetch(address, target, check=accept, ca_bundle=self.ca_bundle, insecure=self.insecure)
            return target

    def is_ours(self, folder: Path) -> bool:
        """Whether `folder` is one that `folder()` made: removed, it is unpacked again."""
        return folder.parent == self.root

    def source(self, archive: str | None, *, lists: str) -> dict[str, str]:
        """For the record: where the archive of videos is from, its hash, and whether the servers were verified.

        Where the videos came from one server and the lists from another, what is said is true of both.
        """
        records = self._records()
        used = {place: records.get(_key(place), {}) for place in (archive, lists) if place}
        source = {}
        if archive:
            source = {"archive": shown(archive)} | {k: v for k, v in used[archive].items() if k == "sha256"}
        if tls := [record["tls"] for record in used.values() if "tls" in record]:
            source["tls"] = weakest(tls)
        return source

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """What is below `root`, and the checksums, are this process's alone, however it ends."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"note: another process is at work in {self.root}; waiting for it", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _check_room(self, place: str, *, size: int, unpacked: int) -> None:
        begun = self.root.glob(f".{glob.escape(self._tree(place, '').name)}*")
        need = max(unpacked - _size(*begun), 0)
        if is_address(place):
            target = below(self.root, place)
            need += max(size - _size(target, target.with_name(f"{target.name}.part")), 0)
        if (free := shutil.disk_usage(self.root).free) < need:
            raise UserError(
                f"{self.root}: {shown(place)} needs about {need / 1e9:.1f} GB there, and {free / 1e9:.1f} GB are free; "
                "make room, or make data/downloads a link to a larger disk"
            )

    def _accept(self, file: Path, *, place: str, setting: str, sha256: str | None, limit: int, nested: bool) -> None:
        """Compare, unpack and record the archive `file`."""
        digest = self._compared(file, place=place, setting=setting, sha256=sha256)
        archive.unpack(file, self._tree(place, digest), limit=limit, nested=nested)
        seen = file.stat()
        record = {"sha256": digest, "size": seen.st_size, "mtime_ns": seen.st_mtime_ns}
        record |= {"tls": tls_of(file)} if is_address(place) else {}
        records = self._records() | {_key(place): record}
        files.write_bytes(self.root / "records.json", json.dumps(records, indent=1).encode())
        self._remember(place, digest)

    def _compared(self, file: Path, *, place: str, setting: str, sha256: str | None = None) -> str:
        """The hash of `file`. Raises `UserError` if it is not `sha256`, or not that of the first use of `place`."""
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        name = unique_name(place)
        again = "remove it and it is fetched again" if is_address(place) else "give another file"
        if sha256 is not None and digest != sha256:
            raise UserError(f"dataset.sha256: {file} has the hash {digest}, not {sha256}; {again}")
        first = self._first_hashes().get(name, digest)
        if first != digest:
            raise UserError(
                f"{setting}: {file} has the hash {digest}, and when {name} was first used it had {first}; {again}, "
                f"or if you trust this one, remove the line of {name} from {self.checksums}"
            )
        return digest

    def _remember(self, place: str, digest: str) -> None:
        hashes = sorted((self._first_hashes() | {unique_name(place): digest}).items())
        files.write_bytes(self.checksums, "".join(f"{digest}  {name}\n" for name, digest in hashes).encode())

    def _right_tree(self, place: str, sha256: str | None) -> Path | None:
        known = self._known(place)
        return self._tree(place, known["sha256"]) if known and sha256 in (None, known["sha256"]) else None

    def _known(self, place: str) -> Record | None:
        """The record of `place` if it is still unpacked and, being a file, is the one that was."""
        known = self._records().get(_key(place))
        if known is None or not self._tree(place, known["sha256"]).exists():
            return None
        if not is_address(place):
            seen = _path(place).stat()
            if (seen.st_size, seen.st_mtime_ns) != (known["size"], known["mtime_ns"]):
                return None
        return known

    def _records(self) -> dict[str, Record]:
        try:
            records = json.loads((self.root / "records.json").read_bytes())
        except (FileNotFoundError, ValueError):  # none yet, or what a power cut left: then it is all looked at again
            return {}
        return records if isinstance(records, dict) else {}

    def _first_hashes(self) -> dict[str, str]:
        """Name → hash. Raises `UserError` with file and line where it is something else."""
        hashes: dict[str, str] = {}
        if not self.checksums.exists():
            return hashes
        text = self.checksums.read_text(encoding="utf-8", errors="backslashreplace")
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            match = re.fullmatch(r"([0-9a-f]{64}) +(\S.*?)\s*", line)
            if not match or hashes.setdefault(match[2], match[1]) != match[1]:
                raise UserError(
                    f"{self.checksums}: line {number}: {line!r} is not the one HASH  NAME of an archive; mend or "
                    "remove the line, and the archive is taken as it then is"
                )
        return hashes

    def _tree(self, place: str, digest: str) -> Path:
        return self.root / f"{Path(file_name(place)).stem}-{digest[:12]}"


def _path(place: str) -> Path:
    return paths.MAIN / Path(place).expanduser()


def _is_folder(place: str, *, setting: str) -> bool:
    """Whether it is one, and no archive. Raises `UserError` if it is a path at which there is nothing."""
    if is_address(place):
        return False
    if not _path(place).exists():
        raise UserError(f"{setting}: {place} does not exist")
    return _path(place).is_dir()


def _key(place: str) -> str:
    """What stands for `place` in the records, where no password belongs."""
    return identity(place) if is_address(place) else place


def _room(unpacked: int, nested: bool) -> int:
    """Bytes on the disk while an archive of so many is unpacked: the archives in it are there beside the videos."""
    return unpacked * (2 if nested else 1)


def _size(*roots: Path) -> int:
    """Bytes of the files at and below these paths that are there."""
    every = (file for root in roots for file in (root, *root.rglob("*")))
    return sum(file.stat().st_size for file in every if file.is_file() and not file.is_symlink())
