"""How far answers are to be trusted, on answers whose best temperature and threshold can be worked out."""

import json

import numpy as np
import pytest

from src.command import UserError
from src.training.calibration import Calibration, calibrate, choose_threshold, fit_temperature, sharpened

GIVEN = {"certain": 0.9, "views": 4, "crops": 1, "weights": "abc"}


def answers(count: int, *, right: float, sure: float) -> tuple[np.ndarray, np.ndarray]:
    """`count` answers between two classes, all with the confidence `sure`, of which a share is right."""
    labels = (np.arange(count) >= round(right * count)).astype(int)
    return np.tile([sure, 1 - sure], (count, 1)), labels


def test_a_power_of_probabilities():
    assert sharpened(np.array([0.8, 0.2]), 2) == pytest.approx([16 / 17, 1 / 17])
    assert sharpened(np.array([[0.5, 0.25, 0.25]]), 1) == pytest.approx(np.array([[0.5, 0.25, 0.25]]))
    assert sharpened(np.array([1.0, 0.0]), 0.5).sum() == pytest.approx(1)


@pytest.mark.parametrize(("right", "sure"), [(0.7, 0.95), (0.9, 0.6), (0.8, 0.8)])
def test_the_fitted_confidence_is_the_share_that_is_right(right, sure):
    """But for the one answer more that counts as wrong: a thousandth."""
    probabilities, labels = answers(1000, right=right, sure=sure)
    temperature = fit_temperature(probabilities, labels)
    assert sharpened(probabilities, 1 / temperature).max(1) == pytest.approx(right, abs=2e-3)
    assert (temperature > 1) == (right < sure) or right == sure


def test_where_all_are_right_the_answers_do_not_become_certainties():
    probabilities, labels = answers(60, right=1.0, sure=0.7)
    assert sharpened(probabilities, 1 / fit_temperature(probabilities, labels)).max() == pytest.approx(
        61 / 62, abs=1e-3
    )


def test_the_threshold_is_the_lowest_that_keeps_what_was_asked_for():
    confidence = np.array([0.5, 0.9, 0.6, 0.8, 0.7])
    hits = np.array([False, True, True, True, False])  # from the surest on: right, right, wrong, right, wrong
    assert choose_threshold(confidence, hits, certain=1.0) == 0.8
    assert choose_threshold(confidence, hits, certain=0.75) == 0.6
    assert choose_threshold(confidence, hits, certain=0.6) == 0.5
    assert choose_threshold(confidence, ~hits, certain=0.9) is None


def test_answers_of_one_confidence_stand_on_one_side():
    assert choose_threshold(np.array([0.9, 0.9, 0.9]), np.array([True, True, False]), certain=1.0) is None
    assert choose_threshold(np.array([0.9, 0.9, 0.8]), np.array([True, True, False]), certain=1.0) == 0.9


def test_a_calibration_keeps_the_order_and_judges_by_its_own_probabilities():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet([0.3] * 5, 200), rng.integers(5, size=200)
    found = calibrate(probabilities, labels, **GIVEN)
    assert (found.apply(probabilities).argsort(1) == probabilities.argsort(1)).all()
    assert found.temperature > 2  # answers by chance, as sure as they are
    assert (found.videos, found.views, found.certain, found.weights) == (200, 4, 0.9, "abc")
    sure = found.sure(found.apply(probabilities).max(1))
    assert not sure.any() or (found.apply(probabilities).argmax(1) == labels)[sure].mean() >= 0.9


def test_what_is_not_sure_is_below_the_threshold():
    calibration = Calibration(1.0, 0.6, 0.9, 4, 1, 9, "")
    assert calibration.sure(np.array([0.59, 0.6, 0.61])).tolist() == [False, True, True]
    assert not Calibration(1.0, None, 0.9, 4, 1, 9, "").sure(1.0)


def test_it_is_kept_as_it_is(tmp_path):
    calibration = Calibration(0.1 + 0.2, 1 / 3, 0.95, 4, 1, 60, "abc")
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration
    for wrong in ("", "[]", json.dumps({"temperature": 1})):
        (tmp_path / "calibration.json").write_text(wrong)
        with pytest.raises(UserError, match=r"calibration.json: not a calibration .*python -m src.evaluate"):
            Calibration.load(tmp_path / "calibration.json")
