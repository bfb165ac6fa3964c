"""One function over many files, on all cores, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    function: Callable[[Item], Result], items: Sequence[Item], *, processes: int | None, title: str
) -> Iterator[tuple[Item, Result | BrokenProcessPool]]:
    """Yield `(item, function(item))` as they finish, in `processes` worker processes (all cores if None).

    An item whose worker dies (a decoder that crashes, a process killed for memory) yields the
    `BrokenProcessPool` instead; the others are still done. An exception of `function` is raised here.
    """
    count = min(len(items), processes or _cores())
    with tqdm(total=len(items), desc=title, unit="video", disable=None if items else True) as bar:
        left = list(items)
        while left:
            for item, result in _run(function, left, processes=count):
                if not isinstance(result, BrokenProcessPool):
                    left.remove(item)
                    bar.update()
                    yield item, result
            # One death breaks the pool for all that wait in it. Its item was among those handed out: one to each
            # worker, as many to their queue and one more. Alone, each of these shows whether it is the one that kills.
            suspects, left = left[: 2 * count + 1], left[2 * count + 1 :]
            for item in suspects:
                yield next(_run(function, [item], processes=1))
                bar.update()


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(function: Callable[[Item], Result], items: Sequence[Item], *, processes: int) -> Iterator[tuple]:
    if not items:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_follow_the_parent)
    try:
        futures: dict[Future, Item] = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            died = isinstance(future.exception(), BrokenProcessPool)
            yield futures[future], future.exception() if died else future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_the_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it also when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
