"""Which checkpoints are kept, by sizes that can be added up by hand."""

import pytest

from src.tracking.kept import kept

THREES = dict.fromkeys(range(1, 8), 3)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (12, [2, 5, 6, 7]),  # best, last, and two more, the latest
        (11, [2, 6, 7]),
        (6, [2, 7]),
        (5, [2]),
        (3, [2]),
        (2, []),
        (100, [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_best_and_last_then_the_latest(budget, expected):
    assert kept(THREES, best=2, last=7, budget=budget) == expected


def test_the_last_may_be_the_best():
    assert kept(THREES, best=7, last=7, budget=6) == [6, 7]


def test_sizes_may_differ_and_a_gap_is_not_filled_with_an_older_one():
    assert kept({1: 1, 2: 5, 3: 2, 4: 2}, best=3, last=4, budget=6) == [3, 4]


def test_a_best_that_was_never_kept_is_done_without():
    assert kept({5: 3, 6: 3}, best=2, last=6, budget=6) == [5, 6]
