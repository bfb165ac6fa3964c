"""Ctrl-C and SIGTERM while training: the step is finished and saved first."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

AT_ONCE = 1.0
"""Seconds after the first signal from which on another one is the user's impatience, and not torchrun's passing the
first one on."""


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether a signal has come; a second one raises `KeyboardInterrupt` on the spot.

    Python has only its main thread see signals: elsewhere nothing is held back.
    """
    came: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(time.monotonic())
        if came[-1] - came[0] > AT_ONCE:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
