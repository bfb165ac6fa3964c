"""data/videos.csv → data/splits/{train,val,test}.csv and classes.txt, by whole groups.

    python -m src.split

A group (one recording, one person) stands on one side only, and so do byte-identical files; every class stands
on every side. A division that the dataset came with is kept; where it came with several, as UCF101 does with its
three official splits, `split.number` says which.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from src import command, files, paths, tables
from src.command import UserError
from src.video.labels import mirrored_labels

COLUMNS = ["video", "label", "group"]
SIDES = ("train", "val", "test")
PUBLISHED = ("ucf101", "hmdb51")
"""Datasets whose division is kept also where it leaks: the numbers of others were measured on it."""

Row = dict[str, str]


def divisions(rows: list[Row]) -> list[int]:
    """The numbers of the divisions that the dataset came with."""
    return [number for number in (1, 2, 3) if any(row[f"part{number}"] for row in rows)]


def division(rows: list[Row], number: int) -> list[Row]:
    """The inventory's rows with the `part` of division `number`, without those that it leaves out.

    Raises `UserError` if the dataset has no such division, or no video on its test side.
    """
    known = divisions(rows)
    if number != 1 and number not in known:
        raise UserError(f"split.number: this dataset has no division {number} of its own")
    given = [{c: row[c] for c in COLUMNS} | {"part": row[f"part{number}"]} for row in rows]
    if number in known and not any(row["part"] == "test" for row in given):
        raise UserError(
            f"split.number: of the videos that are there, none is on the test side of division {number}; "
            "choose another number, or add the videos that are missing"
        )
    return [row for row in given if row["part"] != "none"]


def split(rows: list[Row], *, test: float, val: float, seed: int, published: bool = False) -> dict[str, list[Row]]:
    """Divide rows of `video,label,group,part` into train, val and test.

    Shares are of each class's videos and are met as nearly as whole groups allow; rows whose `part` is set stay
    there. Raises `UserError` naming the class that has too few groups, or the group that a given division cuts; if
    the division is `published`, that is a warning, and validation has none of the groups cut.
    """
    given = {side: [row for row in rows if row["part"] == side] for side in SIDES}
    free = [row for row in rows if row["part"] in ("", "train")]
    totals = Counter(row["label"] for row in rows)
    for side, share in (("test", test), ("val", val)):
        if not given[side]:
            wanted = {label: share * total for label, total in totals.items()}
            elsewhere = {row["group"] for row in given["val"] + given["test"]}
            whole = [row for row in free if row["group"] not in elsewhere]
            chosen = _choose(whole, wanted, seed=seed, side=side, sides_left=3 - (side == "val") - bool(given["val"]))
            given[side] = [row for row in free if row["group"] in chosen]
            free = [row for row in free if row["group"] not in chosen]
    sides = {"train": free, "val": given["val"], "test": given["test"]}
    _check(sides, labels=totals, published=published)
    return sides


def merge_identical(rows: list[Row], raw: Path, *, published: bool = False) -> tuple[list[Row], list[tuple[str, str]]]:
    """Give byte-identical files of two groups one group; return the new rows and the pairs of names found.

    Raises `UserError` if two identical files have different labels; in a `published` dataset that is a warning.
    """
    by_size = defaultdict(list)
    for row in rows:
        if (raw / row["video"]).exists():  # what is gone is named when frames are extracted
            by_size[(raw / row["video"]).stat().st_size].append(row)
    by_content = defaultdict(list)
    for size, alike in by_size.items():
        for row in alike if len(alike) > 1 and size else []:
            with (raw / row["video"]).open("rb") as file:
                by_content[hashlib.file_digest(file, "sha256").digest()].append(row)
    pairs = []
    merged = {row["group"]: row["group"] for row in rows}
    for first, *others in by_content.values():
        for other in others:
            if first["label"] != other["label"]:
                said = f"{first['video']} and {other['video']} are the same file under two labels"
                if not published:
                    raise UserError(f"{said}; remove one")
                print(f"warning: {said}; both are kept, as published", file=sys.stderr)
            pairs.append((first["video"], other["video"]))
            old, new = merged[other["group"]], merged[first["group"]]
            merged = {group: new if name == old else name for group, name in merged.items()}
    return [row | {"group": merged[row["group"]]} for row in rows], pairs


def _choose(rows: list[Row], wanted: dict[str, float], *, seed: int, side: str, sides_left: int) -> set[str]:
    """Groups whose videos come nearest to `wanted` a class, at least one of every class, leaving as many as needed."""
    content: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        content[row["group"]][row["label"]] += 1
    groups_of = Counter(label for counts in content.values() for label in counts)
    for label in wanted:
        if groups_of[label] < sides_left:
            raise UserError(
                f"class {label} has {groups_of[label]} group{'s' * (groups_of[label] != 1)} to divide among "
                f"{sides_left} sides; add videos of other recordings, or set dataset.group so that there are more"
            )
    order = sorted(content)
    random.Random(f"{seed} {side}").shuffle(order)
    chosen: set[str] = set()
    have: Counter = Counter()

    def may_go(group: str) -> bool:
        return all(groups_of[label] > sides_left - 1 for label in content[group])

    def gain(group: str) -> float:
        """How much nearer to the wanted numbers; a class not yet here counts above all."""
        return sum(
            abs(wanted[label] - have[label]) - abs(wanted[label] - have[label] - n) + (1000 if not have[label] else 0)
            for label, n in content[group].items()
        )

    # A group's gain never grows as others are chosen, and what may not go will not later: so the best by an older
    # count, if it is still ahead of the next one by a new count, is the best of all.
    queue = [(-gain(group), place, group) for place, group in enumerate(order)]
    heapq.heapify(queue)
    while queue:
        _, place, group = heapq.heappop(queue)
        if not may_go(group):
            continue
        now = (-gain(group), place, group)
        if queue and now > queue[0]:
            heapq.heappush(queue, now)
        elif now[0] >= 0:
            break
        else:
            chosen.add(group)
            have.update(content[group])
            groups_of.subtract(content[group].keys())
    return chosen


def _check(sides: dict[str, list[Row]], *, labels: Iterable[str], published: bool) -> None:
    where: dict[str, str] = {}
    cut: dict[str, str] = {}
    for side, rows in sides.items():
        if missing := sorted(set(labels) - {row["label"] for row in rows}):
            why = "its groups also hold other classes and could not be divided; try another split.seed"
            if any(row["part"] == side for row in rows):
                why = "the dataset's own division has none there"
            raise UserError(f"class {missing[0]} has no video in {side}: {why}, or add videos of other recordings")
        for row in rows:
            if where.setdefault(row["group"], side) != side:
                cut.setdefault(row["group"], f"in {where[row['group']]} and in {side} (e.g. {row['video']})")
    if not cut:
        return
    group, sides_of = next(iter(cut.items()))
    if not published:
        raise UserError(
            f"group {group} stands {sides_of}: the dataset's own division leaks; move or remove these videos"
        )
    print(
        f"warning: {len(cut)} groups stand on two sides of the published division, first {group}: {sides_of}. It is "
        "kept, so that accuracies compare with others'",
        file=sys.stderr,
    )


def main() -> None:
    params = command.settings(__doc__)
    inventory = tables.read(paths.VIDEOS, columns=[*COLUMNS, "part1", "part2", "part3"])
    published = params.dataset.name in PUBLISHED
    rows, identical = merge_identical(division(inventory, params.split.number), paths.RAW, published=published)
    for first, other in identical:
        print(f"note: {first} and {other} are the same file, so their groups count as one")
    labels = sorted({row["label"] for row in rows})
    if len(labels) < 2:
        raise UserError(
            f"all {len(rows)} videos are of one class, {labels[0]}: there is nothing to tell apart; see dataset.path, "
            "whose folders are the classes, and dataset.classes"
        )
    sides = split(rows, **params.split.model_dump(exclude={"number"}), published=published)
    for side, members in sides.items():
        tables.write(paths.SPLITS / f"{side}.csv", [{c: row[c] for c in COLUMNS} for row in members], columns=COLUMNS)
        print(f"{side:5}  {len(members):6} videos  {len({row['group'] for row in members}):5} groups")
    mirrored_labels(labels, params.dataset.mirror)  # a class that is misspelt there is found before hours of extraction
    files.write_text(paths.SPLITS / "classes.txt", "".join(f"{label}\n" for label in labels))


if __name__ == "__main__":
    command.run(main)
