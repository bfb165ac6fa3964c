"""A ZIP or RAR archive → the folder that is in it, whole and right, or not there at all.

An archive is taken to come from a stranger: its listing is checked before anything is written, nothing is written
outside the folder, and every member must have the size and the checksum that the listing gives.
"""

from __future__ import annotations

import copy
import errno
import itertools
import lzma
import os
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from src.command import UserError
from src.fetching.fetch import DamagedError
from src.fetching.members import CHUNK, LONGEST_NAME, LONGEST_PART, Checksum, Member, progress, write
from src.fetching.rar import Rar

MOST_MEMBERS = 1_000_000


def unpack(archive: Path, target: Path, *, limit: int, nested: bool = False) -> None:
    """Unpack the ZIP or RAR at `archive`, of whatever name, into the new folder `target`; nothing if that is there.

    Interrupted, the same call goes on from the members that are there whole. With `nested`, members that are archives
    give way to what is in them. Raises `DamagedError` if the bytes are not those that were packed, and `UserError` if
    the archive would write elsewhere or more than `limit` bytes, is encrypted, or cannot be read by any program here.
    """
    begun, archives = (target.with_name(f".{target.name}.{what}") for what in ("unpacking", "archives"))
    if not target.exists():
        readers = [_open(archive)]
        members = readers[0].members
        if nested and (inner := [member for member in members if _is_archive(member)]):
            _fill(archives, readers, inner, limit=limit)
            members = [member for member in members if not _is_archive(member)]
            for member in inner:
                readers.append(_open(archives / member.path))
                members += _placed(readers[-1].members, member.path.with_suffix(""))
        _fill(begun, readers, members, limit=limit)
        os.sync()  # all its files, before the name that says they are whole
        begun.rename(target)
    if archives.exists():
        shutil.rmtree(archives)


def _is_archive(member: Member) -> bool:
    return member.kind == "file" and member.path.suffix.lower() in (".rar", ".zip")


def _placed(members: list[Member], place: PurePosixPath) -> list[Member]:
    """The members below `place`, whose name is not doubled if they are all in a folder of that name already."""
    top = place.parent if all(member.path.parts[0] == place.name for member in members) else place
    return [
        replace(member, path=top / member.path, text=str(top / member.text) if member.kind == "copy" else member.text)
        for member in members
    ]


def _fill(folder: Path, readers: list[Zip | Rar], members: list[Member], *, limit: int) -> None:
    """Bring `folder` to hold these members and nothing else, going on from what is there."""
    tree = _tree(members)
    if (total := sum(member.size for member in tree.values())) > limit:
        raise UserError(f"{readers[0].archive}: unpacked it would be {total:,} bytes; at most {limit:,} are expected")
    files = {path: member for path, member in tree.items() if member.kind in ("file", "copy")}
    folders = {path for path, member in tree.items() if member.kind == "folder"}
    folders |= {parent for path in tree for parent in path.parents}
    folder.mkdir(parents=True, exist_ok=True)
    _remove_others(folder, files=files, folders=folders)
    missing = _missing(folder, files.values())
    needed = sum(member.size for member in missing)
    if needed > (free := shutil.disk_usage(folder).free):
        raise UserError(f"{folder.parent}: {needed:,} bytes are still to be unpacked and {free:,} are free; make room")
    for path in sorted(folders):
        (folder / path).mkdir(exist_ok=True)
    for reader in readers:
        reader.write([m for m in missing if m.archive == reader.archive and m.kind == "file"], folder)
    for member in missing:
        if member.kind == "copy":
            shutil.copyfile(folder / member.text, folder / member.path)
    for member in tree.values():
        if member.kind == "link":  # last, so that nothing is ever written through one
            (folder / member.path).symlink_to(member.text)


def _tree(members: list[Member]) -> dict[PurePosixPath, Member]:
    """The members by their path. Raises `UserError` naming one that cannot be there together with the others."""
    tree: dict[PurePosixPath, Member] = {}
    for member in members:
        if member.path in tree and not member.kind == tree[member.path].kind == "folder":
            raise UserError(f"{member} is there twice; nothing is unpacked")
        tree[member.path] = member
    for path, member in tree.items():
        if any(parent in tree and tree[parent].kind != "folder" for parent in path.parents):
            raise UserError(f"{member} would lie in what is no folder; nothing is unpacked")
        if member.kind == "link" and _leads_out(member):
            raise UserError(f"{member} is a link to {member.text!r}, out of the archive; nothing is unpacked")
        if member.kind == "copy":
            original = tree.get(PurePosixPath(member.text))
            if original is None or original.kind != "file":
                raise UserError(f"{member} is a copy of {member.text!r}, which is no file in it; nothing is unpacked")
            tree[path] = replace(member, size=original.size, checksum=original.checksum)
    return tree


def _leads_out(link: Member) -> bool:
    """Whether it could; `..` after a name might go up from where another link leads."""
    parts = PurePosixPath(link.text).parts
    up = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    return bool(_objection(link.text)) or up > len(link.path.parent.parts) or ".." in parts[up:]


def _objection(name: str) -> str:
    """What is wrong with a path that should be one below some folder, apart from `..`; "" if nothing is."""
    path = PurePosixPath(name)
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        return "has a control character in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if path.is_absolute() or re.match(r"[A-Za-z]:", name):
        return "has an absolute name"
    if not path.parts:
        return "has no name"
    if len(name.encode()) > LONGEST_NAME or max(len(part.encode()) for part in path.parts) > LONGEST_PART:
        return "has too long a name"
    return ""


def _remove_others(folder: Path, *, files: dict[PurePosixPath, Member], folders: set[PurePosixPath]) -> None:
    """Remove what was not begun for these members: links, other names, other sizes."""
    for parent, *names in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in itertools.chain(*names)):
            place = PurePosixPath(path.relative_to(folder))
            if path.is_dir() and not path.is_symlink():
                if place not in folders:
                    path.rmdir()
            elif path.is_symlink() or place not in files or path.stat().st_size != files[place].size:
                path.unlink()


def _missing(folder: Path, files: Collection[Member]) -> list[Member]:
    """Those that are still to be written. One that is there with another checksum is removed."""
    there = [member for member in files if (folder / member.path).exists()]
    with progress("checking what is there", there) as bar:
        for member in there:
            checksum = Checksum(member)
            with (folder / member.path).open("rb") as file:
                while data := file.read(CHUNK):
                    checksum.update(data)
                    bar.update(len(data))
            if not checksum.holds():
                (folder / member.path).unlink()
    return [member for member in files if not (folder / member.path).exists()]


def _open(archive: Path) -> Zip | Rar:
    """The archive with its listing read and each name checked by itself."""
    with archive.open("rb") as file:
        start = file.read(8)
    if not start.startswith((b"PK\3\4", b"PK\5\6", b"Rar!\x1a\7")):
        raise DamagedError(f"{archive}: neither a ZIP nor a RAR: it begins with {start!r}")
    reader = Zip(archive) if start.startswith(b"PK") else Rar(archive)
    if not reader.members:
        raise DamagedError(f"{archive}: an archive with nothing in it")
    if len(reader.members) > MOST_MEMBERS:
        raise UserError(f"{archive}: {len(reader.members):,} members; at most {MOST_MEMBERS:,} are expected")
    for member in reader.members:
        objection = _objection(member.name)
        if ".." in member.path.parts:
            objection = "leads out of the archive"
        elif member.kind == "other":
            objection = "is neither a file nor a folder nor a link"
        elif member.kind == "file" and member.size and member.checksum is None:
            objection = "has no checksum"
        if objection:
            raise UserError(f"{member} {objection}; nothing is unpacked")
    return reader


class Zip:
    """Read by the standard library alone."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        with self._opened() as opened:
            if any(entry.flag_bits & 0x1 for entry in opened.infolist()):
                raise UserError(f"{archive} is encrypted; pack it anew without a password")
            self.members = [self._member(opened, entry) for entry in opened.infolist()]

    def write(self, members: list[Member], folder: Path) -> None:
        with self._opened() as opened, progress(f"unpacking {self.archive.name}", members) as bar:
            for member in members:
                entry = copy.copy(member.entry)
                entry.file_size += 1  # otherwise what is too much would be left unread, and unnoticed
                with opened.open(entry) as stream:
                    wrong = write(member, stream.read, folder, bar)
                    if wrong or stream.read(1):
                        raise DamagedError(f"{member} is damaged: {wrong or 'it goes on after its end'}")

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.archive) as opened:
                yield opened
        except NotImplementedError as error:
            raise UserError(f"{self.archive} is packed in a way that is unknown here: {error}; pack it anew") from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError) as error:
            raise DamagedError(f"{self.archive} is damaged: {error}") from error
        except OSError as error:
            # Without a number it is what bz2 says of bad data; EINVAL comes of a listing that points before the start.
            if error.errno not in (None, errno.EINVAL):
                raise
            raise DamagedError(f"{self.archive} is damaged: {error}") from error

    def _member(self, opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
        name = entry.orig_filename  # the other attribute ends where there is a NUL in it
        size, text = entry.file_size, ""
        if not entry.flag_bits & 0x800:
            # macOS writes UTF-8 without saying so; names in the code page of MS-DOS are hardly ever valid UTF-8.
            with suppress(UnicodeError):
                name = name.encode("cp437").decode()
        mode = stat.S_IFMT(entry.external_attr >> 16)
        if name.endswith("/"):
            kind, size = "folder", 0
        elif mode == stat.S_IFLNK and size <= LONGEST_NAME:
            kind, text = "link", opened.read(entry).decode()
        else:
            kind = "file" if mode in (0, stat.S_IFREG) else "other"
        return Member(self.archive, name, PurePosixPath(name), kind, size, entry.CRC, entry, text)
