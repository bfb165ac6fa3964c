"""Split list and manifest → the videos that can be used, and how many were listed."""

from pathlib import Path

import pytest

from src import tables
from src.command import UserError
from src.video.manifest import COLUMNS, Video, check_settings, fingerprint, frame_file, videos

CLASSES = ["Run", "Walk"]


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A manifest of three videos, one of them refused."""
    rows = [
        {"video": "Run/a.mp4", "frames": "40", "sha256": "aa", "refused": ""},
        {"video": "Walk/b.c.webm", "frames": "25", "sha256": "bb", "refused": ""},
        {"video": "Walk/broken.mp4", "frames": "0", "sha256": "cc", "refused": "the file is empty"},
    ]
    rows = [dict.fromkeys(COLUMNS, "1") | row for row in rows]
    tables.write(tmp_path / "manifest.csv", rows, columns=COLUMNS)
    return tmp_path


def listing(folder: Path, *names: str, label: str | None = None) -> Path:
    rows = [{"video": name, "label": label or name.split("/")[0], "group": name[-5]} for name in names]
    tables.write(folder / "test.csv", rows, columns=["video", "label", "group"])
    return folder / "test.csv"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Run/a.mp4", "Run/a.avi"),
        ("Run/a.avi", "Run/a.avi"),
        ("Walk/b.c.webm", "Walk/b.c.avi"),
        ("a b/ü.MOV", "a b/ü.avi"),
    ],
)
def test_frame_file(name, file):
    assert frame_file(name) == file


def test_a_listed_video_has_its_label_by_the_class_list_and_its_counted_frames(frames):
    found, listed = videos(listing(frames, "Walk/b.c.webm", "Run/a.mp4"), frames=frames, classes=CLASSES)
    assert listed == 2
    assert found == [
        Video("Walk/b.c.webm", frames / "Walk/b.c.avi", label=1, group=".", frames=25, sha256="bb"),
        Video("Run/a.mp4", frames / "Run/a.avi", label=0, group="a", frames=40, sha256="aa"),
    ]


def test_a_refused_video_is_left_out_and_still_counts_as_listed(frames):
    names = ("Run/a.mp4", "Walk/b.c.webm", "Walk/broken.mp4")
    found, listed = videos(listing(frames, *names), frames=frames, classes=CLASSES)
    assert [video.name for video in found] == ["Run/a.mp4", "Walk/b.c.webm"]
    assert listed == 3


@pytest.mark.parametrize(
    ("names", "label", "message"),
    [
        (["Run/new.mp4"], None, "test.csv: Run/new.mp4 is not in data/frames; run `dvc repro extract_frames`"),
        (["Run/a.mp4"], "Jump", "test.csv: Run/a.mp4: class Jump is not in classes.txt, or not one of the model's"),
        (["Walk/broken.mp4"], None, "test.csv: class Walk has lost all its videos; see data/frames/manifest.csv"),
    ],
)
def test_what_cannot_be_used_is_named(frames, names, label, message):
    with pytest.raises(UserError) as refused:
        videos(listing(frames, *names, label=label), frames=frames, classes=CLASSES)
    assert str(refused.value) == message


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no frames; run `dvc repro extract_frames`"):
        videos(listing(tmp_path, "Run/a.mp4"), frames=tmp_path, classes=CLASSES)


def test_the_fingerprint_follows_what_decides_and_nothing_else():
    def clip(**changes) -> Video:
        values = {"name": "Run/a.mp4", "file": Path("x"), "label": 0, "group": "g", "frames": 9, "sha256": "aa"}
        return Video(**values | changes)

    extract = {"short_side": 72, "fps": 12.5}
    first = fingerprint([[clip()], [clip(name="Run/b.mp4")]], extract=extract)
    assert len(first) == 64
    assert int(first, 16)
    assert fingerprint([[clip(file=Path("y"))], [clip(name="Run/b.mp4")]], extract=dict(extract)) == first
    others = [
        fingerprint([[clip(sha256="ab")], [clip(name="Run/b.mp4")]], extract=extract),
        fingerprint([[clip(label=1)], [clip(name="Run/b.mp4")]], extract=extract),
        fingerprint([[clip(name="Run/b.mp4")], [clip()]], extract=extract),
        fingerprint([[clip(), clip(name="Run/b.mp4")], []], extract=extract),
        fingerprint([[clip()], [clip(name="Run/b.mp4")]], extract=extract | {"fps": 25}),
    ]
    assert len({first, *others}) == 6


def test_settings_that_a_power_cut_has_emptied_are_no_frames(tmp_path):
    (tmp_path / "settings.json").touch()
    with pytest.raises(UserError, match="no frames; run `dvc repro extract_frames`"):
        check_settings(tmp_path, extract={"fps": 25.0})
