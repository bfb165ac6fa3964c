"""Small CSV tables between the stages: a header, text cells, one row a video."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from src import files
from src.command import UserError


def read(path: Path, *, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """Every row as a mapping of column to text.

    Raises `UserError` if the file or one of `columns` is missing, or a row has another number of cells.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            rows = list(reader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV table: {error}") from None
    if missing := [column for column in columns if column not in (reader.fieldnames or [])]:
        raise UserError(f"{path}: no column {', '.join(missing)}; its header is {reader.fieldnames}")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(f"{path}: row {number} has not as many cells as the header")
    return rows


def write(path: Path, rows: Iterable[Mapping[str, Any]], *, columns: list[str]) -> None:
    """Replace the table at `path` by one that is on the disk when this returns."""
    with files.replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
