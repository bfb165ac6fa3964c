"""One function over many files, on all cores, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
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
    count = min(len(items), processes or len(os.sched_getaffinity(0)))
    with tqdm(total=len(items), desc=title, unit="video", disable=None if items else True) as bar:
        left = list(items)
        for item, result in _run(function, left, processes=count):
            if not isinstance(result, BrokenProcessPool):
                left.remove(item)
                bar.update()
                yield item, result
        # One death breaks the pool for all that wait in it: alone, each shows whether it is the one that kills.
        for item in left:
            yield next(_run(function, [item], processes=1))
            bar.update()


def _run(function: Callable[[Item], Result], items: Sequence[Item], *, processes: int) -> Iterator[tuple]:
    if not items:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_leave_interrupts_to_the_parent)
    try:
        futures: dict[Future, Item] = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            died = isinstance(future.exception(), BrokenProcessPool)
            yield futures[future], future.exception() if died else future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
