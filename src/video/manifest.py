"""data/frames/manifest.csv, joined with a split list: which videos there are to train and test on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from src import tables
from src.command import UserError

COLUMNS = [
    *("video", "frames", "height", "width"),  # as stored; all 0 if the video was refused
    *("seconds", "source_height", "source_width", "source_fps", "source_frames"),  # of the original, as decoded
    "header_frames",  # what its header claims; 0 if it says nothing
    *("sha256", "refused"),  # of the original; the reason, or ""
]


@dataclass(frozen=True)
class Video:
    """A video that has frames: `name` and `group` as in the split lists, `frames` counted, `sha256` of the original."""

    name: str
    file: Path
    label: int
    group: str
    frames: int
    sha256: str


def frame_file(name: str) -> str:
    """`CLASS/VIDEO.ext` → its frame file below data/frames."""
    return str(Path(name).with_suffix(".avi"))


def videos(listing: Path, *, frames: Path, classes: Sequence[str]) -> tuple[list[Video], int]:
    """The videos of a split list that have frames, and how many the list names; raises as `extracted` does."""
    rows = tables.read(listing, columns=["video", "label", "group"])
    return extracted(rows, frames=frames, classes=classes, source=listing.name), len(rows)


def extracted(rows: Sequence[dict[str, str]], *, frames: Path, classes: Sequence[str], source: str) -> list[Video]:
    """Those of the videos `video,label,group` that have frames.

    Raises `UserError` naming `source` for a video that was never extracted, a label that is not in the class list,
    and a class of which no video could be read.
    """
    if not (frames / "manifest.csv").exists():
        raise _no_frames(frames)
    known = tables.read(frames / "manifest.csv", columns=["video", "frames", "sha256", "refused"])
    manifest = {row["video"]: row for row in known}
    labels = {name: label for label, name in enumerate(classes)}
    found = []
    for row in rows:
        name = row["video"]
        if name not in manifest:
            raise UserError(f"{source}: {name} is not in data/frames; run `dvc repro extract_frames`")
        if row["label"] not in labels:
            raise UserError(f"{source}: {name}: class {row['label']} is not in classes.txt, or not one of the model's")
        entry = manifest[name]
        if not entry["refused"]:
            file = frames / frame_file(name)
            found.append(Video(name, file, labels[row["label"]], row["group"], int(entry["frames"]), entry["sha256"]))
    if lost := {row["label"] for row in rows} - {classes[video.label] for video in found}:
        raise UserError(f"{source}: class {min(lost)} has lost all its videos; see data/frames/manifest.csv")
    return found


def check_settings(
    frames: Path, *, extract: dict[str, float], whose: str = "", remedy: str = "run `dvc repro`"
) -> None:
    """Raise `UserError` if the frames on disk were made with other settings than `extract`."""
    try:
        made = json.loads((frames / "settings.json").read_text())
    except (FileNotFoundError, ValueError):  # none, or one that a power cut has emptied
        raise _no_frames(frames) from None
    for key, value in extract.items():
        if made[key] != value:
            raise UserError(f"{whose}extract.{key} is {value}, but data/frames was made with {made[key]}: {remedy}")


def _no_frames(frames: Path) -> UserError:
    return UserError(f"{frames}: no frames; run `dvc repro extract_frames`")


def fingerprint(sides: Iterable[Sequence[Video]], *, extract: dict) -> str:
    """64 hexadecimal digits that stand for the sides' videos, their bytes and labels, and how frames were made."""
    content = [[[video.name, video.label, video.sha256] for video in side] for side in sides]
    return hashlib.sha256(json.dumps([content, extract]).encode()).hexdigest()
