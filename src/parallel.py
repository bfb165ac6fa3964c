"""One function over many files, on all cores or on a Dask cluster, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tqdm import tqdm

from src.command import UserError

WORKERS_COME = 60.0  # seconds to wait for the first worker of a cluster

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Died:
    """In the place of a result: the worker died of this item, `after` so many seconds with it alone."""

    after: float


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    processes: int | None,
    cluster: str | None = None,
    title: str,
) -> Iterator[tuple[Item, Result | Died]]:
    """Yield `(item, function(item))` as they finish.

    They run in `processes` worker processes here (all cores if None), or on the Dask cluster whose scheduler is at
    the address `cluster`. An item of which the worker dies (a decoder that crashes, a process killed for memory)
    yields `Died`; the others are still done. An exception of `function` is raised here.
    """
    count = min(len(items), processes or cores())

    def executor(processes: int = count) -> Executor:
        return _dask(cluster) if cluster else _local(processes)

    with tqdm(total=len(items), desc=title, unit="video", disable=None if items else True) as bar:
        left = dict(enumerate(items))
        while left:
            died = []
            with executor() as pool:
                for key, result in _run(pool, function, left):
                    if isinstance(result, Died):
                        died.append(key)
                        continue
                    bar.update()
                    yield left.pop(key), result
            # A death may take others with it: all that wait in a pool of processes, or what a cluster's worker had
            # been handed. Of the former, only those handed out can be the one that kills: one to each worker, as many
            # to their queue and one more. Alone, each of these shows whether it is.
            suspects = died if cluster else sorted(died)[: 2 * count + 1]
            for key in suspects:
                began = time.monotonic()
                with executor(1) as pool:
                    _, result = next(_run(pool, function, {key: left[key]}))
                bar.update()
                yield left.pop(key), Died(time.monotonic() - began) if isinstance(result, Died) else result


def cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(pool: Executor, function: Callable[[Item], Result], items: dict[int, Item]) -> Iterator[tuple]:
    """Yield `(key, result)`, or `(key, Died)` without the time."""
    futures: dict[Future, int] = {}
    waiting = dict(items)
    try:
        for key, item in items.items():
            futures[pool.submit(function, item)] = key
            del waiting[key]
    except BrokenProcessPool:
        pass  # by one of the first, while the last were not handed in yet; those are among the dead below
    try:
        for future in as_completed(futures):
            key = futures.pop(future)
            try:
                yield key, future.result()
            except CancelledError:
                raise UserError(
                    "the Dask scheduler is gone (runtime.cluster); start it, and the same command goes on from here"
                ) from None
            except ImportError as error:
                raise UserError(
                    f"runtime.cluster: {error} there; start scheduler and workers as `python -m dask …` in this folder"
                ) from None
            except Exception as error:
                # Dask's own error, by name: its package is needed only where a cluster is.
                if not (isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker"):
                    raise
                yield key, Died(0.0)
        for key in waiting:
            yield key, Died(0.0)
    finally:
        for future in futures:
            future.cancel()


@contextmanager
def _local(processes: int) -> Iterator[Executor]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_follow_the_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise UserError("runtime.cluster needs Dask: pip install -r requirements-cluster.txt") from None
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"runtime.cluster: no Dask scheduler answers at {address}: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_COME)
        except TimeoutError:
            raise UserError(
                f"runtime.cluster: {address} has no worker; on each machine, in this folder: "
                f"`python -m dask worker {address} --nthreads 1`"
            ) from None
        yield client.get_executor(pure=False)


def _follow_the_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it also when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
