"""A study of Optuna's → exactly so many trials, whoever carries them out and however often that is interrupted.

Each trial has the number of its `slot`, and only one worker at a time takes a trial. What was interrupted, or left by a
worker that died, is planned again in the same slot, with the values that were drawn.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from src import pretrained
from src.command import UserError
from src.search.storage import Storage, turn, without_ctrl_c
from src.settings import Params
from src.training import run
from src.training.state import fingerprint
from src.video.manifest import Video

SLOT, REASON, WORKER, DEATHS = "slot", "reason", "worker", "deaths"
"""Attributes of a trial: its slot; why it failed; who has it; how often it was left by a worker that died."""

PARTS = "parts"
"""Attribute of a study: the fingerprints that make it another one than others."""

HEARTBEAT = "heartbeat"
"""Attribute of a study: its workers' --heartbeat. One that gives signs of life less often would count as dead."""

BEGUN, REPEATS = "begun", "repeats"
"""Attributes of a study: how many trials there were when the command was last started; whether what had failed of them
is tried again. Not the time: machines need not agree on that."""

INTERRUPTED = "interrupted"
DIED = "its worker died twice"
MOST_DEATHS = 2
NOBODY = "nobody"
"""The worker of a trial whose own has not said yet who it is."""

FIRST_RUNG, REDUCTION = 12, 4
"""Of successive halving: the part of a trial's epochs that its first rung is, and how many times longer the next is."""

IN_A_ROW = 3
"""So many trials that fail for the same reason, and the search stops."""


@dataclass(frozen=True)
class Planned:
    """What a slot starts with: values that are not drawn but given, and attributes of the trial."""

    params: dict[str, Any] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Slots:
    """Of each slot the trial that counts: the last one. Of the first `earlier`, what failed is to be tried again."""

    trials: Sequence[FrozenTrial]
    earlier: int = 0

    @cached_property
    def last(self) -> dict[int, FrozenTrial]:
        return {trial.user_attrs[SLOT]: trial for trial in self.trials}

    @cached_property
    def again(self) -> list[FrozenTrial]:
        """Those that are to be planned again."""
        return [trial for trial in self.last.values() if trial.state == TrialState.FAIL and self._to_repeat(trial)]

    @cached_property
    def done(self) -> list[FrozenTrial]:
        """In the order in which they ended."""
        ended = [trial for trial in self.last.values() if trial.state.is_finished() and trial not in self.again]
        return sorted(ended, key=lambda trial: trial.datetime_complete)

    @cached_property
    def complete(self) -> list[FrozenTrial]:
        return [trial for trial in self.done if trial.state == TrialState.COMPLETE]

    def _to_repeat(self, trial: FrozenTrial) -> bool:
        if trial.number < self.earlier:
            return True
        reason = trial.user_attrs.get(REASON)
        return reason == INTERRUPTED or (reason is None and trial.user_attrs.get(DEATHS, 0) + 1 < MOST_DEATHS)

    def of(self, state: TrialState) -> int:
        """How many ended so."""
        return sum(trial.state == state for trial in self.done)

    def waiting(self) -> bool:
        """Whether one has been planned and not been taken."""
        return any(trial.state == TrialState.WAITING for trial in self.last.values())


def slots(study: optuna.Study, wanted: Collection[int]) -> Slots:
    """Those slots that are `wanted`, of all that a study has."""
    earlier = study.user_attrs[BEGUN] if study.user_attrs.get(REPEATS) else 0
    there = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get(SLOT) in wanted]
    return Slots(there, earlier)


def take(
    study: optuna.Study,
    storage: Storage,
    planned: Mapping[int, Planned],
    *,
    worker: str,
    sampler: Callable[[int], optuna.samplers.BaseSampler] | None = None,
) -> optuna.Trial | None:
    """The next trial, for this `worker` alone. None if none is left now, though some may run and come back.

    `planned` has all slots. Trials of workers that died, here or elsewhere, come first. `sampler` gives what draws a
    slot's values: with a seed of its own, they do not depend on which worker it is, or what was interrupted.
    """
    with turn(storage, study.study_name):
        fail_the_dead(study, storage)
        _drop_twins(study, storage, planned)
        there = slots(study, planned)
        free = [slot for slot in planned if slot not in there.last]
        if sampler and (there.again or free):
            study.sampler = sampler(there.again[0].user_attrs[SLOT] if there.again else free[0])
        if there.again:
            _plan_again(study, there.again[0], planned)
        elif free:
            study.enqueue_trial(planned[free[0]].params, user_attrs=planned[free[0]].attrs | {SLOT: free[0]})
        elif not there.waiting():
            return None
        trial = None
        try:
            with warnings.catch_warnings(), without_ctrl_c():
                # It means that nobody gives signs of life unless `optimize` does; see storage.alive.
                warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
                trial = study.ask()
                storage.record_heartbeat(trial._trial_id)
                trial.set_user_attr(WORKER, worker)
        except KeyboardInterrupt:
            if trial is not None:
                fail(trial, INTERRUPTED)
            raise
        return trial


def fail(trial: optuna.Trial, reason: str) -> None:
    """End a trial, and say why."""
    try:
        trial.set_user_attr(REASON, reason)
        trial.study.tell(trial, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):  # given to another worker, which says how it ends
        pass


def _plan_again(study: optuna.Study, trial: FrozenTrial, planned: Mapping[int, Planned]) -> None:
    slot, died = trial.user_attrs[SLOT], REASON not in trial.user_attrs
    attrs = planned[slot].attrs | {SLOT: slot, DEATHS: trial.user_attrs.get(DEATHS, 0) + died}
    if not trial.params:  # it ended before it had drawn any
        study.enqueue_trial(planned[slot].params, user_attrs=attrs)
        return
    drawn = {"params": trial.params, "distributions": trial.distributions}
    study.add_trial(optuna.create_trial(state=TrialState.WAITING, **drawn, user_attrs=attrs))


def _drop_twins(study: optuna.Study, storage: Storage, planned: Collection[int]) -> None:
    """Of a slot that has been planned twice, since the answer to the first request was lost, forget the second."""
    counts: dict[int, FrozenTrial] = {}
    for trial in slots(study, planned).trials:
        first = counts.setdefault(trial.user_attrs[SLOT], trial)
        if first.state == TrialState.FAIL:
            counts[trial.user_attrs[SLOT]] = trial
        elif first is not trial and trial.state == TrialState.WAITING:
            storage.set_trial_user_attr(trial._trial_id, SLOT, None)
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def fail_the_dead(study: optuna.Study, storage: Storage) -> None:
    """End the trials whose workers have given no sign of life for too long, without a reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if WORKER not in trial.user_attrs:  # died at once, its worker left no heartbeat: one that it can be late after
            storage.record_heartbeat(trial._trial_id)
            storage.set_trial_user_attr(trial._trial_id, WORKER, NOBODY)


def over(study: optuna.Study, plan: Callable[[], Collection[int]]) -> bool:
    """Whether all slots of a plan are done, and that has not added to it."""
    wanted = plan()
    return len(slots(study, wanted).done) == len(wanted) and set(plan()) == set(wanted)


def stuck(study: optuna.Study, wanted: Collection[int]) -> str | None:
    """The reason for which the last trials since the command was started have all failed, if it is one and the same."""
    begun = study.user_attrs[BEGUN]  # asks the database
    last = [trial for trial in slots(study, wanted).done if trial.number >= begun][-IN_A_ROW:]
    kinds = Counter(kind(trial.user_attrs.get(REASON, "")) for trial in last if trial.state == TrialState.FAIL)
    if len(last) == IN_A_ROW and max(kinds.values(), default=0) == IN_A_ROW:
        return last[-1].user_attrs.get(REASON, DIED)
    return None


def kind(reason: str) -> str:
    """A reason without the numbers and paths that differ from trial to trial, nor what explains it, after a colon."""
    exception, text = re.fullmatch(r"(?:trial \d+[^:]*: )?(\w*(?:Error|Exception): )?(.*)", reason, re.DOTALL).groups()
    words = [word for word in text.split(":")[0].split() if not any(sign.isdigit() or sign == "/" for sign in word)]
    return (exception or "") + " ".join(words) or reason


def identify(
    base: Params, train: Sequence[Video], val: Sequence[Video], classes: list[str], *, pareto: bool, sampler: str
) -> dict[str, str]:
    """What makes a search another one, by name: `data`, `space`, `settings` and `code`, a fingerprint each."""
    sections = ("model", "augment", "train", "pretrain")
    settings = base.model_dump()
    model = base.model
    weights = pretrained.kept(model.weights, variant=model.variant, depth=model.network()["depth"])
    identity = run.identify(base, [train, val], classes=classes, weights=weights)
    objective = [settings["tune"][key] for key in ("penalty", "tolerance", "prune")]
    objective += [FIRST_RUNG, REDUCTION]
    objective += [settings["evaluate"][key] for key in ("views", "crops", "seed")]
    return {
        "data": fingerprint([identity["dataset.sha256"], classes, settings["dataset"]["mirror"]]),
        "space": fingerprint([settings["tune"]["space"], objective, pareto, sampler, settings["tune"]["seed"]]),
        "settings": fingerprint([*(settings[name] for name in sections), weights and weights.sha256]),
        "code": fingerprint(run.version()),
    }


def name_of(parts: dict[str, str]) -> str:
    """Of the study of the search of these `parts`."""
    return f"tune-{fingerprint(parts)[:8]}"


def open_study(
    storage: Storage, parts: dict[str, str], *, pareto: bool, pruner: optuna.pruners.BasePruner
) -> tuple[optuna.Study, optuna.Study]:
    """The study of the search of these `parts`, and that of its finalists; made if there are none."""
    name = name_of(parts)
    directions = ["maximize", "minimize"] if pareto else ["maximize"]
    there = {"storage": storage, "load_if_exists": True, "pruner": pruner}
    with turn(storage, name):
        search = optuna.create_study(study_name=name, directions=directions, **there)
        finals = optuna.create_study(study_name=f"{name}-finals", direction="maximize", **there)
        beats = search.user_attrs.get(HEARTBEAT, storage.heartbeat_interval)
        if beats != storage.heartbeat_interval:
            raise UserError(
                f"--heartbeat {storage.heartbeat_interval}: this search has {beats}, for all of its workers"
            )
        for study in (search, finals):
            if study.user_attrs.get(PARTS) is None:
                study.set_user_attr(PARTS, parts)
                study.set_user_attr(HEARTBEAT, storage.heartbeat_interval)
        if not finals.user_attrs.get(REPEATS):
            finals.set_user_attr(REPEATS, True)
        for study in (search, finals):
            if BEGUN not in study.user_attrs:
                begin(study)
    return search, finals


def begin(study: optuna.Study) -> None:
    """Note that the command has been started."""
    study.set_user_attr(BEGUN, len(study.get_trials(deepcopy=False)))


class Halving(optuna.pruners.SuccessiveHalvingPruner):
    """Successive halving: of the trials that come as far as a rung, the best go on. Those that failed do not compete.

    One that was interrupted is carried out again, and would hold its own place against itself.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return super().prune(_WithoutFailed(study), trial)


class _WithoutFailed:
    """A study as a pruner sees it."""

    def __init__(self, study: optuna.Study):
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, *, deepcopy: bool) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=deepcopy) if trial.state != TrialState.FAIL]


def pruner(*, epochs: int, warmup: float) -> optuna.pruners.BasePruner:
    """Of `epochs` a trial: at each rung, of which none lies before the end of the warm-up, the best quarter goes on."""
    first = max(1, epochs // FIRST_RUNG, math.ceil(warmup))
    return Halving(min_resource=first, reduction_factor=REDUCTION)


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """`tpe` or `random`. TPE also learns from trials that still run, so that workers do not all try the same."""
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def others(storage: Storage, study: optuna.Study) -> list[str]:
    """A line for each other search in the storage: what this one does not share with it."""
    mine = study.user_attrs[PARTS]
    lines = []
    for each in optuna.get_all_study_summaries(storage):
        parts = each.user_attrs.get(PARTS)
        if parts and parts != mine and not each.study_name.endswith("-finals"):
            differs = " and ".join(name for name in mine if parts.get(name) != mine[name])
            lines.append(f"{each.study_name}: other {differs}, {each.n_trials} trials")
    return lines
