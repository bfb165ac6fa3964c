"""Videos as people have them → a page that is whole, harmless and needs nothing else."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from src.data_report import Sheet, contact_sheets, examples, headline, html, per_class
from src.report import page
from src.report.findings import UNDIVIDED, UNUSED, Clip, Finding
from src.video import jpeg, store
from src.video.manifest import frame_file
from tests.bare_checkout import bare_checkout
from tests.report.test_findings import clip, ordinary
from tests.video import clips

VOID = {"meta", "img"}


# Counts and examples


def test_the_headline_counts_videos_classes_groups_and_time():
    assert headline(ordinary()) == "24 videos of 2 classes in 24 groups, 3.2 minutes"
    assert headline([clip("Run", 1, frames=0, seconds=0)]) == "1 video of 1 class in 1 group"


def test_clips_and_groups_are_counted_by_class_and_side():
    some = [clip("Run", 0, 1), clip("Run", 0, 2), clip("Run", 1, side="test"), clip("Walk", 5, side=UNUSED)]
    assert per_class(some) == {
        "Run": {"train": (2, 1), "test": (1, 1), "total": (3, 2)},
        "Walk": {UNUSED: (1, 1), "total": (1, 1)},
    }


def test_examples_are_of_different_groups_and_of_each_side_first():
    some = [
        clip("Run", group, n, side=side)
        for group, side in ((1, "train"), (2, "train"), (3, "test"), (4, "val"))
        for n in (1, 2)
    ]
    firsts, others = ["g1_1", "g4_1", "g3_1", "g2_1"], ["g1_2", "g4_2", "g3_2", "g2_2"]
    assert [each.name for each in examples(some)] == [f"Run/{name}.mp4" for name in firsts + others]
    assert examples(some[:1]) == some[:1]


# Contact sheets


def write_frames(path: Path) -> None:
    """A hundred frames, each brighter by 2 than the one before."""
    grey = (np.full((72, 96, 3), 2 * number, np.uint8) for number in range(100))
    store.write(path, grey, fps=12.5, quality=90)


def test_frames_on_a_sheet_are_spread_evenly_over_the_video(tmp_path):
    run = clip("Run", 1)
    write_frames(tmp_path / frame_file(run.name))
    ((found,), said) = contact_sheets([run, clip("Walk", 1, frames=0)], tmp_path)
    assert (found.label, found.clips, said) == ("Run", [run], [])
    seen = jpeg.decode(found.picture.jpeg)[36, 48 :: 96 + page.GAP].mean(1)
    assert np.abs(seen - [2 * number for number in (12, 37, 62, 87)]).max() < 4


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    """The container is whole, its pictures are not."""
    content = bytearray(path.read_bytes())
    content[7000::7] = b"\x07" * len(content[7000::7])
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_off, emptied, overwritten, Path.unlink])
def test_a_damaged_frame_file_is_named_and_another_video_stands_in(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    members = [clip("Run", group) for group in range(6)]
    for each in members:
        write_frames(tmp_path / "frames" / frame_file(each.name))
    damage(tmp_path / "frames" / frame_file(members[1].name))
    ((found,), said) = contact_sheets(members, tmp_path / "frames")
    assert found.clips == [members[0], *members[2:5]]
    way_out = "remove it and run `dvc repro extract_frames`"
    assert said == [
        Finding(f"1 of 5 frame files looked at cannot be read; {way_out}", ["frames/Run/g1_1.avi"], problem=True)
    ]


def test_a_class_of_which_every_frame_file_is_damaged_has_no_sheet(tmp_path):
    lost, kept = [clip("Run", group) for group in range(5)], clip("Walk", 0)
    write_frames(tmp_path / frame_file(kept.name))
    sheets, (finding,) = contact_sheets([*lost, kept], tmp_path)
    assert [each.label for each in sheets] == ["Walk"]
    assert finding.text.startswith("5 of 6 frame files looked at cannot be read; remove them and run")
    found = checked(html([*lost, kept], [finding], sheets))
    assert [link["href"] for link in found.all("a") if link["href"].startswith("#class-")] == ["#class-0"]


# The page


class Page(HTMLParser):
    """A page's tags, texts and references, with every tag closed in its turn."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def sheet(label: str, *members: Clip) -> Sheet:
    return Sheet(label, members, page.contact_sheet([np.full((1, 72, 96, 3), 99, np.uint8) for _ in members]))


def checked(text: str) -> Page:
    """The page, parsed: it asks nobody for anything, and its links lead somewhere."""
    found = Page(text)
    for tag, attributes in found.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not any(name.startswith("on") for name in attributes)
        for name in attributes.keys() & {"src", "href", "srcset", "data", "poster", "action", "style"}:
            assert re.match("data:(image/jpeg|image/png|video/mp4);base64,|#", attributes[name])
    assert "url(" not in text
    assert "@import" not in text
    names = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(names)) == len(names)
    assert {link["href"].removeprefix("#") for link in found.all("a")} <= set(names)
    assert found.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in found.all("img"))
    return found


def test_a_page_shows_counts_findings_and_pictures():
    some = [*ordinary(), Clip("Run/x.mp4", "Run", "Run0", "train", refused="the file is empty")]
    finding = Finding("1 file under two classes", ["Run/a.mp4 = Walk/a.mp4"], problem=True)
    found = checked(html(some, [finding], [sheet("Run", *some[:2]), sheet("Walk", some[12])]))
    assert f"Data report {headline(some)} problem 1 file under two classes Run/a.mp4 = Walk/a.mp4" in found.text
    assert "Run 5 4 4 4 4 4 13 12 Walk 4 4 4 4 4 4 12 12" in found.text
    assert "From 8.0 s to 8.0 s, median 8.0 s." in found.text
    assert "320×240 24 100 %" in found.text
    assert "No two readable videos are the same" in found.text
    assert "side video reason train Run/x.mp4 the file is empty" in found.text
    assert [image["alt"] for image in found.all("img")] == [
        "Frames of Run/g0_1.mp4, Run/g1_1.mp4",
        "Frames of Walk/g0_1.mp4",
    ]
    assert "Run g0_1.mp4 train g1_1.mp4 val Walk g0_1.mp4 train" in found.text
    assert "nothing needs attention" not in found.text


def test_bars_are_as_long_as_the_counts_and_stand_end_to_end():
    some = [clip("Run", 0, 1), clip("Run", 0, 2), clip("Run", 1, side="test"), clip("Walk", 0)]
    found = checked(html(some, [], []))
    assert "fine nothing needs attention" in found.text
    assert [chart["viewbox"] for chart in found.all("svg")][:2] == ["0 0 3 1"] * 2
    bars = [(bar["class"], bar["x"], bar["width"]) for bar in found.all("rect") if "class" in bar]
    assert bars == [("train", "0", "2"), ("test", "2", "1"), ("train", "0", "1")]


def test_lengths_are_drawn_from_the_ground_up():
    some = [clip("Run", 0, number, seconds=seconds) for number, seconds in enumerate((1.5, 1.5, 0.5, 0.5, 0.5, 0.5))]
    drawn = [bar for bar in checked(html(some, [], [])).all("rect") if "class" not in bar]
    heights = {float(bar["x"]): float(bar["height"]) for bar in drawn if float(bar["height"])}
    assert heights == {5.04: 100.0, 14.04: 50.0}  # in steps of 0.1 s; 1.5 s is the end of the last
    assert all(float(bar["y"]) + float(bar["height"]) == 100 for bar in drawn)


def test_identical_files_across_sides_are_marked():
    some = [
        clip("Run", 0, 1, sha256="a"),
        clip("Run", 1, 1, sha256="a", side="test"),
        *(clip("Run", 0, n, sha256="b") for n in (5, 6)),
    ]
    found = checked(html(some, [], []))
    assert "train, test Run/g0_1.mp4 train Run/g1_1.mp4 test" in found.text
    assert "one side Run/g0_5.mp4 train Run/g0_6.mp4 train" in found.text
    assert found.all("b") == [{"class": "across"}]


def test_names_are_text_and_never_markup():
    evil = "Run/<script>alert('1')</script>\"onload=\"&amp;.mp4"
    some = [
        Clip(evil, "<b>Run", "</table>", "train", frames=9, seconds=1.0, size="<i>", sha256="a"),
        Clip(evil + "2", "<b>Run", "</table>", "train", refused="<u>"),
        Clip(evil + "3", "<b>Run", "</table>", "test", frames=9, seconds=1.0, size="<i>", sha256="a"),
    ]
    found = checked(html(some, [Finding("<script>", [evil] * 9)], [sheet("<b>Run", some[0])]))
    assert found.text.count(evil) > 9
    assert found.all("img")[0]["alt"] == f"Frames of {evil}"
    assert not {"script", "b", "i", "u"} & {tag for tag, attributes in found.tags if not attributes}


def test_without_frames_the_classes_are_still_shown():
    found = checked(html([Clip("Run/a.mp4", "Run", "a", UNDIVIDED)], [Finding("1 table not there")], []))
    assert "not divided" in found.text
    assert found.all("section") == [{"id": "classes"}]


def test_when_no_video_can_be_read_the_reasons_are_shown():
    found = checked(html([Clip("Run/a.mp4", "Run", "a", "train", refused="no video stream in it")], [], []))
    assert [each["id"] for each in found.all("section")] == ["classes", "identical", "broken"]
    assert "train Run/a.mp4 no video stream in it" in found.text


def test_a_hundred_and_one_classes_have_a_row_and_a_sheet_each():
    many = [clip(f"RockClimbingIndoor{label:03}", 1) for label in range(101)]
    text = html(many, [], [sheet(each.label, each) for each in many])
    found = checked(text)
    assert [image["loading"] for image in found.all("img")] == ["lazy"] * 101
    assert sum(each == {"scope": "row"} for each in found.all("th")) == 101
    assert len(text) < 101 * 4000


# The command


def test_the_command_reports_on_videos_as_people_have_them(tmp_path):
    checkout = bare_checkout(tmp_path / "project")
    for label, first in (("Run", 0), ("<i>Walk", 12)):
        for group in range(4):
            for take in range(2):
                frames = clips.numbered(31)[first + 2 * group + take :][:12]
                clips.write(tmp_path / "videos" / label / f"p{group}_{take}.mp4", frames)
    clips.write(tmp_path / "videos" / "Run" / "p0_odd.avi", clips.numbered(12, width=48), codec="mpeg4")
    (tmp_path / "videos" / "Run" / "p1_<script>.mp4").write_text("This is not a video.")
    (tmp_path / "videos" / "Run" / "p2_copy.mp4").write_bytes((tmp_path / "videos" / "Run" / "p2_0.mp4").read_bytes())
    settings = [
        "dataset.name=folder",
        f"dataset.path={tmp_path / 'videos'}",
        r"dataset.group=(p\d)_",
        "dataset.mirror={}",
    ]
    settings += ["extract.short_side=72", "extract.on_error=skip", "model.frames=8", "runtime.cores=1"]
    shares = [part for setting in settings for part in ("--set", setting)]

    early = checkout.run("python", "-m", "src.data_report", check=False)
    assert early.returncode == 1
    assert early.stderr == "error: data/videos.csv: no videos to report on; run `dvc repro download`\n"

    for stage in ("download", "split", "extract_frames"):
        checkout.run("python", "-m", f"src.{stage}", *shares)
    code = "import src.data_report as report, sys; report.main(); print({'torch', 'mlflow'} & set(sys.modules))"
    done = checkout.run("python", "-c", code, *shares)
    assert done.stderr == ""
    first, *lines, path, modules = done.stdout.splitlines()
    assert first == "19 videos of 2 classes in 4 groups, 8.6 s"
    assert lines[0].startswith("problem: 1 video that cannot be read: Run/p1_<script>.mp4 (")
    assert "note: 2 videos byte-identical to another one: Run/p2_0.mp4 = Run/p2_copy.mp4" in lines
    assert "note: sizes differ: 64×48 in 94 %, 48×48 in 6 %: Run/p0_odd.avi (48×48)" in lines
    assert any(line.startswith("note: 18 videos shorter than one training clip (15 frames") for line in lines)
    assert (path, modules) == ("artifacts/data_report.html", "set()")

    text = (checkout.path / path).read_text(encoding="utf-8")
    found = checked(text)
    assert all(line.partition(": ")[2].partition(":")[0] in found.text for line in lines)
    assert [figure["id"] for figure in found.all("figure") if "id" in figure] == ["class-0", "class-1"]
    assert len(found.all("img")) == 2
    for image in found.all("img"):
        picture = jpeg.decode(base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")))
        assert picture.shape == (int(image["height"]), int(image["width"]), 3)
        assert picture.shape[0] == 4 * 72 + 3 * page.GAP
        brightness = picture[36 :: 72 + page.GAP, 48 :: 96 + page.GAP].mean(2)
        assert (np.diff(brightness, axis=1) > 0).all()  # in each row, time goes from left to right
    assert [heading for heading in ("<i>Walk", "Run") if f" {heading} p0_0.mp4 " in found.text] == ["<i>Walk", "Run"]

    again = checkout.run("python", "-m", "src.data_report", *shares)
    assert again.stdout.splitlines() == [first, *lines, path]
    assert (checkout.path / path).read_text(encoding="utf-8") == text

    (checkout.path / "data" / "frames" / "Run" / "p0_0.avi").write_bytes(b"")
    damaged = checkout.run("python", "-m", "src.data_report", *shares).stdout.splitlines()
    way_out = "remove it and run `dvc repro extract_frames`: data/frames/Run/p0_0.avi"
    assert set(damaged) - {first, *lines, path} == {f"problem: 1 of 9 frame files looked at cannot be read; {way_out}"}
    assert len(checked((checkout.path / path).read_text(encoding="utf-8")).all("img")) == 2
