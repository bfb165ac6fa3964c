"""Memory that has run out is named with what to change."""

import os
import signal

import pytest
import torch
from torch.utils.data import Dataset

from src.command import UserError
from src.training.loader import loader
from src.training.memory import memory_named


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
        os.kill(os.getpid(), signal.SIGINT)
        return index


def test_a_loader_leaves_ctrl_c_to_the_trainer():
    assert list(loader(Interrupted(), workers=1, device=torch.device("cpu"))) == [0, 1]
