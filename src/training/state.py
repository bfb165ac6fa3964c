"""Where an interrupted training goes on from: a locked folder, keyed by everything that changes the result.

DVC deletes a stage's outputs before it runs, so this folder is none of them. Its name is a fingerprint of settings
and data: a changed setting can never resume a stale state.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from src import files
from src.command import UserError
from src.model.checkpoint import save


def fingerprint(values: Any) -> str:
    """16 hexadecimal digits that stand for JSON-able `values`."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


class TrainingState:
    """The files of one training: `last.pt` to go on from, `best-0012.pt` to keep, `spool` of what is recorded of it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def load(self, device: str) -> dict[str, Any] | None:
        """What `save` was last given, or None at the start."""
        path = self.folder / "last.pt"
        return torch.load(path, map_location=device, weights_only=True) if path.exists() else None

    def save(self, state: dict[str, Any]) -> None:
        """Replace `last.pt`, whole or not at all."""
        save(self.folder / "last.pt", state)

    def save_best(self, weights: dict[str, torch.Tensor], *, epoch: int) -> None:
        """Keep an epoch's weights beside those of the best one before: the state that knows of it is not saved yet."""
        save(self._best(epoch), weights)

    def drop_others(self, epoch: int) -> None:
        """Remove weights of all epochs but the best one, once the state that says so is saved."""
        for path in self.folder.glob("best-*.pt"):
            if path != self._best(epoch):
                path.unlink()

    def best(self, epoch: int) -> dict[str, torch.Tensor]:
        """The weights that `save_best` kept of an epoch."""
        return torch.load(self._best(epoch), map_location="cpu", weights_only=True)

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch:04}.pt"

    @property
    def spool(self) -> str | None:
        """Under which name this training is recorded, also across interruptions; see src/tracking."""
        path = self.folder / "spool"
        return path.read_text() if path.exists() else None

    @spool.setter
    def spool(self, name: str) -> None:
        files.write_text(self.folder / "spool", name)

    def part(self, name: str) -> TrainingState:
        """That of a training that goes before this one."""
        return TrainingState(self.folder / name)

    def discard(self) -> None:
        """Remove the folder once the training's results are in their place."""
        (self.folder / "last.pt").unlink(missing_ok=True)  # first: without the others it would be no state
        shutil.rmtree(self.folder)


def abandoned(folder: Path) -> list[Path]:
    """Beside `folder`, those of trainings that were interrupted and that no process goes on with."""
    return [each for each in sorted(folder.parent.glob("*/")) if each != folder and _free(each.with_suffix(".lock"))]


def _free(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextmanager
def locked(folder: Path) -> Iterator[TrainingState]:
    """Own `folder` for as long as the context lasts; the system frees it however this process ends.

    Raises `UserError` naming the process that owns it already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a+") as lock:
        try:
            # Not flock: forked loader workers would share it, and hold it for seconds after a kill -9 of this process.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"process {lock.read().strip()} is training with the same settings and data; wait for it or stop it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for half in folder.rglob(".*.pt.*"):  # written when a process was killed
            half.unlink()
        yield TrainingState(folder)
