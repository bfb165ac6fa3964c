"""The published lists of UCF101, and 13,320 empty files with the published names."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from src.command import UserError
from src.datasets import ucf101
from src.datasets.official import Clip, describe_missing, locate
from src.split import split
from tests.datasets.official_lists import ucf101_names, write_ucf101_lists

# Of the files in UCF101TrainTestSplits-RecognitionTask.zip.
PUBLISHED = {
    "classInd.txt": "d7abbb76074d04e80c62ad8a61529bb8eec32ef978569601b2890edec3af0359",
    "trainlist01.txt": "f7a4d7abc05147b921c17fc227d731197c3583f29945d1f1d46bce830d1b9f12",
    "trainlist02.txt": "3ea7145317098bdb4a999f69fb3b53ca3d3831d692602fc5dc8cd5c5e3eb8ca9",
    "trainlist03.txt": "c75af0148b3b0e70d5d881ad71b0a5fbb685bf2d3278908278658435c3f1bf0f",
    "testlist01.txt": "81be4765084d72739dca4d11658f7ec369c441ad9e227f11d9468fe2a1c14890",
    "testlist02.txt": "c9eec18f3f312153cda441f93e30bc9cffef1941367ebc06996e40c9cd056c91",
    "testlist03.txt": "f9cc029b0598c63f5cc07d070ae1fa4666d1d3901cc79a93490ea0742ca097db",
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    lists = tmp_path_factory.mktemp("lists")
    write_ucf101_lists(lists)
    return ucf101.clips(lists)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    write_ucf101_lists(tmp_path / "lists")
    return tmp_path / "lists"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty files with all the published names; tests leave it so."""
    folder = tmp_path_factory.mktemp("videos") / "UCF-101"
    for name in ucf101_names():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def edit(path: Path, line: int, new: str) -> str:
    """Put `new` in place of a line (counted from 1; "" removes it) and return what was there."""
    lines = path.read_bytes().decode().split("\r\n")
    old = lines[line - 1]
    lines[line - 1 : line] = [new] if new else []
    path.write_bytes("\r\n".join(lines).encode())
    return old


def refusal(lists: Path) -> str:
    with pytest.raises(UserError) as refused:
        ucf101.clips(lists)
    message = str(refused.value)
    assert "\n" not in message
    return message.replace(f"{lists}/", "")


# The lists


def test_the_lists_of_these_tests_are_the_published_ones(lists):
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in lists.iterdir()} == PUBLISHED


def test_the_official_splits_have_the_published_numbers(clips):
    assert len(clips) == 13320
    assert [Counter(clip.parts[k] for clip in clips) for k in range(3)] == [
        {"train": 9537, "test": 3783},
        {"train": 9586, "test": 3734},
        {"train": 9624, "test": 3696},
    ]


def test_each_of_101_classes_has_25_groups_that_no_other_class_shares(clips):
    groups = defaultdict(set)
    for clip in clips:
        groups[clip.label].add(clip.group)
    assert len(groups) == 101
    assert {len(names) for names in groups.values()} == {25}
    assert len(set.union(*groups.values())) == 2525


def test_clips_come_in_the_order_of_their_names_with_group_and_parts(clips):
    assert [clip.name for clip in clips] == sorted(ucf101_names())
    by_name = {clip.name: clip for clip in clips}
    for group, parts in {
        "g07": ("test", "train", "train"),
        "g08": ("train", "test", "train"),
        "g21": ("train", "train", "test"),
        "g22": ("train", "train", "train"),
    }.items():
        name = f"Archery/v_Archery_{group}_c01.avi"
        assert by_name[name] == Clip(name, "Archery", f"Archery_{group}", parts)


def test_line_ends_blank_lines_and_folders_make_no_difference(clips, tmp_path):
    deep = tmp_path / "archive" / "ucfTrainTestlist"
    write_ucf101_lists(deep)
    for path in deep.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n") + b"\n \n\n")
    (tmp_path / "archive" / "__MACOSX").mkdir()
    (tmp_path / "archive" / "__MACOSX" / "._classInd.txt").write_bytes(b"\0\5\26\7")
    assert ucf101.clips(tmp_path) == clips


@pytest.mark.parametrize(
    ("name", "line", "new", "message"),
    [
        (
            "trainlist01.txt",
            9537,
            "",
            "trainlist01.txt: line 9536 is the last, of 9536 clips; the published list has 9537",
        ),
        (
            "trainlist01.txt",
            9537,
            "YoYo/v_YoYo_g25_c0",
            "trainlist01.txt: line 9537: 'YoYo/v_YoYo_g25_c0' is not of the form CLASS/v_CLASS_g01_c01.avi NUMBER",
        ),
        (
            "trainlist02.txt",
            1,
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 2",
            "trainlist02.txt: line 1: ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi has number 2, "
            "but ApplyEyeMakeup is 1 in classInd.txt",
        ),
        (
            "testlist02.txt",
            1,
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1",
            "testlist02.txt: line 1: 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1' is not of the form "
            "CLASS/v_CLASS_g01_c01.avi",
        ),
        (
            "testlist01.txt",
            1,
            "Archery/v_ApplyEyeMakeup_g01_c01.avi",
            "testlist01.txt: line 1: 'Archery/v_ApplyEyeMakeup_g01_c01.avi' is not of the form "
            "CLASS/v_CLASS_g01_c01.avi",
        ),
        (
            "testlist01.txt",
            2,
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
            "testlist01.txt: line 2: ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi is named for the second time, "
            "after testlist01.txt: line 1",
        ),
        (
            "testlist01.txt",
            1,
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
            "testlist01.txt: line 1: group ApplyEyeMakeup_g08 is in test, and in train by trainlist01.txt: line 1",
        ),
        (
            "trainlist03.txt",
            2,
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c22.avi 1",
            "testlist01.txt: line 2: ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c02.avi is in no list of split 3",
        ),
        (
            "trainlist03.txt",
            6,
            "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c00.avi 1",
            "trainlist03.txt: line 6: ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c00.avi is in no list of split 1",
        ),
        (
            "classInd.txt",
            3,
            "",
            "classInd.txt: line 3: '4 BabyCrawling' should be 3 and a class that is not yet listed",
        ),
        (
            "classInd.txt",
            2,
            "2 ApplyEyeMakeup",
            "classInd.txt: line 2: '2 ApplyEyeMakeup' should be 2 and a class that is not yet listed",
        ),
        ("classInd.txt", 101, "", "classInd.txt: line 100 is the last, of 100 classes; the published list has 101"),
        ("classInd.txt", 1, "1 Makeup", "trainlist01.txt: line 1: class ApplyEyeMakeup is not in classInd.txt"),
    ],
)
def test_a_list_that_is_not_the_published_one_is_refused_with_the_line(lists, name, line, new, message):
    edit(lists / name, line, new)
    assert refusal(lists) == message


def test_a_group_on_both_sides_of_a_split_is_refused_with_the_line(lists):
    tested = edit(lists / "testlist01.txt", 1, "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi")
    edit(lists / "trainlist01.txt", 1, f"{tested} 1")
    assert refusal(lists) == (
        "testlist01.txt: line 1: group ApplyEyeMakeup_g08 is in test, and in train by trainlist01.txt: line 2"
    )


# The files


def test_all_13320_files_are_found_in_seconds(clips, videos):
    start = time.process_time()  # this process's own; each name against each other would take minutes of it
    located, missing, unknown = locate(clips, videos)
    assert time.process_time() - start < 20
    assert located == {name: videos / name for name in ucf101_names()}
    assert missing == []
    assert unknown == []


def test_ten_files_that_are_gone_are_listed(clips, videos):
    gone = [clip.name for clip in clips[::1400]]
    for name in gone:
        (videos / name).unlink()
    located, missing, unknown = locate(clips, videos)
    for name in gone:
        (videos / name).touch()
    assert len(gone) == 10
    assert missing == gone
    assert len(located) == 13310
    assert unknown == []
    assert describe_missing(clips, missing).startswith("10 of 13320 clips are missing:\n  1 of 145 of ApplyEyeMakeup\n")


def test_files_that_mirrors_spell_otherwise_are_found(clips, tmp_path):
    pushups = [clip for clip in clips if clip.label == "HandstandPushups"]
    for clip in pushups:
        (tmp_path / clip.name.rpartition("/")[2].replace("HandStand", "Handstand")).touch()
    located, missing, unknown = locate(pushups, tmp_path)
    name = "HandstandPushups/v_HandStandPushups_g01_c01.avi"
    assert located[name] == tmp_path / "v_HandstandPushups_g01_c01.avi"
    assert len(located) == len(pushups) == 128
    assert missing == []
    assert unknown == []


# The split


@pytest.mark.parametrize("k", [0, 1, 2])
def test_validation_takes_whole_groups_of_the_official_train_side_in_seconds(clips, k):
    rows = [{"video": clip.name, "label": clip.label, "group": clip.group, "part": clip.parts[k]} for clip in clips]
    start = time.process_time()
    sides = split(rows, test=0.2, val=0.2, seed=0)
    assert time.process_time() - start < 20
    assert [row["video"] for row in sides["test"]] == [clip.name for clip in clips if clip.parts[k] == "test"]
    groups = {side: {row["group"] for row in members} for side, members in sides.items()}
    assert sum(len(members) for members in sides.values()) == 13320
    assert sum(len(names) for names in groups.values()) == len(set.union(*groups.values())) == 2525
    assert {row["label"] for row in sides["val"]} == {clip.label for clip in clips}
