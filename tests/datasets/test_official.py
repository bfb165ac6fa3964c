"""Invented clips in a folder → which file is which; lines of lists → clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.command import UserError
from src.datasets.official import Clip, Entry, combine, describe_missing, find, locate, read


def clip(name: str) -> Clip:
    return Clip(name, name.partition("/")[0], name, ("train", "train", "train"))


CLIPS = [clip("Run/a.avi"), clip("Run/b.avi"), clip("Walk/c.avi")]


def put(tree: Path, *names: str) -> None:
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()


def located(tree: Path) -> dict[str, str]:
    """Name of the clip → its file relative to `tree`; nothing may be missing or unknown."""
    files, missing, unknown = locate(CLIPS, tree)
    assert missing == []
    assert unknown == []
    return {name: path.relative_to(tree).as_posix() for name, path in files.items()}


def refusal(call, *arguments) -> str:
    with pytest.raises(UserError) as refused:
        call(*arguments)
    message = str(refused.value)
    assert "\n" not in message
    return message


# Files


def test_files_are_found_in_whatever_folders(tmp_path):
    put(tmp_path, "a.avi", "x/y/Run/b.avi", "train/Jump/c.avi")
    assert located(tmp_path) == {"Run/a.avi": "a.avi", "Run/b.avi": "x/y/Run/b.avi", "Walk/c.avi": "train/Jump/c.avi"}


def test_case_makes_no_difference(tmp_path):
    put(tmp_path, "RUN/A.AVI", "run/b.avi", "Walk/C.avi")
    assert located(tmp_path) == {"Run/a.avi": "RUN/A.AVI", "Run/b.avi": "run/b.avi", "Walk/c.avi": "Walk/C.avi"}


def test_names_that_differ_in_case_alone_are_two_clips(tmp_path):
    put(tmp_path, "one.avi", "One.avi")
    both = [clip("Run/One.avi"), clip("Run/one.avi")]
    assert locate(both, tmp_path)[0] == {"Run/One.avi": tmp_path / "One.avi", "Run/one.avi": tmp_path / "one.avi"}
    (tmp_path / "one.avi").unlink()
    assert locate(both, tmp_path) == ({"Run/One.avi": tmp_path / "One.avi"}, ["Run/one.avi"], [])


def test_links_to_files_and_folders_are_followed(tmp_path):
    put(tmp_path, "disk/b.avi", "disk/c.avi", "disk/raw")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "Run").symlink_to(tmp_path / "disk")
    (tmp_path / "tree" / "a.avi").symlink_to(tmp_path / "disk" / "raw")
    assert located(tmp_path / "tree") == {"Run/a.avi": "a.avi", "Run/b.avi": "Run/b.avi", "Walk/c.avi": "Run/c.avi"}


def test_a_link_back_up_ends(tmp_path):
    put(tmp_path, "Run/a.avi", "Run/b.avi", "Walk/c.avi")
    (tmp_path / "Walk" / "up").symlink_to(tmp_path)
    assert located(tmp_path) == {"Run/a.avi": "Run/a.avi", "Run/b.avi": "Run/b.avi", "Walk/c.avi": "Walk/c.avi"}


def test_hidden_files_and_folders_are_left_out(tmp_path):
    tree = tmp_path / ".cache"  # what is hidden further up does not matter
    put(tree, "Run/a.avi", "Run/b.avi", "Run/._b.avi", "Walk/.c.avi", ".trash/c.avi", ".trash/d.avi")
    assert locate(CLIPS, tree) == (
        {"Run/a.avi": tree / "Run/a.avi", "Run/b.avi": tree / "Run/b.avi"},
        ["Walk/c.avi"],
        [],
    )


def test_a_link_to_nothing_is_a_missing_file(tmp_path):
    put(tmp_path, "Run/a.avi", "Run/b.avi")
    (tmp_path / "c.avi").symlink_to(tmp_path / "gone.avi")
    assert locate(CLIPS, tmp_path)[1] == ["Walk/c.avi"]


def test_videos_that_no_list_names_are_listed_and_other_files_are_not(tmp_path):
    put(tmp_path, "Run/d.avi", "Run/a.avi", "a.mp4", "Run/notes.txt", "Run/b.avi.part", "c.avi/d.txt")
    assert locate(CLIPS, tmp_path) == (
        {"Run/a.avi": tmp_path / "Run/a.avi"},
        ["Run/b.avi", "Walk/c.avi"],
        [tmp_path / "a.mp4", tmp_path / "Run/d.avi"],
    )


def test_of_two_files_the_one_in_the_folder_of_the_class_is_taken(tmp_path):
    put(tmp_path, "Run/a.avi", "other/a.avi", "0/a.avi", "b.avi", "Walk/c.avi")
    assert located(tmp_path)["Run/a.avi"] == "Run/a.avi"


@pytest.mark.parametrize(
    ("names", "one", "other"),
    [
        (["x/a.avi", "y/a.avi"], "x/a.avi", "y/a.avi"),
        (["Run/a.avi", "Run/A.avi"], "Run/A.avi", "Run/a.avi"),
        (["0/a.avi", "mirror/run/a.avi", "original/Run/a.avi"], "mirror/run/a.avi", "original/Run/a.avi"),
    ],
)
def test_two_files_of_which_none_is_the_right_one_are_named(tmp_path, names, one, other):
    put(tmp_path, *names)
    message = f"{tmp_path}/{one} and {tmp_path}/{other}: two files for Run/a.avi; remove one"
    assert refusal(locate, CLIPS, tmp_path) == message


def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    assert refusal(locate, CLIPS, tmp_path / "none") == f"{tmp_path}/none: cannot be read: No such file or directory"


# What is missing


def test_missing_clips_are_described_by_class():
    clips = [clip(f"{label}/{number}.avi") for label in ("Run", "Walk") for number in range(4)]
    missing = ["Run/3.avi", "Walk/0.avi", "Walk/1.avi", "Walk/2.avi", "Walk/3.avi"]
    assert describe_missing(clips, missing) == (
        "5 of 8 clips are missing:\n  all 4 of Walk\n  1 of 4 of Run\nfirst: Run/3.avi, Walk/0.avi, Walk/1.avi"
    )


@pytest.mark.parametrize(
    ("classes", "rest"), [(5, ""), (6, "\n  and some of 1 more class"), (9, "\n  and some of 4 more classes")]
)
def test_the_description_stays_short(classes, rest):
    clips = [clip(f"{label}/{number}.avi") for label in "abcdefghi" for number in range(2)]
    missing = [f"{label}/0.avi" for label in "abcdefghi"[:classes]]
    middle = "".join(f"\n  1 of 2 of {label}" for label in "abcde")
    assert describe_missing(clips, missing) == (
        f"{classes} of 18 clips are missing:{middle}{rest}\nfirst: a/0.avi, b/0.avi, c/0.avi"
    )


# Lists


def test_lists_are_found_in_whatever_folders(tmp_path):
    put(tmp_path, "x/one.txt", "two.txt", "x/three.txt", "x/._one.txt")
    assert find(tmp_path, ["one.txt", "two.txt"]) == {
        "one.txt": tmp_path / "x/one.txt",
        "two.txt": tmp_path / "two.txt",
    }


def test_lists_that_are_missing_or_there_twice_are_named(tmp_path):
    put(tmp_path, "x/one.txt", "y/one.txt")
    way_out = "unpack the publisher's archive of lists there"
    assert refusal(find, tmp_path, ["two.txt"]) == f"{tmp_path}: no two.txt; {way_out}"
    assert refusal(find, tmp_path, ["two.txt", "3.txt", "4.txt"]) == f"{tmp_path}: no 3.txt and 2 more; {way_out}"
    twice = f"{tmp_path}/x/one.txt and {tmp_path}/y/one.txt: the same list twice; remove one"
    assert refusal(find, tmp_path, ["one.txt"]) == twice


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfone 1 \r\n\r\n \xfftwo\x0b2")
    assert read(path) == [(f"{path}: line 1", ["one", "1"]), (f"{path}: line 3", ["\\xfftwo", "2"])]


@pytest.mark.parametrize("content", [b"", b"\r\n \n"])
def test_an_empty_list_is_refused(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    assert refusal(read, path) == f"{path}: empty; unpack the publisher's archive of lists again"


def entry(place: str, part: str, *, name: str = "Run/a.avi") -> Entry:
    return Entry(place, name, "Run", "Run_g01", part)


def test_the_parts_of_three_splits_come_together_sorted_by_name():
    first = [entry("1", "train", name="Run/b.avi"), entry("2", "test")]
    second = [entry("3", "none"), entry("4", "test", name="Run/b.avi")]
    assert combine([first, second, first]) == [
        Clip("Run/a.avi", "Run", "Run_g01", ("test", "none", "test")),
        Clip("Run/b.avi", "Run", "Run_g01", ("train", "test", "train")),
    ]


def test_lines_that_contradict_each_other_are_named():
    one = [entry("x: line 1", "train")]
    twice = [*one, entry("x: line 2", "train")]
    assert refusal(combine, [twice, one, one]) == "x: line 2: Run/a.avi is named for the second time, after x: line 1"
    more = [*one, entry("z: line 9", "train", name="Run/b.avi")]
    assert refusal(combine, [one, one, more]) == "z: line 9: Run/b.avi is in no list of split 1"
    assert refusal(combine, [more, one, more]) == "z: line 9: Run/b.avi is in no list of split 2"
