"""One training in several processes, each on a GPU or a share of the cores: torchrun and DistributedDataParallel.

torchrun --nproc-per-node=4 -m src.train                                                   one machine
torchrun --nnodes=2 --nproc-per-node=4 --rdzv-endpoint=HOST:29400 -m src.train             on each of two
python -m src.train --set runtime.processes=4                                              starts torchrun itself
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from src.command import UserError
from src.training.heartbeat import Heartbeat, lost


@dataclass(frozen=True)
class Team:
    """The processes that train together; alone, everything is as without them."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Of all processes, the one that logs and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """What to call in training, so that gradients are averaged over the processes."""
        if self.size == 1:
            return network
        # Of a kernel of one pixel in channels-last order: strides that differ on axes of length one, the same memory.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        where = [torch.cuda.current_device()] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=where, gradient_as_bucket_view=True)

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager:
        """Gradients of a part that is not a batch's last stay here."""
        return wrapped.no_sync() if self.size > 1 else nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on each."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def share(self, value: Any) -> Any:
        """What the first process holds, on each."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each by its mean over the processes."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, mean in zip(tensors, (flat / self.size).split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def divide(self, items: Sequence[Any]) -> Sequence[Any]:
        """This process's share: every `size`-th, so that each item is with one process and nothing is padded."""
        return items[self.rank :: self.size]

    def unite(self, part: Tensor) -> Tensor:
        """Rows that were computed for `divide`'s shares, in the order of all items, on each process."""
        if self.size == 1:
            return part
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, part)
        whole = torch.empty(sum(map(len, parts)), *parts[0].shape[1:], dtype=part.dtype)
        for rank, rows in enumerate(parts):
            if len(rows):
                whole[rank :: self.size] = rows
        return whole


ALONE = Team()


@contextmanager
def joined(*, device: str) -> Iterator[Team]:
    """The job that torchrun started this process for, or `ALONE`.

    Raises `UserError` for a device that cannot be shared out, and for a process that dies while the context lasts.
    """
    if not launched():
        yield ALONE
        return
    _check_environment()
    team = Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if on_gpu := _each_on_a_gpu(device):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # Longer than anything that only the first process does while the others wait; who is gone, heartbeats tell sooner.
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=timedelta(hours=2))
    place = {"host": os.environ["MASTER_ADDR"], "port": int(os.environ["MASTER_PORT"])}
    heartbeat = Heartbeat(rank=team.rank, size=team.size, **place)
    heartbeat.start()
    try:
        yield team
        dist.barrier()
    except KeyboardInterrupt:  # which all are told of
        heartbeat.say_goodbye()
        raise
    except RuntimeError as error:
        if broken_off(error) and (gone := heartbeat.who_fell_silent()):
            raise UserError(lost(gone)) from None
        raise
    else:
        heartbeat.say_goodbye()
        dist.destroy_process_group()
    finally:
        heartbeat.stop()


def launched() -> bool:
    """Whether torchrun, or another launcher with its environment variables, started this process."""
    return "RANK" in os.environ


def _check_environment() -> None:
    needed = ["WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
    if missing := [name for name in needed if name not in os.environ]:
        raise UserError(
            f"the environment has RANK, and so this is a process of several, but not {', '.join(missing)}: start them "
            "with torchrun, or unset RANK"
        )


def _each_on_a_gpu(device: str) -> bool:
    """Whether this machine's processes train on a GPU each."""
    if device == "cpu" or not torch.cuda.is_available():
        return False
    if device.startswith("cuda:"):
        raise UserError(f"runtime.device is {device}, and each process takes a GPU of its own: set it to cuda or auto")
    processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if processes > gpus:
        raise UserError(
            f"{processes} processes on this machine, which has {gpus} GPUs: lower runtime.processes (torchrun's "
            "--nproc-per-node), or set runtime.device to cpu"
        )
    return True


def broken_off(error: RuntimeError) -> bool:
    """Whether a collective failed since another process has gone: Gloo and NCCL say so in text only."""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL"))


def launch(processes: int) -> None:
    """Run this command again, as it was called, in so many processes on this machine, and wait for them.

    Raises `UserError` naming the process that was killed; one that ended with an error has said so itself.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for module in ("multiprocessing", "agent.server"):  # what they would say is said below, in a line
        logging.getLogger(f"torch.distributed.elastic.{module}.api").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    # After Ctrl-C a step is finished and saved, and MLflow waited for; without this, for no more than 30 seconds.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(),
    )
    module = sys.modules["__main__"].__spec__
    try:
        elastic_launch(config, sys.executable)("-m", module.name, *sys.argv[1:])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            sys.exit(failure.exitcode)
        memory = " (as the system does when memory runs out)" if failure.exitcode == -signal.SIGKILL else ""
        raise UserError(
            f"rank {rank} (process {failure.pid}) was ended by {failure.signal_name()}{memory}; the job ends, and the "
            "same command goes on from what was last saved"
        ) from None
    except SignalException:
        sys.exit(1)
