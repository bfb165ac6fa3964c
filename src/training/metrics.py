"""Class probabilities and labels → accuracy, calibration, and intervals that respect groups.

Clips of a group come from one recording or person and are not independent, so intervals resample whole groups
with replacement (the cluster bootstrap: Davison & Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 15
"""Confidence bins of the expected calibration error, as in Guo et al. 2017 (arXiv:1706.04599)."""


def summary(
    probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str], *, bootstrap: int, seed: int
) -> dict[str, float]:
    """Headline numbers of `(N, classes)` probabilities: accuracies as fractions, loss in nats."""
    hits = probabilities.argmax(1) == labels
    basic = accuracy_and_loss(probabilities, labels)
    low, high = interval(resampled_means(hits, groups, times=bootstrap, seed=seed))
    return {
        "top1": basic["top1"],
        "top1_low": low,
        "top1_high": high,
        "top5": float(top_k(probabilities, labels, k=5)),
        "mean_class": float(np.mean([hits[labels == label].mean() for label in np.unique(labels)])),
        "loss": basic["loss"],
        "ece": expected_calibration_error(probabilities.max(1), hits),
    }


def certainty(hits: np.ndarray, sure: np.ndarray) -> dict[str, float]:
    """`coverage`, the share of answers that are given, and `certain_top1`, the share of these that is right.

    Where none is given, none is wrong: 1.
    """
    return {"coverage": float(sure.mean()), "certain_top1": float(hits[sure].mean()) if sure.any() else 1.0}


def accuracy_and_loss(probabilities: np.ndarray, labels: Sequence[int]) -> dict[str, float]:
    """`top1` as a fraction, and the mean negative log-likelihood in nats as `loss`."""
    labels = np.asarray(labels)
    likelihood = probabilities[np.arange(len(labels)), labels]
    return {
        "top1": float((probabilities.argmax(1) == labels).mean()),
        "loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
    }


def top_k(probabilities: np.ndarray, labels: np.ndarray, *, k: int) -> float:
    """Share of rows whose label is among the `k` most probable classes (all of them if there are fewer)."""
    k = min(k, probabilities.shape[1])
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return float((best == labels[:, None]).any(1).mean())


def expected_calibration_error(confidence: np.ndarray, hits: np.ndarray) -> float:
    """Mean distance between confidence and accuracy over equally wide bins, weighted by their size."""
    bins = confidence_bins(confidence)
    return float(
        sum(abs(confidence[bins == b].mean() - hits[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    )


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Which of `BINS` equally wide bins from 0 to 1 each confidence falls into."""
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of resampled values, between their percentiles."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def resampled_means(values: np.ndarray, groups: Sequence[str], *, times: int, seed: int) -> np.ndarray:
    """`times` means of `values`, each over as many groups drawn with replacement as there are."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums, sizes = np.bincount(index, weights=values), np.bincount(index)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(sizes), size=len(sizes)) for _ in range(times))
    return np.array([sums[draw].sum() / sizes[draw].sum() for draw in draws])


def gap_interval(
    train: tuple[np.ndarray, Sequence[str]], test: tuple[np.ndarray, Sequence[str]], *, times: int, seed: int
) -> tuple[float, float]:
    """The 95 % interval of training accuracy less test accuracy; a side is its hits and its groups.

    Where no group stands on both sides, each is resampled on its own. A group that one network of several was trained
    on and another tested on is drawn for both sides at once: a hard one is hard on both.
    """
    if set(train[1]).isdisjoint(test[1]):
        means = [resampled_means(*side, times=times, seed=seed + number) for number, side in enumerate((train, test))]
        return interval(means[0] - means[1])
    names, index = np.unique([*train[1], *test[1]], return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=times)  # how often each group
    shares = []
    for (hits, _), of in zip((train, test), np.split(index, [len(train[1])]), strict=True):
        sums, sizes = (np.bincount(of, weights=each, minlength=len(names)) for each in (hits, None))
        shares.append((drawn @ sums, drawn @ sizes))
    whole = (shares[0][1] > 0) & (shares[1][1] > 0)  # of very few groups, a draw may have none of one side
    (right, all_), (tested_right, all_tested) = ([part[whole] for part in side] for side in shares)
    return interval(right / all_ - tested_right / all_tested)


def confusion(predicted: np.ndarray, labels: np.ndarray, *, classes: int) -> np.ndarray:
    """`(classes, classes)` counts, rows the true class."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
