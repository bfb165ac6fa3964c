"""A `Dataset` → batches, loaded by other processes."""

from __future__ import annotations

import signal
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


def loader(dataset: Dataset, *, workers: int, device: torch.device, **options: Any) -> DataLoader:
    """A `DataLoader` whose workers stay from epoch to epoch; without further options, items one by one."""
    workers = min(workers, len(dataset))
    return DataLoader(
        dataset,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_ctrl_c_to_the_trainer,
        # Its own generator: otherwise it draws from dropout's, and only in the epochs that start workers.
        generator=torch.Generator(),
        **(options or {"batch_size": None}),
    )


def _leave_ctrl_c_to_the_trainer(worker: int) -> None:
    """Which finishes its step first. A worker ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
