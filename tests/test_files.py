from __future__ import annotations

import os
from pathlib import Path

import pytest

from src import files


def test_a_file_is_replaced_and_not_written_into(tmp_path: Path):
    """So what an experiment writes never shows through a hard link in the main checkout."""
    main, copy = tmp_path / "main.json", tmp_path / "copy.json"
    main.write_text("main")
    os.link(main, copy)
    files.write_text(copy, "copy")
    assert main.read_text() == "main"
    assert copy.read_text() == "copy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.json", "main.json"]


def write_half(path: Path) -> None:
    with files.replacing(path) as beside:
        beside.write_text("ha")
        raise OSError("no space left")


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "new" / "table.csv"
    files.write_text(path, "whole")
    with pytest.raises(OSError, match="no space left"):
        write_half(path)
    assert [each.name for each in path.parent.iterdir()] == ["table.csv"]
    assert path.read_text() == "whole"
