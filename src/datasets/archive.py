"""A ZIP or RAR archive → the folder that is in it, whole and right, or not there at all.

An archive is taken to come from a stranger: its listing is checked before anything is written, nothing is written
outside the folder, and every member must have the size and the checksum that the listing gives. What a RAR lists and
stores is read here; what it compresses comes through a pipe from a program that can unpack it.
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
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Literal

import rarfile
from tqdm import tqdm

from src.command import UserError
from src.datasets.fetch import DamagedError

MOST_MEMBERS = 1_000_000
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


@dataclass(frozen=True)
class Tool:
    """A program that writes the members of a RAR to a pipe, one after another in the order of the listing.

    `kinds` are those of members whose bytes it writes. What a `complete` tool cannot read is damaged; the others do
    not know every variant of the format. Where an `answer` is given, a program that does not print it when called
    with `probe` is another one of that name, or was built without what it takes.
    """

    name: str
    arguments: tuple[str, ...]
    kinds: tuple[str, ...]
    complete: bool = False
    probe: tuple[str, ...] = ()
    answer: bytes = b""

    def is_here(self) -> bool:
        if not shutil.which(self.name):
            return False
        if not self.answer:
            return True
        done = subprocess.run([self.name, *self.probe], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return self.answer in done.stdout


SEVEN_ZIP = ("e", "-so", "-bd", "-bb0", "-spd", "--")  # -spd: a name with * is that of one archive
RAR5_DECODER = b" 40305 "  # its number; without it, as Debian and Homebrew build it, 7-Zip lists a RAR and no more
TOOLS = (
    # Debian's unrar-free answers to the same name, and writes files where it is asked to print them.
    Tool("unrar", ("p", "-inul", "-p-", "--"), kinds=("file",), complete=True, answer=b"UNRAR"),
    Tool("unar", ("-quiet", "-output-directory", "-"), kinds=("file", "link")),
    Tool("7z", SEVEN_ZIP, kinds=("file", "link", "copy"), complete=True, probe=("i",), answer=RAR5_DECODER),
    Tool("7zz", SEVEN_ZIP, kinds=("file", "link", "copy"), complete=True, probe=("i",), answer=RAR5_DECODER),
    Tool("bsdtar", ("-x", "-O", "-f"), kinds=("file", "link")),
)
INSTALL = "install one (Debian, Ubuntu: apt install unar libarchive-tools; macOS: brew install unar)"


def require_unpacker(name: str) -> None:
    """Raise `UserError` if `name`, a file name or an address, is that of a RAR and no program here unpacks RAR."""
    if re.search(r"\.rar($|[?#])", name, re.IGNORECASE) and not any(tool.is_here() for tool in TOOLS):
        raise UserError(f"{name}: no program here unpacks RAR; {INSTALL}")


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


def _fill(folder: Path, readers: list[_Zip | _Rar], members: list[Member], *, limit: int) -> None:
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
    with _bar("checking what is there", there) as bar:
        for member in there:
            checksum = _Checksum(member)
            with (folder / member.path).open("rb") as file:
                while data := file.read(CHUNK):
                    checksum.update(data)
                    bar.update(len(data))
            if not checksum.holds():
                (folder / member.path).unlink()
    return [member for member in files if not (folder / member.path).exists()]


def _bar(title: str, members: list[Member]) -> tqdm:
    total = sum(member.size for member in members)
    return tqdm(desc=title, total=total, unit="B", unit_scale=True, disable=None if total else True)


class _Checksum:
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


def _write(member: Member, read: Callable[[int], bytes], folder: Path, bar: tqdm) -> str:
    """Write what `read` gives, up to the member's size; SHORT or WRONG if that is not what it should be, else ""."""
    checksum, left = _Checksum(member), member.size
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


def _open(archive: Path) -> _Zip | _Rar:
    """The archive with its listing read and each name checked by itself."""
    with archive.open("rb") as file:
        start = file.read(8)
    if not start.startswith((b"PK\3\4", b"PK\5\6", b"Rar!\x1a\7")):
        raise DamagedError(f"{archive}: neither a ZIP nor a RAR: it begins with {start!r}")
    reader = _Zip(archive) if start.startswith(b"PK") else _Rar(archive)
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


class _Zip:
    """Read by the standard library alone."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        with self._opened() as opened:
            if any(entry.flag_bits & 0x1 for entry in opened.infolist()):
                raise UserError(f"{archive} is encrypted; pack it anew without a password")
            self.members = [self._member(opened, entry) for entry in opened.infolist()]

    def write(self, members: list[Member], folder: Path) -> None:
        with self._opened() as opened, _bar(f"unpacking {self.archive.name}", members) as bar:
            for member in members:
                entry = copy.copy(member.entry)
                entry.file_size += 1  # otherwise what is too much would be left unread, and unnoticed
                with opened.open(entry) as stream:
                    wrong = _write(member, stream.read, folder, bar)
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


class _Rar:
    """Listed, and read where it is not compressed, by the library rarfile; the rest comes from one of the TOOLS."""

    def __init__(self, archive: Path) -> None:
        rarfile.RAR_MAX_COMMENT = 0  # it would have a tool unpack the comment, into memory and without a bound
        self.archive = archive
        blocks = set()
        with _damage(archive):
            self._rar = rarfile.RarFile(archive, errors="strict", info_callback=lambda block: blocks.add(block.type))
        if self._rar.needs_password():
            raise UserError(f"{archive} is encrypted; pack it anew without a password")
        # The end block came with version 3 and could be left out until version 5.
        if rarfile.get_rar_version(archive) == rarfile.RAR_V5 and rarfile.RAR_BLOCK_ENDARC not in blocks:
            raise DamagedError(f"{archive} is damaged: its listing breaks off")
        self.members = [self._member(entry) for entry in self._rar.infolist()]
        end = archive.stat().st_size
        for member in self.members if len(self._rar.volumelist()) == 1 else ():
            if member.entry.data_offset + member.entry.compress_size > end:
                raise DamagedError(f"{member} is damaged: the archive ends before it does")

    def write(self, members: list[Member], folder: Path) -> None:
        stored, packed = [], []
        for member in members:
            (stored if member.entry.compress_type == rarfile.RAR_M0 else packed).append(member)
        with _bar(f"unpacking {self.archive.name}", stored) as bar:
            for member in stored:
                with _damage(member), self._rar.open(member.entry) as stream:
                    wrong = _write(member, stream.read, folder, bar)
                if wrong or member.entry.compress_size != member.size:
                    raise DamagedError(f"{member} is damaged: {wrong or 'it goes on after its end'}")
        if packed:
            self._write_packed(packed, folder)

    def _write_packed(self, members: list[Member], folder: Path) -> None:
        """Write `members` with the tools that are here, each going on where the one before could not."""
        failures, is_damaged = [], False
        for tool in TOOLS:
            if not tool.is_here():
                continue
            done, wrong, said = self._pour(tool, members, folder)
            members = members[done:]
            if not members:
                return
            if done:  # what the tools before said was of an earlier member
                failures, is_damaged = [], False
            failures.append(f"{tool.name}: {wrong}{said and f' ({said})'}")
            is_damaged |= tool.complete or wrong == WRONG
        if not failures:
            raise UserError(f"{self.archive}: no program here unpacks RAR; {INSTALL}")
        if is_damaged:
            raise DamagedError(f"{members[0]} is damaged: {'; '.join(failures)}")
        raise UserError(
            f"{members[0]} could not be read: {'; '.join(failures)}; "
            "install unrar, which reads every RAR, or remove the archive if it is damaged"
        )

    def _pour(self, tool: Tool, members: list[Member], folder: Path) -> tuple[int, str, str]:
        """Cut `members` out of what one process of `tool` writes: one for each would unpack a solid archive each time.

        Returns how many came right, what was wrong with the next, and what the tool said.
        """
        done, wrong = 0, ""
        poured = [member for member in self.members if member.kind in tool.kinds]
        with tempfile.TemporaryFile() as errors:
            with _bar(f"unpacking {self.archive.name}", poured) as bar, _output(tool, self.archive, errors) as pipe:
                for member in poured:
                    if member.entry is not members[done].entry:
                        _skip(member.size, pipe, bar)
                        continue
                    wrong = _write(members[done], pipe.read, folder, bar)
                    if wrong:
                        (folder / members[done].path).unlink()
                        break
                    done += 1
                    if done == len(members):
                        break
            errors.seek(0)
            said = errors.read(1000).decode(errors="replace")
        return done, wrong, " ".join(said.split())

    def _member(self, entry: rarfile.RarInfo) -> Member:
        size, text = entry.file_size, ""
        mode = stat.S_IFMT(entry.mode) if entry.host_os == rarfile.RAR_OS_UNIX else 0
        if entry.file_redir:
            redirection, _, text = entry.file_redir
            kind = REDIRECTIONS.get(redirection, "other")
        elif entry.is_symlink():
            kind = "link"
            if entry.compress_type == rarfile.RAR_M0 and size <= LONGEST_NAME:
                with _damage(self.archive):
                    text = self._rar.read(entry).decode()
        elif entry.is_dir():
            kind, size = "folder", 0
        else:
            kind = "file" if mode in (0, stat.S_IFREG) else "other"
        if kind == "link":
            size = entry.compress_size
        checksum = entry.blake2sp_hash or entry.CRC
        return Member(self.archive, entry.filename, PurePosixPath(entry.filename), kind, size, checksum, entry, text)


REDIRECTIONS = {
    rarfile.RAR5_XREDIR_UNIX_SYMLINK: "link",
    rarfile.RAR5_XREDIR_WINDOWS_SYMLINK: "link",
    rarfile.RAR5_XREDIR_WINDOWS_JUNCTION: "link",
    rarfile.RAR5_XREDIR_HARD_LINK: "copy",
    rarfile.RAR5_XREDIR_FILE_COPY: "copy",
}


@contextmanager
def _damage(where: Path | Member) -> Iterator[None]:
    """Turn what rarfile raises into a line that names `where`."""
    try:
        yield
    except (rarfile.NeedFirstVolume, rarfile.BadRarName) as error:
        raise UserError(
            f"{where}: {error}; of a RAR in several volumes, give the first, with the others beside it"
        ) from error
    except (rarfile.Error, struct.error, ValueError) as error:
        if str(error).startswith(("Cannot open next volume", "Invalid volume")):
            raise UserError(f"{where}: {error}; all volumes of a RAR must lie side by side") from error
        raise DamagedError(f"{where} is damaged: {error}") from error


@contextmanager
def _output(tool: Tool, archive: Path, errors: IO[bytes]) -> Iterator[IO[bytes]]:
    """The pipe that `tool` writes the members to; what it complains of goes to `errors`."""
    utf8 = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"  # in the plain locale bsdtar leaves out some names
    process = subprocess.Popen(
        [tool.name, *tool.arguments, str(archive.resolve())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=os.environ | {"LC_ALL": utf8},
    )
    try:
        yield process.stdout
    finally:
        process.stdout.close()
        try:
            process.wait(timeout=1)  # time to say what is wrong
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _skip(size: int, pipe: IO[bytes], bar: tqdm) -> None:
    while size and (data := pipe.read(min(size, CHUNK))):
        bar.update(len(data))
        size -= len(data)
