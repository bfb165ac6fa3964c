"""Processes that this one starts to work at its side: each can be stopped so that it loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

CHANGED = (
    "settings, recipe, data or code have changed since the command was started, and this would be another training: "
    "start it again, and it takes them as they are now"
)
"""What a child says that would not do what its parent has planned."""


def start(
    module: str, arguments: Sequence[str], *, log: Path, threads: int, env: Mapping[str, str] | None = None
) -> subprocess.Popen:
    """`python -m MODULE ARGUMENTS`; what it says goes to `log`. Closing its input stops it, and so does our end.

    `threads` is its share of the cores, `env` what else of the environment is its own.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={"OMP_NUM_THREADS": str(threads)} | os.environ | dict(env or {}),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C comes to the parent alone, which then stops each once
        )


def last_words(log: Path) -> str:
    """The last line of what a child that failed has said."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "failed"


_told = threading.Event()


def end_with_parent() -> None:
    """In a child: stop as at Ctrl-C, and lose nothing, when the parent closes the input, or is killed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job has ignored
    threading.Thread(target=_stop_at_the_end_of_input, daemon=True).start()


def told() -> bool:
    """In a child: whether the parent has closed the input, or is no more."""
    return _told.is_set()


def stop_if_told() -> None:
    """In a child: Ctrl-C once more, if the parent's was only noted by what has ended since."""
    if told():
        raise KeyboardInterrupt


def _stop_at_the_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not through a buffer, whose lock Python wants when it ends
        pass
    _told.set()
    os.kill(os.getpid(), signal.SIGINT)
