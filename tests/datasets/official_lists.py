"""Official lists as their publishers write them: UCF101's own, and HMDB51's with invented titles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from src.datasets import hmdb51

# One line a class, in the order of classInd.txt: its name and how many clips each of its 25 groups has.
COUNTS = Path(__file__).with_name("ucf101_clips.txt")

TITLES = ["Film_1", "_No!_[so_#2]", "How_to_{}_(part_3)", "{}_{}_&_{}", "21", "Geh'_;-)_-_~2,5", "a", "A"]
# Of 13 titles of ten clips each: the official split k begins with title 3(k-1), 3 titles to test on, 7 to train on.
TITLE_PARTS = ["2"] * 3 + ["1"] * 7 + ["0"] * 3


def ucf101_names() -> list[str]:
    """All 13,320 names."""
    return [name for _, _, names in _ucf101_groups() for name in names]


def write_ucf101_lists(folder: Path) -> None:
    """The seven files, with CRLF as they are published. Official split k tests on groups 7(k-1)+1 … 7k."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = [line.split()[0] for line in COUNTS.read_text().splitlines()]
    _write(folder / "classInd.txt", [f"{number} {label}" for number, label in enumerate(labels, start=1)])
    for split in (1, 2, 3):
        train, test = [], []
        for number, group, names in _ucf101_groups():
            if (group - 1) // 7 == split - 1:
                test += names
            else:
                train += [f"{name} {number}" for name in names]
        _write(folder / f"trainlist0{split}.txt", train)
        _write(folder / f"testlist0{split}.txt", test)


def hmdb51_names(label: str) -> list[str]:
    """The clips of a class in the order of their numbers, ten of a title: 132 or 133, in all classes 6,766."""
    titles = [*TITLES, *(f"Film_{number}" for number in range(len(TITLES), 14))]
    count = 133 if hmdb51.CLASSES.index(label) < 34 else 132
    return [
        f"{titles[i // 10].replace('{}', label)}_{label}_{'fhlu'[i % 4]}_{'cn'[i % 2]}m_np{i % 12}_ri_goo_{i}.avi"
        for i in range(count)
    ]


def write_hmdb51_lists(folder: Path) -> None:
    """The 153 files, each line with the space at its end that the publisher leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    for label in hmdb51.CLASSES:
        for split in (1, 2, 3):
            parts = {title: TITLE_PARTS[(title - 3 * (split - 1)) % 13] for title in range(13)} | {13: "0"}
            lines = [f"{name} {parts[i // 10]} " for i, name in enumerate(hmdb51_names(label))]
            (folder / f"{label}_test_split{split}.txt").write_text("".join(f"{line}\n" for line in sorted(lines)))


def _ucf101_groups() -> Iterator[tuple[int, int, list[str]]]:
    """`(number of the class, group, names of its clips)` in the order of the lists."""
    for number, line in enumerate(COUNTS.read_text().splitlines(), start=1):
        label, *counts = line.split()
        spelling = label.replace("HandstandPushups", "HandStandPushups")  # of the files, in the lists themselves
        for group, count in enumerate(counts, start=1):
            yield number, group, [f"{label}/v_{spelling}_g{group:02}_c{c:02}.avi" for c in range(1, int(count) + 1)]


def _write(path: Path, lines: list[str]) -> None:
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
