"""Memory that runs out, on the GPU, here or in a loader process → an error that names what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from src.command import UserError


@contextmanager
def memory_named(advice: str) -> Iterator[None]:
    """Turns what PyTorch says when memory runs out, on the GPU, here or in a loader process, into a `UserError`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(f"out of GPU memory: {advice}. PyTorch says: {str(error).splitlines()[0]}") from None
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "DefaultCPUAllocator" in text:
            raise UserError(f"out of memory: {advice}. PyTorch says: {text[:200]}") from None
        if "shared memory" in text or "bus error" in text.lower():
            raise UserError(
                "a loader process ran out of shared memory (/dev/shm): enlarge it (docker run --shm-size=8g), or set "
                "runtime.workers to 0"
            ) from None
        if "DataLoader worker" in text and ("Killed" in text or "exited unexpectedly" in text):
            raise UserError(
                "a loader process was killed, as the system does when memory runs out: lower runtime.workers or "
                "train.batch; the same command goes on from what was last saved"
            ) from None
        raise
