"""UCF101: where it is published, and its official lists → clips.

13,320 clips of 101 actions, cut from 25 recordings ("groups") a class. K. Soomro, A. R. Zamir, M. Shah: UCF101: A
Dataset of 101 Human Actions Classes From Videos in The Wild, CRCV-TR-12-01, 2012.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from src.command import UserError
from src.datasets import official
from src.datasets.official import Clip, Entry, Publisher

# No checksum is published. Video hardly compresses, so the archive is about as large as what is in it.
PUBLISHER = Publisher(
    videos="https://www.crcv.ucf.edu/data/UCF101/UCF101.rar",
    lists="https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
    archive_bytes=6_930_000_000,
    unpacked_bytes=7_000_000_000,
    nested=False,
)
CLASSES = 101
CLIPS = {
    "trainlist01.txt": 9537,
    "testlist01.txt": 3783,
    "trainlist02.txt": 9586,
    "testlist02.txt": 3734,
    "trainlist03.txt": 9624,
    "testlist03.txt": 3696,
}
# HandstandPushups/v_HandStandPushups_g01_c01.avi is how the lists themselves spell it.
NAME = re.compile(r"([A-Za-z]+)/v_(?i:\1)_g(0[1-9]|1\d|2[0-5])_c\d\d\.avi")


def clips(lists: Path) -> list[Clip]:
    """Every clip of classInd.txt, trainlist01.txt … testlist03.txt somewhere below `lists`, sorted by name.

    Raises `UserError` with file and line if they are not the published lists: a name or number that is wrong, a clip
    twice, a group on both sides of a split, or another number of clips.
    """
    paths = official.find(lists, ["classInd.txt", *CLIPS])
    numbers = _numbers(paths["classInd.txt"])
    return official.combine([_split(paths, number, numbers) for number in (1, 2, 3)])


def _numbers(path: Path) -> dict[str, str]:
    """Class → its number, which the train lists repeat behind each clip."""
    numbers: dict[str, str] = {}
    lines = official.read(path)
    for place, words in lines:
        expected = str(len(numbers) + 1)
        if len(words) != 2 or words[0] != expected or words[1] in numbers:
            raise UserError(f"{place}: {' '.join(words)!r} should be {expected} and a class that is not yet listed")
        numbers[words[1]] = expected
    if len(numbers) != CLASSES:
        raise UserError(f"{lines[-1][0]} is the last, of {len(numbers)} classes; the published list has {CLASSES}")
    return numbers


def _split(paths: dict[str, Path], number: int, numbers: dict[str, str]) -> Iterator[Entry]:
    sides: dict[str, Entry] = {}
    for part in ("train", "test"):
        for entry in _entries(paths[f"{part}list0{number}.txt"], part, numbers):
            if (other := sides.setdefault(entry.group, entry)).part != part:
                raise UserError(
                    f"{entry.place}: group {entry.group} is in {part}, and in {other.part} by {other.place}"
                )
            yield entry


def _entries(path: Path, part: str, numbers: dict[str, str]) -> Iterator[Entry]:
    lines = official.read(path)
    for place, (name, *number) in lines:
        match = NAME.fullmatch(name)
        if not match or len(number) != (part == "train"):
            form = "CLASS/v_CLASS_g01_c01.avi" + " NUMBER" * (part == "train")
            raise UserError(f"{place}: {' '.join([name, *number])!r} is not of the form {form}")
        label, group = match.groups()
        if label not in numbers:
            raise UserError(f"{place}: class {label} is not in classInd.txt")
        if number not in ([], [numbers[label]]):
            raise UserError(f"{place}: {name} has number {number[0]}, but {label} is {numbers[label]} in classInd.txt")
        yield Entry(place, name, label, f"{label}_g{group}", part)
    if len(lines) != CLIPS[path.name]:
        raise UserError(f"{lines[-1][0]} is the last, of {len(lines)} clips; the published list has {CLIPS[path.name]}")
