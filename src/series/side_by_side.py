"""Runs of a series → all of them done, one after the other or several at a time, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tqdm import tqdm

from src import paths
from src.command import UserError
from src.series.runs import Run, carry_out


def carry_out_all(runs: Sequence[Run], *, jobs: int, parent: str | None = None) -> None:
    """Do what is not done yet, `jobs` at a time. `parent` is the spool of the series, which they are nested in.

    Raises `UserError` with what a run that failed said last; the others are stopped and go on another time.
    """
    left = [run for run in runs if not run.done]
    if jobs == 1:
        for run in left:
            number = runs.index(run) + 1
            print(f"{run.recipe}, {number} of {len(runs)}: {run.name}, seed {run.seed}", file=sys.stderr)
            carry_out(run, parent=parent)
        return
    bar = tqdm(total=len(runs), initial=len(runs) - len(left), desc=runs[0].recipe, unit="run", disable=None)
    children: list[subprocess.Popen] = []
    with bar, ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_in_a_process, run, jobs, parent, children) for run in left]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BaseException:
            for future in futures:
                future.cancel()
            for child in children:
                child.stdin.close()
            raise


def _in_a_process(run: Run, jobs: int, parent: str | None, children: list[subprocess.Popen]) -> None:
    """What it says is in a file beside its state until it has ended well; closing its input stops it."""
    log = paths.STATE / "ablation" / f"{run.key}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "src.ablation", *sys.argv[1:], "--only", run.recipe, run.name, str(run.seed)]
    with log.open("w") as said:
        child = subprocess.Popen(
            [*command, *(["--parent", parent] if parent else [])],
            env={"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} | os.environ,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C comes to the series alone, which then stops each once
        )
        children.append(child)
        child.wait()
    if child.returncode and not run.done:
        lines = [line for line in log.read_text().splitlines() if line.strip()]
        raise UserError(f"{run.recipe}, {run.name}, seed {run.seed}: {lines[-1] if lines else 'failed'}\nsee {log}")
    log.unlink()


def follow_the_series() -> None:
    """In a run's own process: stop as at Ctrl-C, and lose nothing, when the series closes the input, or is killed."""
    threading.Thread(target=_stop_at_the_end_of_input, daemon=True).start()


def _stop_at_the_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not through a buffer, whose lock Python wants when it ends
        pass
    os.kill(os.getpid(), signal.SIGINT)
