"""A folder, an archive on disk or an address → a folder with what is in it, unpacked once.

Archives come to DOWNLOADS/HOST/PATH; what is in them to DOWNLOADS/NAME-HASH, so that another archive of the same name
never passes for the first. The hash of each is compared with the one of its first use (data/checksums.txt).
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from src import files, paths
from src.command import UserError
from src.fetching import archive, rar
from src.fetching.fetch import fetch

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

    def check(self, place: str, *, size: int, unpacked: int) -> None:
        """Raise `UserError` if `place` cannot be unpacked here, or the disk has no room for it.

        To be asked before the first byte is fetched: about `size` bytes, which hold `unpacked`.
        """
        if self._known(place) is not None or _path(place).is_dir():
            return
        rar.require_unpacker(place)
        here = (
            0 if not _is_address(place) else sum(path.stat().st_size for path in self._partial(place) if path.exists())
        )
        need = unpacked + (max(size - here, 0) if _is_address(place) else 0)
        self.root.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(self.root).free) < need:
            raise UserError(
                f"{self.root}: {place} needs about {need / 1e9:.1f} GB there, and {free / 1e9:.1f} GB are free; "
                "make room, or make data/downloads a link to a larger disk"
            )

    def folder(
        self, place: str, *, setting: str, unpacked: int, sha256: str | None = None, nested: bool = False
    ) -> Path:
        """The folder `place`, or the one into which the archive `place` (a file or an address) has been unpacked.

        `unpacked` is about how many bytes it holds; `sha256` is what the archive's hash must be; `nested`: archives in
        it are unpacked too. Raises `UserError`, naming `setting`, if there is nothing, or it is not what it was.
        """
        path = _path(place)
        if not _is_address(place) and path.is_dir():
            return path
        known = self._known(place)
        if known and sha256 in (None, known["sha256"]):
            return self._tree(place, known["sha256"])
        accept = functools.partial(
            self._accept, place=place, setting=setting, sha256=sha256, limit=HEADROOM * unpacked, nested=nested
        )
        if not _is_address(place):
            if not path.exists():
                raise UserError(f"{setting}: {place} does not exist")
            accept(path)
        elif (target := self._partial(place)[0]).exists():
            accept(target)
        else:
            fetch(place, target, check=accept, room=unpacked, ca_bundle=self.ca_bundle, insecure=self.insecure)
        return self._tree(place, self._records()[place]["sha256"])

    def source(self, place: str) -> dict[str, str]:
        """Of the archive `place`, for the record: its hash, and whether its server's identity was verified."""
        known = self._records().get(place, {})
        return {"archive": place} | {key: known[key] for key in ("sha256", "tls") if key in known}

    def _accept(self, file: Path, *, place: str, setting: str, sha256: str | None, limit: int, nested: bool) -> None:
        """Compare, unpack and record the archive `file`."""
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        name = _name(place)
        again = "remove it and it is fetched again" if _is_address(place) else "give another file"
        if sha256 is not None and digest != sha256:
            raise UserError(f"dataset.sha256: {file} has the hash {digest}, not {sha256}; {again}")
        first = self._first_hashes().get(name, digest)
        if first != digest:
            raise UserError(
                f"{setting}: {file} has the hash {digest}, and when {name} was first used it had {first}; {again}, "
                f"or if you trust this one, remove the line of {name} from {self.checksums}"
            )
        archive.unpack(file, self._tree(place, digest), limit=limit, nested=nested)
        tls = {}
        if _is_address(place):
            tls = {"tls": "none" if place.startswith("http:") else "switched off" if self.insecure else "verified"}
        seen = file.stat()
        record = {"sha256": digest, "size": seen.st_size, "mtime_ns": seen.st_mtime_ns} | tls
        files.write_text(self.root / "records.json", json.dumps(self._records() | {place: record}, indent=1) + "\n")
        hashes = sorted((self._first_hashes() | {name: digest}).items())
        files.write_text(self.checksums, "".join(f"{digest}  {name}\n" for name, digest in hashes))

    def _known(self, place: str) -> Record | None:
        """The record of `place` if it is still unpacked and, being a file, is the one that was."""
        known = self._records().get(place)
        if known is None or not self._tree(place, known["sha256"]).exists():
            return None
        if not _is_address(place):
            if not _path(place).exists():
                return None
            seen = _path(place).stat()
            if (seen.st_size, seen.st_mtime_ns) != (known["size"], known["mtime_ns"]):
                return None
        return known

    def _records(self) -> dict[str, Record]:
        path = self.root / "records.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def _first_hashes(self) -> dict[str, str]:
        if not self.checksums.exists():
            return {}
        lines = (line.split(maxsplit=1) for line in self.checksums.read_text().splitlines() if line.strip())
        return {name: digest for digest, name in lines}

    def _tree(self, place: str, digest: str) -> Path:
        return self.root / f"{Path(_name(place)).stem}-{digest[:12]}"

    def _partial(self, place: str) -> tuple[Path, Path]:
        """Where the archive of an address goes, whole and while it grows."""
        parts = urlsplit(place)
        folders = [part for part in unquote(parts.path).split("/") if part not in ("", ".", "..")]
        target = self.root.joinpath(parts.netloc.replace(":", "_"), *folders)
        return target, target.with_name(f"{target.name}.part")


def _is_address(place: str) -> bool:
    return "://" in place


def _path(place: str) -> Path:
    return paths.MAIN / Path(place).expanduser()


def _name(place: str) -> str:
    return Path(unquote(urlsplit(place).path) if _is_address(place) else place).name
