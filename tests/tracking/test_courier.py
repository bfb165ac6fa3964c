"""Nested runs that one process sends for all of them."""

from __future__ import annotations

import subprocess

from tests.conftest import Checkout
from tests.tracking.trainings import points, python, runs, spools

NESTED = """
from src.tracking.courier import courier
with recording(**OPTIONS, name="parent") as parent:
    with courier(parent.spool):
        for number in range(3):
            with recording(**OPTIONS, name=f"child {number}", sender=False) as child:
                child.points({"loss": number / 2}, step=1)
                pathlib.Path("file.txt").write_text(str(number))
                child.results({"last": number}, [pathlib.Path("file.txt")], folder="some")
                child.tags({"trial.state": "complete"})
"""

KILLED = """
import subprocess
from src.tracking.courier import courier
with recording(**OPTIONS, name="parent") as parent:
    with courier(parent.spool):
        child = "from src.tracking.recorder import recording; import os, signal, sys\\n"
        child += "with recording(settings={}, tags={}, name='child', parent=sys.argv[1], sender=False) as child:\\n"
        child += "    child.points({'loss': 1.0}, step=1); os.kill(os.getpid(), signal.SIGKILL)"
        subprocess.run([sys.executable, "-c", child, parent.spool])
"""

FAILING = NESTED + "        raise ValueError('the search is over')\n"


def test_it_sends_all_of_each_and_leaves_nothing(checkout: Checkout):
    checkout.run(*python(NESTED))
    parent, *children = runs(checkout)
    assert parent.info.run_name == "parent"
    assert [run.info.run_name for run in children] == ["child 0", "child 1", "child 2"]
    for number, run in enumerate(children):
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["trial.state"] == "complete"
        assert run.data.params == {"train.lr": "0.1", "train.epochs": "3"}
        assert points(checkout, run, "loss") == [(1, number / 2)]
        assert (checkout.path / "mlruns" / run.info.run_id / "artifacts/some/file.txt").read_text() == str(number)
    assert spools(checkout) == []


def test_a_child_that_is_killed_is_said_to_be(checkout: Checkout):
    checkout.run(*python(KILLED))
    parent, child = runs(checkout)
    assert (parent.info.status, child.info.status) == ("FINISHED", "KILLED")
    assert points(checkout, child, "loss") == [(1, 1.0)]
    assert spools(checkout) == []


def test_what_ended_before_a_failure_is_sent_all_the_same(checkout: Checkout):
    failed: subprocess.CompletedProcess[str] = checkout.run(*python(FAILING), check=False)
    assert "the search is over" in failed.stderr
    parent, *children = runs(checkout)
    assert parent.info.status == "FAILED"
    assert [run.info.status for run in children] == ["FINISHED"] * 3
