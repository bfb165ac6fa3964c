import pytest

from src.command import UserError
from src.video.labels import class_names, mirrored_labels

CLASSES = ["Clap", "Left", "Right", "Up", "Down"]


def test_the_place_in_the_list_is_the_label(tmp_path):
    (tmp_path / "classes.txt").write_text("Baile de salón\nWalk\n太极\n")
    assert class_names(tmp_path) == ["Baile de salón", "Walk", "太极"]


def test_a_missing_list_says_what_writes_it(tmp_path):
    with pytest.raises(UserError, match=r"classes.txt: no such file; `dvc repro split` writes it"):
        class_names(tmp_path)


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"Left": "Right"}, [0, 2, 1, 3, 4]),
        ({"Right": "Left"}, [0, 2, 1, 3, 4]),
        ({"Left": "Right", "Down": "Up"}, [0, 2, 1, 4, 3]),
        ({"Clap": "Clap"}, [0, 1, 2, 3, 4]),
        ("forbid", None),
    ],
)
def test_a_flip_swaps_the_classes_of_a_pair(mirror, expected):
    assert mirrored_labels(CLASSES, mirror) == expected


@pytest.mark.parametrize(
    ("mirror", "message"),
    [
        ({"Left": "Rigth"}, "there is no class Rigth; the classes are Clap, Left, Right, Up, Down"),
        ({"Lfet": "Right"}, "there is no class Lfet; the classes are"),
        ({"Left": "Right", "Up": "Right"}, "Up or Right stands in two pairs"),
    ],
)
def test_a_wrong_pair_is_named(mirror, message):
    with pytest.raises(UserError) as refused:
        mirrored_labels(CLASSES, mirror)
    assert str(refused.value).startswith(f"dataset.mirror: {message}")
