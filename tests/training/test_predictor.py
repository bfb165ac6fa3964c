"""Answers to a video's frames against those of evaluation to the frame store's, and how a long one is cut up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from src.model.checkpoint import Checkpoint, build
from src.training.answers import probabilities
from src.training.calibration import Calibration
from src.training.predictor import Predictor
from src.video import store
from src.video.decode import read_frames
from src.video.manifest import Video
from tests.conftest import TINY_MODEL
from tests.video import clips

pytestmark = pytest.mark.usefixtures("one_thread")

EXTRACT = {"short_side": 36, "fps": 12.5, "quality": 90}
WHOLE = {"long": 60.0, "window": 10.0, "hop": 5.0}


def checkpoint(seed: int = 0) -> Checkpoint:
    """A network whose answers differ: as it is drawn, all would be a third."""
    torch.manual_seed(seed)
    weights = build(TINY_MODEL, classes=3).state_dict()
    weights["head.weight"] *= 30
    return Checkpoint(weights, TINY_MODEL, EXTRACT, "fp32", ["A", "B", "C"], 1, None)


def calibrated(model: Checkpoint, *, temperature: float = 1.0, views: int = 2, crops: int = 3) -> Predictor:
    calibration = Calibration(temperature, 0.5, 0.95, views, crops, 60, model.fingerprint())
    return Predictor(model, calibration, views=1, crops=1, device="cpu")


def noise(count: int, *, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8))


def test_a_video_is_answered_as_evaluation_answers_its_frames(tmp_path):
    """Two views of three squares each, at other sizes and rates than the store's, up to rounding."""
    model, videos = checkpoint(), []
    for number, (count, rate) in enumerate(((40, 25), (9, 10), (1, 25))):
        path = clips.write(tmp_path / f"{number}.mp4", noise(count, seed=number), rate=rate)
        file = tmp_path / f"{number}.avi"
        frames = read_frames(path, short_side=36, fps=12.5)
        videos.append(Video(path.name, file, 0, "g", store.write(file, frames, fps=12.5, quality=90)[0], ""))
    options = {"views": 2, "crops": 3, "device": "cpu", "workers": 0, "title": ""}
    expected = probabilities(model, videos, **options)
    for temperature in (1.0, 0.5):
        predictor = calibrated(model, temperature=temperature)
        for video, evaluated in zip(videos, expected, strict=True):
            frames = read_frames(tmp_path / video.name, short_side=36, fps=12.5)
            (answer,) = predictor.answers(frames, **WHOLE)
            assert answer.probabilities == pytest.approx(predictor.calibration.apply(evaluated), abs=1e-6)
            assert (answer.start, answer.end) == (0, video.frames / 12.5)
    assert np.abs(expected[0] - expected[1]).max() > 0.01


def test_without_a_calibration_the_networks_own_answers_are_given_with_the_views_that_are_asked_for():
    model = checkpoint()
    (plain,) = Predictor(model, None, views=2, crops=3, device="cpu").answers(noise(20), **WHOLE)
    (other,) = calibrated(model, temperature=1.0).answers(noise(20), **WHOLE)
    assert plain.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def parts(seconds: float, **settings: float) -> list[tuple[float, float]]:
    predictor = calibrated(checkpoint(), views=1, crops=1)
    still = np.zeros((36, 36, 3), np.uint8)
    found = predictor.answers((still for _ in range(round(seconds * 12.5))), **WHOLE | settings)
    return [(answer.start, answer.end) for answer in found]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (8, [(0, 8)]),  # as long as `long` and no longer: one answer
        (8.08, [(0, 4), (2, 6), (4, 8), (4.08, 8.08)]),  # the last part ends with the video
        (10, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (10.4, [(0, 4), (2, 6), (4, 8), (6, 10), (6.4, 10.4)]),
    ],
)
def test_a_long_video_is_answered_in_parts(seconds, expected):
    assert parts(seconds, long=8, window=4, hop=2) == [(pytest.approx(a), pytest.approx(b)) for a, b in expected]


def test_parts_may_stand_side_by_side():
    expected = [(0, 4), (4, 8), (5.2, 9.2)]
    assert parts(9.2, long=4, window=4, hop=4) == [(pytest.approx(a), pytest.approx(b)) for a, b in expected]


def test_a_part_is_answered_as_if_it_were_a_video_of_its_own():
    frames, predictor = noise(100), calibrated(checkpoint())
    second = list(predictor.answers(frames, long=4, window=4, hop=2))[1]
    (alone,) = predictor.answers(frames[25:75], **WHOLE)
    assert second.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


def test_no_more_frames_are_held_than_a_part_and_a_step_need(monkeypatch):
    most = []
    monkeypatch.setattr("src.video.memory.MemoryStore.append", counting(most))
    assert len(parts(60, long=8, window=4, hop=2)) == 29
    assert max(most) == 101  # of 750: those of 8 seconds, and the one after it


def counting(most: list[int]):
    from src.video.memory import MemoryStore

    before = MemoryStore.append

    def append(self, frame):
        before(self, frame)
        most.append(len(self))

    return append


def test_a_file_of_a_model_is_all_it_needs(tmp_path: Path):
    checkpoint().save(tmp_path / "model.pt")
    again = Checkpoint.load(tmp_path / "model.pt")
    assert again.fingerprint() == checkpoint().fingerprint() != checkpoint(seed=1).fingerprint()
