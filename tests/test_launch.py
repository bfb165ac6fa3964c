"""`runtime.processes`: the command starts its processes itself, and speaks for them."""

from __future__ import annotations

import signal

import psutil
import torch

from tests.conftest import Checkout
from tests.test_pipeline import runs
from tests.test_train import checkout, read_until  # noqa: F401, a fixture

TWO = ("python", "-m", "src.train", "--set", "runtime.processes=2", "--set", "train.batch=8")


def ranks(launcher: int) -> list[psutil.Process]:
    found = [p for p in psutil.Process(launcher).children(recursive=True) if "RANK" in p.environ()]
    return sorted((p for p in found if "src.train" in p.cmdline()), key=lambda p: int(p.environ()["RANK"]))


def test_two_processes_are_one_training(checkout: Checkout):  # noqa: F811
    """One run, one model, each line once; and it goes on with what another number of processes began."""
    epochs = ("--set", "train.epochs=12")
    with checkout.start(*TWO, *epochs) as job:
        read_until(job, "epoch   2/12")
        job.send_signal(signal.SIGINT)
        rest = job.stdout.read()
    assert rest.count("interrupted: the same command goes on from here") == 1
    assert "Traceback" not in rest
    assert [run.info.status for run in runs(checkout)] == ["KILLED"]
    one = [part for part in (*TWO, *epochs) if part != "runtime.processes=2"]
    one.remove("--set")
    done = checkout.run(*one)
    assert done.stdout.count("resuming after epoch") == 1
    assert done.stdout.count("epoch  12/12") == 1
    (run,) = runs(checkout)
    assert run.info.status == "FINISHED"
    model = torch.load(checkout.path / "artifacts/model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in model["weights"])


def test_a_process_that_is_killed_ends_the_job_and_is_named(checkout: Checkout):  # noqa: F811
    with checkout.start(*TWO, "--set", "train.epochs=60") as job:
        read_until(job, "epoch   2/60")
        victim = ranks(job.pid)[1]
        victim.kill()
        rest, _ = job.communicate(timeout=300)
    assert job.returncode == 1
    assert f"error: rank 1 (process {victim.pid}) was ended by SIGKILL" in rest
    assert "the same command goes on from what was last saved" in rest
    assert "Traceback" not in rest
    with checkout.start(*TWO, "--set", "train.epochs=60") as again:
        read_until(again, "resuming after epoch")
        again.send_signal(signal.SIGINT)
        again.stdout.read()


def test_what_all_processes_find_wrong_is_said(checkout: Checkout):  # noqa: F811
    done = checkout.run(*TWO, "--set", "train.accumulate=4", check=False)
    assert done.returncode == 1
    assert "a batch of 8 clips cannot be cut into 8 parts" in done.stderr
    assert "Traceback" not in done.stderr
