"""A `Dataset` → batches, loaded by other processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate


def loader(dataset: Dataset, *, workers: int, device: torch.device, **options: Any) -> DataLoader:
    """A `DataLoader` whose workers stay from epoch to epoch; without further options, items one by one."""
    workers = min(workers, len(dataset))
    return DataLoader(
        dataset,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_signals_to_the_trainer,
        # Its own generator: otherwise it draws from dropout's, and only in the epochs that start workers.
        generator=torch.Generator(),
        **(options or {"batch_size": None}),
    )


def batched(items: Sequence[tuple[Tensor, int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Clips `(3, T, H, W)`, labels and draws → `(B, 3, T, H, W)`, `(B,)` and `(B,)`.

    Channels stay last in memory, where clips have them: turning every clip over takes a tenth of its time.
    """
    clips, labels, draws = default_collate([(clip.movedim(0, -1), *rest) for clip, *rest in items])
    return clips.movedim(-1, 1), labels, draws


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ctrl-C comes to all processes, and so may SIGTERM: the trainer finishes its step first, and needs its clips."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_at_the_trainers_word, daemon=True).start()


def _end_at_the_trainers_word() -> None:
    """Its own SIGTERM is how it gets rid of a worker that has been left over."""
    trainer = os.getppid()
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != trainer:
        pass
    os._exit(0)
