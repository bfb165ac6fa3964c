"""The best few trials, trained again with other seeds → which one is called best, and what it is worth.

The best of many noisy trials is partly the luckiest. So the finalists are trained anew, and only these trainings
count. After each seed the better half of the finalists goes on: the last one of them, and params.yaml, come to all
seeds. The first of params.yaml's is trial 0: nothing was chosen by it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from src.search.study import SLOT, Planned, Slots, slots
from src.search.worker import OF, SEED, hits_of
from src.training import metrics
from src.training.comparison import paired_p
from src.training.state import fingerprint

if TYPE_CHECKING:
    from src.search.worker import Search
    from src.video.manifest import Video

MOST_SEEDS, MOST_SLOTS = 1000, 1_000_000
"""Of a search."""

TESTED = "tested"
"""Attribute of the finals: by the fingerprint of the test videos and the run of a training, its hits on them."""


@dataclass(frozen=True)
class Finalist:
    """The trainings of a slot of the search, all with the same settings; slot 0 is params.yaml."""

    slot: int
    trials: Sequence[FrozenTrial]

    def mean(self, key: str) -> float:
        """Of `score`, `val`, `train`, `gap`."""
        return statistics.mean(trial.value if key == "score" else trial.user_attrs[key] for trial in self.trials)

    def shown(self, key: str) -> str:
        """In per cent or points: the mean and, of several seeds, the standard deviation from one to the next."""
        values = [100 * (trial.value if key == "score" else trial.user_attrs[key]) for trial in self.trials]
        mean = f"{statistics.mean(values):.1f}"
        return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean

    def hits(self, side: str) -> np.ndarray:
        """`(seeds, videos)` of `val` or `train`."""
        return np.array([[int(hit) for hit in trial.user_attrs["hits"][side]] for trial in self.trials])


@dataclass(frozen=True)
class Difference:
    """Accuracy of one finalist less that of another on the same videos, its 95 % interval, and the p-value of none.

    `turned` are the groups in which they differ: the fewer, the less a test can find.
    """

    mean: float
    low: float
    high: float
    p: float
    turned: int

    @property
    def shown(self) -> bool:
        """Whether both the interval and the test say so: of a few groups, an interval alone says too much."""
        return (self.low > 0 or self.high < 0) and self.p < 0.05

    @property
    def least_p(self) -> float:
        """The p-value if all groups that differ had turned to one side."""
        return 0.5**self.turned


def ranked(search: Search, total: int) -> list[int]:
    """Slots of trials but params.yaml's, the best first: by score, or with two objectives by the same sum.

    Those that were ended early come behind the complete ones, the farther they had come the nearer.
    """
    from src.search.objective import score

    how = search.base.tune

    def merit(trial: FrozenTrial) -> float:
        attrs = trial.user_attrs
        return score(attrs["val"], attrs["gap"], penalty=how.penalty, tolerance=how.tolerance)

    def came(trial: FrozenTrial) -> tuple[int, float]:
        return trial.last_step, trial.intermediate_values[trial.last_step]

    there = slots(search.study, range(1, total))
    complete, early = there.complete, [trial for trial in there.done if trial.state == TrialState.PRUNED]
    if len(search.study.directions) > 1:
        front = {trial.number for trial in search.study.best_trials}
        complete = [trial for trial in complete if trial.number in front] or complete
    order = [*sorted(complete, key=merit, reverse=True), *sorted(early, key=came, reverse=True)]
    return [trial.user_attrs[SLOT] for trial in order]


def plan(search: Search, total: int) -> dict[int, Planned]:
    """The trainings that are to be made, by slot, as far as they are known yet: more follow when a seed is over.

    Seeds follow that of the search, which the trials themselves have, and params.yaml's begin with it. A seed's
    trainings come before the next seed's, and all of params.yaml's are among them. A trial of which one has failed is
    out, and the next best takes its place; what has failed stays in the plan, so that it is told of, and that three in
    a row end the search.
    """
    how = search.base.tune
    there = _every(search)  # one look: others' trainings end meanwhile
    lost = _failed(there)
    out = {trial.user_attrs[OF] for trial in lost}
    left = [slot for slot in ranked(search, total) if slot not in out][: how.finalists]
    planned = {_slot(0, number): _planned(search, 0, number) for number in range(how.seeds)}
    planned |= {trial.user_attrs[SLOT]: Planned(attrs={k: trial.user_attrs[k] for k in (OF, SEED)}) for trial in lost}
    scores = {trial.user_attrs[SLOT]: trial.value for trial in there.complete}
    rounds: dict[int, Planned] = {}
    for number in range(how.seeds):
        rounds |= {_slot(slot, number): _planned(search, slot, number) for slot in left}
        if len(left) > 1:
            if not rounds.keys() <= scores.keys():
                break
            left = _better_half(left, scores, seeds=number + 1)
    return dict(sorted((planned | rounds).items(), key=lambda item: item[0] % MOST_SEEDS))


def most(search: Search, total: int) -> int:
    """How many trainings there will be, if none fails."""
    how = search.base.tune
    left, number = min(how.finalists, len(ranked(search, total))), how.seeds
    for _ in range(how.seeds):
        number += left
        left = math.ceil(left / 2)
    return number


def _slot(slot: int, number: int) -> int:
    return slot * MOST_SEEDS + number


def _planned(search: Search, slot: int, number: int) -> Planned:
    return Planned(attrs={OF: slot, SEED: search.seed + number + (slot > 0)})


def failed(search: Search) -> list[FrozenTrial]:
    """The finalists' trainings that have failed, and are not to be tried again."""
    return _failed(_every(search))


def _every(search: Search) -> Slots:
    return slots(search.finals, range(MOST_SLOTS * MOST_SEEDS))


def _failed(there: Slots) -> list[FrozenTrial]:
    return [trial for trial in there.done if trial.state == TrialState.FAIL]


def _better_half(left: Sequence[int], scores: Mapping[int, float], *, seeds: int) -> list[int]:
    """Of the slots `left`, by their mean score over the first so many seeds; `scores` by slot of the finals."""
    mean = {slot: statistics.mean(scores[_slot(slot, number)] for number in range(seeds)) for slot in left}
    return sorted(left, key=lambda slot: -mean[slot])[: math.ceil(len(left) / 2)]


def finalists(search: Search, planned: dict[int, Planned]) -> list[Finalist]:
    """The best first: of those that came to all seeds, and behind these of those that were dropped before.

    Also one that came to all seeds before more trials were asked for, whatever their search made of these.
    """
    complete = {trial.user_attrs[SLOT]: trial for trial in _every(search).complete}
    seeds = range(search.base.tune.seeds)
    by_slot: dict[int, list[FrozenTrial]] = {}
    for number, trial in complete.items():
        slot = trial.user_attrs[OF]
        whole = number % MOST_SEEDS in seeds and all(_slot(slot, each) in complete for each in seeds)
        if number in planned or whole:
            by_slot.setdefault(slot, []).append(trial)
    found = [
        Finalist(slot, sorted(trials, key=lambda trial: trial.user_attrs[SEED])) for slot, trials in by_slot.items()
    ]
    return sorted(found, key=lambda each: (-len(each.trials), -each.mean("score"), each.slot))


def difference(a: np.ndarray, b: np.ndarray, videos: Sequence[Video], *, bootstrap: int, seed: int) -> Difference:
    """`b` less `a`, hits `(seeds, videos)` each. The interval resamples whole groups, and the seeds of both.

    Of so few seeds resampling shows too little: what it draws is stretched to an unbiased variance, and as much more as
    Student's t has over a normal distribution for so few.
    """
    names, index = np.unique([video.group for video in videos], return_inverse=True)
    member = np.eye(len(names))[index]  # (videos, groups)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=bootstrap)  # that a group is drawn
    freedom, shares = len(a) + len(b) - 2, []
    student = np.sqrt(freedom / rng.chisquare(freedom, size=(bootstrap, 1))) if freedom else 1.0
    for hits in (a, b):
        even = np.full(len(hits), 1 / len(hits))
        drawn = rng.multinomial(len(hits), even, size=bootstrap) / len(hits)
        drawn = even + (drawn - even) * math.sqrt(len(hits) / max(1, len(hits) - 1)) * student
        shares.append(((drawn @ (hits @ member)) * times).sum(1) / (times @ member.sum(0)))
    low, high = metrics.interval(shares[1] - shares[0])
    sums = np.rint((b.sum(0) - a.sum(0)) @ member).astype(int)
    return Difference(float(b.mean() - a.mean()), low, high, paired_p(sums), int(np.count_nonzero(sums)))


def answer_test(finalist: Finalist, search: Search, videos: Sequence[Video]) -> np.ndarray:
    """Hits `(seeds, videos)` on test videos, by the checkpoints that MLflow has; what has been asked is kept."""
    from src.model.checkpoint import Checkpoint
    from src.tracking import store

    these, rows = _of(videos), []
    for trial in finalist.trials:
        run, asked = trial.user_attrs["run"], search.finals.user_attrs.get(TESTED, {})
        if run not in asked.get(these, {}):
            checkpoint = Checkpoint.load(store.checkpoint(run))
            hits = hits_of(checkpoint, videos, search.attempt({}, name="params.yaml"), title="test")
            asked = asked | {these: asked.get(these, {}) | {run: hits}}
            search.finals.set_user_attr(TESTED, asked)
        rows.append([int(hit) for hit in asked[these][run]])
    return np.array(rows)


def tested_before(finalist: Finalist, search: Search, videos: Sequence[Video]) -> int:
    """Of how many trainings of other trials these test videos have been asked, in all searches of the storage."""
    known, these = 0, _of(videos)
    for each in optuna.get_all_study_summaries(search.storage):
        if asked := each.user_attrs.get(TESTED, {}).get(these, {}):
            trials = optuna.load_study(study_name=each.study_name, storage=search.storage).trials
            mine = finalist.slot if each.study_name == search.finals.study_name else 0
            known += sum(t.user_attrs.get("run") in asked and t.user_attrs[OF] not in (0, mine) for t in trials)
    return known


def _of(videos: Sequence[Video]) -> str:
    return fingerprint([[video.sha256, video.label] for video in videos])
