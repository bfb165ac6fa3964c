"""Numbers and tables from answers that can be counted by hand."""

from __future__ import annotations

import pytest

from src.series.runs import top1
from src.series.tables import class_table, difference, fold_table, headline_table, mean_and_deviation, pooled


def answer(group: str, label: int, *probabilities: float) -> dict:
    return {"video": f"{group}{label}", "group": group, "label": label, "probabilities": list(probabilities)}


FOLDS = [
    {"train": [answer("b", 0, 0.9, 0.1), answer("b", 1, 0.2, 0.8)], "test": [answer("a", 0, 0.7, 0.3)]},
    {"train": [answer("a", 0, 0.6, 0.4), answer("a", 1, 0.1, 0.9)], "test": [answer("b", 1, 0.8, 0.2)]},
]
"""All four answers on training videos are right, and one of two on test videos."""


def test_answers_of_all_folds_are_pooled():
    result = pooled(FOLDS, bootstrap=1000, seed=0)
    assert (result["train"]["top1"], result["test"]["top1"], result["gap"]) == (1.0, 0.5, 0.5)
    # Of two groups, one all right and one all wrong, a resampling may hold either alone.
    assert (result["gap_low"], result["gap_high"]) == (0.0, 1.0)


def test_a_video_that_several_networks_answered_is_one_video():
    assert pooled([*FOLDS, *FOLDS], bootstrap=100, seed=0)["test"]["videos"] == 2


def right(group: str, label: int) -> dict:
    return answer(group, label, *(float(i == label) for i in (0, 1)))


def wrong(group: str, label: int) -> dict:
    return answer(group, label, *(float(i != label) for i in (0, 1)))


def test_a_difference_is_paired_by_video_and_resamples_groups():
    """Of four groups one is gained in both seeds and one in one of two; the others are right, or wrong, in all."""
    first = [{"test": [wrong("a", 0), wrong("b", 0), right("c", 0), wrong("d", 1)]}] * 2
    second = [
        {"test": [right("a", 0), right("b", 0), right("c", 0), wrong("d", 1)]},
        {"test": [right("a", 0), wrong("b", 0), right("c", 0), wrong("d", 1)]},
    ]
    found = difference(first, second, bootstrap=4000, seed=0)
    assert found["mean"] == (1 + 0.5 + 0 + 0) / 4
    assert found["low"] == 0.0
    assert 0.75 <= found["high"] <= 1.0
    back = difference(second, first, bootstrap=4000, seed=0)
    assert (back["mean"], back["high"]) == (-found["mean"], 0.0)
    same = difference(first, first, bootstrap=100, seed=0)
    assert same == {"mean": 0.0, "low": 0.0, "high": 0.0}


def test_a_difference_on_other_videos_is_refused():
    with pytest.raises(ValueError, match="other videos"):
        difference([{"test": [right("a", 0)]}], [{"test": [right("b", 0)]}], bootstrap=10, seed=0)


def test_tables_have_a_row_a_net_and_a_column_a_net():
    head = headline_table({"ours": pooled(FOLDS, bootstrap=100, seed=0)})
    assert head.splitlines()[0] == "| Net | Training | Test | Gap, points | Videos tested |"
    assert head.splitlines()[2].startswith("| ours | 100.0% (100.0% – 100.0%) | 50.0% (0.0% – 100.0%) | 50.0 (")
    assert "| Validation |" in headline_table({}, tested="val")
    rows = class_table({"ours": FOLDS}, [("walk",), ("run",), ("walk", "run")], ["walk", "run"]).splitlines()
    assert rows[2:] == ["| walk | 100.0% |", "| run | 0.0% |", "| walk / run | 50.0% |"]


def test_folds_stand_side_by_side_with_mean_and_deviation_over_all_runs():
    assert [top1(fold["test"]) for fold in FOLDS] == [1.0, 0.0]
    assert mean_and_deviation([0.8, 0.9, 1.0]) == pytest.approx((0.9, 0.1))  # of a sample: the squares over n - 1
    rows = fold_table({"ours": {"a": [FOLDS[0], FOLDS[1]], "b": [FOLDS[1]]}}).splitlines()
    assert rows[0] == "| Net | Videos | a | b | Mean |"
    assert rows[2:] == [
        "| ours | train | 100.0% | 100.0% | 100.0 ± 0.0 % |",
        "| ours | test | 50.0% | 0.0% | 33.3 ± 57.7 % |",
    ]


def test_no_table_calls_validation_videos_tested():
    assert "| ours | validation |" in fold_table({"ours": {"a": FOLDS}}, tested="val")
    assert class_table({"ours": FOLDS}, [], ["walk", "run"], tested="val").startswith("| Validation videos of |")
