"""Memory that has run out is named with what to change."""

import gc
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch.utils.data import Dataset

from src.command import UserError
from src.training.loader import loader
from src.training.memory import memory_named
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> None:
    """What an earlier test's exception kept of its loader might else be collected in a loader process of the next."""
    gc.collect()


def test_memory_of_this_machine():
    with (
        pytest.raises(UserError, match=r"^out of memory: lower train\.batch\. PyTorch says: .*allocate") as error,
        memory_named("lower train.batch"),
    ):
        torch.empty(1 << 60)
    assert "\n" not in str(error.value)


def test_memory_of_a_gpu():
    with (
        pytest.raises(UserError, match=r"^out of GPU memory: lower train\.batch\. PyTorch says: CUDA out of memory"),
        memory_named("lower train.batch"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore")


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "NCCL error: unhandled cuda error\nLast error: Cuda failure 2 'out of memory'",
    ],
)
def test_memory_of_a_gpu_that_others_than_pytorch_ran_out_of(text):
    with pytest.raises(UserError, match=r"^out of GPU memory: lower"), memory_named("lower train.batch"):
        raise RuntimeError(text)


def test_memory_that_python_ran_out_of():
    with pytest.raises(UserError, match=r"^out of memory: lower"), memory_named("lower train.batch"):
        bytearray(1 << 60)


class TooLarge(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        raise MemoryError


def test_memory_of_a_loader():
    with pytest.raises(UserError, match=r"a loader process .* lower runtime\.workers"), memory_named("nothing"):
        list(loader(TooLarge(), workers=1, device=torch.device("cpu")))


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shape"), memory_named("nothing"):
        torch.empty(2).reshape(3)


class Killed(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_loader_that_the_system_killed():
    with (
        pytest.raises(UserError, match=r"a loader process was killed.* lower runtime\.workers"),
        memory_named("nothing"),
    ):
        list(loader(Killed(), workers=1, device=torch.device("cpu")))


class Interrupted(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), (signal.SIGINT, signal.SIGTERM)[index])
        return index


def test_a_loader_that_is_left_over_ends_with_its_trainer():
    """An exception keeps it, and Python waits at its end for processes that it has told to go."""
    code = (
        "import torch\n"
        "from tests.training.test_memory import Interrupted\n"
        "from src.training.loader import loader\n"
        "batches = iter(loader(Interrupted(), workers=2, device=torch.device('cpu')))\n"
        "next(batches)\n"
        "raise SystemExit('left')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stderr == "left\n"


def test_a_loader_leaves_signals_to_the_trainer():
    assert list(loader(Interrupted(), workers=1, device=torch.device("cpu"))) == [0, 1]
