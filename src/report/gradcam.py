"""What a network looks at: Grad-CAM over each pathway (Selvaraju et al., ICCV 2017, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from src.model.slowfast import SlowFast

COARSEST = 4
"""Cells along a side that a map has at least: with fewer, it would not tell one corner of the picture from another."""


def maps(network: SlowFast, clip: Tensor, *, label: int) -> dict[str, np.ndarray]:
    """For each pathway, how much each place and moment speaks for `label`.

    `clip` is `(3, T, H, W)`, normalised; a map is `(T, H, W)`, from 0 to 1, and all 0 where nothing does. It is of
    the last stage whose features have `COARSEST` cells along a side. The network must be in evaluation mode.
    """
    with _features(network) as found, torch.enable_grad():
        score = network(clip[None])[0, label]
    result = {}
    for pathway, stages in found.items():
        features = next((f for f in reversed(stages) if min(f.shape[-2:]) >= COARSEST), stages[0])
        (gradient,) = torch.autograd.grad(score, features, retain_graph=True)
        weights = gradient.mean((2, 3, 4), keepdim=True)
        cam = (weights * features).sum(1, keepdim=True).relu()
        cam = F.interpolate(cam, size=clip.shape[1:], mode="trilinear", align_corners=False)[0, 0]
        result[pathway] = (cam / cam.max().clamp(min=1e-12)).detach().cpu().numpy()
    return result


@contextmanager
def _features(network: SlowFast) -> Iterator[dict[str, list[Tensor]]]:
    """What each stage of each pathway gives out while the context lasts, in order; the stem's is no stage's."""
    found: dict[str, list[Tensor]] = {}
    hooks = []
    for name in ("slow", "fast"):
        if pathway := getattr(network, name, None):
            outputs = found.setdefault(name, [])
            for stage in list(pathway)[1:]:
                hooks.append(stage.register_forward_hook(lambda _, __, output, into=outputs: into.append(output)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def overlay(frame: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """`(H, W, 3)` uint8 RGB with the map `(H, W)` over it: grey where nothing speaks for the label, then glowing."""
    grey = frame.mean(2, keepdims=True).repeat(3, axis=2)
    glow = (
        np.stack([np.clip(3 * cam - offset, 0, 1) for offset in (0, 1, 2)], axis=2) * 255
    )  # black, red, yellow, white
    share = 0.65 * cam[..., None]
    return np.clip((1 - share) * grey + share * glow, 0, 255).astype(np.uint8)
