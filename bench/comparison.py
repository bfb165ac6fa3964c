"""How often `python -m src.compare` finds a difference: where there is none, and where there is one of ten points.

    python -m bench.comparison

Invented answers of two models to clips in groups. In each simulation without a difference, the two models' answers
change sides at random, group by group, so that neither is better; the share of p-values below 0.05 should be 5 %. With
one, B is right in ten points more than A; the share is the power, by the number of clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from bench import common
from src.training.comparison import group_sums, paired_p

LEVEL = 0.05
GROUP = 4  # clips of a group, about as in UCF101
CLIPS = (100, 400)
A, B = 0.70, 0.80  # accuracies where there is a difference

KINDS = {
    "right on the same clips, but for the ten points": (1.0, 0.0),
    "of what both could get wrong, half is shared": (0.5, 0.0),
    "half is shared, and clips of a group go together": (0.5, 0.5),
    "nothing is shared": (0.0, 0.0),
}
"""What is simulated: the correlation between the two models, and between the clips of a group."""


def answers(
    rng: np.random.Generator, *, clips: int, shared: float, grouped: float, accuracies: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits of A and of B, and the clips' groups.

    A clip is right if a normal number is below its model's quantile. Of its variance a share `shared` is the same for
    both models, and a share `grouped` of each of these two parts is the same for all clips of a group.
    """
    groups = np.arange(clips) // GROUP
    count = groups[-1] + 1

    def part() -> np.ndarray:
        return np.sqrt(grouped) * rng.standard_normal(count)[groups] + np.sqrt(1 - grouped) * rng.standard_normal(clips)

    common_part, own = part(), (part(), part())
    hits = [
        np.sqrt(shared) * common_part + np.sqrt(1 - shared) * mine < NormalDist().inv_cdf(accuracy)
        for mine, accuracy in zip(own, accuracies, strict=True)
    ]
    return hits[0], hits[1], groups


def p_values(rng: np.random.Generator, *, times: int, null: bool, **kind: float) -> Iterator[float]:
    """The p-value of each simulation; with `null`, the two models' answers change sides group by group."""
    for _ in range(times):
        a, b, groups = answers(rng, accuracies=(A, B), **kind)
        sums = group_sums(b.astype(int) - a.astype(int), groups)
        yield paired_p(sums * rng.choice([-1, 1], len(sums)) if null else sums)


def rejected(rng: np.random.Generator, *, times: int, null: bool, **kind: float) -> float:
    """The share of simulations in which the test says that there is a difference."""
    return float(np.mean([p < LEVEL for p in p_values(rng, times=times, null=null, **kind)]))


def enough(rng: np.random.Generator, *, times: int, power: float, **kind: float) -> int:
    """At how many clips the test finds the ten points with that power: the least multiple of 20."""
    low, high = 1, 100  # in twenties
    while low < high:
        middle = (low + high) // 2
        found = rejected(rng, times=times, null=False, clips=20 * middle, **kind) >= power
        low, high = (low, middle) if found else (middle + 1, high)
    return 20 * low


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--times", type=common.at_least(100), default=1000, metavar="N", help="simulations; default: 1000"
    )
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = []
    for name, (shared, grouped) in KINDS.items():
        kind = {"shared": shared, "grouped": grouped, "times": arguments.times}
        level = [rejected(rng, null=True, clips=clips, **kind) for clips in CLIPS]
        power = [rejected(rng, null=False, clips=clips, **kind) for clips in CLIPS]
        rows.append([name, *(f"{share:.1%}" for share in (*level, *power)), enough(rng, power=0.8, **kind)])
    print(f"{common.machine()}\n{arguments.times:,} simulations each, groups of {GROUP} clips, level {LEVEL}.\n")
    heads = [f"{what}, {clips} clips" for what in ("no difference", "ten points") for clips in CLIPS]
    print(common.table(["two models", *heads, "80 % from"], rows))


if __name__ == "__main__":
    common.run(main)
