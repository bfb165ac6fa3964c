"""Stages of a few lines, and what MLflow has of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import mlflow
from mlflow.entities import Run, ViewType

from tests.conftest import Checkout

OPENING = """
import os, pathlib, sys, time
from src.tracking.recorder import evaluating, recording
OPTIONS = {"settings": {"train": {"lr": 0.1, "epochs": 3}}, "tags": {"who": "a test"}}
"""

LOOP = """
slowest = 0
with recording(**OPTIONS, spool=sys.argv[2] if len(sys.argv) > 2 else None) as recorder:
    print(recorder.spool, flush=True)
    for step in range(1, int(sys.argv[1]) + 1):
        began = time.perf_counter()
        recorder.points({"loss": 1 / step, "half": step / 2}, step=step)
        slowest = max(slowest, time.perf_counter() - began)
        if step % 10 == 0:
            print("step", step, flush=True)
        while str(step) == os.environ.get("HALT") and not pathlib.Path("go on").exists():
            time.sleep(0.01)
        time.sleep(0.01)
    recorder.results({"best_epoch": 2})
    while not pathlib.Path(".state/spool", recorder.spool, "progress").exists():
        time.sleep(0.01)
    began = time.perf_counter()
print("slowest", slowest)
print("waited", time.perf_counter() - began)
"""
"""Arguments: how many steps, and the spool to go on with. A step is 10 ms of sleep, and two points.

After step HALT of the environment it waits for `go_on`, so that what a test does meanwhile happens in mid-training
however slow the machine is; and in the end for its sender to be up.
"""

HELD_UP = 5.0
"""Seconds that no point takes, on the slowest machine: a request to a server that stands still would take 10, and
MLflow's own patience with one that is down minutes."""


def halting(checkout: Checkout, *, step: int) -> Checkout:
    """`checkout` in which LOOP waits after `step` for `go_on`."""
    return Checkout(checkout.path, checkout.env | {"HALT": str(step)})


def go_on(checkout: Checkout) -> None:
    """What a LOOP that has come to its HALT waits for."""
    (checkout.path / "go on").touch()


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs `code`."""
    return ("python", "-c", OPENING + code, *arguments)


def client_of(checkout: Checkout) -> mlflow.MlflowClient:
    """For the store that `checkout` writes to."""
    return mlflow.MlflowClient(checkout.env.get("MLFLOW_TRACKING_URI") or f"sqlite:///{checkout.path / 'mlflow.db'}")


def runs(checkout: Checkout, *, also_deleted: bool = False) -> list[Run]:
    """The experiment's, the oldest first."""
    client = client_of(checkout)
    experiment = client.get_experiment_by_name(checkout.env.get("MLFLOW_EXPERIMENT_NAME", "slowfast"))
    if experiment is None:
        return []
    view = ViewType.ALL if also_deleted else ViewType.ACTIVE_ONLY
    return client.search_runs([experiment.experiment_id], run_view_type=view, order_by=["attributes.start_time ASC"])


def points(checkout: Checkout, run: Run, key: str) -> list[tuple[int, float]]:
    """A metric's steps and values, as they came."""
    return [(m.step, m.value) for m in client_of(checkout).get_metric_history(run.info.run_id, key)]


def assert_whole(checkout: Checkout, run: Run, *, steps: int) -> None:
    """LOOP's run is FINISHED, and has every point once and in order; system metrics too."""
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train.lr": "0.1", "train.epochs": "3"}
    assert run.data.tags["who"] == "a test"
    assert points(checkout, run, "loss") == [(step, 1 / step) for step in range(1, steps + 1)]
    assert points(checkout, run, "half") == [(step, step / 2) for step in range(1, steps + 1)]
    assert points(checkout, run, "best_epoch") == [(0, 2.0)]
    system = [step for step, _ in points(checkout, run, "system/cpu_utilization_percentage")]
    assert system == list(range(len(system)))
    assert system


def spools(checkout: Checkout) -> list[str]:
    """What waits, or may be gone on with."""
    return [path.name for path in (checkout.path / ".state" / "spool").glob("*")]


def said(output: str, name: str) -> float:
    """The number that LOOP printed."""
    (line,) = [line for line in output.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def wait_for(condition: Callable[[], object], *, every: float = 0.1, patience: float = 300) -> None:
    """Look until it holds. Only a failure takes all the `patience`."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(every)
