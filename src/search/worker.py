"""A worker of a search: takes one trial after the other, trains it, and says what came of it, until none is left."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from src import children, paths, pretrained
from src.command import UserError
from src.model.checkpoint import Checkpoint
from src.params import check, lay_on
from src.search.objective import Data, Judge, score
from src.search.space import Dimension, Settings, overlay, own_values
from src.search.storage import Storage, alive
from src.search.study import INTERRUPTED, SLOT, Planned, fail, over, sampler, slots, stuck, take
from src.settings import Params
from src.tracking.recorder import Recorder, recording
from src.training import run
from src.training.answers import probabilities, sample
from src.training.memory import memory_named
from src.training.start import Weights
from src.training.state import TrainingState

OF, SEED = "of", "seed"
"""Attributes of a finalist's training: the slot of the search that it repeats, and its `train.seed`."""

OWN_FIRST = 0
"""The finals' slot of params.yaml's first training, which is trial 0: `finals.plan` numbers it so."""

SEEDS = 1_000_000
"""A search's is below."""

CHECKPOINTS = 10.0
"""GB that a finalist's one checkpoint may take: more than any has."""

LOOK = 1.0
"""Seconds from one look for work to the next."""


@dataclass(frozen=True)
class Search:
    """What is searched, and where it is kept: `study` has the trials, `finals` the trainings of its best few."""

    base: Params
    space: list[Dimension]
    data: Data
    storage: Storage
    study: optuna.Study
    finals: optuna.Study
    sampler: str = "tpe"

    @property
    def seed(self) -> int:
        """`train.seed` of its trials; the finalists' follow.

        Its own, by its name: what a search before it, or `dvc repro`, has trained with these settings was looked at.
        """
        return int(self.study.study_name.rpartition("-")[2], 16) % SEEDS

    def settings_of(self, slot: int) -> Settings:
        """What the trial of a slot lays over params.yaml; slot 0 is params.yaml itself."""
        if slot == 0:
            return {}
        return overlay(self.space, slots(self.study, [slot]).last[slot].params)

    def attempt(self, changes: Settings, *, name: str) -> Params:
        """Settings of a training. Raises `UserError` if the values do not go together."""
        return check(lay_on(self.base.model_dump(), changes), source=name)


class _Quiet:
    """A recorder of numbers: checkpoints are not kept."""

    def __init__(self, recorder: Recorder):
        self.recorder = recorder

    @property
    def run_id(self) -> str:
        return self.recorder.run_id

    def points(self, values: Mapping[str, float], *, step: int) -> None:
        children.stop_if_told()
        self.recorder.points(values, step=step)

    def checkpoint(self, write: Any, *, epoch: int, best: int) -> None:
        pass


class _Fleeting(TrainingState):
    """Of a training that is not gone on with, but begun anew: it writes nothing to go on from."""

    def save(self, state: dict[str, Any]) -> None:
        pass

    def part(self, name: str) -> TrainingState:
        return _Fleeting(self.folder / name)


@dataclass
class Worker:
    """One, by its `name`, of a search; its runs are nested in that of the spool `parent`."""

    search: Search
    parent: str
    name: str = field(default_factory=lambda: f"{platform.node()}:{os.getpid()}")

    def search_all(self, total: int) -> None:
        """Carry out trials until the study has `total`."""
        own = own_values(self.search.space)
        planned = {slot: Planned(params=own if slot == 0 else {}) for slot in range(total)}
        seed = self.search.base.tune.seed * 1_000_000

        def drawn_by(slot: int) -> optuna.samplers.BaseSampler:
            return sampler(self.search.sampler, seed + slot)

        self._work(self.search.study, lambda: planned, self._searched, drawn_by)

    def confirm_all(self, plan: Callable[[], Mapping[int, Planned]]) -> None:
        """Carry out the finalists' trainings; `plan` says which, as it has become known."""
        self._work(self.search.finals, plan, self._confirmed)

    def _work(
        self, study: optuna.Study, plan: Callable[[], Mapping[int, Planned]], objective: Any, sampled_by: Any = None
    ) -> None:
        storage = self.search.storage
        while True:
            children.stop_if_told()
            planned = plan()
            if stuck(study, planned):
                return
            trial = take(study, storage, planned, worker=self.name, sampler=sampled_by)
            if trial is not None:
                with alive(storage, trial):
                    self._carry_out(trial, objective)
            elif over(study, plan):
                return
            else:
                time.sleep(LOOK)

    def _carry_out(self, trial: optuna.Trial, objective: Any) -> None:
        """Have a trial end in one of three ways: complete, pruned, or failed for a reason that it says."""
        try:
            with memory_named(run.LESS_MEMORY):  # a network may be too large to be built
                objective(trial)
        except KeyboardInterrupt:
            fail(trial, INTERRUPTED)
            raise
        except UpdateFinishedTrialError:
            # Without a sign of life for so long, it was given to another worker.
            print(f"trial {trial.number}: dropped, another worker has it", file=sys.stderr)
        except UserError as error:
            fail(trial, str(error))
        except Exception as error:  # whatever a setting brings about ends its trial, not the search
            traceback.print_exc()
            fail(trial, f"{type(error).__name__}: {error}")
        finally:
            gc.collect()  # networks and their loaders' processes hold one another in cycles

    @contextmanager
    def _recording(self, trial: optuna.Trial, settings: Params, *, name: str) -> Iterator[Recorder]:
        """A nested run, which is told how its trial ends. MLflow is not waited for: the next trial may begin."""
        values = settings.in_force(exclude={"split", "tune", "evaluate", "predict", "serve", "runtime"})
        tags = {"study": trial.study.study_name, "trial": str(trial.number)}
        tags |= {key: str(value) for key, value in trial.user_attrs.items() if key in (SLOT, OF)}
        data = self.search.data
        tags |= run.identify(settings, [data.train, data.val], classes=data.classes, weights=_weights(settings))
        how = {"parent": self.parent, "checkpoints": CHECKPOINTS, "sender": False}
        with recording(settings=values, tags=tags, name=name, **how) as recorder:
            trial.set_user_attr("run", recorder.spool)
            try:
                yield recorder
            except optuna.TrialPruned:
                end(trial, recorder, TrialState.PRUNED)
            except KeyboardInterrupt:
                recorder.tags({"trial.state": INTERRUPTED})
                raise
            except UpdateFinishedTrialError:
                recorder.tags({"trial.state": "dropped"})
                raise
            except Exception as error:
                recorder.tags({"trial.state": "failed", "trial.reason": str(error)[:500]})
                raise

    def _searched(self, trial: optuna.Trial) -> None:
        search, began = self.search, time.monotonic()
        drawn = {dimension.key: dimension.suggest(trial) for dimension in search.space}
        slot = trial.user_attrs[SLOT]
        changes = lay_on(overlay(search.space, drawn) if slot else {}, {"train": {"seed": search.seed}})
        settings = search.attempt(changes, name=f"trial {slot}")
        with self._recording(trial, settings, name=f"trial {slot}") as recorder:
            judge = Judge(trial, settings, search.data, recorder, prunable=slot > 0)
            try:
                trained = self._train(trial, settings, recorder, judge)
            finally:
                judge.note(seconds=time.monotonic() - began)
            own = None if slot else self._answered(trained.best, settings, recorder)
            best = judge.epochs[trained.best.epoch - 1]
            for key, value in best.items():
                trial.set_user_attr(key, value)
            trial.set_user_attr("epoch", trained.best.epoch)
            if own:  # nothing was chosen by it, so that it counts as the first of params.yaml's trainings
                attrs = own[1] | {SLOT: OWN_FIRST, OF: slot, SEED: search.seed, "run": recorder.spool}
                search.finals.add_trial(optuna.create_trial(value=own[0], user_attrs=attrs))
            several = len(trial.study.directions) > 1
            end(trial, recorder, TrialState.COMPLETE, [best["val"], best["gap"]] if several else best["score"])

    def _confirmed(self, trial: optuna.Trial) -> None:
        search, began = self.search, time.monotonic()
        slot, seed = trial.user_attrs[OF], trial.user_attrs[SEED]
        name = f"trial {slot} again, seed {seed}"
        changes = lay_on(search.settings_of(slot), {"train": {"seed": seed}})
        settings = search.attempt(changes, name=name)
        with self._recording(trial, settings, name=name) as recorder:
            best = self._train(trial, settings, recorder, None).best
            value, attrs = self._answered(best, settings, recorder)
            spent = {"whole": round(time.monotonic() - began, 2)}
            for key, found in (attrs | {"seconds": spent}).items():
                trial.set_user_attr(key, found)
            end(trial, recorder, TrialState.COMPLETE, value)

    def _answered(self, best: Checkpoint, settings: Params, recorder: Recorder) -> tuple[float, dict[str, Any]]:
        """Keep a finalist's checkpoint; its score, and what it answers, as evaluation does it, as attributes."""
        began, data, how = time.monotonic(), self.search.data, self.search.base.tune
        recorder.checkpoint(best.save, epoch=best.epoch, best=best.epoch)
        sides = {"val": data.val, "train": sample(data.train, len(data.val), seed=settings.evaluate.seed)}
        hits = {side: hits_of(best, videos, settings, title=side) for side, videos in sides.items()}
        shares = {side: found.count("1") / len(found) for side, found in hits.items()}
        gap = shares["train"] - shares["val"]
        value = score(shares["val"], gap, penalty=how.penalty, tolerance=how.tolerance)
        recorder.results({"finals/score": value, "finals/gap": gap} | {f"finals/{k}": v for k, v in shares.items()})
        spent = {"whole": round(time.monotonic() - began, 2)}
        return value, shares | {"gap": gap, "hits": hits, "seconds": spent}

    def _train(self, trial: optuna.Trial, settings: Params, recorder: Recorder, judge: Judge | None) -> run.Trained:
        data = self.search.data
        folder = paths.STATE / "tune" / self.search.study.study_name / f"{trial.study.study_name}-{trial.number}"
        try:
            return run.train_network(
                settings,
                data.train,
                data.val,
                classes=data.classes,
                state=_Fleeting(_empty(folder)),
                recorder=_Quiet(recorder),
                weights=_weights(settings),
                watch=judge,
            )
        finally:
            shutil.rmtree(folder)


def _weights(settings: Params) -> Weights | None:
    model = settings.model
    return pretrained.kept(model.weights, variant=model.variant, depth=model.network()["depth"])


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def hits_of(checkpoint: Checkpoint, videos: Any, settings: Params, *, title: str) -> str:
    """`1` for each video that is answered rightly, as evaluation does it, and `0` for each other one."""
    how, runtime = settings.evaluate, settings.runtime
    options = {"device": runtime.device, "workers": runtime.workers, "title": title}
    guesses = probabilities(checkpoint, videos, views=how.views, crops=how.crops, **options).argmax(1)
    return "".join(str(int(guess == video.label)) for guess, video in zip(guesses, videos, strict=True))


def end(trial: optuna.Trial, recorder: Recorder, state: TrialState, value: Any = None) -> None:
    """Tell Optuna first: it refuses what has been given to another worker meanwhile."""

    def has_ended_so() -> bool:
        return trial.study.get_trials(deepcopy=False)[trial.number].state == state

    try:
        trial.study.tell(trial, value, state=state if state == TrialState.PRUNED else None)
    except KeyboardInterrupt:
        if not (children.told() and has_ended_so()):  # else it comes again before the next trial
            raise
    except (ValueError, UpdateFinishedTrialError) as error:
        # Told already, by a request whose answer was lost, it has ended so; given to another worker, it has failed.
        if not has_ended_so():
            raise UpdateFinishedTrialError(f"trial {trial.number} has ended already") from error
    recorder.tags({"trial.state": state.name.lower()})
