"""Optimiser, learning rate and numeric precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from src.command import UserError


def build_optimizer(
    model: nn.Module,
    *,
    name: str,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
    backbone_lr: float = 1.0,
) -> torch.optim.Optimizer:
    """SGD or AdamW (whose first beta is `momentum`); norms and biases are not decayed.

    Decaying them shrinks scale and shift without regularising anything (He et al., arXiv:1812.01187, section 3.1).
    Each group's `share` is what it takes of the learning rate: `backbone_lr`, and 1 in the head.
    """
    groups = []
    for share in sorted({backbone_lr, 1.0}):
        shares = {name: 1.0 if name.startswith("head.") else backbone_lr for name, _ in model.named_parameters()}
        learning = [p for name, p in model.named_parameters() if p.requires_grad and shares[name] == share]
        for decay, members in (
            (weight_decay, [p for p in learning if p.ndim > 1]),
            (0.0, [p for p in learning if p.ndim <= 1]),
        ):
            if members:
                groups.append({"params": members, "weight_decay": decay, "share": share, "lr": share * lr})
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a training; the settings of `train` by these names, `lr` being the peak.

    After a linear warm-up from a hundredth: `constant`; `cosine`, half of one, to zero at the end; or multiplied by
    `gamma` every `step_size` epochs (`step`), after the epochs in `milestones` (`multistep`), or whenever the
    validation loss has not been lower for more than `patience` epochs (`plateau`, as torch's ReduceLROnPlateau).
    """

    lr: float
    epochs: int
    warmup: float
    schedule: str
    step_size: int
    milestones: Sequence[int]
    gamma: float
    patience: int

    def rate(self, epoch: float, val_losses: Sequence[float]) -> float:
        """At a fractional `epoch`, from 0 on, after epochs with these validation losses."""
        warm = min(1.0, max(0.01, epoch / self.warmup)) if self.warmup else 1.0
        if self.schedule == "cosine":
            return warm * self.lr * (0.5 + 0.5 * math.cos(math.pi * epoch / self.epochs))
        return warm * self.lr * self.gamma ** self._lowered(int(epoch), val_losses)

    def _lowered(self, epoch: int, val_losses: Sequence[float]) -> int:
        """How many times by then."""
        if self.schedule == "step":
            return epoch // self.step_size
        if self.schedule == "multistep":
            return sum(epoch >= milestone for milestone in self.milestones)
        return plateaus(val_losses, self.patience) if self.schedule == "plateau" else 0


def plateaus(losses: Sequence[float], patience: int) -> int:
    """How many times more than `patience` losses in a row were no lower than the best, by a 10,000th of it."""
    best, waited, found = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - 1e-4):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            found, waited = found + 1, 0
    return found


def choose_device(name: str) -> torch.device:
    """`auto` is a GPU, or else the CPU; `cuda` is the first GPU, or in one of several processes its own."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= (gpus := torch.cuda.device_count()):
        raise UserError(f"runtime.device is {name}, and PyTorch finds {gpus} GPUs: set it to auto or cpu")
    return device


def autocast(device: torch.device, *, precision: str) -> AbstractContextManager:
    """bfloat16 where the device computes in it (`auto`), always (`bf16`), float16 (`fp16`) or neither (`fp32`)."""
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) else "fp32"
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def computes_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Without these instructions bfloat16 is emulated and slower than float32.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
