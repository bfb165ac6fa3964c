"""Damaged videos: what extraction makes of files with cut ends, flipped bits and headers that lie.

    python -m bench.mutations --source /where/videos/are

Damages copies of the videos in --source (or of clips drawn here, in the codecs and containers that people have), each
in a way that follows from its number, puts whole videos between them and has `src.extract_frames` extract them all.
Every video must be extracted, with as many frames as the manifest says, or refused with a reason; whole ones must come
out as they do alone. Prints the table of docs/benchmarks.md, and each broken promise with the file's number.
Needs 3 GB for 1,000 videos like those of UCF101.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import re
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tqdm import tqdm

from bench import common
from src import extract_frames, files
from src.command import UserError
from src.video import extraction
from src.video.manifest import frame_file

SETTINGS = {"short_side": 128, "fps": 25.0, "quality": 90}
WHOLE_EVERY = 5
"""One video in so many stays whole."""

FORMATS = [
    ("mpeg4", "yuv420p", "avi"),
    ("mjpeg", "yuvj420p", "avi"),
    ("libx264", "yuv420p", "mp4"),
    ("libx265", "yuv420p", "mp4"),
    ("mpeg4", "yuv420p", "mov"),
    ("libx264", "yuv420p", "mkv"),
    ("libvpx", "yuv420p", "webm"),
    ("libvpx-vp9", "yuv420p", "webm"),
    ("mpeg2video", "yuv420p", "mpg"),
    ("wmv2", "yuv420p", "wmv"),
    ("flv", "yuv420p", "flv"),
]
"""Codecs, pixel formats and containers that people have."""

ENDS = ("extracted", "refused", "too slow", "worker died")

Row = dict[str, str]


# One way of damaging a file each: `(data, other, rng)` → what is left of it. `other` is a second video.


def _cut(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _few_bits(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return _flip(data, rng, count=rng.randint(1, 8))


def _many_bits(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return _flip(data, rng, count=len(data) // rng.choice([1000, 100, 10]))


def _flip(data: bytes, rng: random.Random, *, count: int) -> bytes:
    damaged = bytearray(data)
    for _ in range(count):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


HEADERS = re.compile(
    rb"RIFF|hdrl|avih|strl|strh|strf|movi|idx1"  # AVI
    rb"|ftyp|moov|mvhd|tkhd|mdhd|elst|stsd|avc1|mp4v|hev1|stts|ctts|stsc|stsz|stco|co64|mdat"  # MP4, QuickTime
    rb"|\x1a\x45\xdf\xa3|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x2a\xd7\xb1"  # Matroska, WebM
    rb"|\x00\x00\x01[\xb3\xb5\xb8\xba\xbb\x20]|\x9d\x01\x2a|FLV"  # MPEG, VP8, Flash
)
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 60_000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def _header_value(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A size, count, time scale or name near the beginning of one of the container's parts becomes extreme."""
    parts = [match.start() for match in HEADERS.finditer(data)] or [0]
    at = max(0, rng.choice(parts) + rng.choice(range(-4, 64, 2)))
    value = struct.pack(rng.choice("<>") + "I", rng.choice(EXTREMES))
    if rng.random() < 0.5:
        value = value.strip(b"\0")[:2] or b"\0\0"
    return data[:at] + value + data[at + len(value) :]


def _header_swapped(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Two words of four bytes within the first kilobyte change places."""
    words = [data[at : at + 4] for at in range(0, min(len(data), 1024) - 3, 4)]
    first, second = rng.sample(range(len(words)), 2)
    words[first], words[second] = words[second], words[first]
    return b"".join(words) + data[4 * len(words) :]


SIZES = [
    (rb"avih", 40, "<II"),
    (rb"strf", 12, "<ii"),
    (rb"(?:avc1|mp4v|hev1|jpeg)\x00{7}\x01", 28, ">HH"),
    (rb"\xff[\xc0-\xc2]\0\x11\x08", 5, ">HH"),  # the frame of a JPEG
    (rb"\x9d\x01\x2a", 3, "<HH"),  # the key frame of VP8
]
"""Where width and height stand: what comes before, how far from its beginning, and how they are written."""


def _picture_size(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Width and height become what no picture has, where the container says them, the codec, or both."""
    width, height = (rng.choice([1, 16, 8000, 16_000, 60_000]) for _ in range(2))
    damaged = bytearray(data)
    places = [
        (match.start() + offset, form)
        for before, offset, form in SIZES
        for match in re.finditer(before, data)
        if match.start() + offset + struct.calcsize(form) <= len(data)
    ]
    for at, form in rng.sample(places, rng.randint(min(1, len(places)), len(places))):
        struct.pack_into(form, damaged, at, width, height)
    return bytes(damaged)


def _zeroed(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _block(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def _repeated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _block(data, rng)
    return data[:end] + data[start:]


def _removed(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def _block(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice([16, 512, 4096, 65_536]))


def _emptied(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return b""


def _spliced(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The beginning of one and the rest of the other, from the same place on."""
    at = rng.randrange(min(len(data), len(other)))
    return data[:at] + other[at:]


KINDS: dict[str, Callable[[bytes, bytes, random.Random], bytes]] = {
    "cut": _cut,
    "few bits flipped": _few_bits,
    "many bits flipped": _many_bits,
    "header value": _header_value,
    "header words swapped": _header_swapped,
    "picture size": _picture_size,
    "block zeroed": _zeroed,
    "block repeated": _repeated,
    "block removed": _removed,
    "emptied": _emptied,
    "two spliced": _spliced,
}
WHOLE = "whole"


def mutate(data: bytes, *, seed: int, other: bytes) -> tuple[str, bytes]:
    """The kind of damage and a video `data` with it, which follow from `seed`; `other` is what is spliced into it.

    Kinds take turns with `seed`. Some damage may leave the file as it is.
    """
    kind = list(KINDS)[seed % len(KINDS)]
    return kind, KINDS[kind](data, other, random.Random(seed))


@dataclass(frozen=True)
class Case:
    """A video to extract, `KIND/NUMBER_SOURCE.ext` below the folder that it is written to."""

    seed: int
    kind: str
    source: Path

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.seed:05}_{self.source.name}"


@dataclass(frozen=True)
class Outcome:
    case: Case
    row: Row
    end: str  # one of `ENDS`
    seconds: float  # in the worker; 0 if it died
    memory: float  # the most that the worker held meanwhile, MB of 10⁶ bytes; 0 if it died
    broken: str  # the promise that was broken, or ""


def write_cases(folder: Path, sources: list[Path], *, mutations: int) -> list[Case]:
    """Write as many damaged copies of `sources` below `folder`, and whole ones between them."""
    cases = []
    for seed in tqdm(range(mutations), desc="damaging", unit="video", disable=None):
        rng = random.Random(f"source {seed}")
        source, other = rng.choice(sources), rng.choice(sources)
        kind, damaged = mutate(source.read_bytes(), seed=seed, other=other.read_bytes())
        cases.append(Case(seed, kind, source))
        _write(folder / cases[-1].name, damaged)
        if seed % WHOLE_EVERY == 0:
            cases.append(Case(seed, WHOLE, source))
            _write(folder / cases[-1].name, source.read_bytes())
    return cases


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def extract(folder: Path, cases: list[Case], *, limit: float, processes: int) -> list[Outcome]:
    """What `src.extract_frames` made of the cases in `folder`/raw, in two runs: the whole ones alone, then all."""
    alone, together, notes = folder / "alone", folder / "frames", folder / "notes"
    names = [case.name for case in cases]
    whole = [case.name for case in cases if case.kind == WHOLE]
    run = {"raw": folder / "raw", "limit": limit, "processes": processes} | SETTINGS
    expected = {row["video"]: row for row in extract_frames.extract(whole, frames=alone, **run)}
    with mock.patch.object(extraction, "extract_one", functools.partial(watched, notes=notes)):
        rows = {row["video"]: row for row in extract_frames.extract(names, frames=together, **run)}
    found = []
    for case in tqdm(cases, desc="checking", unit="video", disable=None):
        row, note = rows[case.name], notes / f"{case.name}.json"
        seconds, memory, raised = json.loads(note.read_text()) if note.exists() else (0.0, 0.0, "")
        end = "refused" if row["refused"] else "extracted"
        if row["refused"] == extraction.too_slow(limit):
            end = "too slow"
        elif not note.exists():
            end = "worker died"
        broken = raised and f"it ends the command: {raised}"
        if seconds > limit + extraction.GRACE:
            broken = f"it took {seconds:.0f} s"
        broken = broken or broken_promise(row, together)
        if case.kind == WHOLE and not (row == expected[case.name] and _content(alone, row) == _content(together, row)):
            broken = "a whole video came out otherwise than alone"
        found.append(Outcome(case, row, end, seconds, memory, broken))
    return found


def broken_promise(row: Row, frames: Path) -> str:
    """What the manifest's `row` says of a video in the folder `frames` that is not so, or ""."""
    import av

    path = frames / frame_file(row["video"])
    if path.exists() == bool(row["refused"]):
        return "refused, with a frame file" if row["refused"] else "no frame file, and no reason"
    if row["refused"]:
        return ""
    with av.open(path) as container:
        sizes = [(str(frame.height), str(frame.width)) for frame in container.decode(video=0)]
    if len(sizes) != int(row["frames"]) or set(sizes) != {(row["height"], row["width"])}:
        return f"{len(sizes)} frames of {set(sizes)}; the manifest says otherwise"
    return ""


def _content(frames: Path, row: Row) -> bytes:
    return b"" if row["refused"] else (frames / frame_file(row["video"])).read_bytes()


def watched(task: tuple[str, Row | None], *, notes: Path, **settings: Any) -> Row:
    """`extraction.extract_one`, with a note of its seconds, the most memory that it held, and what it raised."""
    began = time.monotonic()
    Path("/proc/self/clear_refs").write_text("5")  # the most memory held is counted from here on
    raised = ""
    try:
        row = extraction.extract_one(task, **settings)
    except Exception as error:  # which would end the command; here, to be reported after all the others are done
        raised = f"{type(error).__name__}: {error}"
        row = extraction.refused(task[0], "", raised)
    status = Path("/proc/self/status").read_text()
    memory = int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024 / 1e6
    files.write_text(notes / f"{task[0]}.json", json.dumps([time.monotonic() - began, memory, raised]))
    return row


def draw(folder: Path, *, frames: int) -> list[Path]:
    """Videos of the embedded dataset's figures, one in each of `FORMATS`."""
    from src.datasets import synthetic
    from tests.video import clips

    drawn = []
    for number, (codec, pixels, suffix) in enumerate(FORMATS):
        film = synthetic.clip_frames(synthetic.CLASSES[number % 10], actor=number + 1, clip=1, seed=0)
        options = {"x265-params": "log-level=none:pools=1"} if codec == "libx265" else {}
        path = folder / f"{codec}.{suffix}"
        drawn.append(clips.write(path, [*itertools.islice(film, frames)], codec=codec, pixels=pixels, options=options))
    return drawn


def by_kind(outcomes: list[Outcome]) -> str:
    """What became of each kind of damage, a table."""
    rows = []
    for kind in [*KINDS, WHOLE]:
        of_kind = [outcome for outcome in outcomes if outcome.case.kind == kind]
        ends = Counter(outcome.end for outcome in of_kind)
        seconds = max((outcome.seconds for outcome in of_kind), default=0.0)
        memory = max((outcome.memory for outcome in of_kind), default=0.0)
        rows.append([kind, len(of_kind), *(ends[end] for end in ENDS), f"{seconds:.1f}", f"{memory:.0f}"])
    return common.table(["damage", "videos", *ENDS, "slowest, s", "most memory of a worker, MB"], rows)


def reasons(outcomes: list[Outcome]) -> str:
    """How often each reason was given for refusing a video, a table."""
    # Where in the video, and how large a picture, is another number each time.
    given = Counter(
        re.sub(r"\d+(\.\d+)?", "N", outcome.row["refused"]) for outcome in outcomes if outcome.row["refused"]
    )
    return common.table(["reason", "videos"], given.most_common())


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="videos to damage (default: draw some)")
    parser.add_argument("--mutations", type=common.at_least(1), default=1000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--limit", type=common.at_least(1), default=20, metavar="SECONDS", help="for each video; default: %(default)s"
    )
    parser.add_argument(
        "--processes", type=common.at_least(1), default=os.cpu_count(), metavar="N", help="default: one a core"
    )
    arguments = parser.parse_args()
    with common.workplace(arguments.folder) as folder:
        sources = common.videos(arguments.source) if arguments.source else draw(folder / "source", frames=40)
        cases = write_cases(folder / "raw", sources, mutations=arguments.mutations)
        outcomes = extract(folder, cases, limit=arguments.limit, processes=arguments.processes)
    print(common.machine())
    print(f"{arguments.mutations} damaged videos, made of {len(sources)}; at most {arguments.limit} s for each.\n")
    print(by_kind(outcomes))
    print(reasons(outcomes))
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.memory)
    print(f"Slowest: {slowest.case.name}, {slowest.seconds:.1f} s.")
    print(f"Most memory: {largest.case.name}, {largest.memory:.0f} MB.")
    if broken := [outcome for outcome in outcomes if outcome.broken]:
        lines = [f"{outcome.case.name}: {outcome.broken}" for outcome in broken]
        raise UserError("\n".join(["promises were broken (--folder keeps the files):", *lines]))


if __name__ == "__main__":
    common.run(main)
