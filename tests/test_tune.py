"""`python -m src.tune`: searches that are interrupted, fail, and go on; what they leave in Optuna, MLflow and files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mlflow
import optuna
import psutil
import pytest
import yaml
from mlflow.entities import Run

from src import tables
from src.search.storage import Storage, connect
from src.search.study import REASON, SLOT, WORKER, slots
from src.search.worker import OF, OWN_FIRST
from tests.conftest import ROOT, Checkout
from tests.search.postgres import Postgres
from tests.test_train import read_until
from tests.tracking.trainings import wait_for

FEW = ("--set", "tune.finalists=1", "--set", "tune.seeds=2")
ENDED = ("complete", "pruned")


CONNECTED: list[Storage] = []
"""By the test that runs."""


@pytest.fixture(autouse=True)
def disconnected() -> Iterator[None]:
    """No test leaves a connection behind: Python would say so in the middle of another one."""
    yield
    while CONNECTED:
        storage = CONNECTED.pop()
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def own(reproduced: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the reproduced checkout."""
    path = tmp_path / "project"
    subprocess.run(["cp", "-a", reproduced.path, path], check=True)
    return Checkout(path, reproduced.env)


def tune(*arguments: str) -> tuple[str, ...]:
    return ("python", "-m", "src.tune", *arguments)


def studies(url: str) -> tuple[optuna.Study, optuna.Study]:
    """The search in a storage that has one, and its finals."""
    storage = connect(url)
    CONNECTED.append(storage)
    names = sorted(optuna.get_all_study_names(storage))
    assert len(names) == 2
    return tuple(optuna.load_study(storage=storage, study_name=name) for name in names)


def runs(checkout: Checkout, study: optuna.Study) -> list[Run]:
    """What MLflow has of a study's trials."""
    client = mlflow.MlflowClient(f"sqlite:///{checkout.path / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.study = '{study.study_name}' and tags.trial != ''", max_results=500)


def agree(checkout: Checkout, study: optuna.Study) -> None:
    """MLflow has each trial that ended by itself, in the same state, and no other as one.

    But for params.yaml's first training of the finals, which is trial 0 of the search.
    """
    own = [trial for trial in study.trials if OF not in trial.user_attrs or trial.user_attrs[SLOT] != OWN_FIRST]
    optunas = {t.number: t.state.name.lower() for t in own if t.state.name.lower() in ENDED}
    found = [run for run in runs(checkout, study) if run.data.tags.get("trial.state") in ENDED]
    assert len(found) == len(optunas)
    assert {int(run.data.tags["trial"]): run.data.tags["trial.state"] for run in found} == optunas
    assert {run.info.status for run in found} == {"FINISHED"}


def test_interrupted_at_trial_7_it_goes_on_to_the_total(own: Checkout):
    command = tune("--trials", "12", "--workers", "1", *FEW)
    with own.start(*command) as first:
        read_until(first, "trial 6: ")
        first.send_signal(signal.SIGINT)
        rest = first.stdout.read()
    assert first.returncode == 1
    assert "the same command goes on from here" in rest
    url = f"sqlite:///{own.path / 'optuna.db'}"
    search, _ = studies(url)
    before, ended = search.trials, slots(search, range(12)).done
    assert 7 <= len(ended) < 12

    again = own.run(*command)
    assert f"{search.study_name}: 12 trials, going on after " in again.stderr
    search, finals = studies(url)
    there = slots(search, range(12))
    assert len(there.done) == 12
    assert not [trial for trial in search.trials if not trial.state.is_finished()]
    for trial in before:  # of one that was interrupted, what had been drawn by then is kept
        assert trial.params.items() <= there.last[trial.user_attrs[SLOT]].params.items()
    assert {trial.number for trial in ended} <= {trial.number for trial in there.done}
    own_settings = yaml.safe_load((own.path / "params.yaml").read_text())
    assert search.trials[0].params["train.lr"] == own_settings["train"]["lr"]
    agree(own, search)
    agree(own, finals)
    assert len(finals.trials) == 4
    assert finals.trials[0].user_attrs["run"] == there.last[0].user_attrs["run"]  # trial 0 is one of params.yaml's own

    nested = {run.data.tags["mlflow.parentRunId"] for run in runs(own, search)}
    assert len(nested) == 1
    client = mlflow.MlflowClient(f"sqlite:///{own.path / 'mlflow.db'}")
    parent = client.get_run(nested.pop())
    assert parent.info.status == "FINISHED"
    files = {file.path for file in client.list_artifacts(parent.info.run_id, "tune")}
    assert {"tune/tune.html", "tune/tuned.yaml"} <= files
    longest = max(runs(own, search), key=lambda run: len(client.get_metric_history(run.info.run_id, "search/score")))
    curve = client.get_metric_history(longest.info.run_id, "search/gap")
    assert [point.step for point in curve] == [1, 2]

    kept = [
        (run.data.tags["slot"], bool(client.list_artifacts(run.info.run_id, "checkpoints")))
        for run in runs(own, search)
    ]
    assert [slot for slot, has in kept if has] == ["0"]  # params.yaml's, for --confirm
    assert all(client.list_artifacts(run.info.run_id, "checkpoints") for run in runs(own, finals))
    assert not list((own.path / ".state").glob("tune/*/"))
    assert not list((own.path / ".state/spool").iterdir())

    numbers = json.loads((own.path / "artifacts/tune.json").read_text())
    assert numbers["study"] == search.study_name
    assert parent.data.metrics["winner.score"] == pytest.approx(numbers["winner.score"])
    page = (own.path / "artifacts/tune.html").read_text()
    assert "Test videos were not looked at" in page
    recipe = yaml.safe_load((own.path / "recipes/tuned.yaml").read_text())
    best = max(finals.trials, key=lambda trial: trial.value)
    assert set(own_settings["tune"]["space"]) == {f"{s}.{k}" for s, keys in recipe.items() for k in keys}
    assert best.user_attrs["of"] in range(12)
    assert [trial.user_attrs["of"] for trial in finals.trials].count(0) == 2
    own.run("python", "-m", "src.params", "apply", "tuned", "--params", "tuned.yaml")

    tested = own.run(*command, "--confirm").stdout
    assert "params.yaml" in tested.split("test videos:")[1]
    assert len(studies(url)[0].trials) == len(search.trials)  # nothing was trained anew


def test_other_settings_are_another_search_and_it_says_so(own: Checkout):
    first = own.run(*tune("--trials", "5", "--workers", "1", "--pareto", *FEW))
    assert "trial 4: validation" in first.stdout
    assert not any("score" in line for line in first.stdout.splitlines() if "again" not in line)
    another = ("--set", "train.weight_decay=0.01")
    with own.start(*tune("--trials", "2", "--workers", "1", "--pareto", *FEW, *another)) as other:
        said = read_until(other, "other settings, 5 trials")
        assert "a new one" in said
        other.send_signal(signal.SIGINT)
        other.stdout.read()
    figures = {path.stem for path in (own.path / "artifacts/tune").glob("*.png")}
    assert figures == {"front", "history", "importance", "slice", "parallel"}
    names = optuna.get_all_study_names(f"sqlite:///{own.path / 'optuna.db'}")
    assert len(names) == 4


def test_a_worker_of_a_search_that_its_settings_do_not_make_any_more_is_refused(own: Checkout):
    """As a search starts it, after params.yaml has been edited: it would carry out another one's trials."""
    refused = own.run(*tune("--work", "search", "--study", "tune-01234567", "--parent", "none"), check=False)
    assert refused.returncode == 1
    assert "have changed since the command was started" in refused.stderr
    assert optuna.get_all_study_names(f"sqlite:///{own.path / 'optuna.db'}") == []


def test_a_test_clip_in_the_validation_list_stops_the_search_and_is_named(own: Checkout):
    planted = tables.read(own.path / "data/splits/test.csv")[0]
    with (own.path / "data/splits/val.csv").open("a") as file:
        file.write(",".join(planted[key] for key in ("video", "label", "group")) + "\n")
    refused = own.run(*tune("--trials", "2"), check=False)
    assert refused.returncode == 1
    assert planted["video"] in refused.stderr
    assert "stands in test.csv too" in refused.stderr
    assert not (own.path / "optuna.db").exists()


def test_three_failures_in_a_row_for_one_reason_end_it(own: Checkout):
    wild = ("--set", "tune.space={train.lr: {low: 1.0e+20, high: 1.0e+30}}", "--set", "tune.prune=false")
    failed = own.run(*tune("--trials", "20", "--workers", "1", *wild, *FEW), check=False)
    assert failed.returncode == 1
    assert "3 trials in a row have failed: the loss is nan" in failed.stderr
    search, _ = studies(f"sqlite:///{own.path / 'optuna.db'}")
    assert Counter(trial.state.name for trial in search.trials) == {"COMPLETE": 1, "FAIL": 3}
    states = Counter(run.data.tags["trial.state"] for run in runs(own, search))
    assert states == {"complete": 1, "failed": 3}


def test_a_trial_that_needs_too_much_memory_fails_and_says_so_and_the_search_goes_on(own: Checkout):
    huge = ("--set", "tune.space={model.width: {choices: [8, 400000]}}")
    with own.start(*tune("--trials", "5", "--workers", "1", *huge, *FEW)) as running:
        said = read_until(running, "trial 4: ")
        running.send_signal(signal.SIGINT)
        running.stdout.read()
    search, _ = studies(f"sqlite:///{own.path / 'optuna.db'}")
    widths = {trial.number: (trial.params["model.width"], trial.state.name) for trial in search.trials}
    assert len(widths) == 5
    assert {state for width, state in widths.values() if width == 400000} == {"FAIL"}
    assert {state.lower() for width, state in widths.values() if width == 8} <= set(ENDED)
    reasons = [trial.user_attrs[REASON] for trial in search.trials if trial.state.name == "FAIL"]
    assert all("memory" in reason for reason in reasons)
    assert said.count("failed: out of memory") == len(reasons)


def test_a_frame_file_that_breaks_ends_its_trial_and_once_mended_the_search_goes_on(own: Checkout):
    command = tune("--trials", "20", "--workers", "1", *FEW)
    frames = sorted((own.path / "data/frames").rglob("*.avi"))
    train = {row["video"] for row in tables.read(own.path / "data/splits/train.csv")}
    broken = next(file for file in frames if str(file.relative_to(own.path / "data/frames")) in train)
    whole = broken.read_bytes()
    with own.start(*command) as first:
        read_until(first, "trial 0: ")
        broken.unlink()  # not written over: other checkouts may share its bytes
        broken.write_bytes(whole[: len(whole) // 2])
        said = first.stdout.read()
    assert first.returncode == 1
    assert "3 trials in a row have failed: " in said
    assert f"{broken.relative_to(own.path)} cannot be read: remove it and run" in said
    broken.write_bytes(whole)
    with own.start(*command) as again:
        read_until(again, "trial 19: ")
        again.send_signal(signal.SIGINT)
        again.stdout.read()
    search, _ = studies(f"sqlite:///{own.path / 'optuna.db'}")
    assert len(slots(search, range(20)).done) == 20
    assert Counter(trial.state.name for trial in search.trials)["FAIL"] == 3


def test_an_unknown_setting_is_an_error_before_the_first_trial(own: Checkout):
    refused = own.run(*tune("--set", "tune.space={train.speed: {low: 0.1, high: 0.2}}"), check=False)
    assert refused.stderr == "error: tune.space: train.speed: there is no such setting\n"


def test_storages_that_do_not_answer_or_are_unknown_are_named(own: Checkout):
    for url, reason in (
        ("postgresql://me:secret@127.0.0.1:1/tune", "does not answer"),
        ("mysql://me:secret@127.0.0.1/tune", "expected postgresql://"),
        ("postgresql://me:secret@127.0.0.1:PORT/tune", "expected postgresql://"),
    ):
        began = time.monotonic()
        refused = own.run(*tune("--storage", url), check=False)
        assert time.monotonic() - began < 300  # it is not waited for, as it is in the middle of a search
        assert refused.returncode == 1
        assert reason in refused.stderr
        assert "secret" not in refused.stderr


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.remove()


def test_who_comes_to_an_empty_database_at_once_finds_it_usable(postgres: Postgres):
    come = "import sys; from src.search.storage import connect; print(connect(sys.argv[1]).get_all_studies())"
    command = [sys.executable, "-c", come, postgres.url]
    comers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [comer.communicate()[0] for comer in comers] == ["[]\n"] * 4


def worker_of(trial: optuna.trial.FrozenTrial) -> int:
    """The process that has a trial."""
    return int(trial.user_attrs[WORKER].rpartition(":")[2])


def in_its_midst(
    study: optuna.Study, *, but: optuna.trial.FrozenTrial | None = None
) -> tuple[optuna.trial.FrozenTrial, psutil.Process]:
    """A trial that has begun and not ended, and the worker that has it, stopped. Neither is `but`'s."""
    found = []

    def look() -> bool:
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            if WORKER not in trial.user_attrs:
                continue
            if but and (trial.user_attrs[SLOT] == but.user_attrs[SLOT] or worker_of(trial) == worker_of(but)):
                continue
            worker = psutil.Process(worker_of(trial))
            worker.suspend()
            time.sleep(2)  # what it has just sent is there by then
            if not study.get_trials()[trial.number].state.is_finished():
                found.append((trial, worker))
                return True
            worker.resume()
        return False

    wait_for(look)
    return found[0]


def test_many_workers_on_postgresql_of_which_one_is_killed_one_sleeps_and_the_server_restarts(
    own: Checkout, postgres: Postgres
):
    command = tune("--trials", "40", "--workers", "4", "--heartbeat", "3", "--storage", postgres.url, *FEW)
    with own.start(*command) as search:
        read_until(search, "trial 4: ")
        study, _ = studies(postgres.url)

        killed, process = in_its_midst(study)
        process.kill()
        asleep, sleeper = in_its_midst(study, but=killed)
        time.sleep(1)
        postgres.restart()
        # Past its heartbeat: another worker has been given its trial.
        wait_for(lambda: study.get_trials()[asleep.number].state.is_finished())
        sleeper.resume()
        said = search.stdout.read()
    assert search.returncode == 0, said
    assert "was killed (signal 9): another one" in said

    study, finals = studies(postgres.url)
    assert sum(trial.state.name.lower() in ENDED for trial in study.trials) == 40
    assert len(slots(study, range(40)).done) == 40
    assert not [trial for trial in study.trials if not trial.state.is_finished()]
    assert study.trials[killed.number].state.name == "FAIL"
    again = [trial for trial in study.trials if trial.user_attrs[SLOT] == killed.user_attrs[SLOT]]
    assert [trial.state.name.lower() in ENDED for trial in again] == [False, True]
    agree(own, study)
    agree(own, finals)
