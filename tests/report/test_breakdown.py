"""Where a model is wrong, on answers that can be counted by hand."""

import numpy as np
import pytest

from src.report.breakdown import Bin, Pair, by_length, by_views, most_certain, most_confused, reliability

ONCE = {"bootstrap": 100, "seed": 0}


def test_the_pairs_most_confused_come_first_and_right_answers_are_none():
    counts = np.array([[5, 1, 0], [0, 9, 2], [3, 0, 1]])
    pairs = [Pair("C", "A", 3, 4), Pair("B", "C", 2, 11), Pair("A", "B", 1, 6)]
    assert most_confused(counts, ["A", "B", "C"], most=9) == pairs
    assert most_confused(counts, ["A", "B", "C"], most=2) == pairs[:2]
    assert most_confused(np.diag([4, 4]), ["A", "B"], most=9) == []


def test_accuracy_by_length_is_of_parts_of_about_as_many_videos():
    hits = np.array([True, True, False, True, False, False])
    short, long = by_length([1, 2, 3, 10, 11, 60], hits, list("abcdef"), parts=2, **ONCE)
    assert (short.name, short.videos, short.top1) == ("1.0 – 3.0 s", 3, 2 / 3)
    assert (long.name, long.videos, long.top1) == ("10.0 – 60.0 s", 3, 1 / 3)
    assert 0 <= short.low <= short.top1 <= short.high <= 1


def test_videos_of_one_length_are_one_part():
    (part,) = by_length([4.0] * 3, np.array([True, True, True]), ["g"] * 3, parts=5, **ONCE)
    assert (part.name, part.videos, part.top1, part.low, part.high) == ("4.0 s", 3, 1, 1, 1)


def test_every_video_is_in_one_part():
    seconds = np.random.default_rng(0).integers(1, 9, 200) / 2
    parts = by_length(seconds, np.ones(200, bool), ["g"] * 200, parts=5, **ONCE)
    assert sum(part.videos for part in parts) == 200
    assert len(parts) == 5


def test_accuracy_by_views_is_the_mean_over_choices_of_them():
    """Of three views of one video of class 0 one is right, but so sure that it outvotes another, and not two."""
    views = np.array([[[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]])
    assert by_views(views, np.array([0]), seed=0) == [
        (1, pytest.approx(1 / 3)),
        (2, pytest.approx(2 / 3)),  # with either of the others; these two together are wrong
        (3, 0.0),
    ]


def test_of_many_views_some_choices_are_drawn_and_all_of_them_together_count_once():
    views = np.random.default_rng(0).dirichlet([1, 1], (50, 30))
    labels = np.zeros(50, int)
    found = by_views(views, labels, seed=0)
    assert [number for number, _ in found] == [1, 2, 4, 8, 16, 30]
    assert found == by_views(views, labels, seed=0)
    assert found[-1][1] == (views.mean(1).argmax(1) == 0).mean()


def test_bins_hold_the_videos_of_about_one_confidence():
    confidence = np.array([0.99, 0.97, 0.5, 0.51])
    found = reliability(confidence, np.array([True, False, True, True]))
    assert found == [Bin(2, pytest.approx(0.505), 1.0), Bin(2, pytest.approx(0.98), 0.5)]


def test_the_most_certain_come_first():
    confidence, wrong = np.array([0.5, 0.9, 0.7, 0.8]), np.array([True, False, True, True])
    assert most_certain(confidence, wrong, most=2) == [3, 2]
    assert most_certain(confidence, wrong & False, most=2) == []
