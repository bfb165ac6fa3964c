"""What a command line may name."""

from pathlib import Path

import pytest

from src.command import UserError
from src.video import listing


def listed(folder: Path, *named: str, stdin: str = "") -> list[str]:
    found = listing.videos(
        (name if name == "-" else str(folder / name) for name in named), stdin=stdin.splitlines(True)
    )
    return [path.relative_to(folder).as_posix() if path.is_absolute() else path.as_posix() for path in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MOV", "notes.txt", "deep/er/c.webm", "deep/[x].avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bare").mkdir()
    return tmp_path


def test_files_are_taken_as_they_are_and_folders_for_their_videos(folder):
    assert listed(folder, "notes.txt", "gone.mp4") == ["notes.txt", "gone.mp4"]  # who opens them says what is wrong
    assert listed(folder, ".") == ["a.MOV", "b.mp4", "deep/[x].avi", "deep/er/c.webm"]
    with pytest.raises(UserError, match="bare: no video in this folder or below it"):
        listed(folder, "bare")


def test_patterns_match_unless_a_file_is_called_so(folder):
    assert listed(folder, "*.mp4", "**/*.webm") == ["b.mp4", "deep/er/c.webm"]
    assert listed(folder, "deep/[x].avi") == ["deep/[x].avi"]
    with pytest.raises(UserError, match="nothing matches this pattern"):
        listed(folder, "*.mkv")


def test_a_list_on_stdin_may_hold_empty_lines_and_names_with_spaces(folder):
    assert listed(folder, "-", "b.mp4", stdin="one two.mp4\r\n\n three.mp4\n") == ["one two.mp4", " three.mp4", "b.mp4"]
