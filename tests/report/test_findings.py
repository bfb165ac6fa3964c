"""Tables with known faults → the lines that name them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src import tables
from src.command import UserError
from src.report.findings import UNDIVIDED, UNUSED, Clip, Finding, findings, identical, rates, read, sizes
from src.video.manifest import COLUMNS, frame_file

EXTRACT = {"short_side": 72, "fps": 12.5, "quality": 90}


def clip(label: str, group: int, number: int = 1, *, side: str = "train", **changes) -> Clip:
    """A video of 8 s, as ordinary as can be."""
    name = f"{label}/g{group}_{number}.mp4"
    usual = {"frames": 100, "seconds": 8.0, "size": "320×240", "rate": 25.0, "decoded": 200, "claimed": 200}
    return Clip(name, label, f"{label}{group}", side, **(usual | {"sha256": name} | changes))


def ordinary() -> list[Clip]:
    """Two classes of twelve groups, four on each side, about which there is nothing to say."""
    sides = ["train", "val", "test"] * 4
    return [clip(label, group, side=side) for label in ("Run", "Walk") for group, side in enumerate(sides)]


def said(clips: list[Clip], *, clip_frames: int = 31) -> dict[str, Finding]:
    """Every finding, by its text."""
    return {finding.text: finding for finding in findings(clips, clip_frames=clip_frames, fps=12.5)}


def only(clips: list[Clip], **settings: int) -> Finding:
    """The one finding that there is."""
    (finding,) = said(clips, **settings).values()
    return finding


# Lines that need attention


def test_ordinary_videos_need_no_attention():
    assert said(ordinary()) == {}


def test_what_cannot_be_read_is_a_problem_with_its_reason():
    refused = Clip("Run/x.mp4", "Run", "Run0", "train", refused="the file is empty")
    assert only([*ordinary(), refused]) == Finding(
        "1 video that cannot be read", ["Run/x.mp4 (the file is empty)"], problem=True
    )


def test_identical_files_are_a_note_on_one_side_and_a_problem_across():
    same = [clip("Run", 0, 8, sha256="a"), clip("Run", 0, 9, sha256="a")]
    assert only([*ordinary(), *same]) == Finding(
        "2 videos byte-identical to another one", ["Run/g0_8.mp4 = Run/g0_9.mp4"], problem=False
    )
    across = [
        clip("Walk", 0, 3, sha256="b"),
        clip("Walk", 0, 4, sha256="b"),
        clip("Walk", 2, 5, sha256="b", side="test"),
    ]
    assert only([*ordinary(), *same, *across]) == Finding(
        "5 videos byte-identical to another one, 3 of them across train and test",
        ["Walk/g0_3.mp4 = Walk/g0_4.mp4 = Walk/g2_5.mp4", "Run/g0_8.mp4 = Run/g0_9.mp4"],
        problem=True,
    )


def test_a_file_that_is_unused_elsewhere_does_not_leak():
    same = [clip("Run", 0, 8, sha256="a"), clip("Run", 0, 9, sha256="a", side=UNUSED)]
    assert not said([*ordinary(), *same])["2 videos byte-identical to another one"].problem


def test_one_file_under_two_classes_is_a_problem():
    found = said([*ordinary(), clip("Run", 0, 8, sha256="a"), clip("Walk", 0, 9, sha256="a")])
    assert found["1 file under two classes"] == Finding(
        "1 file under two classes", ["Run/g0_8.mp4 = Walk/g0_9.mp4"], problem=True
    )


def test_a_group_on_two_sides_is_a_problem():
    torn = [clip("Run", 0, number, side=side) for number, side in ((7, "test"), (8, "val"), (9, "train"))]
    assert only([*ordinary(), *torn]) == Finding(
        "1 group on more than one side of the split", ["Run0 (train, val and test)"], problem=True
    )


def test_a_class_that_is_lost_on_a_side_is_a_problem():
    kept = [each for each in ordinary() if (each.label, each.side) != ("Walk", "val")]
    assert said(kept)["1 class without a readable video in val"] == Finding(
        "1 class without a readable video in val", ["Walk"], problem=True
    )
    broken = Clip("Walk/x.mp4", "Walk", "Walk1", "val", refused="no video stream in it")
    assert "1 class without a readable video in val" in said([*kept, broken])


def test_few_groups_are_named_for_classes_and_for_sides():
    few = [clip("Jump", group, n, side=("train", "val", "test")[group]) for group in range(3) for n in range(3)]
    assert only([*ordinary(), *few]) == Finding("1 class with 4 groups or fewer", ["Jump (3 groups)"])
    lone = [each for each in ordinary() if each.side != "val"] + [
        clip(label, 99, side="val") for label in ("Run", "Walk")
    ]
    assert only(lone) == Finding("only 2 groups in val", ["Run99", "Walk99"])


def test_videos_on_no_side_are_named():
    assert only([*ordinary(), clip("Run", 0, 9, side=UNUSED)]) == Finding(
        "1 video on no side of the split", ["Run/g0_9.mp4"]
    )


def test_a_split_that_is_yet_to_be_made_leaves_nothing_out():
    assert said([clip("Run", group, side=UNDIVIDED) for group in range(9)]) == {}


def test_unknown_groups_are_said_where_each_file_is_its_own():
    alone = [Clip(each.name, each.label, each.name, each.side) for each in ordinary()]
    assert only(alone).text.startswith("no groups are known: ")


def test_uneven_classes_are_named_with_their_sizes():
    more = [clip("Run", group, number) for group in (0, 3) for number in range(2, 14)]
    assert only([*ordinary(), *more]).text == "classes differ in size: Run has 36 videos, Walk has 12"
    assert said([*ordinary(), *more[1:]]) == {}


def test_a_header_that_lies_is_named_and_one_that_is_silent_is_not():
    odd = [clip("Run", 0, 8, claimed=209), clip("Run", 0, 9, claimed=0)]
    assert only([*ordinary(), *odd]) == Finding(
        "1 video whose header lies about the number of frames", ["Run/g0_8.mp4 (says 209, has 200)"]
    )


def test_videos_shorter_than_a_training_clip_are_named():
    short = [clip("Run", 0, 8, frames=30), clip("Run", 0, 9, frames=31)]
    assert only([*ordinary(), *short]) == Finding(
        "1 video shorter than one training clip (31 frames at 12.5 a second, 2.5 s)", ["Run/g0_8.mp4 (30 frames)"]
    )
    assert len(only(ordinary(), clip_frames=101).names) == 24


def test_videos_far_longer_than_usual_are_named():
    assert only([*ordinary(), clip("Run", 0, 8, seconds=80.0), clip("Run", 0, 9, seconds=900.0)]) == Finding(
        "1 video more than 10 times as long as the median (8.0 s)", ["Run/g0_9.mp4 (15.0 minutes)"]
    )


def test_sizes_and_rates_that_differ_are_counted_and_the_rarest_named_first():
    odd = [clip("Run", 0, number, size="176×144") for number in (5, 6)] + [clip("Run", 0, 7, size="64×48")]
    assert only([*ordinary(), *odd]) == Finding(
        "sizes differ: 320×240 in 89 %, 176×144 in 7 %, 64×48 in 4 %",
        ["Run/g0_7.mp4 (64×48)", "Run/g0_5.mp4 (176×144)", "Run/g0_6.mp4 (176×144)"],
    )
    rare = [clip("Run", 0, 20 + number, rate=rate) for number, rate in enumerate((29.97, 30, 50, 15))]
    assert (
        only([*ordinary(), *rare]).text == "rates differ: 25 fps in 86 %, 15 fps in 4 %, 29.97 fps in 4 %, and 2 more"
    )
    slow = said([*ordinary(), clip("Run", 0, 9, rate=10.0)])
    assert slow["1 video with fewer than extract.fps 12.5 frames a second"].names == ["Run/g0_9.mp4 (10)"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (1, "a"), (3, "a, b, c"), (4, "a, b, c, and 1 more"), (2000, "a, b, c, and 1,997 more")],
)
def test_of_many_names_the_first_are_shown(count, text):
    assert Finding("", ["a", "b", "c", *"x" * 2000][:count]).first == text


# What lies behind them


def test_sets_of_identical_files_come_with_those_across_sides_first():
    same = [clip("Run", 0, n, sha256="a") for n in (1, 2)]
    across = [clip("Walk", 0, 1, sha256="b"), clip("Walk", 1, 2, sha256="b", side="val")]
    broken = [Clip(f"Run/{n}.mp4", "Run", "", "train", refused="the file is empty") for n in range(2)]
    assert identical([*same, *across, *broken]) == [across, same]


def test_sizes_and_rates_are_shares_of_all():
    some = [clip("Run", 0, n, size=size) for n, size in enumerate(["9×9", "9×9", "9×9", "8×8"])]
    assert [(each.value, each.part, len(each.names)) for each in sizes(some)] == [("9×9", 0.75, 3), ("8×8", 0.25, 1)]
    assert [each.value for each in rates(some)] == ["25 fps"]


# The tables


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables of three videos that are all there, one to a side."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    names = [f"Run/{name}.mp4" for name in "abc"]
    rows = [{"video": name, "label": "Run", "group": name} for name in names]
    tables.write(data / "videos.csv", rows, columns=["video", "label", "group"])
    for side, row in zip(("train", "val", "test"), rows, strict=True):
        tables.write(data / "splits" / f"{side}.csv", [row], columns=["video", "label", "group"])
    for name in names:
        (data / "frames" / frame_file(name)).parent.mkdir(parents=True, exist_ok=True)
        (data / "frames" / frame_file(name)).touch()
    tables.write(data / "frames" / "manifest.csv", [extracted(name) for name in names], columns=COLUMNS)
    (data / "frames" / "settings.json").write_text(json.dumps(EXTRACT))
    return data


def extracted(name: str) -> dict[str, str]:
    numbers = {"frames": "100", "height": "72", "width": "96", "seconds": "8.000", "source_height": "240"}
    source = {"source_width": "320", "source_fps": "25.000", "source_frames": "200", "header_frames": "207"}
    return {"video": name, **numbers, **source, "sha256": f"sha of {name}", "refused": ""}


def reading(data: Path, **changes: float) -> tuple[list[Clip], list[Finding]]:
    files = {"videos": data / "videos.csv", "splits": data / "splits", "frames": data / "frames"}
    return read(**files, extract=EXTRACT | changes)


def test_tables_are_joined_by_name(data):
    clips, missing = reading(data)
    assert missing == []
    assert [(each.name, each.side) for each in clips] == [
        ("Run/a.mp4", "train"),
        ("Run/b.mp4", "val"),
        ("Run/c.mp4", "test"),
    ]
    measures = {"frames": 100, "seconds": 8.0, "size": "320×240", "rate": 25.0, "decoded": 200, "claimed": 207}
    assert clips[0] == Clip("Run/a.mp4", "Run", "Run/a.mp4", "train", sha256="sha of Run/a.mp4", **measures)


def test_a_refused_video_has_its_reason_and_no_measures(data):
    rows = [extracted("Run/a.mp4") | {"frames": "0", "refused": "the file is empty"}]
    tables.write(data / "frames" / "manifest.csv", rows, columns=COLUMNS)
    assert reading(data)[0][0] == Clip("Run/a.mp4", "Run", "Run/a.mp4", "train", refused="the file is empty")


def test_a_header_that_says_nothing_may_be_an_empty_cell(data):
    rows = [extracted(f"Run/{name}.mp4") | {"header_frames": ""} for name in "abc"]
    tables.write(data / "frames" / "manifest.csv", rows, columns=COLUMNS)
    assert [each.claimed for each in reading(data)[0]] == [0, 0, 0]


def test_what_is_missing_is_named_with_the_command_that_makes_it(data):
    (data / "splits" / "val.csv").unlink()
    assert reading(data)[1] == [Finding("1 table not there; run `dvc repro split`", ["data/splits/val.csv"])]
    (data / "splits" / "train.csv").unlink()
    (data / "splits" / "test.csv").unlink()
    (data / "frames" / "manifest.csv").unlink()
    clips, missing = reading(data)
    assert {each.side for each in clips} == {UNDIVIDED}
    assert [finding.text for finding in missing] == [
        "3 tables not there; run `dvc repro split`",
        "1 table not there; run `dvc repro extract_frames`",
    ]
    (data / "videos.csv").unlink()
    with pytest.raises(UserError, match=r"^data/videos.csv: no videos to report on; run `dvc repro download`$"):
        reading(data)


def test_videos_without_frames_and_videos_that_are_gone_are_named(data):
    (data / "frames" / frame_file("Run/b.mp4")).unlink()
    rows = [{"video": f"Run/{name}.mp4", "label": "Run", "group": name} for name in "abd"]
    tables.write(data / "videos.csv", rows, columns=["video", "label", "group"])
    clips, missing = reading(data)
    assert [(each.name, each.side, each.frames) for each in clips] == [
        ("Run/a.mp4", "train", 100),
        ("Run/b.mp4", "val", 0),
        ("Run/d.mp4", UNUSED, 0),
    ]
    assert missing == [
        Finding("1 video of the split no longer there; run `dvc repro split`", ["Run/c.mp4"]),
        Finding("2 videos without frames; run `dvc repro extract_frames`", ["Run/b.mp4", "Run/d.mp4"]),
    ]


def test_frames_of_other_settings_are_named(data):
    ((finding,)) = reading(data, fps=25.0)[1]
    assert finding.text == "extract.fps is 25.0, but data/frames was made with 12.5: run `dvc repro`"


def test_a_video_on_two_sides_is_refused(data):
    (data / "splits" / "test.csv").write_text((data / "splits" / "train.csv").read_text())
    with pytest.raises(UserError, match=r"^Run/a.mp4 stands in train.csv and in test.csv; run `dvc repro split`$"):
        reading(data)
