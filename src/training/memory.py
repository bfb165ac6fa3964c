"""Memory that runs out, on the GPU, here or in a loader process → an error that names what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from src.command import UserError

ON_A_GPU = ("out of memory", "ALLOC_FAILED")
"""Of PyTorch's own allocator, of CUDA, cuDNN and NCCL, each with an exception of its own."""


@contextmanager
def memory_named(advice: str) -> Iterator[None]:
    """Turns what PyTorch says when memory runs out into a `UserError`; `advice` is for the network's own."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        if "DataLoader worker" in text and any(sign in text for sign in ("bus error", "shared memory")):
            message = (
                "a loader process ran out of shared memory (/dev/shm): enlarge it (docker run --shm-size=8g), or set "
                "runtime.workers to 0"
            )
        elif "DataLoader worker" in text and any(
            sign in text for sign in ("Killed", "exited unexpectedly", "can't allocate", "MemoryError")
        ):
            message = (
                "a loader process was killed, as the system does when memory runs out: lower runtime.workers; the same "
                "command goes on from what was last saved"
            )
        elif any(sign in text for sign in ON_A_GPU):
            message = f"out of GPU memory: {advice}. PyTorch says: {text[:200]}"
        elif isinstance(error, MemoryError) or "DefaultCPUAllocator" in text:
            message = f"out of memory: {advice}. PyTorch says: {text[:200] or 'nothing'}"
        else:
            raise
        raise UserError(message) from None
