"""What stands in data/raw after each change of the source, and that nobody's own videos are ever touched."""

import json
import os
import re
from pathlib import Path

import pytest

from src import download, tables
from src.command import UserError
from src.datasets import synthetic
from src.fetching.downloads import Downloads
from tests.bare_checkout import bare_checkout
from tests.datasets.official_lists import ucf101_names, write_ucf101_lists
from tests.video import clips

NO_PARTS = {"part1": "", "part2": "", "part3": ""}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw"


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """Somebody's own videos; the text in each is its name."""
    for name in ("Walk/anna_1.mp4", "Walk/ben_1.mp4", "Run/anna_2.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "videos"


@pytest.fixture
def quick(monkeypatch):
    """Drawing in no time: the text of a clip is its seed and name."""

    def write_clip(path: Path, *, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{seed} {path.name}")

    monkeypatch.setattr(synthetic, "write_clip", write_clip)
    monkeypatch.setattr("src.parallel.each", lambda function, items, **_: [(item, function(item)) for item in items])


def contents(folder: Path) -> dict[str, str]:
    """The files below `folder`, through links, and the text in each."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def draw(raw: Path, *, seed: int = 1, actors: int = 3) -> list[dict[str, str]]:
    return download.synthetic(raw, actors=actors, clips=1, seed=seed, processes=2)


# A folder of one's own


def test_a_folder_is_linked_and_listed(raw, originals, capsys):
    rows = download.folder(raw, path=originals, group="([a-z]+)_")
    assert rows == [
        {"video": "Run/anna_2.mp4", "label": "Run", "group": "anna"} | NO_PARTS,
        {"video": "Walk/anna_1.mp4", "label": "Walk", "group": "anna"} | NO_PARTS,
        {"video": "Walk/ben_1.mp4", "label": "Walk", "group": "ben"} | NO_PARTS,
    ]
    assert contents(raw) == contents(originals)
    assert all(path.is_symlink() for path in raw.glob("*/*"))
    assert capsys.readouterr().err == ""


def test_without_groups_each_file_is_its_own_and_a_warning_says_what_leaks(raw, originals, capsys):
    rows = download.folder(raw, path=originals, group=None)
    assert [row["group"] for row in rows] == [row["video"] for row in rows]
    warning = capsys.readouterr().err
    assert warning.startswith("warning: no groups are known, so each file is its own.")
    assert "dataset.group" in warning
    assert warning.count("\n") == 1


def test_an_added_a_changed_and_a_removed_video_show(raw, originals):
    download.folder(raw, path=originals, group=None)
    (originals / "Jump").mkdir()
    (originals / "Jump" / "new.mp4").write_text("added")
    (originals / "Walk" / "ben_1.mp4").write_text("changed")
    (originals / "Run" / "anna_2.mp4").unlink()
    rows = download.folder(raw, path=originals, group=None)
    assert [row["video"] for row in rows] == ["Jump/new.mp4", "Walk/anna_1.mp4", "Walk/ben_1.mp4"]
    assert contents(raw) == {
        "Jump/new.mp4": "added",
        "Walk/anna_1.mp4": "Walk/anna_1.mp4",
        "Walk/ben_1.mp4": "changed",
    }
    assert sorted(path.name for path in raw.iterdir()) == ["Jump", "Walk"]


def test_a_folder_that_has_not_changed_is_not_linked_again(raw, originals):
    download.folder(raw, path=originals, group=None)
    before = {path: path.lstat() for path in raw.rglob("*")}
    download.folder(raw, path=originals, group=None)
    assert {path: path.lstat() for path in raw.rglob("*")} == before


def test_another_folder_with_the_same_names_takes_over(raw, originals, tmp_path):
    other = tmp_path / "others" / "Walk"
    other.mkdir(parents=True)
    (other / "ben_1.mp4").write_text("another ben")
    before = contents(originals)
    download.folder(raw, path=originals, group=None)
    download.folder(raw, path=other.parent, group=None)
    assert contents(raw) == {"Walk/ben_1.mp4": "another ben"}
    assert contents(originals) == before


def test_a_division_is_written_down(raw, tmp_path):
    for part in ("training", "validation"):
        path = tmp_path / "divided" / part / "Walk" / "1.mp4"
        path.parent.mkdir(parents=True)
        path.write_text(part)
    rows = download.folder(raw, path=tmp_path / "divided", group=None)
    assert {(raw / row["video"]).read_text(): row["part1"] for row in rows} == {
        "training": "train",
        "validation": "test",
    }


# The embedded dataset


def test_the_embedded_dataset_is_drawn_and_what_is_lost_is_drawn_again(raw, monkeypatch):
    names = ["Run/v_Run_g02_c01.avi", "Walk/v_Walk_g01_c01.avi", "Walk/v_Walk_g03_c01.avi"]
    monkeypatch.setattr(synthetic, "names", lambda **_: names)
    rows = draw(raw)
    assert rows[0] == {"video": "Run/v_Run_g02_c01.avi", "label": "Run", "group": "g02"} | NO_PARTS
    assert [row["video"] for row in rows] == names
    assert sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.*")) == [*names, "source.json"]

    lost, *others = (raw / name for name in names)
    before, untouched = lost.read_bytes(), [path.stat() for path in others]
    lost.unlink()
    assert draw(raw) == rows
    assert lost.read_bytes() == before
    assert [path.stat() for path in others] == untouched


def test_every_actor_is_a_group_of_every_class(raw, quick):
    rows = draw(raw, actors=4)
    assert len(rows) == len(contents(raw)) - 1 == 40
    assert {(row["label"], row["group"]) for row in rows} == {
        (label, f"g0{actor}") for label in synthetic.CLASSES for actor in (1, 2, 3, 4)
    }


def test_another_seed_or_other_code_draws_everything_again(raw, quick, monkeypatch):
    draw(raw, seed=1)
    draw(raw, seed=2)
    assert {text.split()[0] for name, text in contents(raw).items() if name.endswith(".avi")} == {"2"}
    clip = raw / "Walk" / "v_Walk_g01_c01.avi"
    clip.write_text("drawn by older code")
    draw(raw, seed=2)
    assert clip.read_text() == "drawn by older code"
    monkeypatch.setattr(synthetic, "version", lambda: "newer")
    draw(raw, seed=2)
    assert clip.read_text() == "2 v_Walk_g01_c01.avi"


def test_fewer_actors_leave_only_theirs(raw, quick):
    draw(raw, actors=4)
    rows = draw(raw, actors=3)
    assert contents(raw).keys() == {row["video"] for row in rows} | {"source.json"}


@pytest.mark.parametrize("left", [b"", b"{", b"\xff\x00", b"[]", b"{}"])  # of a full disk or a power cut
def test_what_an_interrupted_drawing_left_is_cleared(raw, quick, left):
    draw(raw)
    (raw / "Walk" / ".v_Walk_g01_c01.123").write_text("half")
    (raw / "source.json").write_bytes(left)
    draw(raw)
    assert json.loads((raw / "source.json").read_text())["seed"] == 1
    assert not list(raw.rglob(".*"))


# Some classes only


def test_only_the_classes_asked_for_are_there(raw, originals, quick):
    rows = download.folder(raw, path=originals, group=None, classes=["Walk"])
    assert [row["video"] for row in rows] == ["Walk/anna_1.mp4", "Walk/ben_1.mp4"]
    assert contents(raw).keys() == {"Walk/anna_1.mp4", "Walk/ben_1.mp4"}
    rows = download.synthetic(raw, actors=3, clips=1, seed=1, processes=1, classes=["Run", "Wave"])
    assert {row["label"] for row in rows} == {"Run", "Wave"}
    assert len(contents(raw)) == 3 * 2 + 1


def test_a_class_that_is_misspelt_is_named(raw, originals):
    with pytest.raises(UserError, match=r"dataset\.classes: there is no class Wlak; did you mean Walk\?"):
        download.folder(raw, path=originals, group=None, classes=["Run", "Wlak"])


# UCF101 as it is published


@pytest.fixture(scope="module")
def lists(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    write_ucf101_lists(folder)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of it, and one file that no list names; the text in each is its name."""
    for name in [*chosen("Archery"), *chosen("Surfing"), "Surfing/v_Surfing_g99_c01.avi"]:
        path = tmp_path / "UCF-101" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "UCF-101"


def chosen(label: str) -> list[str]:
    return [name for name in ucf101_names() if name.startswith(f"{label}/")]


def fetch(raw: Path, tree: Path | None, lists: Path, **changes) -> list[dict[str, str]]:
    downloads = Downloads(raw.parent / "downloads", raw.parent / "checksums.txt")
    settings = {"name": "ucf101", "archive": None, "sha256": None, "partial": False, "classes": None}
    return download.official(raw, downloads, path=tree, lists=str(lists), **settings | changes)


def test_a_tree_of_chosen_classes_is_linked_with_its_official_splits(raw, tree, lists, capsys):
    rows = fetch(raw, tree, lists, classes=["Archery", "Surfing"])
    assert len(rows) == len(contents(raw)) - 1 == 145 + 126
    assert rows[0] == {
        "video": "Archery/v_Archery_g01_c01.avi",
        "label": "Archery",
        "group": "Archery_g01",
        "part1": "test",
        "part2": "train",
        "part3": "train",
    }
    assert all((raw / row["video"]).read_text() == row["video"] for row in rows)
    assert json.loads((raw / "source.json").read_text()) == {"dataset": "ucf101", "path": str(tree)}
    assert capsys.readouterr().err == ""


def test_what_is_missing_is_listed_and_accepted_only_on_purpose(raw, tree, lists, capsys):
    (tree / "Archery" / "v_Archery_g01_c01.avi").unlink()
    with pytest.raises(UserError) as refused:
        fetch(raw, tree, lists, classes=["Archery", "Surfing"])
    said = str(refused.value)
    assert said.startswith(f"{tree}: 1 of 271 clips are missing:\n  1 of 145 of Archery\n")
    assert said.endswith("to go on without them, on purpose: dataset.partial: true")
    assert (raw.parent / "missing.txt").read_text() == "Archery/v_Archery_g01_c01.avi\n"
    assert not raw.exists()

    rows = fetch(raw, tree, lists, partial=True)
    assert len(rows) == 270
    assert json.loads((raw / "source.json").read_text())["missing"] == 13050
    said = capsys.readouterr()
    assert "13050 of 13320 clips are missing:" in said.err
    assert "v_Surfing_g99_c01.avi" in said.out
    assert len((raw.parent / "missing.txt").read_text().splitlines()) == 13050
    (tree / "Archery" / "v_Archery_g01_c01.avi").write_text("found again")
    fetch(raw, tree, lists, classes=["Archery", "Surfing"])
    assert not (raw.parent / "missing.txt").exists()


def test_ucf101_and_the_embedded_dataset_take_turns(raw, tree, lists, quick):
    before = contents(tree)
    for _ in range(2):
        fetch(raw, tree, lists, partial=True)
        drawn = draw(raw)
        assert contents(raw).keys() == {row["video"] for row in drawn} | {"source.json"}
    fetch(raw, tree, lists, partial=True)
    assert contents(tree) == before
    (raw / "Walk").mkdir()
    (raw / "Walk" / "v_Walk_g01_c01.avi").write_text("my only copy")  # named as a drawn one, and drawn by nobody
    with pytest.raises(UserError, match="was put there by hand"):
        fetch(raw, tree, lists, partial=True)


# There and back


def test_folder_and_embedded_dataset_take_turns_and_leave_nothing_of_each_other(raw, originals, quick):
    before = contents(originals)
    for _ in range(2):
        linked = download.folder(raw, path=originals, group=None)
        assert contents(raw).keys() == {row["video"] for row in linked}
        assert contents(originals) == before
        drawn = draw(raw)
        assert contents(raw).keys() == {row["video"] for row in drawn} | {"source.json"}
        assert not any(path.is_symlink() for path in raw.rglob("*"))
        assert contents(originals) == before


def test_videos_named_like_drawn_ones_are_replaced_by_drawn_ones(raw, tmp_path, quick):
    mine = tmp_path / "mine" / "Walk" / "v_Walk_g01_c01.avi"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    download.folder(raw, path=tmp_path / "mine", group=None)
    draw(raw)
    assert (raw / "Walk" / mine.name).read_text() == "1 v_Walk_g01_c01.avi"
    download.folder(raw, path=tmp_path / "mine", group=None)
    assert contents(raw) == {"Walk/v_Walk_g01_c01.avi": "mine"}
    assert mine.read_text() == "mine"


# Nobody's own videos are ever touched


@pytest.mark.parametrize("name", ["Walk/anna_1.mp4", "Other/x.mp4", "notes.txt"])
def test_a_file_put_into_data_raw_by_hand_is_named_and_not_removed(raw, originals, quick, name):
    (raw / name).parent.mkdir(parents=True)
    (raw / name).write_text("my only copy")
    for fill in (lambda: draw(raw), lambda: download.folder(raw, path=originals, group=None)):
        with pytest.raises(UserError, match=re.escape(f"{raw / name} was put there by hand and would be lost")):
            fill()
        assert contents(raw) == {name: "my only copy"}


def test_a_file_put_among_the_drawn_ones_is_named_and_not_removed(raw, originals, quick):
    draw(raw)
    (raw / "Juggle").mkdir()
    (raw / "Juggle" / "mine.mp4").write_text("my only copy")
    for fill in (
        lambda: draw(raw),
        lambda: draw(raw, seed=2),
        lambda: download.folder(raw, path=originals, group=None),
    ):
        with pytest.raises(UserError, match=r"mine\.mp4 was put there by hand and would be lost"):
            fill()
        assert (raw / "Juggle" / "mine.mp4").read_text() == "my only copy"


@pytest.mark.parametrize("path", [".", "Walk", "list.csv", "../list.csv"])
def test_videos_that_lie_in_data_raw_itself_are_refused_and_stay(tmp_path, path):
    raw = tmp_path / "raw"
    for name in ("Walk/mine/1.mp4", "Walk/yours/2.mp4"):
        (raw / name).parent.mkdir(parents=True)
        (raw / name).write_text("my only copy")
    (raw / "list.csv").write_text("video,label\nWalk/mine/1.mp4,Walk\n")
    (tmp_path / "list.csv").write_text("video,label\nraw/Walk/mine/1.mp4,Walk\n")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"dataset.path: .*1.mp4 lies in .*raw itself; move your videos elsewhere"):
        download.folder(raw, path=raw / path, group=None)
    assert contents(tmp_path) == before


def test_a_linked_class_folder_in_data_raw_goes_and_its_videos_stay(raw, originals, quick):
    raw.mkdir(parents=True)
    (raw / "Walk").symlink_to(originals / "Walk")
    before = contents(originals)
    download.folder(raw, path=originals, group=None)
    assert contents(raw) == before
    assert not (raw / "Walk").is_symlink()
    draw(raw)
    assert contents(originals) == before


def test_data_raw_may_be_a_link_to_a_larger_disk(raw, originals, tmp_path, quick):
    (tmp_path / "disk").mkdir()
    raw.parent.mkdir()
    raw.symlink_to(tmp_path / "disk")
    before = contents(originals)
    draw(raw)
    download.folder(raw, path=originals, group=None)
    assert contents(raw) == contents(tmp_path / "disk") == before
    assert contents(originals) == before


# The command


def test_the_command_writes_the_inventory_and_says_what_is_there(tmp_path, originals):
    clips.write(originals / "Jump" / "carl_1.mp4", clips.numbered(3))
    checkout = bare_checkout(tmp_path / "project")
    settings = ("dataset.name=folder", f"dataset.path={os.path.relpath(originals, checkout.path)}", "dataset.mirror={}")
    overrides = [part for setting in (*settings, "dataset.group=^([a-z]+)_") for part in ("--set", setting)]
    done = checkout.run("python", "-m", "src.download", *overrides)
    assert done.stdout == "data/raw: 4 videos of 3 classes in 3 groups\n"
    rows = tables.read(checkout.path / "data" / "videos.csv", columns=download.COLUMNS)
    assert [(row["video"], row["group"]) for row in rows] == [
        ("Jump/carl_1.mp4", "carl"),
        ("Run/anna_2.mp4", "anna"),
        ("Walk/anna_1.mp4", "anna"),
        ("Walk/ben_1.mp4", "ben"),
    ]


def test_the_command_names_a_dataset_path_that_is_wrong(tmp_path):
    checkout = bare_checkout(tmp_path / "project")
    overrides = ("--set", "dataset.name=folder", "--set", "dataset.path=../vidoes")
    done = checkout.run("python", "-m", "src.download", *overrides, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: dataset.path: .*/vidoes does not exist\n", done.stderr)
