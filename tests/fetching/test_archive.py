"""Archives as they were packed, as they arrive damaged and as somebody might craft them → a folder, or one line."""

from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest
import rarfile

from src.command import UserError
from src.fetching import archive, rar
from src.fetching.archive import unpack
from src.fetching.fetch import DamagedError
from src.fetching.rar import require_unpacker
from tests.fetching.rar import FILE_COPY, HARD_LINK, JUNCTION, UNIX_LINK, Entry, folder, rar4, rar5

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = Path(__file__).parent / "archives"
RAR4 = ARCHIVES / "libarchive_test_read_format_rar_compress_normal.rar"
RAR5 = ARCHIVES / "libarchive_test_read_format_rar5_multiple_files.rar"
HTML = "LibarchiveAddingTest.html"  # in RAR4, compressed
LINES = "".join(f"{number:03}\n" for number in range(512)).encode()  # what the solid archives hold, twice

WHERE = {tool.name: shutil.which(tool.name) for tool in rar.TOOLS if tool.is_here()}
PACKAGES = "apt install unar libarchive-tools"
FILES = {"Walk/a.avi": b"first", "Walk/b c.avi": b"second" * 1000, "Läufe/太极.avi": b"", "notes.txt": b"notes\n"}

Write = Callable[..., bytes]


def zipped(*entries: Entry) -> bytes:
    """The same as a ZIP, whose methods are 0 for stored and 8 for deflated."""
    body = listing = b""
    for entry in entries:
        size, crc = entry.unpacked
        name = entry.name.encode()
        date = 0x5921
        fields = struct.pack("<HHHH", 20, 0x0800 | entry.encrypted, entry.method, 0)
        fields += struct.pack("<HLLLHH", date, crc, len(entry.data), size, len(name), 0)
        unix = 0x0314
        listing += b"PK\1\2" + struct.pack("<H", unix) + fields
        listing += struct.pack("<HHHLL", 0, 0, 0, entry.mode << 16, len(body)) + name
        body += b"PK\3\4" + fields + name + entry.data
    count = len(entries)
    return body + listing + b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, count, count, len(listing), len(body), 0)


def packed(write: Write, files: dict[str, bytes]) -> bytes:
    return write(*(Entry(name, content) for name, content in files.items()))


def compressed(name: str) -> Entry:
    """A member that only a tool can unpack: of 20,111 bytes, as RAR 3 compressed them."""
    entry = rarfile.RarFile(RAR4).getinfo(HTML)
    data = RAR4.read_bytes()[entry.data_offset : entry.data_offset + entry.compress_size]
    return Entry(name, data, size=entry.file_size, crc=entry.CRC, method=3)


def link(write: Write, name: str, target: str) -> Entry:
    """A symbolic link: RAR 5 has its target in the listing, the others have it for content."""
    if write is rar5:
        return Entry(name, mode=0o120777, redirect=(UNIX_LINK, target))
    return Entry(name, target.encode(), mode=0o120777)


formats = pytest.mark.parametrize("write", [rar4, rar5, zipped])


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write an archive, under a name that tells nothing, into a folder with nothing else in it."""

    def put(content: bytes) -> Path:
        path = tmp_path / "downloads" / "17.part"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return put


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leave nothing on the PATH but tools of this machine, by name, and programs made up here, by what they do."""
    programs = tmp_path / "programs"

    def only(*names: str, **scripts: str) -> None:
        shutil.rmtree(programs, ignore_errors=True)
        programs.mkdir()
        for name in names:
            assert name in WHERE, f"for this test {name} must be here: {PACKAGES}"
            (programs / name).symlink_to(WHERE[name])
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(programs))

    return only


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """What is in a folder: the bytes of files, where links point, None for folders."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def files(folder: Path) -> dict[str, bytes | str | None]:
    return {name: content for name, content in tree(folder).items() if content is not None}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What `compressed` is uncompressed."""
    out = tmp_path_factory.mktemp("page") / "out"
    unpack(RAR4, out, limit=10**6)
    return (out / HTML).read_bytes()


def unpacked(path: Path, *, limit: int = 10**6, nested: bool = False) -> Path:
    target = path.parent / "out"
    unpack(path, target, limit=limit, nested=nested)
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []
    return target


def failure(path: Path, error: type[UserError], *, limit: int = 10**6, nested: bool = False) -> str:
    with pytest.raises(UserError) as raised:
        unpack(path, path.parent / "out", limit=limit, nested=nested)
    message = str(raised.value)
    assert type(raised.value) is error, message
    assert not (path.parent / "out").exists()
    assert "\n" not in message
    return message


def refusal(path: Path, *, limit: int = 10**6) -> str:
    """The message of an archive that is refused for its listing, before anything is written."""
    message = failure(path, UserError, limit=limit)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# Archives as RAR packed them


def test_a_tool_that_unpacks_rar_is_on_this_machine():
    assert WHERE, f"the tests of RAR need one: {PACKAGES}"


@pytest.mark.parametrize("tool", WHERE)
def test_any_one_tool_unpacks_rar_4_with_folders_and_a_link(tool, only, tmp_path):
    only(tool)
    unpack(RAR4, tmp_path / "out", limit=10**6)
    found = tree(tmp_path / "out")
    page = found.pop(HTML)
    assert len(page) == 20111
    assert page.startswith(b"<!DOCTYPE HTML PUBLIC")
    assert page.endswith(b"</HTML>")
    assert found == {
        "testlink": HTML,
        "testdir": None,
        f"testdir/{HTML}": page,
        "testdir/test.txt": b"test text document\r\n",
        "testemptydir": None,
    }


@pytest.mark.parametrize("tool", WHERE)
def test_any_one_tool_unpacks_rar_5(tool, only, tmp_path):
    only(tool)
    unpack(RAR5, tmp_path / "out", limit=10**6)
    assert tree(tmp_path / "out") == {
        f"test{n}.bin": struct.pack("<1024I", *(i * (i - 1) + n - 1 for i in range(1024))) for n in (1, 2, 3, 4)
    }


@pytest.mark.parametrize("name", ["rarfile_rar3-subdirs.rar", "rarfile_rar5-subdirs.rar"])
def test_names_and_folders_come_out_right_and_what_is_stored_needs_no_tool(name, only, tmp_path):
    only()
    unpack(ARCHIVES / name, tmp_path / "out", limit=25)
    assert tree(tmp_path / "out") == {
        "sub": None,
        "sub/dir1": None,
        "sub/dir1/file1.txt": b"file1\n",
        "sub/dir2": None,
        "sub/dir2/file2.txt": b"file2\n",
        "sub/empty": None,
        "sub/with space": None,
        "sub/with space/long fn.txt": b"long fn\n",
        "sub/üȵĩöḋè": None,
        "sub/üȵĩöḋè/file.txt": b"file\n",
    }


@pytest.mark.parametrize("name", ["rarfile_rar3-solid.rar", "rarfile_rar5-solid.rar"])
def test_what_one_tool_cannot_read_the_next_one_does(name, only, tmp_path):
    """Seen: bsdtar has no solid RAR 4, and some versions of unar cannot read this RAR 5."""
    only("unar", "bsdtar")
    unpack(ARCHIVES / name, tmp_path / "out", limit=4096)
    assert tree(tmp_path / "out") == {"stest1.txt": LINES, "stest2.txt": LINES}


def test_names_beyond_ascii_come_out_right_in_any_locale(only, put, monkeypatch):
    only("bsdtar")
    monkeypatch.setenv("LC_ALL", "C")
    assert set(tree(unpacked(put(rar4(compressed("太极 1.avi"), compressed("é.avi")))))) == {"太极 1.avi", "é.avi"}


def test_modes_are_those_of_any_new_file(put, tmp_path):
    (tmp_path / "new").touch()
    out = unpacked(put(rar4(Entry("setuid", b"x", mode=0o104777), Entry("secret", b"x", mode=0o100000))))
    assert {path.stat().st_mode for path in out.iterdir()} == {(tmp_path / "new").stat().st_mode}


# Which tool


@pytest.mark.parametrize(
    "name", ["UCF101.rar", "https://example.org/a/UCF101.RAR", "https://u:p@example.org/a.rar?v=1#x"]
)
def test_without_a_tool_a_rar_is_refused_before_it_is_fetched(name, only):
    only()
    with pytest.raises(UserError) as raised:
        require_unpacker(name)
    assert str(raised.value) == (
        f"{name.replace('u:p@', '').partition('?')[0]}: no program here unpacks RAR; "
        "install one (Debian, Ubuntu: apt install unar libarchive-tools; macOS: brew install unar)"
    )


@pytest.mark.parametrize("name", ["videos.zip", "https://example.org/rar.zip", "https://example.org/a.rar/b.zip", ""])
def test_what_is_no_rar_needs_no_tool(name, only):
    only()
    require_unpacker(name)


@pytest.mark.parametrize("tool", WHERE)
def test_any_one_tool_is_enough(tool, only):
    only(tool)
    require_unpacker("UCF101.rar")


UNRAR = "test $# = 0 && echo 'UNRAR 7 freeware' && exit; "


@pytest.mark.parametrize(
    "programs",
    [
        {"unrar": "echo 'unrar-free 0.1.3'; test $# = 0 || : > was_called"},
        {"7zz": "echo ' 0 D 40108 Deflate'; echo 'Formats: Rar Rar5'"},
    ],
)
def test_a_program_of_the_name_that_does_not_unpack_rar_does_not_count(programs, only, put, monkeypatch, tmp_path):
    """unrar-free would write files itself, and a 7-Zip without the decoder knows the format alone."""
    only(**programs)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no program here unpacks RAR"):
        require_unpacker("UCF101.rar")
    path = put(rar4(compressed("a.avi")))
    assert failure(path, UserError).startswith(f"{path}: no program here unpacks RAR; install one")
    assert not (tmp_path / "was_called").exists()


@pytest.mark.parametrize(
    "fault",
    ["exit 1", "echo garbage", "exec /bin/cat /dev/zero", "kill -9 $$", "/bin/cat '{page}'; echo garbage"],
)
def test_where_a_tool_fails_the_next_goes_on(fault, only, put, page, tmp_path):
    (tmp_path / "page").write_bytes(page)
    only("bsdtar", unrar=UNRAR + fault.format(page=tmp_path / "page"))
    path = put(rar4(compressed("a.avi"), Entry("stored.avi", b"stored"), compressed("b.avi")))
    assert tree(unpacked(path)) == {"a.avi": page, "stored.avi": b"stored", "b.avi": page}


def test_a_member_that_no_tool_reads_is_named_with_what_each_said(only, put):
    only(unar="echo 'no idea' >&2", bsdtar="echo half; echo 'bad header' >&2; exit 1")
    path = put(rar4(Entry("stored.avi", b"stored"), compressed("a.avi")))
    assert failure(path, UserError) == (
        f"{path}: 'a.avi' could not be read: unar: the bytes end too early (no idea); "
        "bsdtar: the bytes end too early (bad header); "
        "install unrar, which reads every RAR, or remove the archive if it is damaged"
    )


def test_only_what_was_said_of_the_member_at_fault_is_told(only, put, page, tmp_path):
    (tmp_path / "page").write_bytes(page)
    only(unar="exec /bin/cat /dev/zero", bsdtar=f"/bin/cat '{tmp_path}/page'")
    path = put(rar4(compressed("a.avi"), compressed("b.avi")))
    assert failure(path, UserError).startswith(
        f"{path}: 'b.avi' could not be read: bsdtar: the bytes end too early; install unrar"
    )


@pytest.mark.parametrize(
    ("tool", "write", "written"),
    [
        ("unrar", rar4, "page page"),
        ("unar", rar4, "page link page"),
        ("7z", rar4, "page link page"),
        ("bsdtar", rar4, "page link page"),
        ("unrar", rar5, "page page"),
        ("7zz", rar5, "page page page"),
    ],
)
def test_what_tools_write_of_links_and_copies_is_left_out(tool, write, written, only, put, page, tmp_path):
    """As seen of unrar 7.21, unar 1.10, 7-Zip 26.02 and bsdtar 3.6; RAR 5 has a copy in place of the second page."""
    (tmp_path / "page").write_bytes(page)
    (tmp_path / "link").write_bytes(bytes(5))
    answers = f"test $# = 0 && echo UNRAR && exit; test $1 = i && echo ' D 40305 Rar5' && exit; cd '{tmp_path}'; "
    only(**{tool: f"{answers} exec /bin/cat {written}"})
    linked = replace(link(write, "link", "a.avi"), size=5)
    copied = [Entry("copy.avi", size=len(page), redirect=(FILE_COPY, "a.avi"))] if write is rar5 else []
    path = put(write(compressed("a.avi"), linked, *copied, compressed("b.avi")))
    assert files(unpacked(path)) == {"a.avi": page, "link": "a.avi", "b.avi": page} | {e.name: page for e in copied}


@pytest.mark.parametrize(
    "programs",
    [
        {"unrar": UNRAR + "exit 3"},
        {"7z": "test $1 = i && echo ' D 40305 Rar5'"},
        {"unar": "exec /bin/cat /dev/zero"},
    ],
)
def test_what_a_tool_that_reads_every_rar_cannot_or_reads_to_the_end_is_damaged(programs, only, put):
    only(**programs)
    path = put(rar4(compressed("a.avi")))
    assert failure(path, DamagedError).startswith(f"{path}: 'a.avi' is damaged: {next(iter(programs))}: ")


def test_a_comment_is_not_unpacked(only, put, tmp_path):
    """The library would call a tool for it, and keep in memory whatever that writes."""
    only(unrar=f": > '{tmp_path}/was_called'")
    assert tree(unpacked(put(rar4(Entry("a.avi", b"a"), comment=b"anything")))) == {"a.avi": b"a"}
    assert not (tmp_path / "was_called").exists()


# Archives made to order


@formats
def test_what_was_packed_is_unpacked(write, put):
    path = put(write(*(Entry(name, content) for name, content in FILES.items()), folder("empty/")))
    assert tree(unpacked(path)) == FILES | {"Walk": None, "Läufe": None, "empty": None}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_others_zipped_is_unpacked(method, put):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as opened:
        for name, content in FILES.items():
            opened.writestr(name, content)
    assert files(unpacked(put(made.getvalue()))) == FILES


def test_a_zip_of_macos_has_its_names_in_utf_8_without_saying_so(put):
    assert tree(unpacked(put(zipped(Entry("é.avi", b"x")).replace(b"\0\x08", b"\0\0")))) == {"é.avi": b"x"}


@pytest.mark.parametrize("write", [rar4, rar5])
def test_an_archive_that_says_it_is_solid_is_unpacked(write, put):
    path = put(write(Entry("a.avi", b"a"), Entry("b.avi", b"b", solid=True), solid=True))
    assert tree(unpacked(path)) == {"a.avi": b"a", "b.avi": b"b"}


def test_the_other_checksum_of_rar_5_is_compared(put):
    as_rar_wrote_it = bytes.fromhex("7cd5c1ac31f0cf58844a57fb9072c44768dbea1456e37c21e491f4853982ede0")
    entry = Entry("lines.txt", LINES, blake2sp=as_rar_wrote_it)
    assert tree(unpacked(put(rar5(entry)))) == {"lines.txt": LINES}
    shutil.rmtree(put(b"").parent)
    path = put(rar5(replace(entry, data=LINES[:-1] + b"x")))
    assert failure(path, DamagedError).startswith(f"{path}: 'lines.txt' is damaged: ")


@formats
def test_links_that_stay_inside_are_made(write, put):
    made = [("link", "a/x.avi"), ("a/up", "../b.avi"), ("folder", "a"), ("later", "none.avi")]
    path = put(write(*(link(write, *each) for each in made), Entry("a/x.avi", b"x")))
    assert tree(unpacked(path)) == {
        "a": None,
        "a/x.avi": b"x",
        "link": "a/x.avi",
        "a/up": "../b.avi",
        "folder": "a",
        "later": "none.avi",
    }


@pytest.mark.parametrize("kind", [HARD_LINK, FILE_COPY])
def test_a_copy_within_the_archive_becomes_a_file_of_its_own(kind, put):
    path = put(rar5(Entry("a/x.avi", b"x"), Entry("y.avi", redirect=(kind, "a/x.avi"))))
    out = unpacked(path, limit=2)
    assert files(out) == {"a/x.avi": b"x", "y.avi": b"x"}
    assert (out / "y.avi").stat().st_nlink == 1


def test_progress_is_in_bytes(monkeypatch, only, tmp_path):
    only("bsdtar")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    unpack(RAR5, tmp_path / "out", limit=10**6)
    assert "unpacking libarchive_test_read_format_rar5_multiple_files.rar: 100%" in terminal.getvalue()
    assert "16.4k/16.4k" in terminal.getvalue()


def test_every_byte_is_on_the_disk_before_the_folder_gets_its_name(put, monkeypatch):
    seen = []
    path = put(packed(zipped, {"a.avi": b"a", "Run/b.avi": b"b"}))
    monkeypatch.setattr(os, "sync", lambda: seen.append(sorted(entry.name for entry in path.parent.iterdir())))
    out = unpacked(path)
    assert seen == [[f".{out.name}.unpacking", path.name]]
    assert files(out) == {"a.avi": b"a", "Run/b.avi": b"b"}


def test_a_target_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "no archive", tmp_path / "out", limit=0)
    assert tree(tmp_path) == {"out": None}


# Damage


@formats
def test_a_flipped_byte_is_found_and_its_member_named(write, put):
    content = packed(write, FILES)
    place = content.index(b"second") + 3
    path = put(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert "Walk/b c.avi" in failure(path, DamagedError)


@pytest.mark.parametrize("tool", WHERE)
def test_a_flipped_byte_of_a_compressed_member_is_found(tool, only, put, tmp_path):
    only(tool)
    entry = compressed("a.avi")
    path = put(rar4(replace(entry, data=entry.data[:3000] + bytes([entry.data[3000] ^ 1]) + entry.data[3001:])))
    with pytest.raises(UserError, match=r"'a\.avi' (is damaged|could not be read): .*" + tool):
        unpack(path, tmp_path / "out", limit=10**6)
    assert not (tmp_path / "out").exists()


@formats
def test_an_archive_cut_short_is_damaged(write, put):
    content = packed(write, FILES)
    for length in (0, 1, 7, 20, 40, content.index(b"second") + 100, len(content) - 8, len(content) - 1):
        path = put(content[:length])
        assert failure(path, DamagedError).startswith(f"{path}")
        assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("write", [rar4, rar5])
def test_a_header_that_is_damaged_is_found(write, put):
    content = packed(write, FILES)
    place = content.index(b"notes.txt")
    path = put(content[:place] + b"votes" + content[place + 5 :])
    assert failure(path, DamagedError).startswith(f"{path} is damaged: ")


@pytest.mark.parametrize("rest", [b"", b"\0\0\0\0\xff\xff\xff\x7f"])
def test_a_listing_of_rar_5_that_breaks_off_is_found(rest, put):
    """After the whole of a member, or where the next header should be; RAR 4 need not have an end block."""
    path = put(rar5(Entry("a.avi", b"first")).partition(b"first")[0] + b"first" + rest)
    assert failure(path, DamagedError).startswith(f"{path} is damaged: ")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>\n<title>404</title>", b"garbage" * 1000])
def test_what_is_no_archive_says_how_it_begins(content, put):
    path = put(content)
    assert failure(path, DamagedError) == f"{path}: neither a ZIP nor a RAR: it begins with {content[:8]!r}"


@formats
def test_an_archive_of_nothing_is_damaged(write, put):
    path = put(write())
    assert failure(path, DamagedError) == f"{path}: an archive with nothing in it"


@formats
@pytest.mark.parametrize("size", [4, 6])
def test_a_member_of_another_size_than_listed_is_damaged(write, size, put):
    path = put(write(Entry("a.avi", b"first", size=size)))
    assert "a.avi" in failure(path, DamagedError)


@formats
def test_a_member_that_goes_on_after_its_listed_end_is_damaged_though_its_checksum_holds(write, put):
    path = put(write(Entry("a.avi", b"first", size=4, crc=crc32(b"firs"))))
    assert "a.avi" in failure(path, DamagedError)


def test_a_compressed_member_that_goes_on_after_its_listed_end_is_not_read_to_its_own(put):
    deflate = zlib.compressobj(wbits=-15)
    bomb = deflate.compress(bytes(10**8)) + deflate.flush()
    path = put(zipped(Entry("a.avi", bomb, size=2 * 10**6, crc=crc32(bytes(2 * 10**6)), method=8)))
    assert "a.avi" in failure(path, DamagedError, limit=10**7)
    assert (path.parent / ".out.unpacking" / "a.avi").stat().st_size == 2 * 10**6


# Archives that mean harm


@formats
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x.avi", "leads out of the archive"),
        ("a/../../x.avi", "leads out of the archive"),
        ("a/..", "leads out of the archive"),
        ("/tmp/x.avi", "has an absolute name"),
        ("//tmp/x.avi", "has an absolute name"),
        ("C:/x.avi", "has an absolute name"),
        ("c:x.avi", "has an absolute name"),
        ("a\nb.avi", "has a control character in its name"),
        ("a\x7f.avi", "has a control character in its name"),
        ("a\x9b31m.avi", "has a control character in its name"),
        (".", "has no name"),
        ("é" * 128, "has too long a name"),
        ("a/" * 500 + "b", "has too long a name"),
    ],
)
def test_a_name_that_is_no_path_below_a_folder_is_refused(write, name, why, put):
    path = put(write(Entry("good.avi", b"x"), Entry(name, b"x")))
    assert refusal(path) == f"{name!r} {why}; nothing is unpacked"


@formats
@pytest.mark.parametrize("name", ["..\\x.avi", "\\x.avi", "C:\\x.avi", "a\\..\\..\\x.avi"])
def test_a_name_with_backslashes_does_not_lead_out(write, name, put):
    """As a separator in RAR 4, which has no other meaning for them, and refused in the others."""
    assert refusal(put(write(Entry(name, b"x")))).endswith(
        ("leads out of the archive; nothing is unpacked", "name; nothing is unpacked")
    )


def test_a_name_with_a_nul_is_refused(put):
    assert refusal(put(zipped(Entry("a.avi\0.txt", b"x")))).startswith("'a.avi\\x00.txt' has a control character")


@formats
@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/etc/passwd", "/etc/passwd"),
        ("..", ".."),
        ("../x", "../x"),
        ("a/../../x", "a/../../x"),
        ("a/..", "a/.."),
        ("..\\x", "..\\\\x"),
        ("C:x", "C:x"),
        ("a\nb", "a\\nb"),
        (".", "."),
    ],
)
def test_a_link_that_might_lead_out_is_refused(write, target, shown, put):
    path = put(write(Entry("a/x.avi", b"x"), link(write, "link", target)))
    assert refusal(path) == f"'link' is a link to '{shown}', out of the archive; nothing is unpacked"


@formats
def test_a_link_may_go_up_no_further_than_to_the_top(write, put):
    path = put(write(link(write, "a/b/link", "../../../x")))
    assert refusal(path) == "'a/b/link' is a link to '../../../x', out of the archive; nothing is unpacked"


@formats
@pytest.mark.parametrize("order", [1, -1])
def test_nothing_is_written_through_a_link(write, order, put):
    path = put(write(*[link(write, "a", "b"), Entry("a/x.avi", b"x"), folder("b/")][::order]))
    assert refusal(path) == "'a/x.avi' would lie in what is no folder; nothing is unpacked"


def test_a_junction_of_windows_is_refused(put):
    path = put(rar5(Entry("a", redirect=(JUNCTION, "/??/C:/Users"))))
    assert refusal(path) == "'a' is a link to '/??/C:/Users', out of the archive; nothing is unpacked"


@pytest.mark.parametrize("kind", [HARD_LINK, FILE_COPY])
@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "none", "folder", "link", "y.avi"])
def test_a_copy_of_what_is_no_file_of_the_archive_is_refused(kind, target, put):
    inside = [folder("folder"), link(rar5, "link", "folder")]
    path = put(rar5(*inside, Entry("y.avi", redirect=(kind, target))))
    assert refusal(path) == f"'y.avi' is a copy of {target!r}, which is no file in it; nothing is unpacked"


@formats
@pytest.mark.parametrize("mode", [0o020666, 0o060666, 0o010666, 0o140666])
def test_devices_pipes_and_sockets_are_refused(write, mode, put):
    assert refusal(put(write(Entry("a", b"x", mode=mode)))) == (
        "'a' is neither a file nor a folder nor a link; nothing is unpacked"
    )


@formats
@pytest.mark.parametrize("second", ["a.avi", "./a.avi", "a.avi/"])
def test_two_members_of_one_name_are_refused(write, second, put):
    entry = folder(second) if second.endswith("/") else Entry(second, b"2")
    message = refusal(put(write(Entry("a.avi", b"1"), entry)))
    assert message == f"{second!r} is there twice; nothing is unpacked"


@formats
@pytest.mark.parametrize("order", [1, -1])
def test_a_file_is_no_folder(write, order, put):
    path = put(write(*[Entry("a", b"1"), Entry("a/b/c.avi", b"2")][::order]))
    assert refusal(path) == "'a/b/c.avi' would lie in what is no folder; nothing is unpacked"


def test_a_member_without_a_checksum_is_refused(put):
    assert refusal(put(rar5(Entry("a", b"x", blake2sp=b"")))) == "'a' has no checksum; nothing is unpacked"


@formats
def test_an_encrypted_member_is_refused(write, put):
    path = put(write(Entry("a.avi", b"a"), Entry("b.avi", bytes(16), encrypted=True)))
    assert failure(path, UserError) == f"{path} is encrypted; pack it anew without a password"


def test_encrypted_headers_are_refused(put):
    path = put(rar4(Entry("a.avi", b"a"), headers_encrypted=True))
    assert failure(path, UserError) == f"{path} is encrypted; pack it anew without a password"


def test_missing_volumes_are_named(put, tmp_path):
    path = put(rar4(Entry("a.avi", b"a", split=True))).rename(tmp_path / "downloads" / "a.part1.rar")
    assert refusal(path) == (
        f"Cannot open next volume: {path.parent}/a.part2.rar; all volumes of a RAR must lie side by side"
    )


# Archives that are too large


@formats
def test_more_bytes_than_the_limit_are_refused(write, put):
    path = put(write(Entry("a.avi", b"a" * 600), Entry("b.avi", b"b", size=3_000_000_000)))
    assert refusal(path, limit=3_000_000_599) == (
        "unpacked it would be 3,000,000,600 bytes; at most 3,000,000,599 are expected"
    )


def test_copies_count_with_their_size(put):
    copies = [Entry(f"{number}.avi", size=0, redirect=(FILE_COPY, "a.avi")) for number in range(9)]
    path = put(rar5(Entry("a.avi", b"a" * 1000), *copies))
    assert refusal(path, limit=9999) == "unpacked it would be 10,000 bytes; at most 9,999 are expected"
    assert len(files(unpacked(path, limit=10_000))) == 10


@formats
def test_too_many_members_are_refused(write, put, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 2)
    path = put(write(Entry("a"), Entry("b"), Entry("c")))
    assert refusal(path) == "3 members; at most 2 are expected"


def test_what_the_disk_cannot_hold_is_not_begun(put):
    path = put(rar5(Entry("a.avi", b"a", size=10**17, method=3), Entry("b.avi", b"b")))
    message = failure(path, UserError, limit=10**18)
    assert message.startswith(f"{path.parent}: 100,000,000,000,000,001 bytes are still to be unpacked and ")
    assert message.endswith(" are free; make room")
    assert tree(path.parent / ".out.unpacking") == {}


# Interruptions


def test_after_a_kill_what_is_whole_is_not_unpacked_again(only, put, page, tmp_path):
    (tmp_path / "page").write_bytes(page)
    path = put(rar4(compressed("a.avi"), Entry("b.avi", b"stored"), compressed("c.avi"), compressed("d.avi")))
    begun = path.parent / ".out.unpacking"
    only(unrar=f"{UNRAR} /bin/cat '{tmp_path}/page'; echo half of c; exec /bin/sleep 100")
    call = "import sys; from pathlib import Path; from src.fetching.archive import unpack; "
    call += "unpack(Path(sys.argv[1]), Path(sys.argv[2]), limit=10**6)"
    arguments = [sys.executable, "-c", call, path, path.parent / "out"]
    with subprocess.Popen(arguments, cwd=ROOT, start_new_session=True) as process:
        while process.poll() is None and not (begun / "c.avi").exists():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = {name: (begun / name).stat() for name in ("a.avi", "b.avi")}
    only("bsdtar")
    out = unpacked(path)
    assert tree(out) == {"a.avi": page, "b.avi": b"stored", "c.avi": page, "d.avi": page}
    after = {name: (out / name).stat() for name in before}
    assert [(s.st_ino, s.st_mtime_ns) for s in after.values()] == [(s.st_ino, s.st_mtime_ns) for s in before.values()]


def test_a_file_that_should_be_empty_is_emptied(put):
    path = put(rar5(Entry("a.avi", blake2sp=b"")))
    (path.parent / ".out.unpacking").mkdir()
    (path.parent / ".out.unpacking" / "a.avi").write_text("stray")
    assert tree(unpacked(path)) == {"a.avi": b""}


@formats
def test_an_archive_that_was_damaged_is_gone_on_from_when_it_is_whole(write, put):
    good = packed(write, FILES)
    path = put(good.replace(b"notes\n", b"n0tes\n"))
    failure(path, DamagedError)
    begun = path.parent / ".out.unpacking"
    before = {name: (begun / name).stat().st_ino for name in FILES if name != "notes.txt"}
    out = unpacked(put(good))
    assert files(out) == FILES
    assert {name: (out / name).stat().st_ino for name in before} == before


@formats
def test_what_was_changed_or_put_in_between_does_not_stay(write, put, tmp_path):
    path = put(write(*(Entry(name, content) for name, content in FILES.items()), link(write, "link", "notes.txt")))
    begun = path.parent / ".out.unpacking"
    (begun / "Walk" / "a.avi").mkdir(parents=True)
    (begun / "Walk" / "a.avi" / "stray").write_text("stray")
    (begun / "Walk" / "b c.avi").write_bytes(b"Second" * 1000)
    (begun / "Walk" / "more.avi").write_text("stray")
    (tmp_path / "outside").mkdir()
    (begun / "Läufe").symlink_to(tmp_path / "outside")
    (begun / "notes.txt").symlink_to(tmp_path / "outside" / "notes.txt")
    (begun / "link").write_text("stray")
    assert files(unpacked(path)) == FILES | {"link": "notes.txt"}
    assert tree(tmp_path / "outside") == {}


# Archives in an archive


def hmdb51() -> dict[str, bytes]:
    """Members as HMDB51 has them, one archive a class."""
    return {
        "brush_hair.rar": packed(rar4, {"brush_hair/April.avi": b"brush", "brush_hair/two words.avi": b"2"}),
        "cartwheel.rar": rar5(folder("cartwheel"), Entry("cartwheel/x.avi", b"turns")),
    }


VIDEOS = {"brush_hair/April.avi": b"brush", "brush_hair/two words.avi": b"2", "cartwheel/x.avi": b"turns"}


@formats
def test_nested_archives_give_way_to_what_is_in_them(write, put):
    path = put(packed(write, hmdb51() | {"readme.txt": b"read", "lists.zip": packed(zipped, {"a.txt": b"a"})}))
    out = unpacked(path, nested=True)
    assert files(out) == VIDEOS | {"readme.txt": b"read", "lists/a.txt": b"a"}


def test_without_nested_the_archives_are_kept(put):
    assert tree(unpacked(put(packed(rar4, hmdb51())))) == hmdb51()


def test_a_folder_of_another_name_is_kept_below_the_place_of_the_archive(put):
    inner = rar5(Entry("clips/x.avi", b"x"), Entry("clips/y.avi", redirect=(FILE_COPY, "clips/x.avi")))
    out = unpacked(put(packed(rar4, {"deep/Run.rar": inner, "one.RAR": packed(rar4, {"one": b"1"})})), nested=True)
    assert files(out) == {"deep/Run/clips/x.avi": b"x", "deep/Run/clips/y.avi": b"x", "one": b"1"}


def test_one_level_of_archives_is_unpacked_and_no_more(put):
    inmost = packed(zipped, {"x.avi": b"x"})
    path = put(packed(rar4, {"a.rar": packed(rar4, {"a/b.zip": inmost})}))
    assert files(unpacked(path, nested=True)) == {"a/b.zip": inmost}


def test_the_limit_is_for_the_videos_without_the_archives_that_held_them(put):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("x.avi", bytes(10**6))
    path = put(packed(rar4, {"Run.zip": made.getvalue(), "Walk.zip": made.getvalue(), "readme.txt": b"read"}))
    assert failure(path, UserError, limit=2_000_003, nested=True) == (
        f"{path}: unpacked it would be 2,000,004 bytes; at most 2,000,003 are expected"
    )
    assert set(files(unpacked(path, limit=2_000_004, nested=True))) == {"Run/x.avi", "Walk/x.avi", "readme.txt"}


def test_two_archives_with_the_same_video_are_refused(put):
    path = put(packed(rar4, {"a.rar": packed(rar4, {"x.avi": b"1"}), "a.zip": packed(zipped, {"x.avi": b"2"})}))
    assert failure(path, UserError, nested=True).endswith("a.zip: 'x.avi' is there twice; nothing is unpacked")


def test_a_damaged_archive_in_a_whole_one_is_named(put):
    path = put(packed(rar4, hmdb51() | {"wave.rar": b"no archive"}))
    assert "wave.rar: neither a ZIP nor a RAR" in failure(path, DamagedError, nested=True)


def test_nested_archives_are_gone_on_from(put):
    good = packed(rar4, hmdb51())
    path = put(good.replace(b"turns", b"burns"))
    failure(path, DamagedError, nested=True)
    kept = path.parent / ".out.archives" / "brush_hair.rar"
    before = kept.stat().st_ino
    path = put(good)
    (path.parent / ".out.unpacking" / "brush_hair").mkdir(parents=True)
    begun = path.parent / ".out.unpacking" / "brush_hair" / "April.avi"
    begun.write_bytes(b"brush")
    inode = begun.stat().st_ino
    assert kept.stat().st_ino == before
    out = unpacked(path, nested=True)
    assert files(out) == VIDEOS
    assert (out / "brush_hair" / "April.avi").stat().st_ino == inode


def test_what_is_left_of_nested_archives_goes_with_the_next_call(put):
    path = put(packed(rar4, hmdb51()))
    (path.parent / "out").mkdir()
    (path.parent / ".out.archives").mkdir()
    assert tree(unpacked(path, nested=True)) == {}
