"""Every process of a job tells the others that it lives, so that one that has gone is named within a minute.

torchrun notices a process that has died on its own machine. What it does not notice soon is a machine that is gone or
hangs: the others would wait in a collective, with NCCL for ten minutes.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

EVERY, SILENCE = 3.0, 40.0
"""Seconds between two beats, and without one until a process counts as gone."""


class Heartbeat:
    """Beats in a thread of its own, through the key-value store that the job's processes met at.

    Beats are counted and their arrival is timed here: clocks of machines may differ, and one that was suspended was
    suspended with its own.
    """

    def __init__(self, *, rank: int, size: int, host: str, port: int):
        self.rank, self.place = rank, f"{host}:{port}"
        # A connection of its own: one is not to be shared between threads. torchrun may have restarted the job.
        store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=SILENCE))
        self.store = dist.PrefixStore(f"heartbeat/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        self.store.set(f"who/{rank}", f"process {os.getpid()} on {socket.gethostname()}")
        self.who = {other: self.store.get(f"who/{other}").decode() for other in range(size) if other != rank}
        self.seen = {other: (0, time.monotonic()) for other in self.who}
        self.heard = time.monotonic()
        self.ended = threading.Event()
        self.parent = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._beat, self._watch)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def say_goodbye(self) -> None:
        """Tell the others that silence from now on is no death."""
        self.ended.set()
        self.threads[0].join(EVERY)
        if not self.threads[0].is_alive():
            with suppress(RuntimeError):  # where they met has gone already, and so have all who could miss this one
                self.store.set(f"bye/{self.rank}", "")

    def stop(self) -> None:
        self.ended.set()

    def who_fell_silent(self) -> list[str]:
        """The processes that have gone, once their next beats have failed to come; none if all still beat."""
        end = time.monotonic() + SILENCE
        while not (gone := self._silent(3 * EVERY)) and time.monotonic() < end:
            time.sleep(EVERY / 10)
        return gone

    def _silent(self, seconds: float) -> list[str]:
        """`rank 1 (process 4711 on HOST)`, for each that has not been heard of for so long."""
        now = time.monotonic()
        return [f"rank {rank} ({self.who[rank]})" for rank, (_, when) in self.seen.items() if now - when > seconds]

    def _beat(self) -> None:
        while not self.ended.wait(EVERY):
            if self.parent not in (None, os.getppid()):
                _end(["torchrun on this machine"])
            try:
                self.store.add(f"beats/{self.rank}", 1)
                for rank, (count, _) in list(self.seen.items()):
                    if self.store.check([f"bye/{rank}"]):
                        del self.seen[rank]
                    elif (beats := self.store.add(f"beats/{rank}", 0)) != count:
                        self.seen[rank] = (beats, time.monotonic())
                self.heard = time.monotonic()
                gone = self._silent(SILENCE)
            except (dist.DistError, RuntimeError) as error:
                if self.ended.is_set():
                    return
                gone = [f"the machine where the processes met, {self.place} ({error})"]
            if gone and not self.ended.is_set():
                _end(gone)

    def _watch(self) -> None:
        """The other thread hangs if the machine does that it asks."""
        while not self.ended.wait(EVERY):
            if time.monotonic() - self.heard > SILENCE:
                _end([f"the machine where the processes met, {self.place}"])


def _end(gone: list[str]) -> None:
    print(f"error: {lost(gone)}", file=sys.stderr, flush=True)
    # Not an exception: the main thread may hang in a collective, and would never see it.
    os._exit(1)


def lost(gone: list[str]) -> str:
    """What is said of processes that have gone."""
    return f"{', '.join(gone)}: no sign of life; the job ends, and the same command goes on from what was last saved"
