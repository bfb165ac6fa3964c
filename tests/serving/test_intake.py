"""What a request may bring: limits on size, pixels, length and time, and the one folder whose files may be named."""

from __future__ import annotations

import base64
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from src.serving.intake import FOLDER, Limits, RequestError, frames_within, video_of
from src.video.decode import UnreadableVideoError
from tests.video import clips

LIMITS = Limits(megabytes=1.0, pixels=64 * 48, seconds=2.0, patience=60.0)


def asked(request: dict, limits: Limits = LIMITS, *, short_side: int = 48) -> list[int]:
    """The numbers of the frames that are decoded for a request, at 25 a second."""
    with video_of(request, limits) as path:
        return clips.numbers(frames_within(path, limits, short_side=short_side, fps=25))


def base64_of(file: Path) -> dict[str, str]:
    return {"video": base64.b64encode(file.read_bytes()).decode()}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return clips.write(tmp_path / "folder" / "clip.mp4", clips.numbered(10))


def test_a_video_within_the_limits_is_decoded_and_leaves_nothing(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert asked(base64_of(clip)) == list(range(10))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize("request_", [{}, {"video": ""}, {"video": None}, {"video": 7}, {"video": "a", "path": "b"}])
def test_exactly_one_video_is_asked_for(request_):
    with pytest.raises(RequestError, match="expected a video: either `video`, the file as base64, or `path`"):
        asked(request_)


def test_text_is_no_video():
    with pytest.raises(RequestError, match="`video` is not base64"):
        asked({"video": "a video, please"})
    with pytest.raises(UnreadableVideoError, match="Invalid data"):
        asked({"video": base64.b64encode(b"a video, please").decode()})


def test_a_list_of_other_files_is_no_video(clip):
    listing = clip.with_name("list.mp4")
    listing.write_text("ffconcat version 1.0\nfile clip.mp4\n")
    with pytest.raises(UnreadableVideoError, match="a list of others"):
        asked(base64_of(listing))


def test_what_is_too_large_is_refused_before_it_is_looked_at(clip, monkeypatch):
    monkeypatch.setenv(FOLDER, str(clip.parent))
    with pytest.raises(RequestError, match=r"the video has 1\.5 MB, and at most 1 are taken"):
        asked({"video": "?" * 2_000_000})
    tight = replace(LIMITS, megabytes=clip.stat().st_size / 1e6 - 1e-6)
    for request in (base64_of(clip), {"path": clip.name}):
        with pytest.raises(RequestError, match="are taken"):
            asked(request, tight)
    exact = replace(LIMITS, megabytes=clip.stat().st_size / 1e6)
    assert len(asked(base64_of(clip), exact)) == 10


def test_what_the_container_says_is_looked_at_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("src.serving.intake.read_frames", lambda *_, **__: pytest.fail("decoded"))
    long = clips.write(tmp_path / "long.mp4", clips.numbered(5), times=[0, 1000, 2000, 3000, 4000])
    with pytest.raises(RequestError, match="longer than the 2 seconds"):
        asked(base64_of(long))
    wide = clips.write(tmp_path / "wide.mp4", clips.numbered(5, width=96))
    with pytest.raises(RequestError, match="96×48 pixels, and at most 3,072 are taken"):
        asked(base64_of(wide))


def test_where_the_container_says_nothing_or_lies_what_is_decoded_counts(tmp_path):
    long = clips.write(tmp_path / "long.h264", clips.numbered(20) * 4)  # a bare stream, without any header
    with pytest.raises(RequestError, match="longer than the 2 seconds"):
        asked(base64_of(long))


def test_what_takes_too_long_is_given_up_also_where_nothing_is_on_screen(tmp_path):
    brief = clips.write(tmp_path / "brief.mkv", clips.numbered(20), times=list(range(20)))  # all within one tick
    with video_of(base64_of(brief), LIMITS) as path, pytest.raises(RequestError, match="more than the 60 seconds"):
        list(frames_within(path, LIMITS, short_side=48, fps=25, until=time.monotonic()))


def test_a_picture_that_would_become_a_large_one_is_refused(tmp_path):
    narrow = clips.write(tmp_path / "narrow.mp4", clips.numbered(3, width=400, height=16))
    with pytest.raises(RequestError, match="400×16 pixels are more than 10 times as long as wide"):
        asked(base64_of(narrow), replace(LIMITS, pixels=10_000))


def test_without_a_folder_no_path_is_taken(clip, monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    with pytest.raises(RequestError, match="this server takes none"):
        asked({"path": str(clip)})


def test_only_files_below_the_folder_may_be_named(clip, tmp_path, monkeypatch):
    folder = clip.parent
    monkeypatch.setenv(FOLDER, str(folder))
    assert len(asked({"path": "clip.mp4"})) == len(asked({"path": str(clip)})) == 10
    outside = clips.write(tmp_path / "outside.mp4", clips.numbered(10))
    (folder / "link.mp4").symlink_to(outside)
    (folder / "inner").mkdir()
    (folder / "inner" / "link.mp4").symlink_to(clip)
    (tmp_path / "folder-beside").mkdir()
    (tmp_path / "folder-beside" / "clip.mp4").write_bytes(clip.read_bytes())
    os.mkfifo(folder / "pipe.mp4")
    assert len(asked({"path": "inner/link.mp4"})) == 10  # a link, but not out of it
    for path in (
        *("../outside.mp4", str(outside), "link.mp4", "inner", "inner/../../outside.mp4", "pipe.mp4", "none.mp4"),
        *(str(tmp_path / "folder-beside" / "clip.mp4"), "clip.mp4\0", "x" * 5000, "/etc/passwd", "/dev/zero"),
    ):
        with pytest.raises(RequestError, match="there is no file") as refused:
            asked({"path": path})
        assert str(tmp_path) not in str(refused.value).replace(repr(path), "")
