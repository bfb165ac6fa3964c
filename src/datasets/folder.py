"""A folder of labelled videos, or a CSV that lists them → what `download` puts into data/raw.

FOLDER/CLASS/clip.ext                       one folder a class
FOLDER/train|val|test/CLASS/clip.ext        already divided: the division is kept
LIST.csv with video,label[,group]           paths relative to the list
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from src import tables
from src.command import UserError

VIDEO = re.compile(r".+\.(3gp|asf|avi|flv|m2ts|m4v|mkv|mov|mp4|mpeg|mpg|mts|ogv|ts|vob|webm|wmv)", re.IGNORECASE)
PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"} | {
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Source:
    """One video: where it is, its class, its group ("" if unknown) and its part of a division ("" if none)."""

    path: Path
    label: str
    group: str
    part: str = ""


def find(path: Path, *, group: str | None) -> list[Source]:
    """Every video of the folder or list at `path`, in the order of their names.

    `group` is a regular expression searched for in the file name; its first parenthesis (or the whole match) names
    the recording or person that must not stand on two sides of the split. A list's `group` column comes first.
    Raises `UserError` naming the file or setting that is wrong.
    """
    if not path.exists():
        raise UserError(f"dataset.path: {path} does not exist")
    sources = _from_list(path) if path.is_file() else _from_folder(path)
    if not sources:
        raise UserError(
            f"dataset.path: no video in {path}; expected {path}/CLASS/clip.mp4 or a CSV video,label[,group]"
        )
    if group is None:
        return sources
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"dataset.group: {group!r} is not a regular expression: {error}") from None
    return [source if source.group else _grouped(source, pattern) for source in sources]


def raw_names(sources: list[Source]) -> list[str]:
    """`CLASS/NAME.ext` for each source; names that differ only in folder or extension get their folders in front."""
    root = os.path.commonpath([source.path.parent.resolve() for source in sources])
    keys = Counter((source.label, source.path.stem) for source in sources)
    names = []
    for source in sources:
        name = source.path.name
        if keys[source.label, source.path.stem] > 1:
            folders = source.path.parent.resolve().relative_to(root).parts
            name = "__".join([*folders, f"{source.path.stem}_{source.path.suffix[1:]}{source.path.suffix}"])
        names.append(f"{source.label}/{name}")
        if any("\ud800" <= sign <= "\udfff" for sign in names[-1]):  # how Python has bytes that are no UTF-8
            raise UserError(f"dataset.path: the name of {str(source.path)!a} is not UTF-8; rename it")
    if repeated := [stem for stem, times in Counter(str(Path(n).with_suffix("")) for n in names).items() if times > 1]:
        raise UserError(f"dataset.path: two videos would both be {repeated[0]} in data/raw; rename or remove one")
    return names


def _from_folder(folder: Path) -> list[Source]:
    below = _folders(folder)
    parts = {PARTS.get(entry.name.lower()) for entry in below}
    # One class may well be called `training`; with a `test` beside it, it is a division.
    if not parts or (None in parts and len(parts) <= 2):
        videos = {label.name: _videos(label) for label in below}
        if empty := [label for label, found in videos.items() if not found]:
            print(f"note: {folder}: no video in {', '.join(empty)}, so no class of that name", file=sys.stderr)
        return [Source(path, label, "") for label, found in videos.items() for path in found]
    if None in parts or len(parts) < len(below) or "train" not in parts or len(parts) == 1:
        raise UserError(
            f"dataset.path: {folder} is divided into {', '.join(e.name for e in below)}; "
            "expected train and test, with or without val"
        )
    # Of two parts the second is what the final number is for; validation is then carved out of train.
    role = {part: "test" if len(parts) == 2 and part == "val" else part for part in parts}
    return [
        Source(path, label.name, "", role[PARTS[entry.name.lower()]])
        for entry in below
        for label in _folders(entry)
        for path in _videos(label)
    ]


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _videos(folder: Path) -> list[Path]:
    """The videos anywhere below, but for what is hidden."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and VIDEO.fullmatch(path.name))
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _from_list(path: Path) -> list[Source]:
    sources = []
    for number, row in enumerate(tables.read(path, columns=["video", "label"]), start=2):
        video, label = path.parent / row["video"].strip(), row["label"].strip()
        if not video.is_file():
            raise UserError(f"{path}: row {number}: no file {video}")
        if not label or "/" in label or label.startswith("."):
            raise UserError(f"{path}: row {number}: {row['label']!r} cannot be the name of a class")
        sources.append(Source(video, label, row.get("group", "").strip()))
    return sorted(sources, key=lambda source: (source.label, str(source.path)))


def _grouped(source: Source, pattern: re.Pattern) -> Source:
    match = pattern.search(source.path.name)
    name = match and (match[1] if pattern.groups else match[0])
    if not name:
        raise UserError(f"dataset.group: {pattern.pattern!r} finds no group in the name {source.path.name}")
    return Source(source.path, source.label, name, source.part)
