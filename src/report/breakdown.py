"""Answers and labels → where a model is wrong: classes, pairs, lengths of clips, views, and false certainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from src.training import metrics

CHOICES = 20
"""Of so many views, how many choices are averaged at most: more would not move the mean by a point."""


@dataclass(frozen=True)
class Pair:
    """`count` of the `of` videos of class `actual` were taken for `predicted`."""

    actual: str
    predicted: str
    count: int
    of: int


@dataclass(frozen=True)
class Part:
    """Some of the videos: what they have in common, how many there are, and the accuracy with its 95 % interval."""

    name: str
    videos: int
    top1: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Videos of about one confidence: how many, their mean confidence, and their accuracy."""

    videos: int
    confidence: float
    accuracy: float


def most_confused(counts: np.ndarray, classes: Sequence[str], *, most: int) -> list[Pair]:
    """The pairs of `(classes, classes)` counts, rows the true class, that are confused most often."""
    wrong = counts * (1 - np.eye(len(classes), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(classes)) for place in order]
    return [
        Pair(classes[row], classes[column], int(wrong[row, column]), int(counts[row].sum()))
        for row, column in places
        if wrong[row, column]
    ]


def by_length(
    seconds: Sequence[float], hits: np.ndarray, groups: Sequence[str], *, parts: int, bootstrap: int, seed: int
) -> list[Part]:
    """Accuracy of short to long clips, in up to `parts` parts of about as many videos, by quantiles of the length."""
    seconds, groups = np.asarray(seconds), np.asarray(groups)
    edges = np.unique(np.quantile(seconds, np.linspace(0, 1, parts + 1)))
    # A quantile may stand between two lengths: the last edge that a length reaches is its part.
    index = np.minimum(np.searchsorted(edges, seconds, side="right") - 1, max(0, len(edges) - 2))
    found = []
    for number in np.unique(index):
        chosen = index == number
        low, high = metrics.interval(metrics.resampled_means(hits[chosen], groups[chosen], times=bootstrap, seed=seed))
        shortest, longest = (f"{end:.1f}" for end in (seconds[chosen].min(), seconds[chosen].max()))
        name = f"{shortest} s" if shortest == longest else f"{shortest} – {longest} s"
        found.append(Part(name, int(chosen.sum()), float(hits[chosen].mean()), low, high))
    return found


def by_views(views: np.ndarray, labels: np.ndarray, *, seed: int) -> list[tuple[int, float]]:
    """`(k, accuracy)` with the mean over k of the V views of `(N, V, classes)`, for k = 1, 2, 4 … and V.

    An accuracy is the mean over the choices of k views, or over `CHOICES` random ones where there are more.
    """
    total, rng = views.shape[1], np.random.default_rng(seed)
    sizes = [2**power for power in range(total.bit_length()) if 2**power < total]
    found = []
    for size in [*sizes, total]:
        if math.comb(total, size) <= CHOICES:
            choices = [list(choice) for choice in combinations(range(total), size)]
        else:
            choices = [rng.choice(total, size, replace=False) for _ in range(CHOICES)]
        right = [(views[:, choice].mean(1).argmax(1) == labels).mean() for choice in choices]
        found.append((size, float(np.mean(right))))
    return found


def reliability(confidence: np.ndarray, hits: np.ndarray) -> list[Bin]:
    """The bins of the expected calibration error that hold any video, from low to high confidence."""
    bins = metrics.confidence_bins(confidence)
    chosen = [bins == number for number in np.unique(bins)]
    return [Bin(int(each.sum()), float(confidence[each].mean()), float(hits[each].mean())) for each in chosen]


def most_certain(confidence: np.ndarray, among: np.ndarray, *, most: int) -> list[int]:
    """The indices of the videos that are `among`, a mask, with the highest confidence first."""
    order = np.argsort(-confidence, kind="stable")
    return [int(index) for index in order if among[index]][:most]
