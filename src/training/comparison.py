"""Two models' answers to the same clips → by how much they differ, and whether chance alone would do it.

Clips of a group are not independent, so whole groups are resampled, and in the test whole groups change sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.training import metrics


@dataclass(frozen=True)
class Difference:
    """Accuracies `a` and `b` on the same clips; `b` less `a` with its 95 % interval; the p-value of no difference.

    `turned` are the groups in which one has more right answers than the other: the fewer, the less a test can find.
    """

    clips: int
    a: float
    b: float
    low: float
    high: float
    p: float
    turned: int

    @property
    def points(self) -> float:
        """The difference in percentage points."""
        return 100 * (self.b - self.a)

    @property
    def least_p(self) -> float:
        """The p-value if all groups that differ had turned to one side."""
        return 0.5**self.turned


def compare(a: np.ndarray, b: np.ndarray, groups: Sequence[str], *, bootstrap: int, seed: int) -> Difference:
    """The difference between `(N,)` hits of two models on the same N clips of `groups`."""
    differences = b.astype(int) - a.astype(int)
    low, high = metrics.interval(metrics.resampled_means(differences, groups, times=bootstrap, seed=seed))
    sums = group_sums(differences, groups)
    return Difference(len(a), float(a.mean()), float(b.mean()), low, high, paired_p(sums), int(np.count_nonzero(sums)))


def group_sums(differences: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """By how many more clips of each group the second is right."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.rint(np.bincount(index, weights=differences)).astype(int)


def paired_p(sums: np.ndarray) -> float:
    """Two-sided p-value of no difference, where in each group the two models may as well have changed names.

    The sign-flip test (Fisher 1935, section 21) over whole groups, with the exact distribution of all 2ⁿ choices of
    signs. Of the probability of what was seen, half is counted (mid-p; Fagerland, Lydersen and Laake 2013 for McNemar's
    test, which this is where each clip is a group): otherwise so coarse a test rejects too rarely.
    """
    if not sums.any():
        return 1.0
    steps = np.abs(sums[sums != 0])
    centre = int(steps.sum())
    chances = np.zeros(2 * centre + 1)
    chances[centre] = 1.0
    for step in steps:
        moved = np.zeros_like(chances)
        moved[step:] += chances[:-step] / 2
        moved[:-step] += chances[step:] / 2
        chances = moved
    seen, distance = abs(int(sums.sum())), np.abs(np.arange(len(chances)) - centre)
    return float(chances[distance > seen].sum() + chances[distance == seen].sum() / 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: among so many tests, one below 0.05 by chance is as rare as in a single test."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
