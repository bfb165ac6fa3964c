"""Training as a process that is killed, started again, and started twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from src.tracking.lock import Lock
from tests.conftest import Checkout
from tests.test_pipeline import runs
from tests.tracking.servers import Server
from tests.tracking.trainings import wait_for

LONG = ("python", "-m", "src.train", "--set", "train.epochs=12")


@pytest.fixture
def checkout(reproduced: Checkout, empty_store: Path, tmp_path: Path) -> Checkout:
    """Data, frames and splits of the reproduced checkout, to train on without touching it."""
    path = tmp_path / "project"
    subprocess.run(["cp", "-a", reproduced.path, path], check=True)
    for left in ("artifacts/model.pt", "artifacts/history.csv"):
        (path / left).unlink()
    shutil.copy(empty_store, path)
    return Checkout(path, reproduced.env)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The output up to the line with `text`."""
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came:\n{seen}")


def test_a_second_process_is_refused_and_ctrl_c_says_how_to_go_on(checkout: Checkout):
    with checkout.start(*LONG) as first:
        read_until(first, "epoch   1/12")
        first.send_signal(signal.SIGSTOP)  # or it may end before the second one has begun
        second = checkout.run(*LONG, check=False)
        first.send_signal(signal.SIGINT)
        first.send_signal(signal.SIGCONT)
        rest = first.stdout.read()
    assert second.returncode == 1
    assert f"process {first.pid} is training" in second.stderr
    assert "Traceback" not in second.stderr
    assert "the same command goes on from here" in rest
    assert "Traceback" not in rest
    assert [run.info.status for run in runs(checkout)] == ["KILLED"]


def test_a_power_cut_leaves_no_run_running_for_ever(checkout: Checkout):
    """Process and sender die together; the next training, though another one, which resumes nothing, has it ended."""
    with checkout.start(*LONG) as first:
        read_until(first, "epoch   1/12")
        first.send_signal(signal.SIGSTOP)
        wait_for(lambda: list(checkout.path.glob(".state/spool/*/run_id")))
        (sender,) = psutil.Process(first.pid).children()
        sender.kill()
        first.kill()
    (lock,) = [Lock(spool / "sender") for spool in checkout.path.glob(".state/spool/*")]
    wait_for(lambda: lock.holder is None)  # a process takes a while to die where others have the cores
    assert [run.info.status for run in runs(checkout)] == ["RUNNING"]
    other = checkout.run(*LONG, "--set", "train.lr=0.001")
    assert "resuming" not in other.stdout
    (left,) = checkout.path.glob(".state/train/*/")
    assert f"GB are kept to go on from; if none is to: rm -r {left.relative_to(checkout.path)}\n" in other.stderr
    wait_for(lambda: [run.info.status for run in runs(checkout)] == ["KILLED", "FINISHED"])


def test_a_dead_server_costs_no_training_and_has_it_all_once_it_lives(checkout: Checkout, tmp_path: Path):
    server = Server(tmp_path)
    dead = Checkout(checkout.path, checkout.env | {"MLFLOW_TRACKING_URI": server.uri, "SPOOL_WAIT": "1"})
    done = dead.run(*LONG)
    assert "artifacts/model.pt: epoch" in done.stdout
    assert f"MLflow at {server.uri} has not taken" in done.stderr
    assert "`python -m src.tracking send` sends it" in done.stderr
    assert "Traceback" not in done.stderr
    server.start()
    try:
        assert dead.run("python", "-m", "src.tracking", "send").stdout.endswith(": sent\n")
        (experiment,) = server.client.search_experiments(filter_string="name = 'slowfast'")
        (run,) = server.client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        history = server.client.get_metric_history(run.info.run_id, "val_top1")
        assert [point.step for point in history] == list(range(1, 13))
        epochs = {each.path[-7:-3] for each in server.client.list_artifacts(run.info.run_id, "checkpoints")}
        assert {run.data.tags["checkpoint.best"].zfill(4), "0012"} <= epochs
    finally:
        server.kill()
