"""Videos → folds: for each, which to train on, to validate on and to test on, by whole groups."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src import split
from src.command import UserError

if TYPE_CHECKING:
    from src.settings import Params
    from src.video.manifest import Video

Fold = dict[str, list["Video"]]
"""`train`, `val` and `test`."""


def leave_one_group_out(videos: Sequence[Video], *, val: float) -> dict[str, Fold]:
    """For each group: it is the test side, the next ones by name (a share `val`, at least 1) are validation."""
    groups = sorted({video.group for video in videos})
    if len(groups) < 3:
        raise UserError(f"--leave-one-group-out needs 3 groups, and there are {len(groups)}; see dataset.group")
    held = max(1, round(val * len(groups)))
    folds = {}
    for number, group in enumerate(groups):
        following = {groups[(number + 1 + i) % len(groups)] for i in range(held)}
        folds[group] = _fold(videos, test={group}, val=following)
    return folds


def k_folds(videos: Sequence[Video], *, count: int, val: float) -> dict[str, Fold]:
    """`count` folds, `fold-1` and so on: each group is on the test side of one of them.

    Groups are dealt out class by class, those that have several classes with their first one; of what is left to
    train on, about a share `val` is validation, dealt out likewise. Raises `UserError` for too few groups.
    """
    first = {}
    for video in videos:
        first[video.group] = min(first.get(video.group, video.label), video.label)
    groups = sorted(first, key=lambda group: (first[group], group))
    if len(groups) < count + 1:
        raise UserError(f"--folds {count} needs {count + 1} groups, and there are {len(groups)}; see dataset.group")
    folds = {}
    for number in range(count):
        test = set(groups[number::count])
        rest = [group for group in groups if group not in test]
        every = max(2, round(1 / val))
        folds[f"fold-{number + 1}"] = _fold(videos, test=test, val=set(rest[number % every :: every]))
    return folds


def _fold(videos: Sequence[Video], *, test: set[str], val: set[str]) -> Fold:
    side = dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    return {part: [v for v in videos if side.get(v.group, "train") == part] for part in ("train", "val", "test")}


def official_splits(
    rows: Sequence[dict[str, str]], params: Params, *, frames: Path, raw: Path, classes: list[str]
) -> dict[str, Fold]:
    """For each division that the inventory `rows` came with: its sides, validation out of train by whole groups."""
    from src.video import manifest

    numbers = split.divisions(rows)
    if not numbers:
        raise UserError("--official-splits: this dataset came with no division; see --folds and --leave-one-group-out")
    folds = {}
    published = params.dataset.name in split.PUBLISHED
    for number in numbers:
        try:
            members = split.division(rows, number)
        except UserError as error:  # of a partial tree that has no test video of this one
            print(f"note: official split {number} is left out: {error}", file=sys.stderr)
            continue
        merged, _ = split.merge_identical(members, raw, published=published)
        sides = split.split(merged, **params.split.model_dump(exclude={"number"}), published=published)
        folds[f"official-{number}"] = {
            side: manifest.extracted(members, frames=frames, classes=classes, source=f"official split {number}")
            for side, members in sides.items()
        }
    return folds
