"""What is said of a video, on answers that can be read."""

import numpy as np
import pytest

from src.training import verdict
from src.training.calibration import Calibration
from src.training.predictor import Answer

CLASSES = ["Walk", "Run", "Wave", "Jump", "Sit", "Lie"]
SURE = Calibration(1.0, 0.6, 0.95, 2, 1, 60, "")


def answer(start: float, end: float, **shares: float) -> Answer:
    rest = (1 - sum(shares.values())) / (len(CLASSES) - len(shares))
    return Answer(start, end, np.array([shares.get(name, rest) for name in CLASSES], np.float32))


def test_a_short_video_has_an_answer_and_the_five_most_probable_classes():
    said = verdict.of([answer(0, 2.4, Run=0.7, Sit=0.2)], CLASSES, SURE)
    assert (said["answer"], said["seconds"], "parts" in said) == ("Run", 2.4, False)
    assert [each["class"] for each in said["top"]] == ["Run", "Sit", "Walk", "Wave", "Jump"]
    assert said["top"][1]["probability"] == pytest.approx(0.2, abs=1e-6)
    assert verdict.table(said | {"video": "a.mp4"}).splitlines()[:3] == [
        "a.mp4: Run",
        "  Run    70.0%",
        "  Sit    20.0%",
    ]


def test_below_the_threshold_the_answer_is_uncertain_and_without_a_calibration_it_is_given():
    assert verdict.of([answer(0, 2, Run=0.59)], CLASSES, SURE)["answer"] == "uncertain"
    assert verdict.of([answer(0, 2, Run=0.61)], CLASSES, SURE)["answer"] == "Run"
    assert verdict.of([answer(0, 2, Run=0.59)], CLASSES, None)["answer"] == "Run"


def test_a_long_video_has_a_timeline_in_which_equal_parts_are_one_line():
    parts = [answer(0, 10, Run=0.8), answer(5, 15, Run=0.9), answer(10, 20, Wave=0.5), answer(15, 3725.5, Walk=0.7)]
    said = verdict.of(parts, CLASSES, SURE)
    assert [part["answer"] for part in said["parts"]] == ["Run", "Run", "uncertain", "Walk"]
    assert said["top"][0] == {"class": "Run", "probability": pytest.approx((0.8 + 0.9 + 0.1 + 0.06) / 4)}
    assert verdict.table(said | {"video": "a.mp4"}).splitlines()[-3:] == [
        "  0:00:00.0 – 0:00:15.0  Run  (90.0%)",
        "  0:00:10.0 – 0:00:20.0  uncertain  (Wave 50.0%)",
        "  0:00:15.0 – 1:02:05.5  Walk  (70.0%)",
    ]


def test_of_a_moment_the_part_whose_middle_is_nearest_speaks():
    parts = [verdict.part(answer(start, start + 10, Run=0.8), CLASSES, SURE) for start in (0, 5, 10)]
    assert [verdict.at(parts, moment)["start"] for moment in (0, 7.4, 7.6, 12.6, 99)] == [0, 0, 5, 10, 10]
