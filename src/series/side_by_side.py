"""Runs of a series → all of them done, one after the other or several at a time, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from src import paths
from src.command import UserError
from src.series.runs import Run, carry_out


def carry_out_all(runs: Sequence[Run], *, jobs: int, parent: str | None = None) -> None:
    """Do what is not done yet, `jobs` at a time; what each says then is in a file beside its state.

    Raises `UserError` with what a run that failed said last; those that have begun are carried to their end.
    """
    left = [run for run in runs if not run.done]
    if jobs == 1:
        for run in left:
            number = runs.index(run) + 1
            print(f"{run.recipe}, {number} of {len(runs)}: {run.name}, seed {run.seed}", file=sys.stderr)
            carry_out(run, parent=parent)
        return
    bar = tqdm(total=len(runs), initial=len(runs) - len(left), desc=runs[0].recipe, unit="run", disable=None)
    with bar, ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_in_a_process, run, jobs, parent) for run in left]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _in_a_process(run: Run, jobs: int, parent: str | None) -> None:
    """Ctrl-C comes to that process too, which saves what it has."""
    log = paths.STATE / "ablation" / f"{run.key}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    command = [sys.executable, "-m", "src.ablation", *sys.argv[1:], "--only", run.recipe, run.name, str(run.seed)]
    with log.open("w") as said:
        done = subprocess.run(
            [*command, *(["--parent", parent] if parent else [])],
            cwd=Path.cwd(),
            env={"OMP_NUM_THREADS": str(threads)} | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            check=False,
        )
    if done.returncode:
        lines = [line for line in log.read_text().splitlines() if line.strip()]
        raise UserError(f"{run.recipe}, {run.name}, seed {run.seed}: {lines[-1] if lines else 'failed'}\nsee {log}")
    log.unlink()
