"""Folders and lists as people have them → what is in them, or one line that says what is wrong."""

import os
from pathlib import Path

import pytest

from src.command import UserError
from src.datasets.folder import find, raw_names


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    return tmp_path / "videos"


def put(folder: Path, *names: str) -> None:
    """Files of these names; whether they can be read as videos is for a later stage to say."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def found(path: Path, *, group: str | None = None) -> list[tuple[str, str, str, str]]:
    """What is found, as `(file, label, group, part)` with the file relative to the folder or list."""
    folder = path if path.is_dir() else path.parent
    return [
        (source.path.relative_to(folder).as_posix(), source.label, source.group, source.part)
        for source in find(path, group=group)
    ]


def refusal(path: Path, *, group: str | None = None) -> str:
    with pytest.raises(UserError) as refused:
        find(path, group=group)
    message = str(refused.value)
    assert "\n" not in message
    return message


# A folder of classes


def test_each_folder_is_a_class(videos):
    put(videos, "Walk/b.mp4", "Walk/a.avi", "Run/c.webm")
    assert found(videos) == [
        ("Run/c.webm", "Run", "", ""),
        ("Walk/a.avi", "Walk", "", ""),
        ("Walk/b.mp4", "Walk", "", ""),
    ]


def test_folders_below_a_class_belong_to_it(videos):
    put(videos, "Walk/monday/a.mp4", "Walk/tuesday/late/b.mp4", "Walk/c.mp4")
    assert [label for _, label, _, _ in found(videos)] == ["Walk"] * 3


def test_what_is_no_video_is_left_out(videos):
    put(videos, "Walk/a.mp4", "Walk/notes.txt", "Walk/a.jpg", "Walk/.a.mp4", "Walk/._b.mov", ".cache/x.mp4", "top.mp4")
    put(videos, "Walk/cut.mp4/readme.txt", "Empty/readme.txt")
    assert found(videos) == [("Walk/a.mp4", "Walk", "", "")]


def test_hidden_folders_are_left_out_and_a_class_without_videos_is_named(videos, capsys):
    put(videos, "Walk/a.mp4", "Walk/.ipynb_checkpoints/a-checkpoint.mp4", "Run/b.mxf")
    assert found(videos) == [("Walk/a.mp4", "Walk", "", "")]
    assert capsys.readouterr().err == f"note: {videos}: no video in Run, so no class of that name\n"


def test_capitals_spaces_and_other_alphabets_are_fine(videos):
    put(videos, "Baile de salón/vídeo 1 (copy).MP4", "太极/第一.MoV")
    assert found(videos) == [
        ("Baile de salón/vídeo 1 (copy).MP4", "Baile de salón", "", ""),
        ("太极/第一.MoV", "太极", "", ""),
    ]
    assert raw_names(find(videos, group=None)) == ["Baile de salón/vídeo 1 (copy).MP4", "太极/第一.MoV"]


def test_a_link_to_nothing_is_found_so_that_its_loss_is_named_later(videos):
    put(videos, "Walk/a.mp4")
    (videos / "Walk" / "b.mp4").symlink_to(videos / "gone.mp4")
    assert [name for name, _, _, _ in found(videos)] == ["Walk/a.mp4", "Walk/b.mp4"]


@pytest.mark.parametrize("names", [[], ["a.mp4"], ["Walk/a.txt"]])
def test_a_folder_without_classes_of_videos_says_what_is_expected(videos, names):
    put(videos, *names)
    assert refusal(videos) == (
        f"dataset.path: no video in {videos}; expected {videos}/CLASS/clip.mp4 or a CSV video,label[,group]"
    )


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    assert refusal(tmp_path / "none") == f"dataset.path: {tmp_path / 'none'} does not exist"


# Groups


def test_the_parenthesis_of_the_expression_is_the_group(videos):
    put(videos, "Walk/anna_01.mp4", "Walk/ben_01.mp4", "Run/anna_02.mp4")
    assert [group for _, _, group, _ in found(videos, group=r"^([a-z]+)_\d+")] == ["anna", "anna", "ben"]


def test_without_a_parenthesis_the_whole_match_is_the_group(videos):
    put(videos, "Walk/v_Walk_g01_c01.avi", "Walk/v_Walk_g02_c01.avi")
    assert [group for _, _, group, _ in found(videos, group=r"g\d\d")] == ["g01", "g02"]


@pytest.mark.parametrize("expression", [r"person(\d+)", r"x(\d)?"])
def test_a_name_without_a_group_is_named(videos, expression):
    put(videos, "Walk/person1_x1.mp4", "Walk/x.mp4")
    assert refusal(videos, group=expression) == f"dataset.group: {expression!r} finds no group in the name x.mp4"


def test_a_bad_expression_is_named(videos):
    put(videos, "Walk/a.mp4")
    assert refusal(videos, group="(") == (
        "dataset.group: '(' is not a regular expression: missing ), unterminated subpattern at position 0"
    )


# A division that is there already


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["train", "val", "test"], ["test", "train", "val"]),
        (["Training", "Valid", "Testing"], ["test", "train", "val"]),
        (["training", "validation"], ["train", "test"]),  # as the original wanted it: val is carved out of train
        (["train", "test"], ["test", "train"]),
    ],
)
def test_a_division_is_kept(videos, names, parts):
    put(videos, *(f"{name}/Walk/{name}.mp4" for name in names))
    assert [part for _, _, _, part in found(videos)] == parts
    assert {label for _, label, _, _ in found(videos)} == {"Walk"}


def test_groups_are_known_in_a_division_too(videos):
    put(videos, "train/Walk/anna_1.mp4", "test/Walk/ben_1.mp4")
    assert found(videos, group="([a-z]+)_") == [
        ("test/Walk/ben_1.mp4", "Walk", "ben", "test"),
        ("train/Walk/anna_1.mp4", "Walk", "anna", "train"),
    ]


@pytest.mark.parametrize(
    "names", [["train"], ["test", "val"], ["train", "training"], ["train", "test", "extra"], ["test"]]
)
def test_half_a_division_is_refused(videos, names):
    put(videos, *(f"{name}/Walk/{name}.mp4" for name in names))
    assert refusal(videos) == (
        f"dataset.path: {videos} is divided into {', '.join(sorted(names))}; "
        "expected train and test, with or without val"
    )


def test_a_class_may_be_called_training(videos):
    put(videos, "Training/a.mp4", "Match/b.mp4")
    assert found(videos) == [("Match/b.mp4", "Match", "", ""), ("Training/a.mp4", "Training", "", "")]


def test_hidden_folders_are_no_class_of_a_division(videos):
    put(videos, "train/Walk/a.mp4", "test/Walk/b.mp4", "test/.thumbnails/b.mp4", ".git/x.mp4")
    assert {label for _, label, _, _ in found(videos)} == {"Walk"}


# A list


def test_a_list_names_videos_and_labels_relative_to_itself(videos):
    put(videos, "a.mp4", "deep/b 1.mp4")
    (videos / "list.csv").write_text("video,label\ndeep/b 1.mp4,Walk\na.mp4,Run\n")
    assert found(videos / "list.csv") == [("a.mp4", "Run", "", ""), ("deep/b 1.mp4", "Walk", "", "")]


def test_a_list_may_name_groups_and_the_expression_fills_in_the_rest(videos):
    put(videos, "a_x.mp4", "b_y.mp4")
    (videos / "list.csv").write_text("label,group,video\nWalk,anna,a_x.mp4\nWalk,,b_y.mp4\n")
    assert [group for _, _, group, _ in found(videos / "list.csv")] == ["anna", ""]
    assert [group for _, _, group, _ in found(videos / "list.csv", group=r"_(\w)")] == ["anna", "y"]


def test_a_list_from_a_spreadsheet_is_read(videos):
    put(videos, "a.mp4", "ü.mp4")
    text = "video, label, group\r\na.mp4 , Walk, anna \r\n ü.mp4, Walk, ben\r\n"
    (videos / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert found(videos / "list.csv") == [("a.mp4", "Walk", "anna", ""), ("ü.mp4", "Walk", "ben", "")]


def test_a_list_may_name_files_anywhere(videos, tmp_path):
    put(tmp_path, "elsewhere/a.mp4", "videos/b.mp4")
    (videos / "list.csv").write_text(f"video,label\n{tmp_path}/elsewhere/a.mp4,Walk\n../videos/b.mp4,Walk\n")
    sources = find(videos / "list.csv", group=None)
    assert {source.path.resolve() for source in sources} == {tmp_path / "elsewhere/a.mp4", videos / "b.mp4"}
    assert sorted(raw_names(sources)) == ["Walk/a.mp4", "Walk/b.mp4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,label\na.mp4,Walk\nb.mp4,Walk\n", "list.csv: row 3: no file {}/b.mp4"),
        ("video,label\na.mp4,\n", "list.csv: row 2: '' cannot be the name of a class"),
        ("video,label\na.mp4,..\n", "list.csv: row 2: '..' cannot be the name of a class"),
        ("video,label\na.mp4,Walk/Fast\n", "list.csv: row 2: 'Walk/Fast' cannot be the name of a class"),
        ("video,class\na.mp4,Walk\n", "list.csv: no column label; its header is ['video', 'class']"),
        ("video,label\na.mp4\n", "list.csv: row 2 has not as many cells as the header"),
        ("video,label\n", "no video in {}/list.csv"),
        ("", "list.csv: no column video, label; its header is []"),
    ],
)
def test_a_list_that_is_wrong_is_named_with_the_row(videos, text, message):
    put(videos, "a.mp4")
    (videos / "list.csv").write_text(text)
    assert message.format(videos) in refusal(videos / "list.csv")


# Names in data/raw


def test_plain_names_are_kept(videos):
    put(videos, "Walk/1.mp4", "Run/1.mp4", "Run/deep/2.avi")
    assert raw_names(find(videos, group=None)) == ["Run/1.mp4", "Run/2.avi", "Walk/1.mp4"]


def test_names_that_would_share_a_frame_file_get_their_folders_and_extensions(videos):
    put(videos, "Walk/mon/1.mp4", "Walk/tue/1.mp4", "Run/1.avi", "Run/1.mp4", "Run/1.MP4", "Run/2.mp4")
    assert raw_names(find(videos, group=None)) == [
        "Run/Run__1_MP4.MP4",
        "Run/Run__1_avi.avi",
        "Run/Run__1_mp4.mp4",
        "Run/2.mp4",
        "Walk/Walk__mon__1_mp4.mp4",
        "Walk/Walk__tue__1_mp4.mp4",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["train/Walk/1.mp4", "test/Walk/1.mp4"],
        ["Walk/anna/cam/1.mp4", "Walk/ben/cam/1.mp4"],
        ["train/Walk/1.mp4", "test/Walk/1.avi", "val/Walk/1.mp4"],
    ],
)
def test_the_same_name_in_two_places_is_two_videos(videos, names):
    put(videos, *names)
    written = raw_names(find(videos, group=None))
    assert len({Path(name).with_suffix("") for name in written}) == len(names)
    assert all(name.startswith("Walk/") and name.count("/") == 1 for name in written)


def test_a_video_that_is_listed_twice_is_named(videos):
    put(videos, "a.mp4")
    (videos / "list.csv").write_text("video,label\na.mp4,Walk\na.mp4,Walk\n")
    with pytest.raises(UserError, match=r"two videos would both be Walk/a_mp4 in data/raw; rename or remove one"):
        raw_names(find(videos / "list.csv", group=None))


def test_names_without_extension_and_labels_with_points_are_names_like_others(videos):
    put(videos, "one", "two")
    (videos / "list.csv").write_text("video,label\none,A.1\ntwo,A.1\n")
    assert raw_names(find(videos / "list.csv", group=None)) == ["A.1/one", "A.1/two"]


def test_a_name_that_is_not_utf8_is_named(videos):
    put(videos, "Walk/a.mp4")
    (videos / os.fsdecode(b"Walk/caf\xe9.mp4")).touch()
    with pytest.raises(UserError, match=r"dataset.path: the name of '.*caf.udce9.mp4' is not UTF-8; rename it"):
        raw_names(find(videos, group=None))


def test_names_made_up_here_do_not_meet_names_that_are_there(videos):
    put(videos, "Walk/x/1.mp4", "Walk/y/1.mp4", "Walk/Walk__x__1_mp4.avi", "Run/2.mp4")
    with pytest.raises(UserError, match=r"two videos would both be Walk/Walk__x__1_mp4"):
        raw_names(find(videos, group=None))
