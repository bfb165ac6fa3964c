"""The runs that are nested in another one → MLflow, by one process for all of them.

A sender of its own for each would take longer to start than a short run takes. Their points and files go as they come;
system metrics are those of the run that they are nested in.

python -m src.tracking.courier PARENT
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from src import command
from src.tracking import spool
from src.tracking.delivery import LOOK, Delivery
from src.tracking.failures import be_brief
from src.tracking.recorder import settle, start_beside, stop
from src.tracking.sender import GIVE_UP
from src.tracking.spool import Spool


@contextmanager
def courier(parent: str) -> Iterator[None]:
    """Have what is nested in the spool `parent` sent while the context lasts; what is left at its end is waited for."""
    process, nested = start_beside("src.tracking.courier", parent), []
    try:
        try:
            yield
        finally:
            nested = [each for each in spool.everyone() if _parent(each) == parent]
            settle([each.name for each in nested])
    finally:
        stop(process)
        for each in nested:  # it may have been ended while it removed one
            each.sweep()


def follow(parent: str) -> None:
    """Send until the run that all are nested in has ended, or died, and theirs have."""
    deliveries: dict[str, Delivery] = {}
    others: set[str] = set()
    moved = time.monotonic()
    while True:
        parent_lives = Spool(parent).trainer.holder is not None
        for each in spool.everyone():
            if each.name in deliveries or each.name in others:
                continue
            if _parent(each) != parent:
                others.add(each.name)
            elif each.sender.acquire():
                deliveries[each.name] = Delivery(each, say=False)
        for name, delivery in list(deliveries.items()):
            if delivery.spool.trainer.holder is None:
                delivery.spool.end_if_dead()
            if delivery.step():
                moved = time.monotonic()
            elif delivery.spool.ended() and not delivery.spool.waits():
                _leave(deliveries.pop(name).spool)
        if not parent_lives and (not deliveries or time.monotonic() - moved > GIVE_UP):
            return
        if time.monotonic() - moved > LOOK:
            time.sleep(LOOK)


def _parent(each: Spool) -> str | None:
    """What it is nested in; None also of one that has just been removed."""
    return next((record["parent"] for _, record in each.records.read()), None)


def _leave(sent: Spool) -> None:
    """Of one that MLflow has; nobody goes on with it, however it ended."""
    if not sent.refused.exists():
        sent.remove()
    sent.sender.release()


def main() -> None:
    """Send for the run whose spool is named."""
    os.nice(10)  # trainings come first
    be_brief()
    import mlflow  # noqa: F401  (slow, so before anything waits)

    follow(sys.argv[1])


if __name__ == "__main__":
    command.run(main)
