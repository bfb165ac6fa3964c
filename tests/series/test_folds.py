"""Folds of videos whose groups are letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.command import UserError
from src.series.folds import k_folds, leave_one_group_out
from src.video.manifest import Video


def video(name: str, group: str, label: int = 0) -> Video:
    return Video(name, Path(name), label=label, group=group, frames=10, sha256=name)


def test_every_group_is_tested_once_by_a_network_that_has_not_seen_it():
    videos = [video(f"{group}{number}", group) for group in "abcde" for number in range(2)]
    folds = leave_one_group_out(videos, val=0.3)
    assert list(folds) == list("abcde")
    assert [v.name for v in folds["d"]["test"]] == ["d0", "d1"]
    assert {v.group for v in folds["d"]["val"]} == {"e", "a"}  # 0.3 of 5, the next ones by name
    assert {v.group for v in folds["d"]["train"]} == {"b", "c"}


def test_too_few_groups_are_refused():
    with pytest.raises(UserError, match="needs 3 groups, and there are 2"):
        leave_one_group_out([video("1", "a"), video("2", "b")], val=0.2)
    with pytest.raises(UserError, match="--folds 4 needs 5 groups, and there are 4"):
        k_folds([video(group, group) for group in "abcd"], count=4, val=0.2)


def test_folds_have_groups_of_every_class_and_each_group_once():
    """Two classes with ten recordings each, two clips of each recording."""
    videos = [
        video(f"{label}{group}{number}", f"{label}{group}", label)
        for label in (0, 1)
        for group in range(10)
        for number in range(2)
    ]
    folds = k_folds(videos, count=5, val=0.25)
    assert list(folds) == ["fold-1", "fold-2", "fold-3", "fold-4", "fold-5"]
    tested = [v.name for fold in folds.values() for v in fold["test"]]
    assert sorted(tested) == sorted(v.name for v in videos)
    for fold in folds.values():
        sides = {side: {v.group for v in members} for side, members in fold.items()}
        assert not sides["train"] & sides["test"]
        assert not sides["train"] & sides["val"]
        assert not sides["val"] & sides["test"]
        counts = {side: [sum(v.label == label for v in fold[side]) for label in (0, 1)] for side in fold}
        assert counts == {"test": [4, 4], "val": [4, 4], "train": [12, 12]}


def test_the_next_groups_are_of_other_classes():
    """Recordings of one class each: validation by the tested class alone would choose the epoch by that class."""
    videos = [video(f"{label}{group}", f"{label}{group}", label) for label in range(10) for group in range(4)]
    folds = leave_one_group_out(videos, val=0.15)
    assert len(folds) == 40
    for fold in folds.values():
        assert len({v.label for v in fold["val"]}) == len(fold["val"]) == 6
        assert {v.label for v in fold["train"]} == set(range(10))


@pytest.mark.parametrize(("classes", "count"), [(7, 2), (10, 2), (14, 2), (7, 3)])
def test_no_class_loses_its_last_training_group_to_validation(classes: int, count: int):
    videos = [video(f"{label}{group}", f"{label:02}{group}", label) for label in range(classes) for group in range(3)]
    for fold in k_folds(videos, count=count, val=0.3).values():
        assert {v.label for v in fold["train"]} == set(range(classes))
        assert fold["val"]


def test_where_nothing_is_left_to_validate_on_is_said():
    with pytest.raises(UserError, match="too few groups"):
        k_folds([video(group, group) for group in "abc"], count=2, val=0.2)


def test_a_group_of_several_classes_stays_whole():
    """Actors who do everything."""
    videos = [video(f"{actor}{label}", actor, label) for actor in "abcdef" for label in range(3)]
    folds = k_folds(videos, count=3, val=0.3)
    assert [{v.group for v in fold["test"]} for fold in folds.values()] == [{"a", "d"}, {"b", "e"}, {"c", "f"}]
    assert all(len(fold["test"]) == 6 for fold in folds.values())
