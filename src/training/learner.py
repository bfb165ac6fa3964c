"""A network and all that changes while it learns: one step of training, and what a resumed one needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from src.command import UserError
from src.training.colours import Colours
from src.training.distributed import Team
from src.training.mixing import Mix
from src.training.optim import autocast

Part = tuple[Tensor, Tensor, Tensor]
"""A batch, or this process's part of one: clips `(B, 3, T, H, W)` uint8, labels `(B,)` and draws `(B,)`."""


@dataclass(frozen=True)
class Step:
    """A step of all processes together: sums over its clips, the gradient's norm, and whether one was told to stop.

    The norm is infinite where float16 overflowed: that step is left out, and the loss is scaled less from then on.
    """

    loss: float
    correct: float
    clips: float
    gradient_norm: float
    stop: bool


class Learner:
    """`network`, its optimiser, and the running average of its weights if `ema`, its decay, is given.

    Modules in `frozen` stay as in evaluation. What a step draws itself, for dropout, follows from seed, epoch, step
    and part of the batch: no random state has to be kept.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        team: Team,
        colours: Colours,
        mix: Mix,
        precision: str,
        label_smoothing: float,
        clip_norm: float | None,
        ema: float | None,
        seed: int,
        frozen: Sequence[nn.Module] = (),
        compiled: bool = False,
    ):
        self.network, self.optimizer, self.device, self.team = network, optimizer, device, team
        self.colours, self.mix = colours, mix
        self.precision, self.label_smoothing, self.clip_norm = precision, label_smoothing, clip_norm
        self.seed, self.frozen = seed, frozen
        still = {module for part in frozen for module in part.modules()}
        self.statistics = _statistics(module for module in network.modules() if module not in still)
        self.ema = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True) if ema else None
        if compiled:
            network.compile()
        self.wrapped = team.wrap(network, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    @property
    def answering(self) -> nn.Module:
        """The network to validate and to keep: the averaged one where there is one."""
        return self.ema.module if self.ema else self.network

    def step(
        self, parts: Sequence[Part], *, batch: int, epoch: int, step: int, part: int, rate: float, stop: bool
    ) -> Step:
        """Learn from a batch of `batch` clips, of which this process has `parts`, the first of them number `part`.

        `rate` is the learning rate, of which a parameter group may take a `share`; `stop` is told to all processes.
        Raises `UserError` on all of them, and leaves the weights alone, if the loss or its gradient is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        self.wrapped.train()
        for module in self.frozen:
            module.eval()
        self.optimizer.zero_grad()
        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        for number, (clips, labels, draws) in enumerate(parts):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch, step, part + number]).generate_state(1)[0]))
            labels = labels.to(self.device, non_blocking=True)
            clips = self.colours(clips.to(self.device, non_blocking=True), epoch=epoch, draws=draws)
            clips, targets = self.mix(clips, labels, epoch=epoch, draws=draws)
            last = number == len(parts) - 1
            with nullcontext() if last else self.team.without_exchange(self.wrapped):
                with autocast(self.device, precision=self.precision):
                    logits = self.wrapped(clips)
                loss = F.cross_entropy(logits.float(), targets, reduction="sum", label_smoothing=self.label_smoothing)
                # Gradients of the processes are averaged, and each has the sum over its own clips.
                self.scaler.scale(loss * (self.team.size / batch)).backward()
            sums[0] += loss.detach()
            sums[1] += (logits.argmax(1) == labels).sum()
            sums[2] += len(labels)
        sums[3] = stop
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm or math.inf)
        # Read together, after the backward pass: each look waits for a GPU to finish what it was given.
        *totals, norm_value = torch.cat([self.team.sum(sums), norm.double()[None]]).tolist()
        done = Step(*totals[:3], norm_value, stop=totals[3] > 0)
        self._check(done, step=step, rate=rate)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.team.average(self.statistics)  # each process's norms saw its own clips
        if self.ema:
            self.ema.update_parameters(self.network)
        return done

    def _check(self, done: Step, *, step: int, rate: float) -> None:
        loss = done.loss / done.clips
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {step} of this epoch, with a learning rate of {rate:g}: "
                "lower train.lr, lengthen train.warmup or set train.clip_norm"
            )
        if not math.isfinite(done.gradient_norm) and self.scaler.get_scale() <= 1:
            raise UserError(
                f"the gradient is {done.gradient_norm} at step {step} of this epoch though the loss is {loss:.3f}: "
                "train.precision: fp32 is the safest"
            )

    def set_norms(self, parts: Iterable[Part], *, epoch: int) -> None:
        """Statistics of the answering network's batch norms: their means over these clips, over all processes.

        Wu & Johnson, arXiv:2105.07576, section 3: running averages lag behind the weights, most of all averaged ones.
        """
        torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch, self.team.rank]).generate_state(1)[0]))
        with autocast(self.device, precision=self.precision):
            clips = (self.colours(clips.to(self.device), epoch=epoch, draws=draws) for clips, _, draws in parts)
            update_bn(clips, self.answering)
        self.team.average(_statistics(self.answering.modules()))

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs of this."""
        return {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema and self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])


def _statistics(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Running means and variances of batch norms, but for those that are one over all processes anyway."""
    norms = [
        m for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm) and not isinstance(m, nn.SyncBatchNorm)
    ]
    return [value for norm in norms for value in (norm.running_mean, norm.running_var)]
