"""The paired test on groups against all choices of signs counted one by one, and against SciPy's tests."""

import itertools

import numpy as np
import pytest
import scipy.stats

from bench.comparison import rejected
from src.training.comparison import compare, group_sums, holm, paired_p


def counted(sums: list[int]) -> float:
    """The mid-p-value by trying every choice of signs."""
    seen = abs(sum(sums))
    totals = [abs(sum(map(int.__mul__, signs, sums))) for signs in itertools.product((-1, 1), repeat=len(sums))]
    return float(np.mean([(total > seen) + (total == seen) / 2 for total in totals]))


@pytest.mark.parametrize("sums", [[1], [2, -1], [1, 1, 1, 1, 1], [3, 0, -2, 5], [1, -1], [4, 2, 2, -1, 3, 1, -2, 6]])
def test_the_p_value_is_that_of_all_choices_of_signs(sums):
    assert paired_p(np.array(sums)) == pytest.approx(counted(sums))


def test_where_each_clip_is_a_group_it_is_mcnemars_mid_p_test():
    """3 clips that A alone has right, and 11 that B alone has."""
    sums = np.array([-1] * 3 + [1] * 11 + [0] * 80)
    exact = scipy.stats.binomtest(3, 14).pvalue
    assert paired_p(sums) == pytest.approx(exact - scipy.stats.binom.pmf(3, 14, 0.5))


def test_two_models_that_are_right_on_the_same_clips_do_not_differ():
    assert paired_p(np.zeros(9, int)) == 1.0
    found = compare(np.array([True, False]), np.array([True, False]), ["a", "b"], bootstrap=100, seed=0)
    assert (found.points, found.low, found.high, found.p, found.turned) == (0, 0, 0, 1, 0)


def test_groups_and_not_clips_are_counted():
    """Of four groups of five clips, B is right in all and A in one: three coins, and not fifteen, fell to one side."""
    groups = np.repeat(["a", "b", "c", "d"], 5)
    b = np.ones(20, bool)
    a = groups == "d"
    found = compare(a, b, groups, bootstrap=2000, seed=0)
    assert group_sums(b.astype(int) - a, groups).tolist() == [5, 5, 5, 0]
    assert (found.a, found.b, found.points, found.turned) == (0.25, 1.0, 75.0, 3)
    assert found.p == found.least_p == 0.125
    assert (found.low, found.high) == (0.25, 1.0)  # of four groups drawn, from one to four of the three


def test_holm_multiplies_the_least_by_all_and_never_turns_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.001]) == pytest.approx([0.9, 0.002])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("grouped", [0.0, 0.5])
def test_without_a_difference_about_one_in_twenty_is_rejected(grouped):
    rng = np.random.default_rng(1)
    assert 0.03 <= rejected(rng, times=1000, null=True, clips=100, shared=0.5, grouped=grouped) <= 0.07


def test_a_difference_of_ten_points_on_a_hundred_clips_is_found_where_nothing_else_differs():
    rng = np.random.default_rng(1)
    assert rejected(rng, times=200, null=False, clips=100, shared=1.0, grouped=0.0) >= 0.8
