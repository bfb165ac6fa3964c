"""A search from its start to its recipe: workers, the finalists, the page, and on request the test."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import optuna
import torch

from src import children, parallel, paths
from src.command import UserError
from src.search import finals, outcome, space, study
from src.search.progress import Progress
from src.search.study import slots
from src.search.worker import Search
from src.tracking.courier import courier
from src.tracking.recorder import recording
from src.training.state import locked

LOOK = 2.0
"""Seconds from one look at the trials to the next."""

RESTARTS = 20
"""Workers that are started again after they were killed, before the search gives up."""


def conduct(search: Search, arguments: argparse.Namespace) -> None:
    """All of it. Raises `UserError` where trials fail for the same reason again and again, or none is complete."""
    name, total = search.study.study_name, arguments.trials
    _introduce(search, total)
    settings = search.base.in_force(exclude={"evaluate", "predict", "serve", "runtime"})
    tags = {"study": name, "trials": str(total)}
    with locked(paths.STATE / "tune" / name) as state:
        run_name = f"tune {name.removeprefix('tune-')}"
        with recording(settings=settings, tags=tags, name=run_name, spool=state.spool) as recorder:
            state.spool = recorder.spool
            for each in (search.study, search.finals):
                study.begin(each)
            began = time.time()
            workers = Workers(search, arguments, parent=recorder.spool)
            with courier(recorder.spool):
                workers.run("search", search.study, lambda: range(total), most=total)
                if not finals.ranked(search, total):
                    raise UserError("every trial but params.yaml itself has failed: see why above")
                most = finals.most(search, total)
                workers.run("finals", search.finals, lambda: finals.plan(search, total), most=most)
                print("waiting for MLflow", file=sys.stderr)
            outcome.report(search, arguments, recorder, began=began, workers=workers.count)
        state.discard()


def _introduce(search: Search, total: int) -> None:
    there = slots(search.study, range(total))
    known = f"going on after {len(there.done)}" if there.done else "a new one"
    print(f"{search.study.study_name}: {total} trials, {known}", file=sys.stderr)
    for line in space.widened(search.base, search.space):
        print(f"note: tune.space: {line}", file=sys.stderr)
    if not there.done:
        for line in study.others(search.storage, search.study):
            print(f"note: there is {line}", file=sys.stderr)


class Workers:
    """The processes that carry out trials on this machine, and what is printed while they do."""

    def __init__(self, search: Search, arguments: argparse.Namespace, *, parent: str):
        self.search, self.parent = search, parent
        device, cores = search.base.runtime.device, parallel.cores()
        there = range(torch.cuda.device_count() if device == "auto" else 0)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.gpus = visible.split(",")[: len(there)] if visible else [str(number) for number in there]
        on_one = device.startswith("cuda")
        self.count = arguments.workers or len(self.gpus) or (1 if on_one else min(4, cores))
        self.threads = max(1, cores // self.count)
        self.children: dict[int, subprocess.Popen] = {}

    def run(self, stage: str, of: optuna.Study, plan: Callable[[], Collection[int]], *, most: int) -> None:
        """Carry out the trials of a stage that are not done. Ctrl-C ends every worker, which keeps what it has.

        `plan` says which slots they have, as it has become known; there are `most` at most.
        """
        if study.over(of, plan):
            return
        title = {"search": "search", "finals": "again, with other seeds"}[stage]
        progress = Progress(title, slots(of, plan()), total=most)
        try:
            for number in range(min(self.count, most)):
                self._start(stage, number)
            self._follow(stage, lambda: progress.update(slots(of, plan())), lambda: study.stuck(of, plan()))
        finally:
            self._stop()
            progress.close()
        if reason := study.stuck(of, plan()):
            raise UserError(
                f"{study.IN_A_ROW} trials in a row have failed: {reason}\n"
                "mend it, or take the setting out of tune.space; the same command goes on from here"
            )
        if not study.over(of, plan):
            wanted = plan()
            left = len(wanted) - len(slots(of, wanted).done)
            raise UserError(f"{left} trials are left: the same command goes on from here")

    def _start(self, stage: str, number: int) -> None:
        own = [
            "--work",
            stage,
            "--study",
            self.search.study.study_name,
            "--parent",
            self.parent,
            *(["--set", "runtime.workers=0"] if self.threads == 1 and not self.gpus else []),
        ]
        env = {"CUDA_VISIBLE_DEVICES": self.gpus[number % len(self.gpus)]} if len(self.gpus) > 1 else {}
        command = [*sys.argv[1:], *own]
        self.children[number] = children.start(
            "src.tune", command, log=self._log(stage, number), threads=self.threads, env=env
        )

    def _log(self, stage: str, number: int) -> Path:
        return paths.STATE / "tune" / self.search.study.study_name / f"{stage}-worker-{number + 1}.log"

    def _follow(self, stage: str, look: Callable[[], None], stuck: Callable[[], str | None]) -> None:
        """Until every worker has ended, or none gets on. One that was stopped or killed by others is started again."""
        restarts = 0
        while self.children and not stuck():
            time.sleep(LOOK)
            look()
            for number, child in list(self.children.items()):
                if child.poll() is None:
                    continue
                del self.children[number]
                if not child.returncode:
                    continue
                log = self._log(stage, number)
                said = children.last_words(log)
                if restarts == RESTARTS or not (child.returncode < 0 or said.startswith("interrupted")):
                    raise UserError(f"worker {number + 1}: {said}\nsee {log}")
                restarts += 1
                how = f"killed (signal {-child.returncode})" if child.returncode < 0 else "stopped"
                print(f"worker {number + 1} was {how}: another one", file=sys.stderr)
                self._start(stage, number)
        look()

    def _stop(self) -> None:
        for child in self.children.values():
            child.stdin.close()
        for child in self.children.values():
            child.wait()
        self.children.clear()
