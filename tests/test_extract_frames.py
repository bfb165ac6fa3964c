"""data/raw → data/frames with the files that people really have: refused by name, or read; once, and never half."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from src import extract_frames, tables
from src.command import UserError
from src.video import extraction, manifest, store
from src.video.manifest import frame_file
from tests.bare_checkout import bare_checkout
from tests.video import clips

SETTINGS = {"short_side": 24, "fps": 12.5, "quality": 90}
HEVC = {"x265-params": "log-level=none:pools=1"}

Row = dict[str, str]


def extract(raw: Path, names: Iterable[str] | None = None, **changes) -> dict[str, Row]:
    """Extract beside `raw`, into `frames`, and return the manifest by name of the video."""
    found = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.*"))
    rows = extract_frames.extract(
        sorted(found if names is None else names),
        raw=raw,
        frames=raw.parent / "frames",
        **({"processes": 2, "limit": 60} | SETTINGS | changes),
    )
    assert tables.read(raw.parent / "frames" / "manifest.csv") == rows
    return {row["video"]: row for row in rows}


def good(raw: Path, *names: str, first: int = 0) -> list[str]:
    """Videos of ten numbered frames at 25 a second, of which every other one is kept."""
    for number, name in enumerate(names):
        frames = clips.numbered(31)[first + number : first + number + 10]
        clips.write(raw / name, frames, codec="mpeg4" if name.endswith("avi") else "libx264")
    return list(names)


def here(function, items, **_):
    """`parallel.each` without processes: quick, and it can be watched."""
    return ((item, function(item)) for item in items)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file stands under each name, and when it was written."""
    return {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.avi")}


# Eight hostile files


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    raw = tmp_path_factory.mktemp("hostile") / "raw"
    good(raw, "Good/plain.mp4")
    noise = list(np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8))
    clips.cut(clips.write(raw / "Bad/truncated.mp4", noise), 0.7)
    clips.cut(clips.write(raw / "Bad/truncated_web.mp4", noise, container={"movflags": "faststart"}), 0.7)
    clips.cut(clips.write(raw / "Bad/truncated_header.mp4", noise, container={"movflags": "faststart"}), 0.01)
    (raw / "Bad" / "empty.mp4").touch()
    (raw / "Bad" / "text.avi").write_text("This is not a video.\n" * 50)
    clips.write_sound(raw / "Bad" / "sound.mp4")
    clips.write(raw / "Odd/one.mp4", clips.numbered(6)[5:])
    clips.write(raw / "Odd/ten_bits.mp4", clips.numbered(20), codec="libx265", pixels="yuv420p10le", options=HEVC)
    times = [0, 40, 80, 200, 240, 280]  # the phone held frame 2 for 120 ms
    clips.turn(clips.write(raw / "Odd/phone.mp4", clips.numbered(6), times=times), 90)
    clips.write(raw / "Odd/odd.webm", clips.numbered(10, width=65, height=49), codec="libvpx-vp9")
    return raw


@pytest.fixture(scope="module")
def rows(hostile) -> dict[str, Row]:
    return extract(hostile)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Bad/truncated.mp4", "Invalid data found when processing input"),
        ("Bad/truncated_web.mp4", "Invalid data found when processing input"),
        ("Bad/truncated_header.mp4", "End of file"),
        ("Bad/empty.mp4", "the file is empty"),
        ("Bad/text.avi", "Invalid data found when processing input"),
        ("Bad/sound.mp4", "no video stream in it"),
    ],
)
def test_what_cannot_be_read_is_a_line_with_the_reason(hostile, rows, name, reason):
    sha256 = hashlib.sha256((hostile / name).read_bytes()).hexdigest()
    numbers = dict.fromkeys(manifest.COLUMNS, "0")
    assert rows[name] == numbers | {"video": name, "sha256": sha256, "refused": reason}
    assert not (hostile.parent / "frames" / frame_file(name)).exists()


@pytest.mark.parametrize(
    ("name", "numbers", "size"),
    [
        ("Good/plain.mp4", [0, 2, 4, 6, 8], ("24", "32")),
        ("Odd/one.mp4", [5], ("24", "32")),
        ("Odd/ten_bits.mp4", [0, 2, 4, 6, 8, 10, 12, 14, 16, 18], ("24", "32")),
        ("Odd/phone.mp4", [0, 2, 2, 4], ("32", "24")),  # upright; every 80 ms of 320
        ("Odd/odd.webm", [0, 2, 4, 6, 8], ("24", "32")),
    ],
)
def test_what_can_be_read_has_its_frames_counted(hostile, rows, name, numbers, size):
    row = rows[name]
    assert (row["frames"], row["refused"]) == (str(len(numbers)), "")
    assert (row["height"], row["width"]) == size
    frames = store.read(hostile.parent / "frames" / frame_file(name), range(len(numbers)))
    assert clips.numbers(frames) == numbers
    assert frames.shape[1:3] == (int(row["height"]), int(row["width"]))


def test_nothing_is_left_that_belongs_to_no_video(hostile, rows):
    frames = hostile.parent / "frames"
    left = {path.relative_to(frames).as_posix() for path in frames.rglob("*") if path.is_file()}
    assert left == {frame_file(name) for name in rows if not rows[name]["refused"]} | {"manifest.csv", "settings.json"}


def test_a_refused_test_video_stays_in_the_listed_count(hostile, rows, tmp_path):
    listing = [{"video": name, "label": "Any", "group": name} for name in rows]
    tables.write(tmp_path / "test.csv", listing, columns=["video", "label", "group"])
    found, listed = manifest.videos(tmp_path / "test.csv", frames=hostile.parent / "frames", classes=["Any"])
    assert (len(found), listed) == (5, 11)
    assert {video.name: video.frames for video in found}["Odd/phone.mp4"] == 4


def test_videos_with_what_decoders_trip_over(tmp_path):
    raw = tmp_path / "raw"
    future = clips.write(raw / "Walk" / "future.mp4", clips.numbered(3))
    future.write_bytes(future.read_bytes().replace(b"avc1", b"h999"))
    title = clips.write(raw / "Walk" / "title.avi", clips.numbered(3), codec="mpeg4", metadata={"title": "Cafe"})
    title.write_bytes(title.read_bytes().replace(b"Cafe", b"Caf\xe9"))
    (raw / "Walk" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (raw / "Walk" / "folder.mp4").mkdir()
    found = extract(raw)
    assert {name: (row["frames"], row["refused"]) for name, row in found.items()} == {
        "Walk/folder.mp4": ("0", "Is a directory"),
        "Walk/future.mp4": ("0", "its codec is unknown"),
        "Walk/gone.mp4": ("0", "the file is gone"),
        "Walk/title.avi": ("2", ""),
    }


def kill_the_worker(task, **_):
    """In the place of a decoder that crashes on one file."""
    if task[0] == "Walk/b.mp4":
        os.kill(os.getpid(), signal.SIGKILL)
    return extraction.refused(task[0], "", "")


def test_a_file_that_kills_the_decoder_is_named_and_the_others_are_done(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "extract_one", kill_the_worker)
    found = extract(tmp_path / "raw", ["Walk/a.mp4", "Walk/b.mp4", "Walk/c.mp4"])
    assert {name: row["refused"] for name, row in found.items()} == {
        "Walk/a.mp4": "",
        "Walk/b.mp4": "the decoder crashed on it",
        "Walk/c.mp4": "",
    }


# on_error


def lines(*names: str, refused: str = "") -> list[Row]:
    return [{"video": name, "refused": refused} for name in names]


def test_without_a_refused_video_there_is_nothing_to_say(capsys):
    extract_frames.check(lines("Walk/a.mp4", "Run/b.mp4"), on_error="fail")
    assert capsys.readouterr().out == ""


def test_fail_stops_and_says_how_to_go_on(capsys):
    with pytest.raises(UserError) as refused:
        extract_frames.check(lines("Walk/a.mp4", "Run/b.mp4") + lines("Run/c.mp4", refused="empty"), on_error="fail")
    assert str(refused.value) == (
        "1 of 3 videos could not be read (named above); mend or remove them, "
        "or go on without them: extract.on_error: skip"
    )
    assert capsys.readouterr().out == "refused: Run/c.mp4: empty\n"


def test_skip_goes_on_and_still_names_them(capsys):
    extract_frames.check(lines("Walk/a.mp4", "Run/b.mp4") + lines("Run/c.mp4", refused="empty"), on_error="skip")
    assert capsys.readouterr().out == "refused: Run/c.mp4: empty\n"


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_class_that_loses_all_its_videos_stops_it(on_error):
    rows = lines("Walk/a.mp4") + lines("Run/b.mp4", "Run/c.mp4", "Jump/d.mp4", refused="empty")
    with pytest.raises(UserError, match=r"class Jump, Run has lost all its videos"):
        extract_frames.check(rows, on_error=on_error)


# Only what has changed


@pytest.fixture
def raw(tmp_path: Path, monkeypatch) -> Path:
    """Three videos, extracted already; further extractions run in this process."""
    monkeypatch.setattr("src.parallel.each", here)
    good(tmp_path / "raw", "Run/a.mp4", "Run/b.mp4", "Walk/c.mp4")
    extract(tmp_path / "raw")
    return tmp_path / "raw"


def test_a_second_run_extracts_nothing(raw):
    frames = raw.parent / "frames"
    before, table = stamps(frames), (frames / "manifest.csv").read_bytes()
    rows = extract(raw)
    assert stamps(frames) == before
    assert (frames / "manifest.csv").read_bytes() == table
    assert [row["frames"] for row in rows.values()] == ["5", "5", "5"]


def test_a_changed_source_is_extracted_alone(raw):
    before = stamps(raw.parent / "frames")
    clips.write(raw / "Run" / "b.mp4", clips.numbered(31)[20:])
    rows = extract(raw)
    after = stamps(raw.parent / "frames")
    assert [name for name in after if after[name] != before[name]] == ["b"]
    assert rows["Run/b.mp4"]["frames"] == "6"
    assert clips.numbers(store.read(raw.parent / "frames/Run/b.avi", range(6))) == [20, 22, 24, 26, 28, 30]


def test_a_source_that_was_touched_and_not_changed_is_kept(raw):
    before = stamps(raw.parent / "frames")
    os.utime(raw / "Run" / "b.mp4")
    extract(raw)
    assert stamps(raw.parent / "frames") == before


def test_an_added_source_is_extracted_alone(raw):
    before = stamps(raw.parent / "frames")
    good(raw, "Walk/d.mp4")
    assert len(extract(raw)) == 4
    assert stamps(raw.parent / "frames").items() > before.items()


def test_a_removed_source_takes_its_frames_with_it(raw):
    (raw / "Run" / "b.mp4").unlink()
    assert extract(raw).keys() == {"Run/a.mp4", "Walk/c.mp4"}
    assert stamps(raw.parent / "frames").keys() == {"a", "c"}


def test_a_source_that_broke_takes_its_frames_with_it(raw):
    (raw / "Run" / "b.mp4").write_bytes(b"")
    assert extract(raw)["Run/b.mp4"]["refused"] == "the file is empty"
    assert stamps(raw.parent / "frames").keys() == {"a", "c"}


def test_a_source_that_was_mended_is_tried_again(raw):
    whole = (raw / "Run" / "b.mp4").read_bytes()
    (raw / "Run" / "b.mp4").write_bytes(whole[:100])
    assert extract(raw)["Run/b.mp4"]["refused"]
    (raw / "Run" / "b.mp4").write_bytes(whole)
    assert extract(raw)["Run/b.mp4"]["frames"] == "5"


def test_lost_frames_are_extracted_again(raw):
    before = stamps(raw.parent / "frames")
    (raw.parent / "frames" / "Run" / "b.avi").unlink()
    extract(raw)
    after = stamps(raw.parent / "frames")
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == ["b"]


def test_a_video_that_comes_back_in_another_container_is_another_video(raw):
    (raw / "Run" / "b.mp4").unlink()
    good(raw, "Run/b.avi", first=8)
    rows = extract(raw)
    assert rows.keys() == {"Run/a.mp4", "Run/b.avi", "Walk/c.mp4"}
    assert clips.numbers(store.read(raw.parent / "frames/Run/b.avi", [0])) == [8]


@pytest.mark.parametrize("changes", [{"fps": 25}, {"short_side": 16}, {"quality": 50}])
def test_other_settings_extract_everything_again(raw, changes):
    before = stamps(raw.parent / "frames")
    extract(raw, **changes)
    assert all(after != before[name] for name, after in stamps(raw.parent / "frames").items())


def test_other_code_extracts_everything_again(raw, monkeypatch):
    before = stamps(raw.parent / "frames")
    monkeypatch.setattr(extraction, "version", lambda: "newer")
    extract(raw)
    assert all(after != before[name] for name, after in stamps(raw.parent / "frames").items())


# Interrupted


def interrupt_after(count: int):
    """In the place of `parallel.each`: Ctrl-C after `count` videos."""

    def each(function, items, **_):
        yield from here(function, items[:count])
        raise KeyboardInterrupt

    return each


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch):
    raw, frames = tmp_path / "raw", tmp_path / "frames"
    names = good(raw, "Run/a.mp4", "Run/b.mp4", "Walk/c.mp4")
    monkeypatch.setattr("src.parallel.each", interrupt_after(2))
    with pytest.raises(KeyboardInterrupt):
        extract(raw)
    assert [row["video"] for row in tables.read(frames / "manifest.csv")] == names[:2]
    before = stamps(frames)
    assert before.keys() == {"a", "b"}
    monkeypatch.setattr("src.parallel.each", here)
    assert list(extract(raw)) == names
    assert stamps(frames).items() > before.items()


def test_ctrl_c_of_a_second_run_keeps_what_the_first_one_did(raw, monkeypatch):
    before = stamps(raw.parent / "frames")
    monkeypatch.setattr("src.parallel.each", interrupt_after(1))
    with pytest.raises(KeyboardInterrupt):
        extract(raw)
    monkeypatch.setattr("src.parallel.each", here)
    extract(raw)
    assert stamps(raw.parent / "frames") == before


def extract_and_die(raw: Path, monkeypatch: pytest.MonkeyPatch, *, after: int, **changes) -> None:
    """As when the power fails: nothing tidies up, and no manifest is written any more."""
    with monkeypatch.context() as dying:
        dying.setattr("src.parallel.each", interrupt_after(after))
        dying.setattr(extract_frames, "_save", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            extract(raw, **changes)
    monkeypatch.setattr("src.parallel.each", here)


@pytest.mark.parametrize(("fps", "frames"), [(12.5, "5"), (25, "10")])
def test_a_dead_runs_notes_vouch_for_frames_of_the_same_settings_that_are_there(tmp_path, monkeypatch, fps, frames):
    raw = tmp_path / "raw"
    names = good(raw, "Run/a.mp4", "Walk/b.mp4", "Walk/c.mp4")
    extract_and_die(raw, monkeypatch, after=2)
    assert [row["video"] for row in extraction.noted(tmp_path / "frames")] == names[:2]
    (tmp_path / "frames/Walk/b.avi").unlink()  # its worker died after the note
    assert [row["frames"] for row in extract(raw, fps=fps).values()] == [frames] * 3
    assert stamps(tmp_path / "frames").keys() == {"a", "b", "c"}


def test_ctrl_c_before_the_manifest_has_taken_a_dead_runs_notes_over_keeps_them(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    good(raw, "Run/a.mp4", "Walk/b.mp4", "Walk/c.mp4")
    extract_and_die(raw, monkeypatch, after=2)
    before = stamps(tmp_path / "frames")

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(os, "sync", interrupted)  # which takes minutes where gigabytes wait for the disk
        with pytest.raises(KeyboardInterrupt):
            extract(raw)
    extract(raw)
    assert stamps(tmp_path / "frames").items() > before.items()


def test_frames_of_other_settings_are_never_taken_for_these(raw, monkeypatch):
    """The power fails in mid-change of the settings."""
    good(raw, "Run/a.mp4", "Run/b.mp4", "Walk/c.mp4")
    extract_and_die(raw, monkeypatch, after=2, fps=25)
    assert [row["frames"] for row in extract(raw, fps=25).values()] == ["10", "10", "10"]


def test_settings_that_were_cut_off_by_a_full_disk_are_no_settings(raw):
    before = stamps(raw.parent / "frames")
    (raw.parent / "frames" / "settings.json").write_text('{"short')
    extract(raw)
    assert all(after != before[name] for name, after in stamps(raw.parent / "frames").items())


def test_what_a_killed_run_left_unfinished_is_cleared(raw):
    unfinished = raw.parent / "frames" / "Run" / ".b.avi.12345"
    unfinished.write_bytes(b"RIFF")
    before = stamps(raw.parent / "frames")
    extract(raw)
    assert not unfinished.exists()
    assert stamps(raw.parent / "frames") == before


# The command


def stage(path: Path, names: Iterable[str]):
    """A checkout in `path` whose data/videos.csv lists `names`, and the settings of the tests."""
    checkout = bare_checkout(path)
    rows = [{"video": name, "label": name.split("/")[0], "group": name, "part": ""} for name in names]
    tables.write(path / "data" / "videos.csv", rows, columns=["video", "label", "group", "part"])
    values = SETTINGS | {"on_error": "fail"}
    settings = [*(f"extract.{key}={value}" for key, value in values.items()), "runtime.cores=1", "model.crop=16"]
    checkout.run("python", "-m", "src.params", "apply", *(part for each in settings for part in ("--set", each)))
    return checkout


def test_the_command_does_all_others_before_it_fails(tmp_path):
    names = ["Run/a.mp4", "Run/b.mp4", "Walk/c.mp4"]
    checkout = stage(tmp_path / "project", names)
    data = checkout.path / "data"
    good(data / "raw", *names)
    (data / "raw" / "Run" / "a.mp4").write_bytes(b"")

    failed = checkout.run("python", "-m", "src.extract_frames", check=False)
    assert failed.returncode == 1
    assert failed.stdout.splitlines() == [
        f"data/frames: 2 of 3 videos, 10 frames, {size(data / 'frames'):.2g} GB",
        "refused: Run/a.mp4: the file is empty",
    ]
    assert re.fullmatch(r"error: 1 of 3 videos could not be read \(named above\); .*\n", failed.stderr)
    before = stamps(data / "frames")
    assert before.keys() == {"b", "c"}

    code = "import src.extract_frames as stage, sys; stage.main(); print({'torch', 'mlflow'} & set(sys.modules))"
    skipped = checkout.run("python", "-c", code, "--set", "extract.on_error=skip")
    assert skipped.stdout.splitlines() == [*failed.stdout.splitlines(), "set()"]
    assert stamps(data / "frames") == before

    (data / "raw" / "Walk" / "c.mp4").unlink()
    lost = checkout.run("python", "-m", "src.extract_frames", "--set", "extract.on_error=skip", check=False)
    assert lost.returncode == 1
    assert lost.stderr == "error: class Walk has lost all its videos (named above); mend or replace them\n"


def size(frames: Path) -> float:
    """Of all frame files, in GB."""
    return sum(path.stat().st_size for path in frames.rglob("*.avi")) / 1e9


def test_a_full_disk_ends_it_in_one_line_and_keeps_what_is_done(tmp_path):
    names = ["Run/a.mp4", "Run/b.mp4", "Walk/large.mp4"]
    checkout = stage(tmp_path / "project", names)
    data = checkout.path / "data"
    good(data / "raw", *names[:2])
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    clips.write(data / "raw" / names[2], list(noise))
    # No file may grow beyond 20 kB, which two of the three stay below: a disk of one's own that is full, without root.
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    code += "from src import command, extract_frames; command.run(extract_frames.main)"
    full = checkout.run("env", "PYTHONDONTWRITEBYTECODE=1", "python", "-c", code, check=False)
    assert full.returncode == 1
    assert full.stdout == ""
    assert full.stderr == (
        f"error: file too large in {data / 'frames' / 'Walk'}; make room, and the same command goes on from here\n"
    )
    left = {path.relative_to(data / "frames").as_posix() for path in (data / "frames").rglob("*") if path.is_file()}
    assert left == {"Run/a.avi", "Run/b.avi", "manifest.csv", "settings.json"}
    assert [row["video"] for row in tables.read(data / "frames" / "manifest.csv")] == names[:2]
    before = stamps(data / "frames")
    checkout.run("python", "-m", "src.extract_frames")
    assert stamps(data / "frames").items() > before.items()


def test_kill_9_in_mid_extraction_loses_nothing_that_was_done(tmp_path):
    names = [*(f"Run/{letter}.mp4" for letter in "abcd"), "Walk/z.mp4"]
    checkout = stage(tmp_path / "project", names)
    data = checkout.path / "data"
    good(data / "raw", *names[:-1])
    (data / "raw" / "Walk").mkdir()
    os.mkfifo(data / "raw" / names[-1])  # whoever opens it waits for ever
    running = subprocess.Popen(["python", "-m", "src.extract_frames"], cwd=checkout.path, env=checkout.env)
    try:
        wait_for_frames(data / "frames", count=len(names) - 1)
    finally:
        running.kill()
        running.wait()
    before = stamps(data / "frames")
    (data / "raw" / names[-1]).unlink()
    good(data / "raw", names[-1])
    done = checkout.run("python", "-m", "src.extract_frames")
    assert done.stdout.startswith("data/frames: 5 of 5 videos, 25 frames, ")
    assert stamps(data / "frames").items() > before.items()


def wait_for_frames(frames: Path, *, count: int, patience: float = 300.0) -> None:
    end = time.monotonic() + patience
    while len(extraction.noted(frames)) < count:
        assert time.monotonic() < end, f"{frames} never held {count} videos"
        time.sleep(0.05)


# A time for each file


def test_a_video_that_takes_too_long_is_refused_by_name_and_the_others_are_done(tmp_path, monkeypatch):
    monkeypatch.setattr("src.parallel.each", here)
    clock = SimpleNamespace(monotonic=itertools.count(step=0.4).__next__)  # seconds from frame to frame
    monkeypatch.setattr(extraction, "time", clock)
    raw = tmp_path / "raw"
    good(raw, "Run/a.mp4", "Walk/c.mp4")  # five frames each
    clips.write(raw / "Run" / "long.mp4", clips.numbered(31))
    found = extract(raw, limit=5)
    assert {name: (row["frames"], row["refused"]) for name, row in found.items()} == {
        "Run/a.mp4": ("5", ""),
        "Run/long.mp4": ("0", "not read within 5 s (extract.time_limit)"),
        "Walk/c.mp4": ("5", ""),
    }
    assert stamps(tmp_path / "frames").keys() == {"a", "c"}


def test_a_file_in_which_the_decoder_hangs_is_given_up_and_the_others_are_done(tmp_path):
    raw = tmp_path / "raw"
    good(raw, "Run/a.mp4", "Walk/c.mp4")
    os.mkfifo(raw / "Run" / "hangs.mp4")  # whoever opens it waits for ever
    found = extract(raw, limit=5)  # so much that a slow machine reads the others in time
    assert {name: (row["frames"], row["refused"]) for name, row in found.items()} == {
        "Run/a.mp4": ("5", ""),
        "Run/hangs.mp4": ("0", "not read within 5 s (extract.time_limit)"),
        "Walk/c.mp4": ("5", ""),
    }


# What the files turned out to be


def test_the_manifest_says_what_each_original_was(tmp_path):
    raw = tmp_path / "raw"
    clips.write(raw / "Run" / "a.mp4", clips.numbered(10, width=80, height=60), rate=20)
    clips.turn(clips.write(raw / "Run" / "phone.mp4", clips.numbered(6)), 90)
    found = extract(raw)
    assert {name: {key: row[key] for key in manifest.COLUMNS[4:10]} for name, row in found.items()} == {
        "Run/a.mp4": {
            "seconds": "0.500",
            "source_height": "60",
            "source_width": "80",
            "source_fps": "20.000",
            "source_frames": "10",
            "header_frames": "10",
        },
        "Run/phone.mp4": {
            "seconds": "0.240",
            "source_height": "48",
            "source_width": "64",
            "source_fps": "25.000",
            "source_frames": "6",
            "header_frames": "6",
        },
    }


def test_what_is_odd_is_said_in_a_line_each():
    def row(size: int, fps: str, claimed: str, sha256: str) -> Row:
        source = {"source_width": str(size), "source_height": "240", "source_fps": fps, "source_frames": "80"}
        return source | {"header_frames": claimed, "sha256": sha256}

    alike = [row(320, "25.000", "80", "a"), row(320, "25.000", "0", "b")]
    assert extract_frames.remarks(alike) == []
    odd = [row(400, "29.970", "79", "c"), row(320, "25.000", "81", "a"), row(320, "25.000", "80", "a")]
    assert extract_frames.remarks(alike + odd) == [
        "the videos have 2 sizes: 320×240 in 4, 400×240 in 1",
        "the videos have 2 rates: 25 fps in 4, 29.97 fps in 1",
        "2 videos hold another number of frames than their header claims",
        "2 videos are byte-identical to another one",
    ]


# What workers had done and not handed in


def test_ctrl_c_keeps_also_what_was_not_handed_in(tmp_path, monkeypatch):
    raw, frames = tmp_path / "raw", tmp_path / "frames"
    names = good(raw, "Run/a.mp4", "Run/b.mp4", "Walk/c.mp4")

    def each(function, items, **_):
        """Two are done, and Ctrl-C comes when one has been told of."""
        done = [(item, function(item)) for item in items[:2]]
        yield done[0]
        raise KeyboardInterrupt

    monkeypatch.setattr("src.parallel.each", each)
    with pytest.raises(KeyboardInterrupt):
        extract(raw)
    assert [row["video"] for row in tables.read(frames / "manifest.csv")] == names[:2]


def test_what_a_power_cut_has_emptied_is_done_again(raw):
    frames = raw.parent / "frames"
    note = frames / extraction.ROWS / "Run" / "a.avi.json"
    note.parent.mkdir(parents=True)
    note.touch()
    (frames / "Run" / "b.avi").write_bytes(b"")
    before = stamps(frames)
    extract(raw)
    after = stamps(frames)
    assert [name for name in after if after[name] != before[name]] == ["b"]
    assert clips.numbers(store.read(frames / "Run" / "b.avi", [0])) == [1]


# Workers on other machines


def test_a_worker_with_other_code_is_refused(raw, monkeypatch):
    clips.write(raw / "Run" / "b.mp4", clips.numbered(31)[20:])
    seen = iter(["here", "there"])
    monkeypatch.setattr(extraction, "version", lambda: next(seen))
    with pytest.raises(UserError, match=r"runtime\.cluster: a worker runs other code"):
        extract(raw)


def test_what_a_worker_had_done_before_it_died_is_not_done_again(raw):
    frames = raw.parent / "frames"
    task, settings = ("Run/b.mp4", None), {"raw": raw, "frames": frames, "limit": 60, "made_by": extraction.version()}
    row = extraction.extract_one(task, **settings, **SETTINGS)
    before = stamps(frames)
    assert extraction.extract_one(task, **settings, **SETTINGS) == row
    assert stamps(frames) == before
    (frames / "Run" / "b.avi").unlink()
    assert extraction.extract_one(task, **settings, **SETTINGS) == row
    assert (frames / "Run" / "b.avi").exists()
