"""A run's spool → MLflow: the process that `recording` starts at its side, and what `send` does.

python -m src.tracking.sender NAME
"""

from __future__ import annotations

import os
import sys
import time

from src import command
from src.command import UserError
from src.tracking.delivery import LOOK, Delivery
from src.tracking.failures import be_brief
from src.tracking.spool import Spool
from src.tracking.system import Sampler

GIVE_UP = 30.0
"""Seconds without progress after which a sender whose training is gone leaves the rest to the next one."""


def send_all(spool: Spool, *, tries: int = 2) -> str:
    """Send what waits in a spool whose training has ended, and whose sender's lock is held. Why not, if not all."""
    delivery = Delivery(spool, say=False)
    moved = time.monotonic()
    while spool.waits():
        if delivery.step():
            moved = time.monotonic()
        elif max(delivery.server.failures, delivery.files.failures) >= tries:
            return delivery.server.why or delivery.files.why
        elif time.monotonic() - moved > GIVE_UP:
            return "it belongs to a run that another process sends"
        else:
            time.sleep(0.05)
    return ""


def follow(spool: Spool) -> None:
    """Send what a training records until it has ended, or died."""
    delivery = Delivery(spool)
    delivery.report()  # the trainer knows now that this process is up
    sampler = None if spool.run["evaluates"] else Sampler(spool)
    moved = time.monotonic()
    while True:
        trainer_lives = spool.trainer.holder is not None
        ended = spool.ended()
        if sampler and (ended or not trainer_lives):
            sampler.stop()
        if not trainer_lives:
            spool.end_if_dead()
        if delivery.step():
            moved = time.monotonic()
        elif ended and not spool.waits():
            break
        elif not trainer_lives and time.monotonic() - moved > GIVE_UP:
            return
        else:
            time.sleep(LOOK)
    if not trainer_lives and spool.done():
        spool.remove()


def main() -> None:
    """Hold the spool's lock, and follow its training."""
    os.nice(10)  # the training comes first
    be_brief()
    spool = Spool(sys.argv[1])
    if not spool.take_over():
        raise UserError(f"process {spool.sender.holder} sends {spool.folder} already")
    import mlflow  # noqa: F401  (slow, so before the trainer is told that this process is up)

    follow(spool)


if __name__ == "__main__":
    command.run(main)
