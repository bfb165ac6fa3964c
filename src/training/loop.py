"""One epoch of training, and the network's answers on all views of some videos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.command import UserError
from src.training.optim import autocast
from src.video.transforms import normalise


def train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    optimizer: torch.optim.Optimizer,
    rate: Callable[[int], float],
    device: torch.device,
    precision: str,
    label_smoothing: float,
    clip_norm: float | None,
    after_step: Callable[[int], None],
    frozen: Sequence[nn.Module] = (),
) -> dict[str, float]:
    """Train on `(clips, labels)` batches; clips are `(B, 3, T, H, W)` uint8.

    `rate(step)` is the learning rate, of which a parameter group may take a `share`; `after_step(clips)` is told of
    progress; modules in `frozen` stay as in evaluation. Returns mean `loss` and `top1` over the augmented clips. Raises
    `UserError` instead of a step whose loss or gradient is not finite.
    """
    model.train()
    for module in frozen:
        module.eval()
    loss_sum = correct = seen = torch.zeros((), device=device)
    for step, (clips, labels) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = rate(step) * group.get("share", 1.0)
        clips, labels = to_device(clips, device), labels.to(device, non_blocking=True)
        with autocast(device, precision=precision):
            logits = model(clips)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm or math.inf)
        # Read together, after the backward pass: each look waits for a GPU to finish what it was given.
        loss_value, norm_value = torch.stack([loss.detach(), norm]).tolist()
        if not math.isfinite(loss_value):
            raise UserError(
                f"the loss is {loss_value} at step {step} of this epoch, with a learning rate of {rate(step):g}: "
                "lower train.lr, lengthen train.warmup or set train.clip_norm"
            )
        if not math.isfinite(norm_value):
            raise UserError(
                f"the gradient is {norm_value} at step {step} of this epoch though the loss is {loss_value:.3f}: "
                "train.precision: fp32 is the safest; oneDNN's bfloat16 is known to fail on feature maps of 2 pixels"
            )
        optimizer.step()
        loss_sum = loss_sum + loss.detach() * len(labels)
        correct = correct + (logits.argmax(1) == labels).sum()
        seen = seen + len(labels)
        after_step(len(labels))
    return {"loss": (loss_sum / seen).item(), "top1": (correct / seen).item()}


@torch.inference_mode()
def predict(model: nn.Module, videos: Iterable[Tensor], *, device: torch.device, precision: str) -> Tensor:
    """Class probabilities `(N, classes)`, the mean of the softmax over each video's views, on the CPU.

    `videos` yields all views of one video, `(V, 3, T, H, W)` uint8.
    """
    model.eval()
    answers = []
    for views in videos:
        with autocast(device, precision=precision):
            logits = model(to_device(views, device))
        answers.append(logits.float().softmax(1).mean(0).cpu())
    return torch.stack(answers)


def to_device(clips: Tensor, device: torch.device) -> Tensor:
    """`(B, 3, T, H, W)` uint8 → normalised floats on `device`, channels last, which 3-D convolutions run fastest on."""
    clips = normalise(clips.to(device, non_blocking=True))
    return clips.to(memory_format=torch.channels_last_3d)
