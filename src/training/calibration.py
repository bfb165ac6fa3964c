"""Answers to validation videos → how far to trust answers: a temperature, and the confidence below which there is none.

Test videos have no part in either. Both belong to one network and one way of looking (views, crops), and are kept
beside the model: artifacts/calibration.json.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from src import files
from src.command import UserError

NO_ANSWER = "uncertain"

SMALLEST = 1e-12
"""A probability below it counts as this: its logarithm is needed."""

LEAST, MOST = 0.05, 20.0
"""The inverse temperatures between which the best one is sought."""


@dataclass(frozen=True)
class Calibration:
    """How a network's answers are to be read. An answer below `threshold` is none; None: no answer is certain.

    `views` and `crops` are what the answers were the mean of, `certain` is `evaluate.certain`, `videos` the number of
    validation videos, and `weights` the fingerprint of the network that answered them.
    """

    temperature: float
    threshold: float | None
    certain: float
    views: int
    crops: int
    videos: int
    weights: str

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of `(…, classes)` ones: the same order, another sharpness."""
        return sharpened(probabilities, 1 / self.temperature)

    def sure(self, confidence: np.ndarray | float) -> np.ndarray | bool:
        """Whether an answer of such a calibrated confidence is given."""
        return confidence >= (np.inf if self.threshold is None else self.threshold)

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        files.write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read `path`. Raises `UserError` if it is no such file."""
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: not a calibration ({error}); `python -m src.evaluate` writes one") from None


def calibrate(
    probabilities: np.ndarray, labels: np.ndarray, *, certain: float, views: int, crops: int, weights: str
) -> Calibration:
    """The calibration by `(N, classes)` answers to N validation videos, each the mean over its views.

    The temperature is fitted to the mean, as Rahaman and Thiery do for ensembles (arXiv:2007.08792): "pool, then
    calibrate".
    """
    temperature = fit_temperature(probabilities, labels)
    calibrated = sharpened(probabilities, 1 / temperature)
    hits = calibrated.argmax(1) == labels
    threshold = choose_threshold(calibrated.max(1), hits, certain=certain)
    return Calibration(temperature, threshold, certain, views, crops, len(labels), weights)


def sharpened(probabilities: np.ndarray, power: float) -> np.ndarray:
    """Each probability to the `power`, and all of them scaled to a sum of 1."""
    logits = np.log(np.maximum(probabilities, SMALLEST)) * power
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature (Guo et al. 2017, arXiv:1706.04599, section 4.2) under which the labels are likeliest.

    As if one more answer had been wrong (Platt 1999, section 2.2): where all are right, the best would be 0, and every
    further answer 100 % sure.
    """
    logits = np.log(np.maximum(probabilities, SMALLEST))
    count, classes = logits.shape
    wrong = 1 / (count + 2)
    targets = np.full(logits.shape, wrong / (classes - 1))
    targets[np.arange(count), labels] = 1 - wrong
    wanted = (targets * logits).sum(1).mean()
    low, high = LEAST, MOST
    # The loss is convex in the inverse temperature, and its slope is the difference of these two means.
    for _ in range(60):
        power = (low * high) ** 0.5
        if (sharpened(probabilities, power) * logits).sum(1).mean() < wanted:
            low = power
        else:
            high = power
    return float(1 / power)


def choose_threshold(confidence: np.ndarray, hits: np.ndarray, *, certain: float) -> float | None:
    """The lowest confidence from which on at least a share `certain` of the answers is right; None if there is none."""
    order = np.argsort(-confidence, kind="stable")
    ranked, right = confidence[order], np.cumsum(hits[order])
    shares = right / np.arange(1, len(right) + 1)
    last_of_equals = np.append(ranked[1:] != ranked[:-1], True)
    enough = np.flatnonzero((shares >= certain) & last_of_equals)
    return float(ranked[enough[-1]]) if len(enough) else None
