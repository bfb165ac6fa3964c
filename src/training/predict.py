"""A network's answers: class probabilities of videos, each the mean over its views."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from src.training.optim import autocast
from src.video.transforms import normalise


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
    return torch.stack(answers) if answers else torch.empty(0, 0)


def to_device(clips: Tensor, device: torch.device) -> Tensor:
    """`(B, 3, T, H, W)` uint8 → normalised floats on `device`, channels last, which 3-D convolutions run fastest on."""
    clips = normalise(clips.to(device, non_blocking=True))
    return clips.to(memory_format=torch.channels_last_3d)
