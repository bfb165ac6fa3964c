"""glibc's allocator → one that keeps what a step frees for the next step.

A training step on a CPU makes and frees gigabytes. Left to itself, glibc gives every large piece back to the system,
which clears each page anew at the next step: a sixth of the time of an R50's step (docs/benchmarks.md).
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> bool:
    """For the rest of this process, and of those that are forked from it; False where there is no glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1))
