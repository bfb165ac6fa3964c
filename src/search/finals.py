"""The best few trials, trained again with other seeds → which one is called best, and what it is worth.

The best of many noisy trials is partly the luckiest. So the finalists, and params.yaml itself, are trained anew, and
only these trainings count.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from optuna.trial import FrozenTrial

from src.search.study import Planned, slots
from src.search.worker import OF, SEED, hits_of
from src.training import metrics
from src.training.comparison import paired_p

if TYPE_CHECKING:
    from src.search.worker import Search
    from src.video.manifest import Video

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Finalist:
    """The trainings of a slot of the search, all with the same settings; slot 0 is params.yaml."""

    slot: int
    trials: Sequence[FrozenTrial]

    def mean(self, key: str) -> float:
        """Of `score`, `val`, `train`, `gap`."""
        return statistics.mean(trial.value if key == "score" else trial.user_attrs[key] for trial in self.trials)

    def deviation(self, key: str) -> float:
        """The standard deviation from seed to seed."""
        return statistics.stdev(trial.value if key == "score" else trial.user_attrs[key] for trial in self.trials)

    def hits(self, side: str) -> np.ndarray:
        """`(seeds, videos)` of `val` or `train`."""
        return np.array([[int(hit) for hit in trial.user_attrs["hits"][side]] for trial in self.trials])


@dataclass(frozen=True)
class Difference:
    """Accuracy of one finalist less that of another on the same videos, its 95 % interval, and the p-value of none."""

    mean: float
    low: float
    high: float
    p: float

    @property
    def shown(self) -> bool:
        """Whether both the interval and the test say so: of a few groups, an interval alone says too much."""
        return (self.low > 0 or self.high < 0) and self.p < 0.05


def ranked(search: Search, total: int) -> list[int]:
    """Slots of complete trials but params.yaml's, the best first: by score, or with two objectives by the same sum."""
    from src.search.objective import score

    how = search.base.tune

    def merit(trial: FrozenTrial) -> float:
        attrs = trial.user_attrs
        return score(attrs["val"], attrs["gap"], penalty=how.penalty, tolerance=how.tolerance)

    complete = slots(search.study, range(1, total)).complete
    if len(search.study.directions) > 1:
        front = {trial.number for trial in search.study.best_trials}
        complete = [trial for trial in complete if trial.number in front] or complete
    return [trial.user_attrs["slot"] for trial in sorted(complete, key=merit, reverse=True)]


def plan(search: Search, total: int) -> dict[int, Planned]:
    """The trainings of the finalists: params.yaml and the best `tune.finalists`, `tune.seeds` of each, seed by seed.

    Seeds follow `train.seed`, which the trials themselves have.
    """
    how, first = search.base.tune, search.base.train.seed + 1
    chosen = [0, *ranked(search, total)[: how.finalists]]
    return {
        slot * MOST_SEEDS + number: Planned(attrs={OF: slot, SEED: first + number})
        for number in range(how.seeds)
        for slot in chosen
    }


def finalists(search: Search, planned: dict[int, Planned]) -> list[Finalist]:
    """Those whose trainings are all complete, the best first."""
    by_slot: dict[int, list[FrozenTrial]] = {}
    for trial in slots(search.finals, planned).complete:
        by_slot.setdefault(trial.user_attrs[OF], []).append(trial)
    ordered = [
        Finalist(slot, sorted(trials, key=lambda trial: trial.user_attrs[SEED]))
        for slot, trials in by_slot.items()
        if len(trials) == search.base.tune.seeds
    ]
    return sorted(ordered, key=lambda each: (-each.mean("score"), each.slot))


def difference(a: np.ndarray, b: np.ndarray, videos: Sequence[Video], *, bootstrap: int, seed: int) -> Difference:
    """`b` less `a`, hits `(seeds, videos)` each. The interval resamples whole groups, and the seeds of both."""
    names, index = np.unique([video.group for video in videos], return_inverse=True)
    member = np.eye(len(names))[index]  # (videos, groups)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=bootstrap)  # that a group is drawn
    shares = []
    for hits in (a, b):
        drawn = rng.multinomial(len(hits), np.full(len(hits), 1 / len(hits)), size=bootstrap) / len(hits)
        shares.append(((drawn @ (hits @ member)) * times).sum(1) / (times @ member.sum(0)))
    low, high = metrics.interval(shares[1] - shares[0])
    sums = np.rint((b.sum(0) - a.sum(0)) @ member).astype(int)
    return Difference(float(b.mean() - a.mean()), low, high, paired_p(sums))


def answer_test(finalist: Finalist, search: Search, videos: Sequence[Video]) -> np.ndarray:
    """Hits `(seeds, videos)` on test videos, by the checkpoints that MLflow has."""
    from src.model.checkpoint import Checkpoint
    from src.tracking import store

    rows = []
    for trial in finalist.trials:
        checkpoint = Checkpoint.load(store.checkpoint(trial.user_attrs["run"]))
        settings = search.attempt({}, name="params.yaml")
        rows.append([int(hit) for hit in hits_of(checkpoint, videos, settings, title="test")])
    return np.array(rows)
