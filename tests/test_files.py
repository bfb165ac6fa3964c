from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import files
from src.command import UserError


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


def test_two_processes_of_one_number_do_not_share_a_file(tmp_path, monkeypatch):
    """As in containers on two machines that share a disk."""
    monkeypatch.setattr("os.getpid", lambda: 7)
    with files.replacing(tmp_path / "a") as first, files.replacing(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_frames_on_another_disk_are_not_lent_to_a_queued_experiment(tmp_path, monkeypatch):
    main, root = tmp_path / "main", tmp_path / "main" / ".dvc" / "tmp" / "exps" / "copy"
    (main / "data" / "frames").mkdir(parents=True)
    monkeypatch.setattr(files.paths, "MAIN", main)
    monkeypatch.setattr(files.paths, "ROOT", root)
    stat = Path.stat
    other = main / "data" / "frames"
    monkeypatch.setattr(
        Path,
        "stat",
        lambda path, **how: SimpleNamespace(st_dev=-1, st_mode=0o40755) if path == other else stat(path, **how),
    )
    with pytest.raises(UserError, match="lies on another disk, where a queued experiment cannot take hard links from"):
        files.borrow(root / "data" / "frames")
    assert not (root / "data" / "frames").exists()
