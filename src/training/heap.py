"""glibc's allocator → one that keeps what a step frees for the next step.

A training step on a CPU makes and frees gigabytes. Left to itself, glibc gives every large piece back to the system,
which clears each page anew at the next step: an eighth of the time of an R50's step (docs/benchmarks.md).
"""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> bool:
    """For the rest of this process, and of those that are forked from it; False where there is no glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1))


def give_freed_memory_back() -> None:
    """Once, before a process is forked: it would hold on to the pages that are free now, and this one copy them."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
