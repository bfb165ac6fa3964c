"""A RAR archive → its listing, by the library rarfile, and its members, by whatever program here unpacks RAR.

What a RAR stores is read here; what it compresses comes through a pipe, so that no program writes files itself.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import rarfile
from tqdm import tqdm

from src.command import UserError
from src.fetching.address import shown
from src.fetching.fetch import DamagedError
from src.fetching.members import CHUNK, LONGEST_NAME, WRONG, Member, progress, write


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
        raise UserError(f"{shown(name)}: no program here unpacks RAR; {INSTALL}")


class Rar:
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
        with progress(f"unpacking {self.archive.name}", stored) as bar:
            for member in stored:
                with _damage(member), self._rar.open(member.entry) as stream:
                    wrong = write(member, stream.read, folder, bar)
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
            with progress(f"unpacking {self.archive.name}", poured) as bar, _output(tool, self.archive, errors) as pipe:
                for member in poured:
                    if member.entry is not members[done].entry:
                        _skip(member.size, pipe, bar)
                        continue
                    wrong = write(members[done], pipe.read, folder, bar)
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
