"""data/videos.csv, data/splits and data/frames → every video, and what a person should know before trusting a result.

The tables are joined by a video's name. A finding is a line; what it is about stands beside it by name.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from src import tables
from src.command import UserError
from src.report.page import count, duration, percent
from src.video.manifest import COLUMNS, check_settings, frame_file

SIDES = ("train", "val", "test")
UNUSED, UNDIVIDED = "unused", "not divided"  # on no side: the split leaves it out, or is yet to be made
PLACES = (*SIDES, UNUSED, UNDIVIDED)

FEW_GROUPS = 4  # so few recordings or people say little of others, in a class or on a side
UNEVEN = 3  # times as many videos in the largest class as in the smallest
LONG = 10  # times the median: perhaps a recording that nobody has cut

Row = dict[str, str]


@dataclass(frozen=True)
class Clip:
    """One video as the tables have it. What the manifest alone knows is 0 or "" where it has nothing to say."""

    name: str
    label: str
    group: str
    side: str
    frames: int = 0  # stored
    seconds: float = 0.0
    size: str = ""  # of the original: 320×240
    rate: float = 0.0  # of the original: frames a second
    decoded: int = 0  # frames of the original
    claimed: int = 0  # by its header; 0 if that says nothing
    sha256: str = ""
    refused: str = ""  # the reason why it cannot be read


@dataclass(frozen=True)
class Finding:
    """A line that needs attention, and what it is about by name. A problem wants mending, a note knowing."""

    text: str
    names: Sequence[str] = ()
    problem: bool = False

    @property
    def kind(self) -> str:
        return "problem" if self.problem else "note"

    @property
    def first(self) -> str:
        """The first names, and how many there are besides."""
        return _first(self.names)


@dataclass(frozen=True)
class Share:
    """What a number of videos have in common, and which part of all videos they are."""

    value: str
    part: float
    names: Sequence[str]


def read(*, videos: Path, splits: Path, frames: Path, extract: dict[str, float]) -> tuple[list[Clip], list[Finding]]:
    """Every video of the inventory, in order of names, and what the tables lack or have outlived.

    `extract` are the settings that the frames should be made with. Raises `UserError` if there is no inventory, or
    a video stands on two sides.
    """
    absent = defaultdict(list)

    def table(path: Path, columns: Sequence[str], *, stage: str) -> dict[str, Row]:
        if path.exists():
            return {row["video"]: row for row in tables.read(path, columns=columns)}
        absent[stage].append(os.path.relpath(path))
        return {}

    listing = ["video", "label", "group"]
    inventory = table(videos, listing, stage="download")
    if not inventory:
        raise UserError(f"{os.path.relpath(videos)}: no videos to report on; run `dvc repro download`")
    listed: dict[str, str] = {}
    for side in SIDES:
        for name in table(splits / f"{side}.csv", listing, stage="split"):
            if listed.setdefault(name, side) != side:
                raise UserError(f"{name} stands in {listed[name]}.csv and in {side}.csv; run `dvc repro split`")
    extracted = table(frames / "manifest.csv", COLUMNS, stage="extract_frames")

    found = [
        Finding(f"{count(names, 'table')} not there; run `dvc repro {stage}`", names) for stage, names in absent.items()
    ]
    if gone := sorted(listed.keys() - inventory):
        found.append(Finding(f"{count(gone, 'video')} of the split no longer there; run `dvc repro split`", gone))
    rows = {name: row for name, row in extracted.items() if row["refused"] or (frames / frame_file(name)).exists()}
    if extracted and (left := sorted(inventory.keys() - rows)):
        found.append(Finding(f"{count(left, 'video')} without frames; run `dvc repro extract_frames`", left))
    if (frames / "settings.json").exists():
        try:
            check_settings(frames, extract=extract)
        except UserError as error:
            found.append(Finding(str(error)))

    elsewhere = UNUSED if listed else UNDIVIDED
    clips = []
    for name, row in sorted(inventory.items()):
        known = _measured(rows[name]) if name in rows else {}
        clips.append(Clip(name, row["label"], row["group"], listed.get(name, elsewhere), **known))
    return clips, found


def _measured(row: Row) -> dict[str, Any]:
    if row["refused"]:
        return {"refused": row["refused"]}
    return {
        "frames": int(row["frames"]),
        "seconds": float(row["seconds"]),
        "size": f"{row['source_width']}×{row['source_height']}",
        "rate": float(row["source_fps"]),
        "decoded": int(row["source_frames"]),
        "claimed": int(row["header_frames"] or 0),
        "sha256": row["sha256"],
    }


def findings(clips: Sequence[Clip], *, clip_frames: int, fps: float) -> Iterator[Finding]:
    """What a person should know before trusting any result.

    A training clip covers `clip_frames` stored frames, of which there are `fps` a second.
    """
    if refused := [f"{clip.name} ({clip.refused})" for clip in clips if clip.refused]:
        yield Finding(f"{count(refused, 'video')} that cannot be read", refused, problem=True)
    yield from _of_content(identical(clips))
    yield from _of_groups_and_classes(clips)
    if measured := [clip for clip in clips if clip.frames]:
        yield from _of_measures(measured, clip_frames=clip_frames, fps=fps)


def _of_content(sets: Sequence[Sequence[Clip]]) -> Iterator[Finding]:
    if sets:
        leaked = [clip for alike in sets if len(sides(alike)) > 1 for clip in alike]
        across = f", {len(leaked):,} of them across {_and(sides(leaked))}" if leaked else ""
        text = f"{count([*chain(*sets)], 'video')} byte-identical to another one{across}"
        yield Finding(text, [_equal(alike) for alike in sets], problem=bool(leaked))
    if torn := [_equal(alike) for alike in sets if len({clip.label for clip in alike}) > 1]:
        yield Finding(f"{count(torn, 'file')} under two classes", torn, problem=True)


def _of_groups_and_classes(clips: Sequence[Clip]) -> Iterator[Finding]:
    groups, classes = by(clips, lambda clip: clip.group), by(clips, lambda clip: clip.label)
    if cut := [f"{name} ({_and(sides(of))})" for name, of in groups.items() if len(sides(of)) > 1]:
        yield Finding(f"{count(cut, 'group')} on more than one side of the split", cut, problem=True)
    for side in sides(clips):
        on_it = {clip.group for clip in clips if clip.side == side}
        if len(on_it) <= FEW_GROUPS:
            yield Finding(f"only {count(on_it, 'group')} in {side}", sorted(on_it))
        readable = {clip.label for clip in clips if clip.side == side and not clip.refused}
        if lost := sorted(classes.keys() - readable):
            yield Finding(f"{count(lost, 'class')} without a readable video in {side}", lost, problem=True)
    if unused := [clip.name for clip in clips if clip.side == UNUSED]:
        yield Finding(f"{count(unused, 'video')} on no side of the split", unused)
    if all(clip.group == clip.name for clip in clips):
        why = "clips of one recording or person may stand in train and in test; set dataset.group"
        yield Finding(f"no groups are known: {why}")
    counts = {label: {clip.group for clip in of} for label, of in classes.items()}
    if few := [f"{label} ({count(of, 'group')})" for label, of in counts.items() if len(of) <= FEW_GROUPS]:
        yield Finding(f"{count(few, 'class')} with {FEW_GROUPS} groups or fewer", few)
    least, most = (choose(classes, key=lambda label: len(classes[label])) for choose in (min, max))
    if len(classes[most]) >= UNEVEN * len(classes[least]):
        text = f"{most} has {count(classes[most], 'video')}, {least} has {len(classes[least]):,}"
        yield Finding(f"classes differ in size: {text}")


def _of_measures(clips: Sequence[Clip], *, clip_frames: int, fps: float) -> Iterator[Finding]:
    if lies := [f"{c.name} (says {c.claimed}, has {c.decoded})" for c in clips if c.claimed not in (0, c.decoded)]:
        yield Finding(f"{count(lies, 'video')} whose header lies about the number of frames", lies)
    if short := [f"{clip.name} ({clip.frames} frames)" for clip in clips if clip.frames < clip_frames]:
        needed = f"{clip_frames} frames at {fps:g} a second, {clip_frames / fps:.1f} s"
        yield Finding(f"{count(short, 'video')} shorter than one training clip ({needed})", short)
    usual = median(clip.seconds for clip in clips)
    if long := [f"{clip.name} ({duration(clip.seconds)})" for clip in clips if clip.seconds > LONG * usual]:
        yield Finding(f"{count(long, 'video')} more than {LONG} times as long as the median ({usual:.1f} s)", long)
    if slow := [f"{clip.name} ({clip.rate:.4g})" for clip in clips if clip.rate < fps - 0.01]:
        yield Finding(f"{count(slow, 'video')} with fewer than extract.fps {fps:g} frames a second", slow)
    for title, shares in (("sizes", sizes(clips)), ("rates", rates(clips))):
        if len(shares) > 1:
            parts = [f"{share.value} in {percent(share.part)}" for share in shares]
            odd = [f"{name} ({share.value})" for share in reversed(shares[1:]) for name in share.names]
            yield Finding(f"{title} differ: {_first(parts)}", odd)


def identical(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Readable videos that are the same, byte for byte, in sets; those across sides first."""
    sets = [of for sha256, of in by(clips, lambda clip: clip.sha256).items() if sha256 and len(of) > 1]
    return sorted(sets, key=lambda of: (len(sides(of)) < 2, of[0].name))


def sizes(clips: Sequence[Clip]) -> list[Share]:
    """The sizes of the originals, the most frequent first."""
    return _shares(clips, lambda clip: clip.size)


def rates(clips: Sequence[Clip]) -> list[Share]:
    """The rates of the originals, the most frequent first."""
    return _shares(clips, lambda clip: f"{clip.rate:.4g} fps")


def _shares(clips: Sequence[Clip], key: Callable[[Clip], str]) -> list[Share]:
    shares = [Share(value, len(of) / len(clips), [clip.name for clip in of]) for value, of in by(clips, key).items()]
    return sorted(shares, key=lambda share: -share.part)


def sides(clips: Iterable[Clip], *, among: Sequence[str] = SIDES) -> list[str]:
    """Where some of `clips` stand, in the order of `among`."""
    found = {clip.side for clip in clips}
    return [side for side in among if side in found]


def by(clips: Iterable[Clip], key: Callable[[Clip], str]) -> dict[str, list[Clip]]:
    """Clips by what `key` says of them, in order of that."""
    found = defaultdict(list)
    for clip in clips:
        found[key(clip)].append(clip)
    return dict(sorted(found.items()))


def _first(words: Sequence[str]) -> str:
    more = [f"and {len(words) - 3:,} more"] if len(words) > 3 else []
    return ", ".join([*words[:3], *more])


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _equal(clips: Sequence[Clip]) -> str:
    return " = ".join(clip.name for clip in clips)
