"""The one class list, and what a horizontal flip makes of each class."""

from __future__ import annotations

from pathlib import Path

from src.command import UserError


def class_names(splits: Path) -> list[str]:
    """Class names; the place in the list is the label."""
    try:
        return (splits / "classes.txt").read_text().splitlines()
    except FileNotFoundError:
        raise UserError(f"{splits / 'classes.txt'}: no such file; `dvc repro split` writes it") from None


def mirrored_labels(classes: list[str], mirror: str | dict[str, str]) -> list[int] | None:
    """The label that a flip makes of each label, or None if nothing may be flipped.

    `mirror` is `dataset.mirror`: pairs of classes that swap (either way round), or `forbid`.
    Raises `UserError` for a class that does not exist or is in two pairs.
    """
    if mirror == "forbid":
        return None
    result = list(range(len(classes)))
    for pair in mirror.items():
        for name in pair:
            if name not in classes:
                raise UserError(f"dataset.mirror: there is no class {name}; the classes are {', '.join(classes)}")
        left, right = (classes.index(name) for name in pair)
        if result[left] != left or result[right] != right:
            raise UserError(f"dataset.mirror: {pair[0]} or {pair[1]} stands in two pairs")
        result[left], result[right] = right, left
    return result
