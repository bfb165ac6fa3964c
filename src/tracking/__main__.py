"""What MLflow has not taken, and what it keeps.

    python -m src.tracking send                      what waits in .state/spool → MLflow
    python -m src.tracking prune --gb 50 --dry-run   which runs' checkpoints would have to go

A training is never held up by MLflow: what could not be sent by its end is kept in .state/spool. `send` sends it to
the server that it was meant for. `prune` removes checkpoints of the experiment's oldest runs until all take at most so
many GB; never those of a run that is running, or that a registered model came from.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from src import command
from src.command import UserError
from src.tracking import spool
from src.tracking.recorder import left_over, shown


class TakenOverError(BaseException):
    """The training of the spool that is being sent goes on, and its own sender takes over."""


def send(*, quiet: bool) -> None:
    """Send what waits, once. Raises `UserError` if some of it could not be."""
    failed = []
    waiting = [each for each in spool.everyone() if each.waits() or not each.ended()]
    for each in waiting:
        try:
            if each.trainer.holder is not None or not each.sender.acquire():
                _tell(f"{each.name}: left to its own sender", quiet=quiet)
                continue
            each.end_if_dead()
            points, files = each.unsent()
            what = f"{each.name} → MLflow at {shown(each.run['uri'])}: {points} points, {files} files"
            with _left_when_taken_over():
                from src.tracking.failures import be_brief
                from src.tracking.sender import send_all

                be_brief()
                why = send_all(each)
            _tell(f"{what}: {f'not sent ({why})' if why else 'sent'}", quiet=quiet)
            if why:
                failed.append(left_over(each))
            if each.done():
                each.remove()
        except TakenOverError:
            _tell(f"{each.name}: its training goes on, and sends it", quiet=quiet)
        except FileNotFoundError:
            if each.exists():
                raise
            _tell(f"{each.name}: sent by its own sender", quiet=quiet)
        finally:
            each.sender.release()
    if not waiting:
        _tell("nothing waits", quiet=quiet)
    if failed:
        raise UserError("\n".join(failed))


@contextmanager
def _left_when_taken_over() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TakenOverError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(text: str, *, quiet: bool) -> None:
    if not quiet:
        print(text, flush=True)


def main() -> None:
    """Parse the command line, and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m src.tracking", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="send | prune")
    sending = commands.add_parser("send", help="send what waits; exit status 1 if some of it could not be sent")
    sending.add_argument("--quiet", action="store_true", help="say nothing")
    pruning = commands.add_parser("prune", help="remove checkpoints of the oldest runs")
    pruning.add_argument("--gb", type=float, required=True, metavar="N", help="GB (10⁹ bytes) that all may take")
    pruning.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    arguments = parser.parse_args()
    if arguments.command == "send":
        if arguments.quiet:
            os.nice(10)
        try:
            send(quiet=arguments.quiet)
        except UserError:
            if not arguments.quiet:
                raise
            sys.exit(1)
        return
    if not arguments.gb >= 0:
        parser.error(f"argument --gb: must be at least 0, not {arguments.gb}")
    from src.tracking import store

    for line in store.prune(arguments.gb, dry_run=arguments.dry_run):
        print(line, flush=True)


if __name__ == "__main__":
    command.run(main)
