"""Extraction on a real Dask cluster: what comes out is what comes out here, also when a worker is killed half way."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from src import tables
from src.video import extraction
from tests.bare_checkout import bare_checkout
from tests.conftest import Checkout
from tests.video import clips

VIDEOS = 60


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Sixty videos and one that is none, listed, in data/raw."""
    result = bare_checkout(tmp_path / "project")
    raw = result.path / "data" / "raw"
    first = clips.write(raw / "Run" / "00.mp4", clips.numbered(31, width=320, height=240))
    for number in range(1, VIDEOS):
        (raw / "Run" / f"{number:02}.mp4").write_bytes(first.read_bytes() + bytes([number]))
    (raw / "Run" / "broken.mp4").write_text("This is not a video.")
    names = [path.relative_to(raw).as_posix() for path in sorted(raw.rglob("*.mp4"))]
    rows = [{"video": name, "label": "Run", "group": name, "part1": "", "part2": "", "part3": ""} for name in names]
    tables.write(result.path / "data" / "videos.csv", rows, columns=list(rows[0]))
    return result


@contextlib.contextmanager
def started(checkout: Checkout, *command: str) -> Iterator[subprocess.Popen]:
    """A command in a session of its own, which is killed as a whole at the end."""
    process = subprocess.Popen(command, cwd=checkout.path, env=checkout.env, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def cluster(checkout: Checkout, *, workers: int = 2, threads: int = 1) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a scheduler, and its workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = ("python", "-m", "dask")
    with contextlib.ExitStack() as stack:
        stack.enter_context(started(checkout, *dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), *QUIET))
        until(lambda: answers(port))  # the stage waits 10 s for it, within which Dask may not have been imported
        command = (*dask, "worker", address, "--nthreads", str(threads), *QUIET)
        yield address, [stack.enter_context(started(checkout, *command)) for _ in range(workers)]


QUIET = ("--no-dashboard",)
STAGE = ("python", "-m", "src.extract_frames", "--set", "extract.on_error=skip")


def answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def until(condition, *, patience: float = 300.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_a_worker_is_killed_half_way_and_the_manifest_is_the_local_one(checkout):
    frames = checkout.path / "data" / "frames"
    local = checkout.run(*STAGE).stdout
    manifest = (frames / "manifest.csv").read_bytes()
    contents = {path.name: path.read_bytes() for path in frames.rglob("*.avi")}
    assert len(contents) == VIDEOS
    assert "refused: Run/broken.mp4: Invalid data found" in local
    checkout.run("rm", "-r", str(frames))

    written = defaultdict(set)

    def watch() -> int:
        for path in (frames / "Run").glob("[0-9]*.avi"):
            with contextlib.suppress(FileNotFoundError):
                written[path.name].add(path.stat().st_ino)
        return len(written)

    with cluster(checkout) as (address, workers):
        with checkout.start(*STAGE, "--set", f"runtime.cluster={address}") as running:
            until(lambda: watch() >= VIDEOS // 4)
            os.killpg(workers[0].pid, signal.SIGKILL)
            assert len(written) < VIDEOS
            until(lambda: watch() and running.poll() is not None)
            said = running.stdout.read().splitlines()
        assert running.returncode == 0
        assert said[-len(local.splitlines()) :] == local.splitlines()
    watch()
    assert (frames / "manifest.csv").read_bytes() == manifest
    assert {path.name: path.read_bytes() for path in frames.rglob("*.avi")} == contents
    assert {name: len(inodes) for name, inodes in written.items()} == dict.fromkeys(contents, 1)
    assert extraction.noted(frames) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_that_kills_every_worker_is_named_and_the_others_are_done(checkout, threads):
    """Also where a worker has many threads, which share one alarm: each file is timed alone."""
    os.mkfifo(checkout.path / "data" / "raw" / "Run" / "00.fifo")  # whoever opens it waits until its alarm
    rows = tables.read(checkout.path / "data" / "videos.csv")
    rows = [rows[0] | {"video": "Run/00.fifo"}, *rows[:VIDEOS]]
    tables.write(checkout.path / "data" / "videos.csv", rows, columns=list(rows[0]))
    # Dask gives a task up after four workers have died of it; one is enough here.
    checkout.env["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"
    limit = ("--set", "extract.time_limit=5")  # a hundred times what one of the others takes
    with cluster(checkout, threads=threads) as (address, _):
        done = checkout.run(*STAGE, "--set", f"runtime.cluster={address}", *limit)
    assert done.stdout.splitlines()[0].startswith(f"data/frames: {VIDEOS} of {VIDEOS + 1} videos, ")
    assert "refused: Run/00.fifo: not read within 5 s (extract.time_limit)" in done.stdout


def test_a_cluster_without_workers_is_named(checkout):
    code = "from src import command, extract_frames, parallel; parallel.WORKERS_COME = 0.5; "
    code += "command.run(extract_frames.main)"
    with cluster(checkout, workers=0) as (address, _):
        failed = checkout.run("python", "-c", code, "--set", f"runtime.cluster={address}", check=False)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        f"error: runtime.cluster: {address} has no worker; on each machine, in this folder: "
        f"`python -m dask worker {address} --nthreads 1`"
    )


def test_a_scheduler_that_is_not_there_is_named(checkout):
    failed = checkout.run(*STAGE, "--set", "runtime.cluster=tcp://127.0.0.1:9", check=False)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith(
        "error: runtime.cluster: no Dask scheduler answers at tcp://127.0.0.1:9: "
    )
