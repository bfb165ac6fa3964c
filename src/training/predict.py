"""A network's answers: class probabilities of videos, of each of their views or the mean over these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from src.training.optim import autocast
from src.video.transforms import normalise

AT_ONCE = 8
"""At least so many clips are answered together, of whole videos: a small network is several times as fast so."""


def predict(model: nn.Module, videos: Iterable[Tensor], *, device: torch.device, precision: str) -> Tensor:
    """Class probabilities `(N, classes)`, the mean of the softmax over each video's views, on the CPU.

    `videos` yields all views of one video, `(V, 3, T, H, W)` uint8.
    """
    answers = [views.mean(0) for views in predict_views(model, videos, device=device, precision=precision)]
    return torch.stack(answers) if answers else torch.empty(0, 0)


def predict_views(
    model: nn.Module, videos: Iterable[Tensor], *, device: torch.device, precision: str
) -> Iterator[Tensor]:
    """The same before the mean: each video's class probabilities `(V, classes)`, as soon as they are there."""
    model.eval()
    for several in _together(videos):
        clips = torch.cat([views.to(device, non_blocking=True) for views in several])
        with torch.inference_mode(), autocast(device, precision=precision):
            logits = model(to_device(clips, device))
            answers = logits.float().softmax(1).cpu()
        yield from answers.split([len(views) for views in several])


def _together(videos: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours, until they have `AT_ONCE` clips."""
    several: list[Tensor] = []
    for views in videos:
        several.append(views)
        if sum(map(len, several)) >= AT_ONCE:
            yield several
            several = []
    if several:
        yield several


def to_device(clips: Tensor, device: torch.device) -> Tensor:
    """`(B, 3, T, H, W)` uint8 → normalised floats on `device`, channels last, which 3-D convolutions run fastest on."""
    return normalise(clips.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last_3d))
