"""A stage's numbers and files → a spool on disk, which a process at its side sends to MLflow.

    with recording(settings=settings, tags=tags) as recorder:
        recorder.points({"loss": 0.5}, step=1)

Neither MLflow nor the network is touched here, so a server that is slow, or down, holds no training up. At the end
the sender is waited for as long as it gets on; what MLflow did not take by then is named and kept, and
`python -m src.tracking send` sends it. The server is MLFLOW_TRACKING_URI's, or mlflow.db at the root; the experiment
is MLFLOW_EXPERIMENT_NAME's, or slowfast. SPOOL_WAIT: seconds without any progress that are waited for (30).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src import paths
from src.tracking import origin, spool
from src.tracking.kept import kept
from src.tracking.spool import Record, Spool, now

STARTING = 60.0
"""Seconds that a sender may take to say its first word: on a busy disk, importing MLflow is slow."""

ONE_MORE_TRY = 6.0
"""Seconds in which a sender tries again for sure."""

_open: list[Recorder] = []
"""The recordings that are open in this process, the outer ones first."""


class Recorder:
    """A run: settings are in it already; points, checkpoints, numbers and files come."""

    def __init__(self, spool: Spool, *, checkpoints: float = 0.0):
        self.spool = spool.name
        self._spool = spool
        self._run_id: str | None = None
        self._budget = round(checkpoints * 1e9)
        self._highest: dict[str, int] = {}
        self._checkpoints: dict[int, tuple[int, str]] = {}
        self._said_too_little = False
        for _, record in spool.records.read():
            self._remember(record)

    def _remember(self, record: Record) -> None:
        if record["kind"] == "points":
            self._highest |= dict.fromkeys(record["values"], record["step"])
        elif record["kind"] == "checkpoint":
            self._checkpoints[record["epoch"]] = (record["bytes"], record["file"])
            self._checkpoints = {epoch: self._checkpoints[epoch] for epoch in record["kept"]}

    @property
    def run_id(self) -> str:
        """MLflow's id of the run once it is known, else the spool's name; both are accepted wherever a run is named."""
        self._run_id = self._run_id or self._spool.run_id
        return self._run_id or self.spool

    def points(self, values: Mapping[str, float], *, step: int) -> None:
        """Record `values` at `step`. A key's steps only rise: what a resumed training computes again is dropped."""
        new = {key: float(value) for key, value in values.items() if step > self._highest.get(key, -1)}
        if new:
            self._append({"kind": "points", "values": new, "step": step, "time": now()})

    def results(self, values: Mapping[str, float], files: Sequence[Path] = (), *, folder: str | None = None) -> None:
        """Record final numbers, each once, and files, which go to the run's artifacts below `folder`."""
        for path in files:
            self._append({"kind": "file", "file": self._spool.add_file(path), "folder": folder})
        self.points(values, step=0)

    def tags(self, values: Mapping[str, str]) -> None:
        """Record what becomes of the run."""
        self._append({"kind": "tags", "tags": dict(values), "time": now()})

    def checkpoint(self, write: Callable[[Path], None], *, epoch: int, best: int) -> None:
        """Keep a checkpoint: `write` writes it to the path that it is given.

        The best epoch is kept, the last one, and as many of the latest as fit into the run's share.
        """
        if not self._budget:
            return
        path = self._spool.new_file(f"epoch-{epoch:04}.pt")
        write(path)
        before = dict(self._checkpoints)
        place = path.relative_to(self._spool.folder).as_posix()
        known = before | {epoch: (path.stat().st_size, place)}
        keep = kept({e: size for e, (size, _) in known.items()}, best=best, last=epoch, budget=self._budget)
        self._append(
            {
                "kind": "checkpoint",
                "epoch": epoch,
                "bytes": known[epoch][0],
                "file": place,
                "kept": keep,
                "best": best,
            }
        )
        gone = [file for e, (_, file) in known.items() if e not in keep]
        for file in [*gone, *([before[epoch][1]] if epoch in before else [])]:
            self._spool.drop_file(file)
        if not {best, epoch} & known.keys() <= set(keep) and not self._said_too_little:
            self._said_too_little = True
            left = "only the best one is kept" if best in keep else "none is kept"
            needed = sum(known[e][0] for e in {best, epoch} & known.keys()) / 1e9
            print(
                f"warning: runtime.checkpoints: {self._budget / 1e9:g} GB is too little for the best and the last "
                f"checkpoint, {needed:.3g} GB: {left}",
                file=sys.stderr,
            )

    def model(self, write: Callable[[Path], None], *, name: str, tags: Mapping[str, str]) -> None:
        """Register a model under `name`: `write` writes its folder to the path that it is given.

        `tags` say what it is; two of the same are registered once. It becomes champion if it is better than the one
        that is: src/serving/champion.py.
        """
        path = self._spool.new_file("model")
        write(path)
        place = path.relative_to(self._spool.folder).as_posix()
        self._append({"kind": "model", "file": place, "folder": "model", "name": name, "tags": dict(tags)})

    def _append(self, record: Record) -> None:
        self._spool.records.append(record)
        self._remember(record)


@contextmanager
def recording(
    *,
    settings: Mapping[str, Mapping[str, Any]],
    tags: Mapping[str, str],
    name: str | None = None,
    spool: str | None = None,
    parent: str | None = None,
    checkpoints: float = 0.0,
    wait: float = 30.0,
    sender: bool = True,
) -> Iterator[Recorder]:
    """Record a new run, or go on with `spool`'s, for as long as the context lasts; within another one, nested.

    `parent` is the spool of one that is open in another process, to be nested in that.

    It ends FINISHED, FAILED, or KILLED after Ctrl-C; the sender marks it KILLED if this process dies without a word.
    `settings` are logged as `section.key`. `checkpoints`: the GB (10⁹ bytes) that the run's may take in MLflow; 0:
    none. `wait`: for how many seconds without progress the sender is waited for in the end. Without a `sender` of its
    own, nothing is waited for: the courier of the run that it is nested in sends it, see courier.py.
    """
    tags = {**tags, **origin.tags()}
    params = {f"{section}.{key}": str(value) for section, keys in settings.items() for key, value in keys.items()}
    parent = parent or (_open[-1].spool if _open else None)
    run = _run(name=name, params=params, tags=tags, parent=parent)
    known = _go_on(spool, run) if spool else None
    if known:
        known.records.append({"kind": "resume", "tags": tags, "time": now()})
    sent = _sending(known or Spool.create(run), checkpoints=checkpoints, wait=wait if sender else None)
    with sent as recorder:
        yield recorder


@contextmanager
def evaluating(
    run: str | None, *, settings: Mapping[str, Any], own: bool = False, wait: float = 30.0
) -> Iterator[Recorder]:
    """Record an evaluation with `settings`, in the training run that it belongs to.

    Or in a new one, tagged with the training run's, if that has been evaluated before, is not in MLflow, or with `own`.
    """
    tags = {f"evaluate.{key}": str(value) for key, value in settings.items()}
    evaluates = {"run": run, "own": own, "tags": origin.tags()}
    with _sending(Spool.create(_run(name="evaluation", tags=tags, evaluates=evaluates)), wait=wait) as recorder:
        yield recorder


def _run(
    *,
    name: str | None,
    tags: Mapping[str, str],
    params: Mapping[str, str] | None = None,
    parent: str | None = None,
    evaluates: Record | None = None,
) -> Record:
    """The record that a spool begins with."""
    return {
        "kind": "run",
        "uri": os.environ.get("MLFLOW_TRACKING_URI") or None,
        "experiment": os.environ.get("MLFLOW_EXPERIMENT_NAME", "slowfast"),
        "name": name,
        "params": dict(params or {}),
        "tags": dict(tags),
        "parent": parent,
        "evaluates": evaluates,
        "time": now(),
    }


def _go_on(name: str, run: Record) -> Spool | None:
    """An earlier spool, owned and open to append to. None if it is not there, or was for another server."""
    known = Spool(name)
    if not known.exists() or name in (recorder.spool for recorder in _open):
        return None
    tries = 40  # 2 s: others hold it for a moment, to say that the run was killed
    while not known.trainer.acquire():
        tries -= 1
        if not tries:
            return None
        time.sleep(0.05)
    same = {key: known.run[key] for key in ("uri", "experiment")} == {key: run[key] for key in ("uri", "experiment")}
    # A sender of the life before may still be at it, and would take what is appended now for its own.
    if not same or not known.take_over():
        known.trainer.release()
        return None
    known.records.open()
    known.sender.release()
    return known


@contextmanager
def _sending(spool: Spool, *, checkpoints: float = 0.0, wait: float | None) -> Iterator[Recorder]:
    """Record into `spool` while a process at its side sends; then wait for it. Neither, if `wait` is None."""
    recorder = Recorder(spool, checkpoints=checkpoints)
    sender = None
    if wait is not None:
        _look_after_others(spool)
        (spool.folder / "progress").unlink(missing_ok=True)
        sender = start_beside("src.tracking.sender", spool.name)
    _open.append(recorder)
    status = "FAILED"
    try:
        yield recorder
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        _open.remove(recorder)
        spool.records.append({"kind": "end", "status": status, "time": now()})
        spool.records.close()
        try:
            if sender:
                _wait_for(sender, spool, seconds=float(os.environ.get("SPOOL_WAIT", wait)))
        finally:
            if sender:
                stop(sender)
                recorder._run_id = spool.run_id
                if spool.done():
                    spool.remove()
                elif spool.waits():
                    print(left_over(spool), file=sys.stderr)
            spool.trainer.release()


def start_beside(module: str, name: str) -> subprocess.Popen:
    """A process that sends, in a session of its own: Ctrl-C is for the training alone."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", module, name], cwd=paths.ROOT, start_new_session=True, **streams)


def _wait_for(sender: subprocess.Popen, spool: Spool, *, seconds: float) -> None:
    """Wait until all is sent, or for `seconds` without progress; a server that has been away long gets one more try."""
    moved, before = time.monotonic(), None
    while sender.poll() is None:
        state = progress(spool)
        if state and state["count"] != before:
            before, moved = state["count"], time.monotonic()
        stuck = time.monotonic() - moved
        if state is None:
            hopeless = stuck > max(seconds, STARTING)
        else:
            long_away = state["away"] and now() - state["away"] > seconds * 1000 and stuck > min(seconds, ONE_MORE_TRY)
            hopeless = long_away or stuck > seconds + state["allowance"]
        if hopeless:
            return
        time.sleep(0.05)


def settle(names: Collection[str], *, seconds: float = 30.0) -> None:
    """Wait until a courier has sent what it can of the spools `names`; for `seconds` without any progress."""
    moved, before = time.monotonic(), None
    while waiting := [each for each in map(Spool, names) if each.exists() and not _left(each)]:
        sent = [each.sent() for each in waiting]
        if sent != before:
            before, moved = sent, time.monotonic()
        allowance = max((state["allowance"] for state in map(progress, waiting) if state), default=0.0)
        if time.monotonic() - moved > float(os.environ.get("SPOOL_WAIT", seconds)) + STARTING + allowance:
            print(*map(left_over, waiting), sep="\n", file=sys.stderr)
            return
        time.sleep(0.2)


def _left(each: Spool) -> bool:
    """Whether it is kept for good: what MLflow will never take lies in it."""
    return each.refused.exists() and not each.waits()


def stop(sender: subprocess.Popen) -> None:
    """End it, whatever it does: what it was about to send is kept."""
    sender.terminate()
    try:
        sender.wait(5)
    except subprocess.TimeoutExpired:
        sender.kill()
        sender.wait()


def progress(spool: Spool) -> Record | None:
    """What the sender says of itself: `count` rises, `away` since when nothing is taken, `allowance` in seconds."""
    try:
        return json.loads((spool.folder / "progress").read_text())
    except FileNotFoundError:
        return None


def left_over(spool: Spool) -> str:
    """One line on what MLflow has not taken."""
    points, files = spool.unsent()
    where = spool.folder.relative_to(paths.MAIN)
    what = f"{points} points and {files} files" if points or files else "how the run ended"
    return (
        f"MLflow at {shown(spool.run['uri'])} has not taken {what}: kept in {where}; "
        "`python -m src.tracking send` sends it"
    )


def shown(uri: str | None) -> str:
    """A server's address to print, without a password or a query, which may have one; mlflow.db for the local store."""
    if uri is None:
        return paths.MLFLOW_DB.name
    scheme, found, rest = uri.partition("://")
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}{found}{place.rpartition('@')[2]}{slash}{path}"


def _look_after_others(mine: Spool) -> None:
    """End the runs of trainings that are gone, and have a process try once to send what waits of any."""
    own = {mine.name, *(recorder.spool for recorder in _open)}
    waiting = False
    for other in spool.everyone():
        if other.name not in own and other.trainer.holder is None and other.sender.holder is None:
            with contextlib.suppress(FileNotFoundError):  # its own process has just removed it
                other.end_if_dead()
                waiting = waiting or other.waits()
    if waiting:
        command = [sys.executable, "-m", "src.tracking", "send", "--quiet"]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        subprocess.Popen(command, cwd=paths.MAIN, start_new_session=True, **streams)
