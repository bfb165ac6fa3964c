"""A server that dies, is down, slow, or loses answers; a training that is killed: every point once, nobody held up."""

from __future__ import annotations

import json
import re
import signal
import time

import psutil
import pytest

from src.tracking.lock import Lock
from tests.conftest import Checkout
from tests.test_train import read_until
from tests.tracking.conftest import at
from tests.tracking.servers import Proxy, Server, free_port
from tests.tracking.trainings import (
    HELD_UP,
    LOOP,
    assert_whole,
    client_of,
    go_on,
    halting,
    points,
    python,
    runs,
    said,
    spools,
    wait_for,
)


def test_a_server_that_is_killed_and_comes_back_costs_no_point_and_no_time(remote: Checkout, server: Server):
    with halting(remote, step=100).start(*python(LOOP, "200")) as training:
        output = read_until(training, "step 100")
        wait_for(lambda: runs(remote))
        server.kill()
        go_on(remote)
        output += read_until(training, "does not answer")
        server.start()
        output += training.stdout.read()
    assert training.returncode == 0
    assert (
        len(re.findall(rf"MLflow at {server.uri} does not answer \(.+\); points are kept and sent later", output)) == 1
    )
    assert output.count(f"MLflow at {server.uri} answers again") == 1
    (run,) = runs(remote)
    assert_whole(remote, run, steps=200)
    assert said(output, "slowest") < HELD_UP
    assert spools(remote) == []


def test_a_server_that_is_down_to_the_end_is_named_and_send_brings_it_all(checkout: Checkout, server: Server):
    port = free_port()
    away = at(checkout, f"http://127.0.0.1:{port}", SPOOL_WAIT="1")
    done = away.run(*python(LOOP, "20"))
    assert said(done.stdout, "slowest") < HELD_UP
    assert said(done.stdout, "waited") < 20  # and not for the 30 s that SPOOL_WAIT is by default
    (name,) = spools(checkout)
    assert f"MLflow at http://127.0.0.1:{port} has not taken" in done.stderr
    assert f"kept in .state/spool/{name}; `python -m src.tracking send` sends it" in done.stderr
    assert "Traceback" not in done.stderr

    refused = away.run("python", "-m", "src.tracking", "send", check=False)
    assert refused.returncode == 1
    assert f"{name} → MLflow at http://127.0.0.1:{port}: " in refused.stdout
    assert "not sent (connection refused)" in refused.stdout
    assert f"kept in .state/spool/{name}" in refused.stderr

    with Proxy(server.port, port=port):
        assert ": sent" in away.run("python", "-m", "src.tracking", "send").stdout
        (run,) = runs(away)
        assert_whole(away, run, steps=20)
        assert run.data.tags["mlflow.source.type"] == "LOCAL"
        assert run.info.start_time < run.info.end_time < time.time() * 1000
        assert away.run("python", "-m", "src.tracking", "send").stdout == "nothing waits\n"
    assert spools(checkout) == []


def test_a_server_that_stands_still_holds_nobody_up(remote: Checkout, server: Server):
    usual = Checkout(remote.path, remote.env | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"})  # as without tests
    server.signal(signal.SIGSTOP)
    try:
        with usual.start(*python(LOOP, "100")) as training:
            began = time.monotonic()
            output = read_until(training, "step 100")
            took = time.monotonic() - began
            output += read_until(training, "does not answer (timed out)")
            server.signal(signal.SIGCONT)
            output += training.stdout.read()
    finally:
        server.signal(signal.SIGCONT)
    assert training.returncode == 0
    assert took < 60  # 1 s of them sleep; 100 points that each wait for an answer would take 1000 s
    assert said(output, "slowest") < HELD_UP
    # What was asked while it stood still, it did later: a run was perhaps made twice, and one is left.
    (run,) = runs(remote)
    assert_whole(remote, run, steps=100)


def test_lost_answers_leave_one_of_everything(checkout: Checkout, server: Server):
    with Proxy(server.port) as proxy:
        once = ("experiments/create", "runs/create", "runs/log-batch", "runs/update")
        proxy.loses = lambda path: path.endswith(once) and path not in proxy.lost
        there = at(checkout, proxy.uri)
        there.run(*python(LOOP, "60"))
        assert len(proxy.lost) == 4
        (run,) = runs(there)
        assert_whole(there, run, steps=60)


def test_a_killed_training_is_marked_and_goes_on_in_the_same_run(remote: Checkout):
    with halting(remote, step=50).start(*python(LOOP, "100")) as first:
        name = first.stdout.readline().strip()
        read_until(first, "step 50")
        first.kill()
    wait_for(lambda: [run.info.status for run in runs(remote)] == ["KILLED"])
    (run,) = runs(remote)
    assert len(points(remote, run, "loss")) == 50
    assert spools(remote) == [name]

    remote.run(*python(LOOP, "100", name))  # from step 1: the first 50 for the second time
    (run,) = runs(remote)
    assert_whole(remote, run, steps=100)
    assert spools(remote) == []


def test_a_training_that_goes_on_at_once_takes_over_from_a_sender_that_is_stuck(remote: Checkout, server: Server):
    with halting(remote, step=20).start(*python(LOOP, "100")) as first:
        name = first.stdout.readline().strip()
        read_until(first, "step 20")
        wait_for(lambda: runs(remote))
        (sender,) = psutil.Process(first.pid).children()
        sender.suspend()
        first.kill()
    began = time.monotonic()
    with remote.start(*python(LOOP, "60", name)) as second:
        assert second.stdout.readline().strip() == name
        assert time.monotonic() - began < 60  # 5 s of patience with the old sender, and Python's start
        second.stdout.read()
    assert not sender.is_running() or sender.status() == psutil.STATUS_ZOMBIE
    (run,) = runs(remote)
    assert run.info.status == "FINISHED"
    steps = [step for step, _ in points(remote, run, "loss")]
    assert steps == list(range(1, max(steps) + 1))


def test_after_a_power_cut_the_next_recording_ends_the_run(remote: Checkout):
    with halting(remote, step=10).start(*python(LOOP, "100")) as first:
        read_until(first, "step 10")
        (spool,) = spools(remote)
        wait_for((remote.path / ".state/spool" / spool / "run_id").exists)
        first.send_signal(signal.SIGSTOP)
        (sender,) = psutil.Process(first.pid).children()
        sender.kill()
        first.kill()
    lock = Lock(remote.path / ".state/spool" / spool / "sender")
    wait_for(lambda: lock.holder is None)  # a process takes a while to die where others have the cores
    assert [run.info.status for run in runs(remote)] == ["RUNNING"]
    remote.run(*python(LOOP, "5"))
    wait_for(lambda: [run.info.status for run in runs(remote)] == ["KILLED", "FINISHED"])


def test_what_is_refused_is_put_aside_and_the_rest_is_sent(remote: Checkout):
    code = """
OPTIONS["settings"]["train"] |= {"a name\\nthat no store takes": 1}
with recording(**OPTIONS) as recorder:
    recorder.points({"loss": 0.5, "what?*": 1.0, "infinite": float("inf"), "none": float("nan")}, step=1)
    recorder.points({"loss": 0.25}, step=2)
print(recorder.spool)
"""
    done = remote.run(*python(code))
    (run,) = runs(remote)
    assert run.info.status == "FINISHED"
    assert points(remote, run, "loss") == [(1, 0.5), (2, 0.25)]
    assert points(remote, run, "infinite")[0][1] > 1e308
    assert str(points(remote, run, "none")[0][1]) == "nan"
    assert run.data.params == {"train.lr": "0.1", "train.epochs": "3"}
    aside = remote.path / ".state/spool" / done.stdout.strip() / "refused.jsonl"
    refused = [json.loads(line)["what"] for line in aside.read_text().splitlines()]
    assert [[item["key"] for item in next(iter(what.values()))] for what in refused] == [
        ["train.a name\nthat no store takes"],
        ["what?*"],
    ]
    assert done.stderr.count("refuses what it is sent") == 2
    assert remote.run("python", "-m", "src.tracking", "send").stdout == "nothing waits\n"


def test_a_run_that_is_deleted_meanwhile_is_named_and_one_that_goes_on_is_made_again(remote: Checkout):
    with halting(remote, step=20).start(*python(LOOP, "50")) as training:
        name = training.stdout.readline().strip()
        wait_for(lambda: runs(remote))
        client_of(remote).delete_run(runs(remote)[0].info.run_id)
        go_on(remote)
        output = training.stdout.read()
    assert training.returncode == 0
    assert output.count("has been deleted); that is kept in") == 1
    assert runs(remote) == []

    remote.run(*python(LOOP, "60", name))
    (run,) = runs(remote)
    assert points(remote, run, "loss") == [(step, 1 / step) for step in range(1, 61)]
    assert run.info.status == "FINISHED"


def test_an_inner_recording_is_nested_and_each_ends_as_it_did(remote: Checkout):
    code = """
with recording(**OPTIONS, name="outer") as outer:
    for number in (1, 2):
        with recording(**OPTIONS, name=f"inner {number}") as inner:
            inner.points({"loss": number}, step=1)
    try:
        with recording(**OPTIONS, name="broken"):
            raise ValueError
    except ValueError:
        pass
    with recording(**OPTIONS, name="stopped"):
        raise KeyboardInterrupt
"""
    remote.run(*python(code), check=False)
    found = {run.info.run_name: run for run in runs(remote)}
    assert {name: run.info.status for name, run in found.items()} == {
        "outer": "KILLED",
        "inner 1": "FINISHED",
        "inner 2": "FINISHED",
        "broken": "FAILED",
        "stopped": "KILLED",
    }
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in found.items()}
    outer = found["outer"].info.run_id
    assert parents == {"outer": None, **dict.fromkeys(("inner 1", "inner 2", "broken", "stopped"), outer)}


def test_an_artifact_store_that_takes_nothing_holds_no_point_up(checkout: Checkout, server: Server):
    code = """
file = pathlib.Path("table.csv")
file.write_text("a,b")
with recording(**OPTIONS) as recorder:
    recorder.results({"first": 1}, [file], folder="tables")
    file.unlink()
    recorder.results({"second": 2})
"""
    with Proxy(server.port) as proxy:
        proxy.loses = lambda path: "mlflow-artifacts" in path
        there = at(checkout, proxy.uri, SPOOL_WAIT="5")
        done = there.run(*python(code))
        assert "takes no files" in done.stderr
        assert "has not taken 0 points and 1 files" in done.stderr
        (run,) = runs(there)
        assert (run.info.status, run.data.metrics["first"], run.data.metrics["second"]) == ("FINISHED", 1, 2)
        proxy.loses = lambda path: False
        there.run("python", "-m", "src.tracking", "send")
        assert [each.path for each in client_of(there).list_artifacts(run.info.run_id, "tables")] == [
            "tables/table.csv"
        ]


@pytest.mark.parametrize("named_by", ["run_id", "spool"])
def test_an_evaluation_belongs_to_its_training_once(remote: Checkout, named_by: str):
    code = f"""
file = pathlib.Path("metrics.json")
file.write_text("{{}}")
with recording(**OPTIONS) as training:
    training.points({{"loss": 1}}, step=1)
for views in (3, 4):
    with evaluating(training.{named_by}, settings={{"views": views}}) as evaluation:
        evaluation.results({{"test.top1": views / 10}}, [file], folder="evaluation")
with evaluating("0123", settings={{"views": 5}}) as evaluation:
    evaluation.results({{"test.top1": 0.5}})
"""
    done = remote.run(*python(code))
    training, second, lost = runs(remote)
    assert [run.data.metrics["test.top1"] for run in (training, second, lost)] == [0.3, 0.4, 0.5]
    assert training.data.tags["evaluate.views"] == "3"
    assert {run.info.status for run in (training, second, lost)} == {"FINISHED"}
    assert second.data.tags["trained in"] == training.info.run_id
    assert lost.data.tags["trained in"] == "0123"
    assert second.info.run_name == "evaluation"
    assert "has been evaluated before; this evaluation is a run of its own" in done.stderr
    assert "note: MLflow has no run 0123; this evaluation is a run of its own" in done.stderr


def test_evaluations_that_wait_are_sent_behind_their_training_and_one_belongs_to_it(checkout: Checkout, server: Server):
    port = free_port()
    away = at(checkout, f"http://127.0.0.1:{port}", SPOOL_WAIT="0.1")
    code = """
with recording(**OPTIONS) as training:
    training.points({"loss": 1}, step=1)
for views in (3, 4):
    with evaluating(training.run_id, settings={"views": views}) as evaluation:
        evaluation.results({"test.top1": views / 10})
"""
    away.run(*python(code))
    with Proxy(server.port, port=port):
        wait_for(lambda: away.run("python", "-m", "src.tracking", "send").stdout == "nothing waits\n")
        training, second = runs(away)
    assert [run.data.metrics["test.top1"] for run in (training, second)] == [0.3, 0.4]
    assert second.data.tags["trained in"] == training.info.run_id
    assert spools(checkout) == []


def test_ctrl_c_while_it_waits_keeps_what_is_unsent(checkout: Checkout):
    away = at(checkout, f"http://127.0.0.1:{free_port()}", SPOOL_WAIT="600")
    with away.start(*python(LOOP, "10")) as training:
        read_until(training, "does not answer")
        wait_for(lambda: b'"end"' in next(checkout.path.glob(".state/spool/*/records.jsonl")).read_bytes())
        began = time.monotonic()
        training.send_signal(signal.SIGINT)
        output = training.stdout.read()
    assert time.monotonic() - began < 60
    assert "`python -m src.tracking send` sends it" in output
    assert len(spools(checkout)) == 1
