"""Videos → folds: for each, which to train on, to validate on and to test on, by whole groups."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
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
    """For each group: it is the test side, the next ones (a share `val`, at least 1) are validation.

    In the order that spreads them over classes: the first group of each class, then the second, and so on.
    """
    ordered, seen = _by_class(videos), Counter()
    place = {}
    for group, label in ordered.items():
        place[group] = seen[label], label
        seen[label] += 1
    groups = sorted(ordered, key=place.__getitem__)
    if len(groups) < 3:
        raise UserError(f"--leave-one-group-out needs 3 groups, and there are {len(groups)}; see dataset.group")
    held = max(1, round(val * len(groups)))
    folds = {}
    for number, group in enumerate(groups):
        folds[group] = _fold(videos, test={group}, order=groups[number + 1 :] + groups[:number], val=range(held))
    return folds


def k_folds(videos: Sequence[Video], *, count: int, val: float) -> dict[str, Fold]:
    """`count` folds, `fold-1` and so on: each group is on the test side of one of them.

    Groups are dealt out class by class, those that have several classes with their first one; of what is left to
    train on, about a share `val` is validation, dealt out likewise. Raises `UserError` for too few groups.
    """
    groups = list(_by_class(videos))
    if len(groups) < count + 1:
        raise UserError(f"--folds {count} needs {count + 1} groups, and there are {len(groups)}; see dataset.group")
    folds = {}
    for number in range(count):
        test = set(groups[number::count])
        rest = [group for group in groups if group not in test]
        every = max(2, round(1 / val))
        folds[f"fold-{number + 1}"] = _fold(videos, test=test, order=rest, val=range(number % every, len(rest), every))
    return folds


def _by_class(videos: Sequence[Video]) -> dict[str, int]:
    """Each group's first class, class by class and in a class by name."""
    first: dict[str, int] = {}
    for video in videos:
        first[video.group] = min(first.get(video.group, video.label), video.label)
    return dict(sorted(first.items(), key=lambda item: (item[1], item[0])))


def _fold(videos: Sequence[Video], *, test: set[str], order: list[str], val: Iterable[int]) -> Fold:
    """Validation are the groups of `order` at the places `val`, or where a class would lose the last that it is trained
    on, the next group that can be spared. Raises `UserError` if there is none.
    """
    classes: dict[str, set[int]] = {}
    for video in videos:
        classes.setdefault(video.group, set()).add(video.label)
    left = Counter(label for group in classes.keys() - test for label in classes[group])
    side = dict.fromkeys(test, "test")
    for place in val:
        spare = (group for group in order[place:] + order[:place] if group not in side)
        if group := next((group for group in spare if all(left[label] > 1 for label in classes[group])), None):
            side[group] = "val"
            left.subtract(classes[group])
    if "val" not in side.values():
        raise UserError(
            "too few groups: each fold needs one to test on, one to validate on and one of each class to train on"
        )
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
    if not folds:
        raise UserError(
            "--official-splits: of the videos that are there, none is to be tested on in any of the divisions"
        )
    return folds
