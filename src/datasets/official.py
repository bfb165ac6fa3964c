"""What UCF101 and HMDB51 share: where they are published, and the official lists → clips → their files in a folder."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.command import UserError
from src.datasets.folder import VIDEO
from src.paths import DOWNLOADS


@dataclass(frozen=True)
class Publisher:
    """Addresses of the archives with the videos and with the official lists, and what they take on the disk.

    Sizes are in bytes and about right: enough to refuse a disk that is too small before the first request. Of a
    `nested` archive the members are archives again; `unpacked_bytes` counts the videos alone.
    """

    videos: str
    lists: str
    archive_bytes: int
    unpacked_bytes: int
    nested: bool


@dataclass(frozen=True)
class Clip:
    """One video of the official lists.

    `name` is CLASS/FILE.avi as the lists spell it; `group` names the recording, unique over the whole dataset;
    `parts` says for the official splits 1, 2 and 3 whether it is in "train", in "test" or in "none".
    """

    name: str
    label: str
    group: str
    parts: tuple[str, str, str]


@dataclass(frozen=True)
class Entry:
    """What one line of a list says of a clip; `place` is that line, for messages."""

    place: str
    name: str
    label: str
    group: str
    part: str


def find(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The files of these names, wherever below `folder` they lie.

    Raises `UserError` if one is missing or lies there twice.
    """
    found: dict[str, Path] = {}
    wanted = set(names)
    for path in _files(folder):
        if path.name in wanted and found.setdefault(path.name, path) != path:
            raise UserError(f"{found[path.name]} and {path}: the same list twice; remove one")
    if missing := sorted(wanted - found.keys()):
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        way_out = "unpack the publisher's archive of lists there"
        if folder.parent == DOWNLOADS:
            way_out = (
                "remove this folder and it is unpacked again, or set dataset.lists to an archive that has them all"
            )
        raise UserError(f"{folder}: no {missing[0]}{others}; {way_out}")
    return found


def read(path: Path) -> list[tuple[str, list[str]]]:
    """The words of each line that is not blank, with its place for messages. Raises `UserError` if there is none."""
    # Bytes that are no text go on as \xNN, so that the message about the line shows them.
    text = path.read_text(encoding="utf-8-sig", errors="backslashreplace")
    numbered = enumerate(text.split("\n"), start=1)
    if not (lines := [(f"{path}: line {number}", line.split()) for number, line in numbered if line.strip()]):
        raise UserError(f"{path}: empty; unpack the publisher's archive of lists again")
    return lines


def combine(splits: Sequence[Iterable[Entry]]) -> list[Clip]:
    """The clips of three official splits, sorted by name.

    Raises `UserError` with file and line if a split names a clip twice, or other clips than the first split.
    """
    by_name = [_checked(entries) for entries in splits]
    first = by_name[0]
    for number, other in enumerate(by_name, start=1):
        if odd := min(first.keys() ^ other.keys(), default=None):
            place, lacking = (first[odd].place, number) if odd in first else (other[odd].place, 1)
            raise UserError(f"{place}: {odd} is in no list of split {lacking}")
    return [
        Clip(name, first[name].label, first[name].group, tuple(entries[name].part for entries in by_name))
        for name in sorted(first)
    ]


def locate(clips: Sequence[Clip], tree: Path) -> tuple[dict[str, Path], list[str], list[Path]]:
    """`Clip.name` → its file anywhere below `tree`; the names without a file; the video files that no list names.

    Files are matched by their own name and without regard to case, because mirrors spell v_HandstandPushups_… what
    the lists call v_HandStandPushups_…, and every mirror has folders of its own. Links are followed, hidden files and
    folders left out. Of two files for one clip, the one in the folder of its class is taken; `UserError` names both
    if that does not decide.
    """
    by_file = {clip.name.rpartition("/")[2]: clip for clip in clips}
    # Names that differ in case alone may be two clips, so the exact spelling comes first.
    by_lower = {file.lower(): clip for file, clip in by_file.items()}
    candidates: dict[str, list[Path]] = defaultdict(list)
    unknown = []
    for path in _files(tree):
        if clip := by_file.get(path.name) or by_lower.get(path.name.lower()):
            candidates[clip.name].append(path)
        elif VIDEO.fullmatch(path.name):
            unknown.append(path)
    located = {clip.name: _choose(clip, candidates[clip.name]) for clip in clips if clip.name in candidates}
    return located, [clip.name for clip in clips if clip.name not in located], unknown


def describe_missing(clips: Sequence[Clip], missing: Sequence[str]) -> str:
    """A few lines for a person: how many of `clips` are missing, in which classes most, and the first of them."""
    totals = Counter(clip.label for clip in clips)
    gone = Counter(name.partition("/")[0] for name in missing)
    lines = [f"{len(missing)} of {len(clips)} clips are missing:"]
    for label, count in gone.most_common(5):
        lines.append(f"  {'all' if count == totals[label] else f'{count} of'} {totals[label]} of {label}")
    if (others := len(gone) - 5) > 0:
        lines.append(f"  and some of {others} more class{'es' * (others > 1)}")
    return "\n".join([*lines, f"first: {', '.join(missing[:3])}"])


def _checked(entries: Iterable[Entry]) -> dict[str, Entry]:
    by_name: dict[str, Entry] = {}
    for entry in entries:
        if (same := by_name.setdefault(entry.name, entry)) is not entry:
            raise UserError(f"{entry.place}: {entry.name} is named for the second time, after {same.place}")
    return by_name


def _choose(clip: Clip, paths: list[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    at_home = [path for path in paths if path.parent.name.lower() == clip.label.lower()]
    if len(at_home) == 1:
        return at_home[0]
    one, other = (at_home or paths)[:2]
    raise UserError(f"{one} and {other}: two files for {clip.name}; remove one")


def _files(tree: Path) -> Iterator[Path]:
    """Every file below `tree` that is not hidden, in the order of names; a link to nothing is no file."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error

    seen = set()
    for folder, below, names in os.walk(tree, followlinks=True, onerror=refuse):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if (real := os.path.realpath(folder)) in seen:  # a link back up would never end
            below.clear()
            continue
        seen.add(real)
        paths = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        yield from (path for path in paths if path.is_file())
