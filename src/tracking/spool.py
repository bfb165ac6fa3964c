"""What a run has to say, on disk until MLflow has it: `.state/spool/NAME`, written by a stage, sent by another process.

records.jsonl   what was recorded, one JSON object a line, only ever appended to
system.jsonl    system metrics, likewise, by the sender
files/          artifacts that wait, each in a folder of its own
sent            how far both files have been dealt with
run_id          MLflow's name of the run, once it has one
refused.jsonl   what MLflow will never take, and why
trainer, sender locks: who holds one lives

A record is a `run` (first, once), `resume`, `tags`, `points`, `file`, `checkpoint`, `model` or `end`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src import files, paths
from src.tracking.lock import Lock

Record = dict[str, Any]

FILES = ("file", "checkpoint", "model")
"""The kinds of record that bring files. They are sent apart, so that a store that takes no files holds no point up."""


LONGEST = 100_000
"""Bytes of a line, at most, that is looked for from the end."""


class Log:
    """JSON objects in a file, one a line. `inf` and `nan` are written as Python writes them, and read again."""

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    def open(self) -> None:
        """Get ready to append; a last line that a crash has torn is cut off."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        content = self.path.read_bytes()
        os.ftruncate(self._file, content.rfind(b"\n") + 1)

    def append(self, record: Record) -> None:
        """Add one line, whole or not at all: in one call, which Ctrl-C does not divide."""
        line = json.dumps(record).encode() + b"\n"
        before = os.fstat(self._file).st_size
        written = 0
        try:
            written = os.write(self._file, line)
            if written < len(line):  # the disk is full; asking for the rest says so
                os.write(self._file, line[written:])
                raise OSError(f"{self.path}: a line was torn")
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def close(self) -> None:
        """Stop appending."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def size(self) -> int:
        """In bytes; 0 if there is no such file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, start: int = 0) -> Iterator[tuple[int, Record]]:
        """Whole lines from byte `start` on, each with where the next one begins."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                start += len(line)
                try:
                    yield start, json.loads(line)
                except ValueError:  # a power cut left it so
                    continue

    def last(self) -> Record | None:
        """What its last whole line says; None if there is none."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            file.seek(max(0, self.size() - LONGEST))
            for line in reversed(file.read().splitlines(keepends=True)):
                if not line.endswith(b"\n"):
                    continue
                try:
                    return json.loads(line)
                except ValueError:  # a power cut left it so
                    continue
        return None

    def sync(self) -> None:
        """See to it that what has been appended so far, by whomever, outlasts a power cut."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())


class Spool:
    """One run's folder."""

    def __init__(self, name: str):
        self.name = name
        self._place(folder() / name)

    def _place(self, folder: Path) -> None:
        self.folder = folder
        self.records, self.system = Log(folder / "records.jsonl"), Log(folder / "system.jsonl")
        self.refused = folder / "refused.jsonl"
        self.trainer, self.sender = Lock(folder / "trainer"), Lock(folder / "sender")

    @classmethod
    def create(cls, run: Record) -> Spool:
        """A new one that begins with `run`, opened by this process as its trainer."""
        spool = cls(secrets.token_hex(8))
        final = spool.folder
        # Under a hidden name until it is whole: others take a spool without a living trainer for a dead one.
        hidden = final.with_name(f".{spool.name}")
        (hidden / "files").mkdir(parents=True)
        spool._place(hidden)
        spool.trainer.acquire()
        spool.records.open()
        spool.records.append(run)
        spool.records.sync()
        hidden.rename(final)
        for part in (spool.records, spool.system, spool.trainer, spool.sender):
            part.path = final / part.path.name
        spool.folder, spool.refused = final, final / spool.refused.name
        return spool

    def exists(self) -> bool:
        """Whether it is there, and whole."""
        return next((record["kind"] for _, record in self.records.read()), None) == "run"

    @property
    def run(self) -> Record:
        """The first record."""
        return next(record for _, record in self.records.read())

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run, once it has one."""
        try:
            return (self.folder / "run_id").read_text() or None  # a power cut may leave it empty
        except FileNotFoundError:
            return None

    @run_id.setter
    def run_id(self, value: str) -> None:
        files.write_text(self.folder / "run_id", value)

    def take_over(self) -> bool:
        """Hold the sender's lock. A sender that lives is asked to stop, and made to after 5 s: it can send again.

        False if it is another machine's, or another container's.
        """
        for force in (signal.SIGTERM, signal.SIGKILL):
            end, asked = time.monotonic() + 5, set()
            while time.monotonic() < end:
                if self.sender.acquire():
                    return True
                holder = self.sender.holder
                if holder is not None and holder <= 0:
                    return False
                if holder is not None and holder not in asked:
                    asked.add(holder)
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(holder, force)
                time.sleep(0.02)
        return False

    def add_file(self, source: Path) -> str:
        """Copy `source` in: the caller may write to it, or remove it, before it is sent. Returns where it lies."""
        target = self.new_file(source.name)
        shutil.copyfile(source, target)
        return target.relative_to(self.folder).as_posix()

    def new_file(self, name: str) -> Path:
        """Where a file of this name may be written that is no other one's place."""
        target = self.folder / "files" / secrets.token_hex(4) / name
        target.parent.mkdir(parents=True)
        return target

    def drop_file(self, path: str) -> None:
        """Remove a file that has been sent, or that nobody wants any more."""
        shutil.rmtree((self.folder / path).parent, ignore_errors=True)

    def sent(self) -> dict[str, int]:
        """How far, in bytes, has been dealt with: `records` but for files, the `files` in them, and `system`."""
        sizes = {"records": self.records.size(), "files": self.records.size(), "system": self.system.size()}
        try:
            sent = json.loads((self.folder / "sent").read_text())
        except (FileNotFoundError, ValueError):  # a power cut may leave it empty; all is sent again then
            return dict.fromkeys(sizes, 0)
        return {key: min(sent[key], size) for key, size in sizes.items()}  # and a log shorter

    def mark_sent(self, sent: dict[str, int]) -> None:
        """Replace what `sent` answers."""
        files.write_text(self.folder / "sent", json.dumps(sent))

    def ended(self) -> bool:
        """Whether the last thing it says is that the run has ended."""
        last = self.records.last()
        return last is not None and last["kind"] == "end"

    def waits(self) -> bool:
        """Whether anything has not been dealt with."""
        sent = self.sent()
        return min(sent["records"], sent["files"]) < self.records.size() or sent["system"] < self.system.size()

    def unsent(self) -> tuple[int, int]:
        """How many points and files wait."""
        sent = self.sent()
        logs = [(self.records, sent["records"]), (self.system, sent["system"])]
        points = [record for log, start in logs for _, record in log.read(start) if record["kind"] == "points"]
        waiting = [record for _, record in self.records.read(sent["files"]) if record["kind"] in FILES]
        there = [record for record in waiting if (self.folder / record["file"]).exists()]
        return sum(len(record["values"]) for record in points), len(there)

    def done(self) -> bool:
        """Whether nothing of it is needed any more: it ended well, and MLflow has, and took, everything."""
        last = self.records.last()
        if self.waits() or last is None or last["kind"] != "end" or self.refused.exists():
            return False
        return last["status"] == "FINISHED" or bool(self.run["evaluates"])  # no evaluation is gone on with

    def end_if_dead(self) -> None:
        """Say that the run was killed, if its trainer is gone and did not say how it ended."""
        # Whoever appends holds the trainer's lock, so two never do at once.
        if not self.ended() and self.trainer.acquire():
            try:
                if not self.ended():
                    self.records.open()
                    self.records.append({"kind": "end", "status": "KILLED", "time": now()})
                    self.records.close()
            finally:
                self.trainer.release()

    def remove(self) -> None:
        """Remove the folder. At once for all who look, so that nobody makes a file in it meanwhile."""
        self.folder.rename(self._gone)
        shutil.rmtree(self._gone)

    def sweep(self) -> None:
        """Remove what is left of one that a process was removing when it was ended."""
        shutil.rmtree(self._gone, ignore_errors=True)

    @property
    def _gone(self) -> Path:
        return self.folder.with_name(f".{self.name}.gone")


def folder() -> Path:
    """Where all spools lie."""
    return paths.STATE / "spool"


def everyone() -> list[Spool]:
    """Every run's, the oldest first: what belongs to a run that waits itself comes after it."""
    names = [path.name for path in folder().glob("[!.]*")] if folder().exists() else []
    firsts = {name: next((record for _, record in Spool(name).records.read()), {}) for name in names}
    begun = {name: first["time"] for name, first in firsts.items() if first.get("kind") == "run"}
    return [Spool(name) for name in sorted(begun, key=begun.__getitem__)]


def now() -> int:
    """Milliseconds, as MLflow counts them."""
    return time.time_ns() // 1_000_000
