"""Accuracy, calibration and intervals, on answers whose numbers can be worked out by hand."""

import math

import numpy as np
import pytest
import scipy.stats

from src.training import metrics

FOUR = np.array(
    [
        [0.7, 0.2, 0.1],  # right
        [0.5, 0.3, 0.2],  # second
        [0.1, 0.2, 0.7],  # third
        [0.0, 0.2, 0.8],  # right
    ]
)
LABELS = np.array([0, 1, 0, 2])


def test_top_k():
    assert metrics.top_k(FOUR, LABELS, k=1) == 0.5
    assert metrics.top_k(FOUR, LABELS, k=2) == 0.75
    assert metrics.top_k(FOUR, LABELS, k=3) == 1.0
    assert metrics.top_k(FOUR, LABELS, k=5) == 1.0  # of three classes


def test_accuracy_and_loss():
    result = metrics.accuracy_and_loss(FOUR, LABELS)
    assert result["top1"] == 0.5
    assert result["loss"] == pytest.approx(-math.log(0.7 * 0.3 * 0.1 * 0.8) / 4)


def test_an_impossible_truth_costs_much_but_not_everything():
    assert metrics.accuracy_and_loss(np.array([[1.0, 0.0]]), [1])["loss"] == pytest.approx(-math.log(1e-12))


def test_summary_by_hand():
    result = metrics.summary(FOUR, LABELS, ["a", "b", "c", "d"], bootstrap=100, seed=0)
    assert list(result) == ["top1", "top1_low", "top1_high", "top5", "mean_class", "loss", "ece"]
    assert result["top1"] == 0.5
    assert result["top5"] == 1.0
    assert result["mean_class"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert result["ece"] == pytest.approx((2 * 0.2 + 0.5 + 0.2) / 4)  # of the two that say 0.7 one is right
    assert all(type(value) is float for value in result.values())


def test_classes_without_a_video_do_not_count_in_the_mean_over_classes():
    answers = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    result = metrics.summary(answers, np.array([0, 0, 0]), ["a", "b", "c"], bootstrap=100, seed=0)
    assert result["mean_class"] == pytest.approx(2 / 3)


def test_calibration_error_by_hand():
    confidence, hits = np.array([0.9, 0.9, 0.62, 0.62]), np.array([True, False, True, True])
    assert metrics.expected_calibration_error(confidence, hits) == pytest.approx((0.4 + 0.38) / 2)


def test_a_calibrated_predictor_has_no_calibration_error():
    confidence = np.repeat([0.2, 0.5, 0.8, 1.0], 10)
    hits = np.concatenate([np.arange(10) < right for right in (2, 5, 8, 10)])
    assert metrics.expected_calibration_error(confidence, hits) == pytest.approx(0.0, abs=1e-12)


def test_a_boast_of_certainty_is_an_error_of_what_is_wrong():
    assert metrics.expected_calibration_error(np.ones(10), np.arange(10) < 7) == pytest.approx(0.3)


def test_with_one_clip_a_group_the_interval_is_the_plain_bootstrap():
    hits = np.random.default_rng(1).random(80) < 0.7
    means = metrics.resampled_means(hits, [f"g{i}" for i in range(80)], times=5000, seed=0)
    plain = scipy.stats.bootstrap(
        (hits.astype(float),), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(2)
    )
    low, high = np.quantile(means, [0.025, 0.975])
    assert low == pytest.approx(plain.confidence_interval.low, abs=0.02)
    assert high == pytest.approx(plain.confidence_interval.high, abs=0.02)
    assert means.std() == pytest.approx(plain.standard_error, rel=0.1)


def test_clips_that_stand_and_fall_together_make_the_interval_wide():
    hits = np.repeat([True, False, True, False], 25)
    answers = np.where(hits[:, None], [0.9, 0.1], [0.1, 0.9])
    labels = np.zeros(100, int)
    together = metrics.summary(answers, labels, np.repeat(list("abcd"), 25).tolist(), bootstrap=2000, seed=0)
    apart = metrics.summary(answers, labels, [f"g{i}" for i in range(100)], bootstrap=2000, seed=0)
    # Four of four groups wrong: probability 1/16, more than the 2.5 % cut off on either side.
    assert (together["top1_low"], together["top1"], together["top1_high"]) == (0.0, 0.5, 1.0)
    assert apart["top1_high"] - apart["top1_low"] == pytest.approx(2 * 1.96 * 0.05, abs=0.03)


def test_groups_weigh_as_many_clips_as_they_have():
    means = metrics.resampled_means(np.array([1, 0, 0, 0]), ["a", "b", "b", "b"], times=4000, seed=0)
    values, counts = np.unique(means, return_counts=True)
    assert values.tolist() == [0.0, 0.25, 1.0]  # b twice, one of each, a twice
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_one_group_has_an_interval_of_no_width():
    result = metrics.summary(FOUR, LABELS, ["a"] * 4, bootstrap=100, seed=0)
    assert result["top1_low"] == result["top1"] == result["top1_high"] == 0.5


def test_intervals_follow_from_the_seed():
    hits, groups = np.arange(20) % 3 == 0, [f"g{i % 7}" for i in range(20)]
    first, again, other = (metrics.resampled_means(hits, groups, times=200, seed=seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_confusion_by_hand():
    counts = metrics.confusion(np.array([0, 1, 1, 0, 1]), np.array([0, 0, 1, 2, 0]), classes=4)
    assert counts.tolist() == [[1, 2, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_the_gap_has_an_interval_of_both_sides():
    right, half = np.array([True] * 4), np.array([True, True, False, False])
    groups = ["a", "a", "b", "b"]
    # Of the test side's two groups one is always right and one never; the training side is always right.
    assert metrics.gap_interval((right, groups), (half, groups), times=1000, seed=0) == (0.0, 1.0)
    assert metrics.gap_interval((right, groups), (right, groups), times=100, seed=0) == (0.0, 0.0)


def test_a_group_on_both_sides_is_drawn_for_both_at_once():
    """As with folds: whatever groups are drawn, the same answers on both sides leave no gap."""
    rng = np.random.default_rng(0)
    hits, groups = rng.random(60) < 0.7, [f"g{number % 10}" for number in range(60)]
    assert metrics.gap_interval((hits, groups), (hits, groups), times=500, seed=0) == (0.0, 0.0)
    apart = metrics.gap_interval((hits, groups), (hits, [f"other {group}" for group in groups]), times=500, seed=0)
    assert apart[0] < -0.05 < 0.05 < apart[1]


def test_a_draw_without_a_group_of_one_side_says_nothing_of_the_gap():
    right, groups = np.array([True, True]), ["a", "b"]
    assert metrics.gap_interval((right, groups), (~right[:1], ["a"]), times=100, seed=0) == (1.0, 1.0)


def test_certainty_is_how_much_is_answered_and_how_much_of_that_is_right():
    hits = np.array([True, False, True, True])
    assert metrics.certainty(hits, np.array([True, True, False, False])) == {"coverage": 0.5, "certain_top1": 0.5}
    assert metrics.certainty(hits, np.zeros(4, bool)) == {"coverage": 0.0, "certain_top1": 1.0}
