"""Runs of a series → all of them done, one after the other or several at a time, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tqdm import tqdm

from src import children, paths
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
    running: list[subprocess.Popen] = []
    with bar, ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_in_a_process, run, jobs, parent, running) for run in left]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except BaseException:
            for future in futures:
                future.cancel()
            for child in running:
                child.stdin.close()
            raise


def _in_a_process(run: Run, jobs: int, parent: str | None, running: list[subprocess.Popen]) -> None:
    """What it says is in a file beside its state until it has ended well."""
    log = paths.STATE / "ablation" / f"{run.key}.log"
    only = ["--only", run.recipe, run.name, str(run.seed), run.key, *(["--parent", parent] if parent else [])]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    child = children.start("src.ablation", [*sys.argv[1:], *only], log=log, threads=threads)
    running.append(child)
    child.wait()
    if child.returncode and not run.done:
        raise UserError(f"{run.recipe}, {run.name}, seed {run.seed}: {children.last_words(log)}\nsee {log}")
    log.unlink()
