"""Slots: exactly so many trials, whatever becomes of those who carry them out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from src import children, paths
from src.search import study as slotted
from src.search.storage import Storage, connect
from src.search.study import DEATHS, INTERRUPTED, REASON, REPEATS, SLOT, Planned, fail, kind, slots, stuck, take
from src.search.worker import end
from tests.tracking.trainings import wait_for


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    return connect(f"sqlite:///{tmp_path / 'optuna.db'}", heartbeat=1)


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    made = optuna.create_study(storage=storage, study_name="tune", direction="maximize")
    slotted.begin(made)
    return made


def planned(total: int) -> dict[int, Planned]:
    return {slot: Planned(params={"x": 0.5} if slot == 0 else {}) for slot in range(total)}


def bury(storage: Storage, trial: optuna.Trial) -> None:
    """Make its last sign of life older than any grace."""
    with storage.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00' WHERE trial_id = {trial._trial_id}"
        )


def test_as_many_trials_as_there_are_slots_and_the_first_is_what_it_is_given(storage: Storage, study: optuna.Study):
    drawn = []
    while trial := take(study, storage, planned(4), worker="a"):
        drawn.append(trial.suggest_float("x", 0, 1))
        study.tell(trial, drawn[-1])
    assert len(drawn) == len(study.trials) == 4
    assert drawn[0] == 0.5
    assert len(set(drawn)) == 4
    assert [trial.user_attrs[SLOT] for trial in study.trials] == [0, 1, 2, 3]
    assert take(study, storage, planned(6), worker="a").user_attrs[SLOT] == 4


def test_what_is_running_elsewhere_is_neither_given_out_twice_nor_done(storage: Storage, study: optuna.Study):
    first, second = (take(study, storage, planned(2), worker=worker) for worker in "ab")
    assert {first.user_attrs[SLOT], second.user_attrs[SLOT]} == {0, 1}
    assert take(study, storage, planned(2), worker="c") is None
    assert slots(study, planned(2)).done == []


def test_a_slot_draws_the_same_whoever_draws(storage: Storage, study: optuna.Study):
    def draw(worker: str) -> float:
        by = slotted.sampler
        trial = take(study, storage, planned(9), worker=worker, sampler=lambda slot: by("random", slot))
        return trial.suggest_float("x", 0, 1)

    one = [draw("a") for _ in range(4)]
    other = connect(str(storage.url), heartbeat=1)
    again = optuna.create_study(storage=other, study_name="again", direction="maximize")
    two = []
    for _ in range(4):
        trial = take(again, other, planned(9), worker="b", sampler=lambda slot: slotted.sampler("random", slot))
        two.append(trial.suggest_float("x", 0, 1))
    assert one == two
    assert len(set(one)) == 4


def test_an_interrupted_trial_is_taken_again_with_the_values_that_were_drawn(storage: Storage, study: optuna.Study):
    study.tell(take(study, storage, planned(2), worker="a"), 0.0)
    trial = take(study, storage, planned(2), worker="a")
    value = trial.suggest_float("x", 0, 1)
    fail(trial, INTERRUPTED)
    again = take(study, storage, planned(2), worker="b")
    assert again.number == 2
    assert again.suggest_float("x", 0, 1) == value
    assert REASON not in again.user_attrs
    assert again.user_attrs[SLOT] == 1
    study.tell(again, 1.0)
    assert take(study, storage, planned(2), worker="b") is None
    assert [trial.number for trial in slots(study, planned(2)).done] == [0, 2]


def test_a_slot_that_was_planned_twice_is_carried_out_once(storage: Storage, study: optuna.Study):
    for _ in range(2):  # the answer to the first request was lost
        study.enqueue_trial({"x": 0.5}, user_attrs={SLOT: 0})
    trial = take(study, storage, planned(1), worker="a")
    assert trial.number == 0
    assert take(study, storage, planned(1), worker="b") is None
    study.tell(trial, 1.0)
    assert take(study, storage, planned(1), worker="b") is None
    assert [trial.number for trial in slots(study, planned(1)).done] == [0]


@pytest.mark.parametrize(("epochs", "warmup", "first"), [(24, 2, 2), (12, 2, 2), (80, 2, 6), (24, 2.5, 3), (8, 0, 1)])
def test_no_rung_lies_before_the_warm_up_is_over(epochs: int, warmup: float, first: int):
    study = optuna.create_study(direction="maximize", pruner=slotted.pruner(epochs=epochs, warmup=warmup))
    for value in (0.9, 0.1):
        trial, asked = study.ask(), []
        for step in range(1, first + 1):
            trial.report(value, step=step)
            asked.append(trial.should_prune())
        assert asked == [False] * (first - 1) + [value == 0.1]


def test_at_a_rung_the_best_quarter_goes_on_and_what_has_failed_does_not_compete(storage: Storage, study: optuna.Study):
    study.pruner = slotted.pruner(epochs=8, warmup=0)  # the first rung is one epoch

    def goes_on(value: float) -> bool:
        trial = take(study, storage, planned(9), worker="a")
        trial.report(value, step=1)
        pruned = trial.should_prune()
        if value == 0.9:
            fail(trial, "CUDA out of memory")
        else:
            study.tell(trial, state=TrialState.PRUNED)
        return not pruned

    assert [goes_on(value) for value in (0.5, 0.9, 0.8, 0.7, 0.6, 0.75, 0.85)] == [True, True, True, *[False] * 3, True]


def test_a_dead_workers_trial_is_taken_once_more_and_no_oftener(storage: Storage, study: optuna.Study):
    for number in range(2):
        trial = take(study, storage, planned(1), worker="a")
        assert trial.number == number
        assert trial.user_attrs.get(DEATHS, 0) == number
        bury(storage, trial)
    assert take(study, storage, planned(1), worker="b") is None
    (done,) = slots(study, planned(1)).done
    assert done.state == TrialState.FAIL
    assert REASON not in done.user_attrs


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # as in `take`
def test_a_worker_that_dies_before_its_first_sign_of_life_counts_as_dead_all_the_same(
    storage: Storage, study: optuna.Study
):
    study.enqueue_trial({"x": 0.5}, user_attrs={SLOT: 0})
    lost = study.ask()
    assert take(study, storage, planned(1), worker="b") is None  # it may only be slow
    bury(storage, lost)
    again = take(study, storage, planned(1), worker="b")
    assert (again.user_attrs[SLOT], again.user_attrs[DEATHS]) == (0, 1)
    assert again.suggest_float("x", 0, 1) == 0.5


def test_one_that_lives_is_left_alone(storage: Storage, study: optuna.Study):
    from src.search.storage import alive

    trial = take(study, storage, planned(1), worker="a")
    with alive(storage, trial):
        bury(storage, trial)
        wait_for(lambda: trial._trial_id not in storage._get_stale_trial_ids(study._study_id))  # its next heartbeat
        assert take(study, storage, planned(1), worker="b") is None
        study.tell(trial, 1.0)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_a_worker_that_wakes_up_finds_its_trial_given_away(storage: Storage, study: optuna.Study):
    asleep = take(study, storage, planned(1), worker="a")
    bury(storage, asleep)
    study.tell(take(study, storage, planned(1), worker="b"), 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        asleep.report(0.5, step=1)
    assert [trial.state for trial in slots(study, planned(1)).done] == [TrialState.COMPLETE]


def work(folder: Path, worker: str) -> None:
    """What a worker's process does here."""
    paths.STATE = folder / "state"
    storage = connect(f"sqlite:///{folder / 'optuna.db'}", heartbeat=60)
    study = optuna.load_study(storage=storage, study_name="tune")
    while trial := take(study, storage, planned(24), worker=worker):
        study.tell(trial, trial.suggest_float("x", 0, 1))


def test_many_processes_at_once_take_each_slot_once(study: optuna.Study, tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(tmp_path, str(number))) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(trial.user_attrs[SLOT] for trial in study.trials) == list(range(24))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_a_locked_file_is_waited_for(storage: Storage, study: optuna.Study, tmp_path: Path):
    """Longer than SQLite itself waits."""
    storage.engine.dispose()
    impatient = Storage(
        f"sqlite:///{tmp_path / 'optuna.db'}",
        engine_kwargs={"connect_args": {"timeout": 0.1}},
        skip_table_creation=True,
    )
    mine = optuna.load_study(storage=impatient, study_name="tune")
    other = sqlite3.connect(tmp_path / "optuna.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    threading.Timer(1.0, lambda: other.execute("ROLLBACK")).start()
    mine.set_user_attr("said", "yes")
    assert time.monotonic() - began >= 1.0
    assert study.user_attrs["said"] == "yes"
    other.close()


def test_three_failures_in_a_row_for_one_reason_and_no_fewer(storage: Storage, study: optuna.Study):
    def end(reason: str | None) -> str | None:
        trial = take(study, storage, planned(20), worker="a")
        if reason:
            fail(trial, reason)
        else:
            study.tell(trial, 0.0)
        return stuck(study, planned(20))

    nan, memory = "the loss is nan at step {} of this epoch: lower train.lr", "out of memory: lower train.batch"
    assert [end(nan.format(1)), end(nan.format(22)), end(None)] == [None] * 3
    assert [end(nan.format(3)), end(memory), end(nan.format(4)), end(nan.format(5))] == [None] * 4
    assert end(nan.format(6)) == nan.format(6)
    slotted.begin(study)
    assert stuck(study, planned(20)) is None  # started again, it tries again


def test_ctrl_c_never_leaves_the_file_locked(storage: Storage, study: optuna.Study, tmp_path: Path):
    """Whoever ends on it waits for workers, which write."""
    writer = sqlite3.connect(tmp_path / "optuna.db", timeout=0.2, isolation_level=None)
    trial = take(study, storage, planned(1), worker="a")

    def ask_until(alarm: threading.Timer) -> None:
        alarm.start()
        while True:
            trial.set_user_attr("looked", len(study.user_attrs))

    for milliseconds in range(20, 50):
        alarm = threading.Timer(milliseconds / 1000, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt) as kept:
            ask_until(alarm)
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("COMMIT")
        assert kept.tb  # with all that it fell into
        alarm.join()
    writer.close()


@contextmanager
def ctrl_c_at(storage: Storage, statement: str) -> Iterator[None]:
    """Ctrl-C in the midst of the first request that sends a statement which begins so."""
    struck = []

    def strike(_connection, _cursor, text: str, *_) -> None:
        if text.startswith(statement) and not struck:
            struck.append(text)
            os.kill(os.getpid(), signal.SIGINT)

    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", strike)
    yield
    sqlalchemy.event.remove(storage.engine, "before_cursor_execute", strike)
    assert struck


def test_ctrl_c_while_a_trial_is_taken_leaves_it_to_be_taken_again(storage: Storage, study: optuna.Study):
    with ctrl_c_at(storage, "UPDATE trials SET state=?, datetime_start"), pytest.raises(KeyboardInterrupt):
        take(study, storage, planned(1), worker="a")
    (trial,) = study.trials
    assert (trial.state, trial.user_attrs[REASON]) == (TrialState.FAIL, INTERRUPTED)
    assert take(study, storage, planned(1), worker="a").user_attrs[SLOT] == 0


@pytest.mark.parametrize("told", [True, False])
def test_a_trial_that_ends_as_ctrl_c_comes_has_ended(storage: Storage, study: optuna.Study, monkeypatch, told: bool):
    """In MLflow too. A worker that was told to stop does so before its next trial."""
    trial, tags = take(study, storage, planned(1), worker="a"), []
    monkeypatch.setattr(children, "told", lambda: told)
    with ctrl_c_at(storage, "UPDATE trials SET state"), nullcontext() if told else pytest.raises(KeyboardInterrupt):
        end(trial, SimpleNamespace(tags=tags.append), TrialState.COMPLETE, 0.5)
    assert study.trials[0].state == TrialState.COMPLETE
    assert tags == ([{"trial.state": "complete"}] if told else [])


def test_a_look_asks_the_database_as_often_for_many_trials_as_for_one(storage: Storage, study: optuna.Study):
    asked = []
    sqlalchemy.event.listen(storage.engine, "before_cursor_execute", lambda *what: asked.append(what[2]))
    counts = []
    for _ in range(6):
        study.tell(take(study, storage, planned(20), worker="a"), 0.0)
        study.get_trials()  # reads what is new, which a look would
        asked.clear()
        assert stuck(study, planned(20)) is None
        counts.append(len(asked))
    assert counts == [counts[0]] * 6
    assert counts[0] > 0


def test_reasons_of_a_kind_are_told_by_what_does_not_change():
    assert kind("out of memory: PyTorch says: 12 GB") == "out of memory"
    assert kind("the loss is nan at step 7 of this epoch, with a rate of 0.1: x") == kind(
        "the loss is nan at step 9 of this epoch, with a rate of 0.2: x"
    )
    assert kind("17") == "17"
    assert kind("trial 7: train.warmup 5 must be shorter") != kind("trial 9: model.frames must be a multiple")
    assert kind("trial 7: train.warmup 5 must be shorter") == kind("trial 9: train.warmup 4 must be shorter")
    assert kind("RuntimeError: shapes differ") != kind("RuntimeError: no kernel") != kind("ValueError: no kernel")


def test_finals_that_failed_are_tried_again_by_the_next_command_and_not_by_this_one(
    storage: Storage, study: optuna.Study
):
    study.set_user_attr(REPEATS, True)
    fail(take(study, storage, planned(1), worker="a"), "out of memory: lower train.batch")
    assert take(study, storage, planned(1), worker="a") is None
    slotted.begin(study)
    study.tell(take(study, storage, planned(1), worker="a"), 1.0)
    assert [trial.state for trial in slots(study, planned(1)).done] == [TrialState.COMPLETE]


def test_the_first_slot_interrupted_before_it_drew_is_what_it_is_given_again(storage: Storage, study: optuna.Study):
    fail(take(study, storage, planned(1), worker="a"), INTERRUPTED)
    assert take(study, storage, planned(1), worker="a").suggest_float("x", 0, 1) == 0.5
