"""The allocator, asked for the same large tensor again and again in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from src import paths

FAULTS = """
import resource, sys, torch
from src.training.heap import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
assert kept == (sys.argv[1] == "keep")
for step in range(15):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> list[int]:
    """Pages that the system had to bring for each of fifteen tensors of 100 MB, one after the other."""
    run = [sys.executable, "-c", FAULTS, mode]
    done = subprocess.run(run, cwd=paths.ROOT, check=True, capture_output=True, text=True)
    return [int(line) for line in done.stdout.split()]


RESIDENT = """
import psutil, torch
from src.training import heap
heap.keep_freed_memory()
torch.ones(100_000_000)
kept = psutil.Process().memory_info().rss
heap.give_freed_memory_back()
print(kept - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's malloc")
def test_memory_that_was_kept_can_be_given_back():
    run = [sys.executable, "-c", RESIDENT]
    done = subprocess.run(run, cwd=paths.ROOT, check=True, capture_output=True, text=True)
    assert int(done.stdout) > 390_000_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's malloc")
def test_memory_that_was_freed_is_used_again():
    """At first some lie between what else is allocated, and more is taken; then there is enough."""
    left_alone, kept = faults("leave"), faults("keep")
    assert min(left_alone) > 10 * (1 + max(kept[-3:]))
