"""A download over real connections, from a server that does what servers do on a bad day."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import math
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme

from src.command import UserError
from src.fetching import fetch as module
from src.fetching.address import identity
from src.fetching.fetch import DamagedError, fetch
from src.fetching.part import tls_of
from tests.fetching.server import DAY, File, Reply, Server, certified_by

ROOT = Path(__file__).resolve().parent.parent.parent
CONTENT = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(90_000)
BARE = {"etag": None, "modified": None}
"""Of a file that only its length is told of."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits too short to be noticed, and nothing from this machine's own environment."""
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.002)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(File(CONTENT)) as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Server]:
    """A server whose certificate no public authority knows."""
    with Server(File(CONTENT), certified_by(authority)) as running:
        yield running


@pytest.fixture
def root_pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pem") / "root.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "videos.zip"


def accept(path: Path) -> None:
    """Any bytes do: what arrives must be right without help from a checksum."""


def undecided(path: Path) -> None:
    """A check that says nothing about the bytes."""
    raise UserError("no tool to unpack it with")


def matches(*contents: bytes) -> Callable[[Path], None]:
    """A check by checksum: any of these contents passes."""
    known = {hashlib.sha256(content).digest() for content in contents}

    def check(path: Path) -> None:
        if hashlib.sha256(path.read_bytes()).digest() not in known:
            raise DamagedError(f"{path}: its checksum is another")

    return check


def left(target: Path) -> list[str]:
    """The names of all files that there are, but for what is noted of a whole one."""
    noted = {path.with_name(f"{path.name}.json") for path in target.parent.glob("*.zip")}
    return sorted(path.name for path in {*target.parent.iterdir()} - noted)


def part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def refusal(*arguments, check: Callable[[Path], None] = accept, **options) -> str:
    with pytest.raises(UserError) as refused:
        fetch(*arguments, check=check, **options)
    message = str(refused.value)
    assert "\n" not in message
    return message


def broken_off(server: Server, target: Path, at: int, *, file: File | None = None) -> None:
    """Leave a part of `at` bytes, by a server that then is down for as long as anybody tries."""
    file = file or server.file
    server.reset(file, [Reply(drop_after=at)] + [Reply(status=503)] * module.TRIES)
    refusal(server.url, target)
    assert part(target).read_bytes() == file.content[:at]
    server.reset(file)


# What is there in the end


def test_a_file_arrives_whole_and_alone(server, target):
    seen = []
    fetch(server.url, target, check=lambda path: seen.append((path.name, path.read_bytes() == CONTENT)))
    assert target.read_bytes() == CONTENT
    assert seen == [("videos.zip.part", True)]
    assert left(target) == ["videos.zip"]


def test_what_is_there_already_is_not_asked_for(server, target):
    target.parent.mkdir()
    target.write_text("here")
    fetch(server.url, target, check=lambda path: pytest.fail("was checked"))
    assert target.read_text() == "here"
    assert server.requests == []


def test_an_empty_file_is_a_file(server, target):
    server.file = File(b"")
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == b""


@pytest.mark.parametrize("size", [1, 8191, 8193, 65_537, 270_000])
def test_the_check_sees_every_byte(server, target, size):
    server.file = File((3 * CONTENT)[:size])
    sizes = []
    fetch(server.url, target, check=lambda part: sizes.append(part.stat().st_size))
    assert sizes == [size]


def test_redirects_are_followed(server, target):
    fetch(f"{server.root}/redirect/3", target, check=accept)
    assert target.read_bytes() == CONTENT
    assert [request.path for request in server.requests] == [
        "/redirect/3",
        "/redirect/2",
        "/redirect/1",
        "/videos.zip",
    ]


def test_endless_redirects_are_an_error_at_once(server, target):
    assert "Exceeded 30 redirects" in refusal(f"{server.root}/redirect/99", target)
    assert len(server.requests) == 31


def test_a_server_is_asked_not_to_compress(server, target):
    fetch(server.url, target, check=accept)
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_server_that_compresses_all_the_same_corrupts_nothing(server, target, chunked):
    server.file = File(b"text that shrinks " * 100_000)
    server.replies = [Reply(compressed=True, chunked=chunked, drop_after=2000), Reply(compressed=True, chunked=chunked)]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == server.file.content
    assert server.ranges == [None, None]  # a range would be of the compressed bytes
    assert server.served < len(server.file.content) / 10


def test_a_chunked_reply_without_length_ends_where_it_ends(server, target):
    server.file = File(CONTENT, **BARE, tells_length=False)
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT


def test_the_end_of_the_connection_is_the_end_of_a_reply_that_tells_nothing_else(server, target):
    server.replies = [Reply(until_close=True)]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT


# Drops


@pytest.mark.parametrize("with_reset", [False, True])
def test_after_a_drop_only_the_rest_is_asked_for(server, target, with_reset, capsys):
    server.replies = [Reply(drop_after=30_000, with_reset=with_reset), Reply(drop_after=40_000, with_reset=with_reset)]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert [request.headers.get("if-range") for request in server.requests] == [None, '"one"', '"one"']
    if not with_reset:  # which may cost bytes that were on their way
        assert server.ranges[1:] == ["bytes=30000-", "bytes=70000-"]
        assert server.served == len(CONTENT)
        assert (
            "note: the connection broke: closed in mid-reply; next try in 0 s, from byte 30,000"
            in capsys.readouterr().err
        )


def test_a_server_that_drops_again_and_again_is_outlasted_as_long_as_bytes_come(server, target):
    server.replies = [Reply(drop_after=1000)] * 99
    assert module.TRIES < 99
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.served == len(CONTENT)


@pytest.mark.parametrize(
    ("file", "if_range"),
    [
        (File(CONTENT), '"one"'),
        (File(CONTENT, etag=None), DAY),
        (File(CONTENT, etag='W/"one"'), DAY),
        (File(CONTENT, etag='W/"one"', modified=None), None),
        (File(CONTENT, **BARE), None),
        (File(CONTENT, modified=None, tells_length=False), '"one"'),
    ],
)
def test_a_part_is_gone_on_from_by_whatever_the_server_tells(server, target, file, if_range):
    broken_off(server, target, 30_000, file=file)
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=30000-"]
    assert server.requests[0].headers.get("if-range") == if_range
    assert server.served == 70_000


def test_nothing_is_gone_on_from_where_the_server_tells_nothing(server, target, capsys):
    server.reset(File(CONTENT, **BARE, tells_length=False), [Reply(drop_after=30_000)])
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, None]
    assert "starts again from its first byte: the server gives nothing to tell by" in capsys.readouterr().err


def test_a_server_that_falls_silent_is_asked_again(server, target, monkeypatch, capsys):
    monkeypatch.setattr(module, "TIMEOUT", (30.0, 1.0))
    server.replies = [Reply(stall_after=0), Reply(stall_after=30_000)]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, None, "bytes=30000-"]
    assert capsys.readouterr().err.count("timed out") == 2


def child(server: Server, target: Path) -> subprocess.Popen:
    """Another process that fetches the same."""
    # What a shell runs in the background is started with Ctrl-C ignored.
    code = (
        "import signal, sys; from pathlib import Path; from src import command; from src.fetching.fetch import fetch\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "command.run(lambda: fetch(sys.argv[1], Path(sys.argv[2]), check=lambda path: None))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, server.url, str(target)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(size: int, path: Path) -> None:
    deadline = time.monotonic() + 300
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"{path} did not grow to {size} bytes"
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_another_process_is_kept_out_and_what_it_had_when_it_was_killed_is_gone_on_from(server, target, how):
    server.replies = [Reply(stall_after=60_000)]
    with child(server, target) as other:
        wait_for(50_000, part(target))
        assert refusal(server.url, target) == (f"another process is downloading {target}; wait for it or stop it")
        assert len(server.requests) == 1
        other.send_signal(how)
        said = other.communicate(timeout=300)[1]
    assert said == ("" if how == signal.SIGKILL else "interrupted: the same command goes on from here\n")
    had = part(target).stat().st_size
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={had}-"]
    assert server.served == 60_000 + len(CONTENT) - had


# What the server's file is


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (File(CONTENT), File(OTHER, etag='"two"')),
        (File(CONTENT), File(CONTENT[::-1], etag='"two"')),
        (File(CONTENT, etag=None), File(OTHER, etag=None, modified="Tue, 06 Jan 2026 10:00:00 GMT")),
        (File(CONTENT, etag='W/"one"', modified=None), File(CONTENT[::-1], etag='W/"two"', modified=None)),
        (File(CONTENT, **BARE), File(OTHER, **BARE)),
        (File(CONTENT, **BARE), File(CONTENT[:20_000], **BARE)),
        (File(CONTENT, modified=None, tells_length=False), File(CONTENT[:20_000], modified=None, etag='"two"')),
    ],
)
@pytest.mark.parametrize("ignores_if_range", [False, True])
def test_a_file_that_has_changed_is_downloaded_from_its_start(server, target, before, after, ignores_if_range, capsys):
    broken_off(server, target, 30_000, file=before)
    server.reset(after, [Reply(ignores_if_range=ignores_if_range)])
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == after.content
    assert f"{part(target)} starts again from its first byte: the file on the server" in capsys.readouterr().err


def test_a_part_of_another_address_is_not_mixed_in(server, target, capsys):
    broken_off(server, target, 30_000)
    fetch(f"{server.root}/mirror.zip", target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert f"it comes from {server.url}" in capsys.readouterr().err


def test_a_part_that_nothing_is_known_of_is_not_mixed_in(server, target, capsys):
    target.parent.mkdir()
    part(target).write_bytes(OTHER[:30_000])
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert "of which file it is a part is not known" in capsys.readouterr().err


def test_where_the_whole_comes_instead_of_the_rest_nothing_is_written_twice(server, target, capsys):
    broken_off(server, target, 30_000)
    before = part(target).stat().st_ino
    server.replies = [Reply(ignores_range=True, drop_after=10), Reply(ignores_range=True, drop_after=50_000)]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_ino == before
    assert server.ranges == ["bytes=30000-", "bytes=30000-", "bytes=50000-"]
    assert "starts again" not in capsys.readouterr().err


@pytest.mark.parametrize("same", [0, 1, 29_999])
@pytest.mark.parametrize("told", [{}, BARE])
def test_a_whole_that_begins_otherwise_takes_over_from_there(server, target, same, told, capsys):
    """Although the server says that it is the same file."""
    broken_off(server, target, 30_000, file=File(CONTENT, **told))
    other = CONTENT[:same] + bytes(byte ^ 1 for byte in CONTENT[same:])
    server.reset(File(other, **told), [Reply(ignores_range=True, drop_after=40_000)])
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == other
    assert server.ranges == ["bytes=30000-", "bytes=40000-"]
    where = f"byte {same:,}" if same else "its first byte"
    assert f"starts again from {where}: the file on the server has changed" in capsys.readouterr().err


def test_a_whole_that_ends_before_what_is_there_takes_nothing_away(server, target):
    broken_off(server, target, 30_000, file=File(CONTENT, tells_length=False))
    server.replies = [Reply(ignores_range=True, drop_after=500, until_close=True)] * module.TRIES
    assert "the reply ended 29,500 bytes early" in refusal(server.url, target)
    assert part(target).read_bytes() == CONTENT[:30_000]


@pytest.mark.parametrize(
    ("file", "reply"),
    [
        (File(CONTENT), Reply(shifts_range=1)),
        (File(CONTENT), Reply(headers={"Content-Range": "all of it"})),
        (File(CONTENT), Reply(compressed=True)),
        (File(CONTENT), Reply(status=416, headers={"Content-Range": "bytes */*"})),
        (File(CONTENT, **BARE), Reply(headers={"Content-Range": "bytes 30000-99999/*"})),  # of which file?
    ],
)
def test_a_rest_that_does_not_fit_for_certain_is_neither_taken_nor_costs_what_is_there(server, target, file, reply):
    broken_off(server, target, 30_000, file=file)
    server.replies = [reply]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=30000-", "bytes=30000-"]
    assert server.requests[1].served == 70_000

    second = target.with_name("second.zip")
    broken_off(server, second, 30_000, file=file)
    server.replies = [reply, reply]
    seen = []
    fetch(server.url, second, check=lambda path: seen.append(path.read_bytes() == CONTENT))
    assert server.ranges == ["bytes=30000-", "bytes=30000-", None]  # no server is asked in vain for ever
    assert seen == [True]


def test_a_server_whose_rests_never_fit_costs_nothing_of_what_is_there(server, target):
    broken_off(server, target, 30_000)
    server.replies = [Reply(shifts_range=1), Reply(compressed=True)] + [Reply(status=503)] * module.TRIES
    assert "30,000 bytes are kept" in refusal(server.url, target)
    assert part(target).read_bytes() == CONTENT[:30_000]


@pytest.mark.parametrize(
    ("file", "then"),
    [(File(CONTENT), "goes on from there"), (File(CONTENT, **BARE, tells_length=False), "starts again")],
)
def test_a_server_that_never_resumes_and_always_drops_is_given_up(server, target, file, then):
    """Although each try brings bytes: they are the same again."""
    server.file = file
    server.replies = [Reply(ignores_range=True, drop_after=drop) for drop in [30_000, 20_000] * 50]
    message = refusal(server.url, target)
    assert "8 tries in a row brought nothing; 30,000 bytes are kept" in message
    assert f"the same command {then};" in message
    assert len(server.requests) == 1 + module.TRIES


def test_bytes_of_a_new_file_are_new_also_where_more_was_there_of_the_old(server, target):
    broken_off(server, target, 60_000)
    server.reset(File(OTHER, etag='"two"'), [Reply(drop_after=3_000)] * (2 * module.TRIES))
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == OTHER


def test_an_etag_that_was_weakened_on_the_way_is_of_the_same_file(server, target):
    broken_off(server, target, 30_000)
    server.reset(File(CONTENT, etag='W/"one"'), [Reply(ignores_if_range=True)])
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.served == 70_000


def test_a_part_that_is_longer_than_its_file_is_not_taken_for_it(server, target):
    broken_off(server, target, 30_000)
    with part(target).open("ab") as file:
        file.write(OTHER)
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=120000-", None]


def test_a_part_that_lacks_nothing_but_was_cut_off_before_its_end_was_seen_is_whole(server, target):
    """The server's answer to a request for what comes after the last byte: 416."""
    broken_off(server, target, 30_000, file=File(CONTENT[:30_001], tells_length=False))
    with part(target).open("ab") as file:
        file.write(CONTENT[30_000:30_001])
    server.reset(File(CONTENT[:30_001], tells_length=False))
    assert refusal(server.url, target, check=undecided) == "no tool to unpack it with"
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT[:30_001]
    assert server.ranges == ["bytes=30001-"]  # once: then it is known to be whole
    assert server.served == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_web_page_does_not_replace_what_is_there(server, target, chunked):
    """As a hotel's or a university's network sends it in place of every answer, until one logs in."""
    broken_off(server, target, 30_000)
    server.replies = [Reply(page=b"<h1>Please log in</h1>", chunked=chunked)] * module.TRIES
    assert "a web page came instead of the file, and 8 tries in a row brought nothing" in refusal(server.url, target)
    assert part(target).read_bytes() == CONTENT[:30_000]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT


# Lengths that are not true


def test_a_length_that_is_too_long_is_never_a_file(server, target):
    server.replies = [Reply(adds_to_length=1000)]
    server.file = File(CONTENT, **BARE)
    fetch(server.url, target, check=matches(CONTENT))
    assert target.read_bytes() == CONTENT  # the next reply tells another length, and so it starts again
    server.reset(File(CONTENT), [Reply(adds_to_length=1000), *[Reply(hangs_up=True)] * module.TRIES])
    assert "100,000 bytes are kept" in refusal(server.url, target.with_name("second.zip"))
    assert "second.zip" not in left(target)


def test_a_length_that_is_too_short_is_found_by_the_check(server, target):
    server.replies = [Reply(adds_to_length=-1000)]
    assert "its checksum is another" in refusal(server.url, target, check=matches(CONTENT))
    assert left(target) == ["videos.zip.damaged"]
    fetch(server.url, target, check=matches(CONTENT))
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("told_at_first", [True, False])
def test_of_a_rest_that_is_too_short_the_rest_is_asked_for(server, target, told_at_first):
    broken_off(server, target, 30_000, file=File(CONTENT, tells_length=told_at_first))
    server.reset(File(CONTENT), [Reply(adds_to_length=-1000)])
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=30000-", "bytes=99000-"]


def test_of_a_rest_that_is_too_long_nothing_is_taken_beyond_the_end(server, target):
    broken_off(server, target, 30_000, file=File(CONTENT[:60_000]))
    said = {"Content-Range": "bytes 30000-59999/60000"}
    server.reset(File(CONTENT), [Reply(headers=said, chunked=True)])
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT[:60_000]


# Servers that say no


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(server, target, status, capsys):
    server.replies = [Reply(status=status)] * (module.TRIES - 1)
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == module.TRIES
    assert f"note: the server answers {status} " in capsys.readouterr().err


def test_after_enough_tries_it_says_what_happened_and_what_is_kept(server, target):
    server.replies = [Reply(drop_after=30_000), *[Reply(status=503)] * 99]
    assert refusal(server.url, target) == (
        f"{server.url}: the server answers 503 Service Unavailable, and 8 tries in a row brought nothing; "
        f"30,000 bytes are kept in {part(target)} and the same command goes on from there; dataset.archive, "
        "dataset.lists and model.weights take another address, or a file that is on this disk"
    )
    assert len(server.requests) == 1 + module.TRIES
    assert left(target) == ["videos.zip.part", "videos.zip.part.json"]


def test_nobody_at_the_address_is_tried_again_and_named(target):
    with Server(File(b"")) as gone:
        url = gone.url
    message = refusal(url, target)
    assert message.startswith(f"{url}: no answer: [Errno 111] Connection refused, and 8 tries in a row brought nothing")
    assert left(target) == []


@pytest.mark.parametrize(
    ("status", "name"), [(401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found"), (410, "Gone")]
)
def test_a_refusal_is_final_and_names_the_settings_that_help(server, target, status, name):
    server.replies = [Reply(status=status)]
    assert refusal(server.url, target) == (
        f"{server.url}: the server answers {status} {name}; dataset.archive, dataset.lists and model.weights "
        "take another address, or a file that is on this disk"
    )
    assert len(server.requests) == 1
    assert left(target) == []


def test_a_refusal_costs_nothing_of_what_is_there(server, target):
    broken_off(server, target, 30_000)
    server.replies = [Reply(status=404)]
    refusal(server.url, target)
    assert part(target).read_bytes() == CONTENT[:30_000]


@pytest.mark.parametrize("url", ["videos.zip", "ftp://localhost/videos.zip", "http://", "http://a b/"])
def test_what_is_no_address_is_named_at_once(target, url):
    assert refusal(url, target).startswith(f"{url}: ")
    assert left(target) == []


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[[], list[int]]:
    """Real waits, in seconds, that are announced but not waited for."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(module, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(module, "LONGEST_WAIT", 20.0)
    return lambda: [int(line.split("next try in ")[1].split()[0]) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("as_date", [False, True])
@pytest.mark.parametrize(("asked", "waited"), [(9, 9), (3600, 20)])
def test_a_server_is_left_alone_for_as_long_as_it_asks_within_bounds(server, target, waits, asked, waited, as_date):
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=asked), usegmt=True) if as_date else str(asked)
    server.replies = [Reply(status=429, headers={"Retry-After": when})]
    began = time.monotonic()
    fetch(server.url, target, check=accept)
    passed = 1 + math.ceil(time.monotonic() - began)  # and a date has no parts of a second
    assert waits()[0] in range(waited - passed * as_date, waited + 1)


@pytest.mark.parametrize("when", ["soon", "-1", "Mon, 05 Jan 2026 10:00:00 GMT", "Mon, 05 Jan 2026 10:00:00 -0000"])
def test_a_wait_that_cannot_be_understood_or_is_over_is_no_wait(server, target, when):
    server.replies = [Reply(status=503, headers={"Retry-After": when})]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT


def test_waits_grow_up_to_the_longest(server, target, waits):
    server.replies = [Reply(status=503)] * 99
    refusal(server.url, target)
    announced = waits()
    assert len(announced) == module.TRIES - 1
    for number, wait in enumerate(announced):
        assert min(2**number, 20) <= wait <= min(2**number + 1, 20)


# The disk


DiskUsage = namedtuple("DiskUsage", "total used free")


def test_without_room_for_the_file_and_what_is_made_of_it_nothing_is_downloaded(server, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**9, 0, 149_999))
    assert refusal(server.url, target, room=50_000) == (
        f"{target.parent}: 150,000 bytes are needed, for the rest of the download and what is made of it, and 149,999 "
        "are free; make room, and the same command goes on from here"
    )
    assert left(target) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**9, 0, 150_000))
    fetch(server.url, target, check=accept, room=50_000)
    assert target.read_bytes() == CONTENT


def test_room_is_needed_only_for_what_is_still_to_come(server, target, monkeypatch):
    broken_off(server, target, 30_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**9, 0, 119_999))
    assert "120,000 bytes are needed" in refusal(server.url, target, room=50_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**9, 0, 120_000))
    fetch(server.url, target, check=accept, room=50_000)
    assert target.read_bytes() == CONTENT


def test_a_disk_that_is_full_on_the_way_keeps_what_has_come(server, target):
    """A limit of the process on the size of files stands for the disk: both end a write in its middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            fetch(server.url, target, check=accept)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert part(target).read_bytes() == CONTENT[:50_000]
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=50000-"]


# The check


def test_what_fails_its_check_is_set_aside_and_the_next_call_starts_afresh(server, target, capsys):
    target.parent.mkdir()
    target.with_name("videos.zip.damaged").write_text("an older one")
    assert "its checksum is another" in refusal(server.url, target, check=matches(OTHER))
    assert left(target) == ["videos.zip.damaged"]
    assert target.with_name("videos.zip.damaged").read_bytes() == CONTENT
    assert capsys.readouterr().err == (
        f"note: what came is kept as {target.with_name('videos.zip.damaged')}; the next call starts again\n"
    )
    fetch(server.url, target, check=matches(CONTENT))
    assert left(target) == ["videos.zip", "videos.zip.damaged"]
    assert server.served == 2 * len(CONTENT)


@pytest.mark.parametrize("file", [File(CONTENT), File(CONTENT, **BARE, tells_length=False)])
def test_a_check_that_could_not_be_made_is_made_again_without_a_download(server, target, file):
    server.file = file
    assert refusal(server.url, target, check=undecided) == "no tool to unpack it with"
    assert part(target).read_bytes() == CONTENT
    fetch(server.url, target, check=matches(CONTENT))
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_the_part_stays_locked_while_it_is_checked(server, target):
    def check(path: Path) -> None:
        path.read_bytes()
        assert "another process is downloading" in refusal(server.url, target)

    fetch(server.url, target, check=check)
    assert left(target) == ["videos.zip"]


def test_a_part_that_became_the_file_before_it_was_locked_is_left_alone(server, target, monkeypatch):
    """Its owner has just finished: what was opened as a part is its whole file by now."""
    broken_off(server, target, 30_000)
    lock = fcntl.flock

    def late(file, how: int) -> None:
        part(target).rename(target)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert "another process is downloading" in refusal(server.url, target)
    assert target.read_bytes() == CONTENT[:30_000]
    assert server.requests == []


# Certificates


def test_an_unknown_certificate_is_refused_once_with_both_ways_out(secure, target):
    assert refusal(secure.url, target) == (
        "localhost cannot prove who it is: unable to get local issuer certificate. Two ways out: a PEM file with the "
        "missing intermediate certificate, --ca-bundle FILE (dataset.ca_bundle); or dataset.insecure: true, which "
        "switches verification off for this download and is recorded in the log and with every run in MLflow"
    )
    assert (secure.connections, secure.requests) == (1, [])
    assert left(target) == []


def test_a_certificate_of_another_host_is_refused(target, root_pem, authority):
    with Server(File(CONTENT), certified_by(authority)) as server:
        url = server.url.replace("localhost", "127.0.0.1")
        message = refusal(url, target, ca_bundle=root_pem)
        assert message.startswith("127.0.0.1 cannot prove who it is: IP address mismatch")
        assert server.connections == 1


def test_a_bundle_with_the_root_makes_it_work(secure, target, root_pem, capsys):
    secure.replies = [Reply(drop_after=30_000)]
    fetch(secure.url, target, check=accept, ca_bundle=root_pem)
    assert target.read_bytes() == CONTENT
    assert secure.ranges == [None, "bytes=30000-"]
    assert "warning" not in capsys.readouterr().err


def test_a_bundle_with_the_missing_intermediate_makes_it_work(authority, target, tmp_path, root_pem, monkeypatch):
    """The root is one of the public ones, and the server forgets to send what stands between."""
    monkeypatch.setattr("requests.certs.where", lambda: str(root_pem))
    between = authority.create_child_ca()
    missing = tmp_path / "intermediate.pem"
    missing.write_bytes(between.cert_pem.bytes())
    with Server(File(CONTENT), certified_by(between)) as server:
        fetch(server.url, target, check=accept, ca_bundle=missing)
    assert target.read_bytes() == CONTENT


def test_a_server_that_leads_from_https_to_http_is_refused(server, secure, target, root_pem):
    secure.replies = [Reply(status=302, headers={"Location": server.url})]
    said = refusal(secure.url, target, ca_bundle=root_pem)
    assert said.startswith(f"{secure.url}: the server leads to {server.url}, where anyone could answer; ")
    assert not target.exists()


def test_nor_may_it_lead_there_on_the_way(server, secure, target, root_pem):
    """Who answers for http may lead to an https of their own."""
    server.replies = [Reply(status=302, headers={"Location": f"{secure.root}/elsewhere"})]
    secure.replies = [Reply(status=302, headers={"Location": server.url})]
    said = refusal(secure.url, target, ca_bundle=root_pem)
    assert said.startswith(f"{secure.url}: the server leads to {server.url}, where anyone could answer; ")
    assert not target.exists()


def test_without_verification_it_works_and_says_so_once(secure, target, capsys):
    secure.replies = [Reply(drop_after=30_000)]
    fetch(secure.url, target, check=accept, insecure=True)
    assert target.read_bytes() == CONTENT
    warned = [line for line in capsys.readouterr().err.splitlines() if "note" not in line]
    assert warned == ["warning: TLS verification is off for localhost: anyone could answer in its name"]


def test_the_weakest_that_any_byte_came_by_stays_with_the_file(server, secure, target, root_pem):
    fetch(server.url, target, check=lambda path: None)
    assert tls_of(target) == "none"
    ways = [{"ca_bundle": root_pem}, {"insecure": True}]
    said = {}
    for first in ways:
        for second in ways:
            other = target.with_name(f"{len(said)}.zip")
            secure.reset(secure.file, [Reply(drop_after=30_000), *[Reply(status=503)] * module.TRIES])
            refusal(secure.url, other, **first)
            fetch(secure.url, other, check=lambda path: said.update({path.name: tls_of(path)}), **second)
            assert tls_of(other) == said[f"{other.name}.part"]
    assert list(said.values()) == ["verified", "switched off", "switched off", "switched off"]
    assert tls_of(target.with_name("by_hand.zip")) == "none"


def test_a_file_that_starts_again_forgets_how_the_old_one_came(secure, target, root_pem):
    secure.replies = [Reply(drop_after=30_000), *[Reply(status=503)] * module.TRIES]
    refusal(secure.url, target, insecure=True)
    secure.reset(File(OTHER, etag='"two"'))
    fetch(secure.url, target, check=accept, ca_bundle=root_pem)
    assert tls_of(target) == "verified"


def test_how_whole_bytes_came_is_not_changed_by_a_call_that_asks_for_none(secure, target, root_pem):
    refusal(secure.url, target, check=undecided, ca_bundle=root_pem)
    fetch(secure.url, target, check=accept, insecure=True)
    assert tls_of(target) == "verified"


def test_a_record_that_a_power_cut_left_empty_is_none(server, target, capsys):
    broken_off(server, target, 30_000)
    part(target).with_name("videos.zip.part.json").write_text("")
    fetch(server.url, target, check=accept)
    assert target.read_bytes() == CONTENT
    assert "of which file it is a part is not known" in capsys.readouterr().err


# Secrets in an address


@pytest.mark.parametrize("reply", [Reply(status=404), Reply(hangs_up=True), Reply(drop_after=10)])
def test_no_message_and_no_file_tells_what_is_secret_in_an_address(server, target, reply, capsys):
    url = f"{server.root.replace('//', '//user:secret@')}/videos.zip?sig=secret"
    server.replies = [reply, Reply(status=403)]
    assert refusal(url, target).startswith(f"{server.url}: ")
    assert server.requests[0].headers["authorization"]
    assert "secret" not in capsys.readouterr().err
    notes = [path.read_text() for path in target.parent.glob("*.json")]
    assert bool(notes) == bool(reply.drop_after)
    assert "secret" not in "".join(notes)


@pytest.mark.parametrize("url", ["ftp://user:secret@host/a?sig=secret", "http://user:secret@a b/?sig=secret"])
def test_what_is_no_address_is_named_without_what_is_secret_in_it(target, url):
    assert "secret" not in refusal(url, target)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_decides_where_nothing_else_is_said(secure, target, root_pem, monkeypatch, variable):
    monkeypatch.setenv(variable, str(root_pem))
    fetch(secure.url, target, check=accept)
    assert target.read_bytes() == CONTENT


def test_the_environment_does_not_override_what_is_said(secure, target, tmp_path, root_pem, monkeypatch):
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "stranger.pem"))
    refusal(secure.url, target)
    fetch(secure.url, target, check=accept, ca_bundle=root_pem)
    fetch(secure.url, target.with_name("second.zip"), check=accept, insecure=True)
    assert left(target) == ["second.zip", "videos.zip"]


def test_a_bundle_does_not_trust_what_the_environment_trusts(secure, target, tmp_path, root_pem, monkeypatch):
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(root_pem))
    assert "cannot prove who it is" in refusal(secure.url, target, ca_bundle=tmp_path / "stranger.pem")


def test_a_bundle_of_the_environment_that_is_not_there_is_named(secure, target, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    assert str(tmp_path / "none.pem") in refusal(secure.url, target)


def test_the_environments_proxy_is_used(server, target, monkeypatch):
    monkeypatch.setenv("http_proxy", server.root)
    fetch("http://archive.invalid/videos.zip", target, check=accept)
    assert target.read_bytes() == CONTENT


def test_a_bundle_that_is_none_is_named_before_anything_is_asked(secure, target, tmp_path, authority):
    missing, text, key = (tmp_path / name for name in ("none.pem", "text.pem", "key.pem"))
    text.write_text("Dear user")
    authority.private_key_pem.write_to_path(key)
    assert refusal(secure.url, target, ca_bundle=missing) == (
        f"dataset.ca_bundle: {missing} cannot be read: No such file or directory"
    )
    for path in (text, key):
        assert f"dataset.ca_bundle: {path} holds no certificate in PEM format" in refusal(
            secure.url, target, ca_bundle=path
        )
    assert secure.connections == 0


def test_a_bundle_and_no_verification_are_not_taken_together(secure, target, root_pem):
    assert refusal(secure.url, target, ca_bundle=root_pem, insecure=True) == (
        "dataset.insecure switches off what dataset.ca_bundle is for; set one of the two"
    )


# What is seen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_counts_bytes_from_what_is_there_already(server, target, monkeypatch):
    broken_off(server, target, 30_000)
    monkeypatch.setattr(sys, "stderr", Terminal())
    fetch(server.url, target, check=accept)
    shown = sys.stderr.getvalue().split("\r")
    assert shown[1].startswith("videos.zip:  30%|")
    assert "30.0k/100k" in shown[1]
    assert shown[-1].startswith("videos.zip: 100%|")
    assert "B/s" in shown[-1]


def test_what_is_known_of_a_part_stands_beside_it(server, target):
    broken_off(server, target, 30_000)
    assert json.loads(part(target).with_name("videos.zip.part.json").read_text()) == {
        "address": identity(server.url),
        "tls": "none",
        "version": {"etag": '"one"', "modified": DAY, "length": 100_000},
    }


# Everything at once


VERSIONS = [random.Random(seed).randbytes(size) for seed, size in ((3, 40_000), (4, 40_000), (5, 31_000))]
"""Of one file; the first two differ in nothing but their bytes."""


def told(version: int, *, validators: str, tells_length: bool) -> File:
    """A version, with the strong or weak ETag or the date by which it is told from the others, or with nothing."""
    etags = {"strong": f'"{version}"', "weak": f'W/"{version}"'}
    date = f"Mon, 0{version + 1} Jan 2026 10:00:00 GMT" if validators == "date" else None
    return File(VERSIONS[version], etag=etags.get(validators), modified=date, tells_length=tells_length)


def bad_luck(rng: random.Random) -> Reply:
    """What happens to honest servers."""
    cut = rng.randrange(40_000)
    if rng.random() < 0.01:  # the wait for it takes time here too
        return Reply(stall_after=cut)
    return rng.choice(
        [
            Reply(drop_after=cut),
            Reply(drop_after=cut, with_reset=True),
            Reply(drop_after=cut, chunked=True),
            Reply(drop_after=cut, ignores_range=True),
            Reply(drop_after=cut, compressed=True),
            Reply(drop_after=cut, ignores_if_range=True),
            Reply(shifts_range=rng.choice([-1, 1])),
            Reply(status=rng.choice([500, 503]), headers={"Retry-After": "9"}),
            Reply(status=429),
            Reply(hangs_up=True),
        ]
    )


def bad_will(rng: random.Random) -> Reply:
    """What is not true, and can be found out only by the check."""
    cut = rng.randrange(40_000)
    return rng.choice(
        [
            Reply(adds_to_length=-cut - 1),
            Reply(adds_to_length=cut),
            Reply(adds_to_length=rng.randrange(2000), drop_after=cut),
            Reply(drop_after=cut, until_close=True),
            Reply(page=b"<p>Too many users"),
            Reply(status=rng.choice([301, 400, 404])),
        ]
    )


def story(rng: random.Random, *, honest: bool) -> list[Reply]:
    """What happens to one download after another, now and then with a new file; nothing at the end, or for a while."""
    validators = rng.choice(["strong", "weak", "date", "nothing"])
    tells_length = rng.random() < 0.8
    # Two files that nothing tells apart are the check's business.
    versions = [0, 2] if honest and validators == "nothing" else [0, 1, 2]
    replies = []
    for _ in range(rng.randrange(15)):
        reply = bad_luck(rng) if honest or rng.random() < 0.8 else bad_will(rng)
        if not replies or rng.random() < 0.15:
            reply = replace(reply, file=told(rng.choice(versions), validators=validators, tells_length=tells_length))
        replies.append(reply)
    first = told(0, validators=validators, tells_length=tells_length)
    return [Reply(status=503, file=first), *replies, *[Reply(status=503)] * rng.choice([0, 0, 0, module.TRIES])]


def outcome(server: Server, target: Path, check: Callable[[Path], None], bundle: Path | None) -> str:
    try:
        fetch(server.url, target, check=check, ca_bundle=bundle)
    except UserError as error:
        assert not target.exists()
        return "damaged" if isinstance(error, DamagedError) else "given up"
    assert target.read_bytes() in VERSIONS
    return "right"


@pytest.fixture
def outcomes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA, root_pem: Path
) -> Callable[..., Counter]:
    """How many downloads end in which way, call after call until right; after the first, the server behaves.

    Every other one is over TLS, from a server that only the given bundle vouches for; some of those forget it at first.
    """
    # Beside the bundle one other root, as reading the public ones takes longer than all the rest.
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    monkeypatch.setattr("requests.certs.where", lambda: str(stranger))

    def run(seeds: range, check: Callable[[Path], None], *, honest: bool) -> Counter:
        counts: Counter = Counter()
        with Server(File(b"")) as plain, Server(File(b""), certified_by(authority)) as tls:
            for seed in seeds:
                target = tmp_path / f"{seed}.zip"
                server, bundle = (tls, root_pem) if seed % 2 else (plain, None)
                server.reset(server.file, story(random.Random(seed), honest=honest))
                if seed % 20 == 1:
                    assert "localhost cannot prove who it is: " in refusal(server.url, target, check=check)
                    assert server.requests == []
                    counts["refused"] += 1
                calls = [outcome(server, target, check, bundle)]
                server.reset(server.file)
                while calls[-1] != "right":
                    assert len(calls) < 3, f"seed {seed}: {calls}"
                    calls.append(outcome(server, target, check, bundle))
                assert tls_of(target) == ("verified" if bundle else "none")
                counts[", ".join(calls)] += 1
        print(dict(counts))
        return counts

    monkeypatch.setattr(module, "TRIES", 4)
    monkeypatch.setattr(module, "TIMEOUT", (30.0, 0.3))
    return run


def test_200_downloads_from_bad_servers_end_right_or_with_an_error_and_then_right(outcomes):
    counts = outcomes(range(200), matches(*VERSIONS), honest=False)
    assert counts.pop("refused") == 10
    assert counts.total() == 200
    # The last is a part that was mixed of two files which the server did not tell apart.
    assert set(counts) - {"given up, damaged, right"} == {"right", "given up, right", "damaged, right"}
    assert min(counts["right"], counts["given up, right"], counts["damaged, right"]) > 10


def test_100_downloads_from_honest_servers_need_no_check(outcomes):
    """A drop, a new file or a server without ranges leads to no mixture that only a checksum would find."""
    counts = outcomes(range(1000, 1100), accept, honest=True)
    assert counts.pop("refused") == 5
    assert set(counts) == {"right", "given up, right"}
    assert min(counts.values()) > 10
