"""Two processes train as one would, count every clip once, and notice when one of them is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist

from src.command import UserError
from src.training.distributed import ALONE, Team, joined
from src.training.state import TrainingState
from src.video.manifest import Video
from tests.conftest import ROOT, TINY_MODEL
from tests.training.toy import draw, fit, hashes

pytestmark = pytest.mark.usefixtures("one_thread")

# Nothing that two processes cannot have in common: norms see a process's clips, dropout a part's.
COMMON = {"freeze_norms": True, "model": TINY_MODEL | {"dropout": 0.0}, "optimizer": "sgd", "lr": 0.05}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Video]:
    """Five: with two windows ten clips an epoch, of which two batches of four are made."""
    return draw(tmp_path_factory.mktemp("frames"), count=5)


@pytest.fixture(scope="module")
def frames(videos) -> Path:
    return videos[0].file.parent


def start(command: list[str], state: Path, frames: Path, *, group: bool = False, **settings) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TORCHELASTIC")}
    return subprocess.Popen(
        [*command, "-m", "tests.training.job", str(state), str(frames), json.dumps(settings)],
        cwd=ROOT,
        env=environment | {"OMP_NUM_THREADS": "1"} | settings.pop("environment", {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=group,
    )


def torchrun(processes: int, state: Path, frames: Path, **settings) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return start([sys.executable, *launcher], state, frames, **settings)


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def finished(*processes: subprocess.Popen[str]) -> list[dict]:
    """What they tell, all of which end well."""
    found = []
    for process in processes:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        found += lines(out)
    return found


def ranks(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that torchrun has started, by rank."""
    found = [p for p in psutil.Process(process.pid).children() if "tests.training.job" in p.cmdline()]
    return sorted(found, key=lambda p: int(p.environ()["RANK"]))


def read_until(process: subprocess.Popen[str], *, step: int) -> None:
    for line in process.stdout:
        if line.startswith("{") and json.loads(line).get("step") == step:
            return
    raise AssertionError(process.stderr.read())


def by_hand(state: Path, frames: Path, **settings) -> list[subprocess.Popen[str]]:
    """Two processes without torchrun, as on two machines: nobody but they themselves notices a death."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    ranks_ = [{"RANK": str(rank), "LOCAL_RANK": "0"} for rank in (0, 1)]
    return [start([sys.executable], state, frames, **settings, environment=place | rank) for rank in ranks_]


def close_to(found: list[dict], expected: list[dict]) -> None:
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=2e-3, abs=1e-5)


# What else a state holds, and where each process's norms see clips of their own.
ALL = {"ema": 0.7, "precise_bn": 1, "epochs": 2}


@pytest.fixture(scope="module")
def together(frames, tmp_path_factory) -> tuple[Path, list[dict]]:
    """The state that two processes leave, and what they tell."""
    state = tmp_path_factory.mktemp("together")
    return state, finished(*by_hand(state, frames, **ALL))


@pytest.fixture(scope="module")
def alone(frames, tmp_path_factory) -> list[dict]:
    """What one process tells of a training."""
    return finished(start([sys.executable], tmp_path_factory.mktemp("alone"), frames, **COMMON))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of fewer cores
def test_the_clips_of_an_epoch_are_the_same_for_any_workers_and_processes(videos, frames, tmp_path):
    """Hashed one by one, in their order: place in the batch, augmentation, label."""
    expected = hashes(fit(videos, tmp_path), epoch=5)
    assert [len(batch) for batch in expected] == [4, 4]
    assert len({clip for batch in expected for clip, *_ in batch}) == 8
    rows = finished(*by_hand(tmp_path, frames, look=[0, 1, 4]))
    assert len(rows) == 6
    for workers in (0, 1, 4):
        assert hashes(fit(videos, tmp_path, runtime={"workers": workers}), epoch=5) == expected
        of_it = [row for row in rows if row["workers"] == workers]
        first, second = (row["batches"] for row in sorted(of_it, key=lambda row: row["rank"]))
        found = [[tuple(clip) for clip in a + b] for a, b in zip(first, second, strict=True)]
        assert found == expected, workers


def test_two_processes_learn_as_one_does(frames, tmp_path, alone):
    """Losses, gradient norms and accuracies of every step and epoch; three videos are validated, which is odd."""
    close_to(finished(torchrun(2, tmp_path, frames, **COMMON)), alone)


def test_both_processes_are_left_with_the_pre_training_that_the_first_kept(frames, tmp_path):
    rows = finished(*by_hand(tmp_path, frames, pretrain="instance"))
    assert sorted(row["rank"] for row in rows) == [0, 1]
    assert rows[0]["weights"] == rows[1]["weights"]
    (kept,) = tmp_path.glob("best-*.pt")
    best = torch.load(kept, weights_only=True)
    assert rows[0]["weights"] == {name: value.double().sum().item() for name, value in best.items()}


def test_two_processes_go_on_with_what_one_began(frames, tmp_path, alone):
    first = start([sys.executable], tmp_path, frames, **COMMON, halt=3)
    read_until(first, step=3)
    first.send_signal(signal.SIGINT)
    out, error = first.communicate(timeout=300)
    assert "interrupted" in error
    assert [row["step"] for row in lines(out)] == [4]
    close_to(finished(torchrun(2, tmp_path, frames, **COMMON)), [row for row in alone if row.get("step", 9) > 4][1:])


@pytest.mark.parametrize("step", [1, 2])
def test_interrupted_and_resumed_two_processes_end_the_same_to_the_bit(frames, tmp_path, together, step):
    """In mid-epoch and while validating, where each process's norms have seen clips of their own."""
    whole, expected = together
    job = by_hand(tmp_path, frames, **ALL, halt=step)
    read_until(job[0], step=step)
    for process in job:
        process.send_signal(signal.SIGINT)
    first, second = (process.communicate(timeout=300)[1] for process in job)
    assert "interrupted" in first
    assert "no sign of life" not in first + second
    rows = [row for row in expected if "epoch" in row or row["step"] > 2]
    assert finished(*by_hand(tmp_path, frames, **ALL)) == rows
    states = [TrainingState(folder).load("cpu") for folder in (whole, tmp_path)]
    assert states[0]["history"] == states[1]["history"]
    for kind in ("model", "ema"):
        first, second = (state["learner"][kind] for state in states)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_norms_take_their_statistics_from_the_clips_of_all_processes(frames, tmp_path):
    """As with one process that computes a batch in two parts: the mean is the same, however it is taken."""
    settings = {"model": TINY_MODEL | {"dropout": 0.0}, "precise_bn": 2, "epochs": 1, "warmup": 0, "lr": 1e-9}
    finished(start([sys.executable], tmp_path / "alone", frames, accumulate=2, **settings))
    finished(*by_hand(tmp_path / "two", frames, **settings))
    models = [TrainingState(tmp_path / name).load("cpu")["learner"]["model"] for name in ("alone", "two")]
    for name in ("slow.stem.bn.running_mean", "fast.stem.bn.running_mean"):
        torch.testing.assert_close(models[1][name], models[0][name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sigterm_to_everybody_is_as_good_as_ctrl_c(frames, tmp_path, workers):
    """As a cluster's scheduler sends it, to loaders too: the step is finished and saved."""
    job = start([sys.executable], tmp_path, frames, epochs=50, halt=5, runtime={"workers": workers}, group=True)
    read_until(job, step=5)
    os.killpg(job.pid, signal.SIGTERM)
    out, error = job.communicate(timeout=300)
    assert "interrupted" in error
    assert "Traceback" not in error
    assert [row["step"] for row in lines(out) if "step" in row] == [6]
    state = TrainingState(tmp_path).load("cpu")
    assert 2 * len(state["history"]) + state["step"] == 6


def test_a_killed_process_ends_the_job_which_names_it(frames, tmp_path):
    job = torchrun(2, tmp_path, frames, epochs=300)
    read_until(job, step=2)
    victim = ranks(job)[1]
    victim.kill()
    try:
        _, error = job.communicate(timeout=300)
    finally:
        job.kill()
    assert job.returncode != 0
    assert "rank      : 1 (local_rank: 1)" in error
    assert f"-9 (pid: {victim.pid})" in error


BEATS = (0.1, 8.0)
"""Seconds between two, and of silence: more than a living process is kept waiting on a slow machine."""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_without_torchrun_the_others_notice_who_is_gone(frames, tmp_path, sent):
    """Killed, a collective breaks off; stopped, as a machine that hangs, only the heartbeats fail to come."""
    first, second = by_hand(tmp_path, frames, epochs=300, warmup=0, beats=BEATS)
    read_until(first, step=2)
    second.send_signal(sent)
    try:
        _, error = first.communicate(timeout=300)
    finally:
        second.kill()
        second.communicate()
    assert first.returncode == 1
    assert f"error: rank 1 (process {second.pid} on {socket.gethostname()}): no sign of life" in error
    assert "goes on from what was last saved" in error


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_second_process_hears_of_the_first_ones_death(frames, tmp_path, sent):
    """Which took the meeting place with it, or lets it hang."""
    first, second = by_hand(tmp_path, frames, epochs=300, warmup=0, beats=BEATS)
    read_until(first, step=2)
    first.send_signal(sent)
    try:
        _, error = second.communicate(timeout=300)
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 1
    assert "no sign of life" in error
    assert "rank 0 (process" in error or "the machine where the processes met" in error


def test_alone_everything_is_as_it_is():
    value, network = torch.ones(2), torch.nn.BatchNorm3d(2)
    assert ALONE.first
    assert ALONE.sum(value) is value
    assert ALONE.share("x") == "x"
    assert ALONE.wrap(network, torch.device("cpu")) is network
    assert ALONE.divide([1, 2, 3]) == [1, 2, 3]
    assert ALONE.unite(value) is value


def test_one_that_left_properly_is_not_missed(frames, tmp_path):
    """Another is still busy, for longer than the silence that counts as death."""
    first, second = by_hand(tmp_path, frames, epochs=1, warmup=0, beats=BEATS, busy=BEATS[1] + 3)
    for process in (first, second):
        _, error = process.communicate(timeout=300)
        assert (process.returncode, error) == (0, "")


def test_a_process_without_a_place_in_a_job_is_told(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    for name in ("WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(UserError, match=r"has RANK, .* but not WORLD_SIZE, LOCAL_RANK.* unset RANK"),
        joined(device="cpu"),
    ):
        pass


def test_a_share_may_be_empty(monkeypatch):
    """Three processes and two videos: the third has no answers, not even their number of classes."""
    shares = [torch.tensor([[0.1, 0.9]]), torch.tensor([[0.8, 0.2]]), torch.empty(0, 0)]
    monkeypatch.setattr(dist, "all_gather_object", lambda parts, part: parts.__setitem__(slice(None), shares))
    for rank, share in enumerate(shares):
        assert Team(rank, 3).unite(share).tolist() == torch.cat(shares[:2]).tolist()


@pytest.mark.parametrize("count", [1, 5, 6])
def test_every_item_is_with_one_process(count: int):
    parts = [Team(rank, 3).divide(list(range(count))) for rank in range(3)]
    assert sorted(item for part in parts for item in part) == list(range(count))


@pytest.mark.parametrize(
    ("device", "processes", "message"),
    [("cuda:1", 2, "runtime.device is cuda:1"), ("auto", 3, "3 processes on this machine, which has 2 GPUs")],
)
def test_gpus_that_cannot_be_shared_out_are_named(monkeypatch, device, processes, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "RANK": 0, "WORLD_SIZE": 3, "LOCAL_RANK": 0}
    for name, value in (place | {"LOCAL_WORLD_SIZE": processes}).items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UserError, match=message), joined(device=device):
        pass
