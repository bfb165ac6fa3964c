"""Training clips as the loaders bring them → as the network sees them: colours changed, and normalised.

What torchvision's ColorJitter and RandomGrayscale do, each clip in one way for all of its frames, but where the network
runs, for a whole batch: all of it together is one linear map of a pixel. Nothing is cut off at black and white.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from src.video.transforms import MEAN, STD, normalise

LUMA = (0.2989, 0.587, 0.114)
"""Shares of red, green and blue in the grey of a pixel, as torchvision has them."""


class Colours:
    """Changes brightness, contrast and saturation by factors from `1 - jitter` to `1 + jitter`.

    With probability `grey` a clip has no colour left. Contrast is changed around the mean of the clip. How a clip is
    changed follows from seed, epoch and draw.
    """

    def __init__(self, *, jitter: float, grey: float, seed: int):
        self.jitter, self.grey, self.seed = jitter, grey, seed

    def __call__(self, clips: Tensor, *, epoch: int, draws: Tensor) -> Tensor:
        """`(B, 3, T, H, W)` uint8 and draws `(B,)` → normalised floats on the clips' device, channels last."""
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        if not self.jitter and not self.grey:
            return normalise(clips)
        # Made here and sent, not made there: a GPU would be waited for.
        factors = torch.tensor([self._factors(epoch, draw) for draw in draws.tolist()], dtype=torch.float32)
        factors, shares = (each.to(clips.device, non_blocking=True) for each in (factors, torch.tensor(LUMA)))
        brightness, contrast, saturation = factors[:, :, None, None].unbind(1)
        pixels = clips.permute(0, 2, 3, 4, 1).flatten(1, 3).float()  # (B, T·H·W, 3)
        with torch.autocast(clips.device.type, enabled=False):
            luma = pixels @ shares[:, None]
        mean = luma.mean(1, keepdim=True)
        # brightness · (contrast · (saturation · pixel + (1 - saturation) · luma) + (1 - contrast) · mean), normalised
        scale = brightness * contrast / (255 * STD)
        rest = luma.mul_(scale * (1 - saturation)).add_(brightness * (1 - contrast) / (255 * STD) * mean - MEAN / STD)
        changed = pixels.mul_(scale * saturation).add_(rest)
        return changed.view(len(clips), *clips.shape[2:], 3).permute(0, 4, 1, 2, 3)

    def _factors(self, epoch: int, draw: int) -> tuple[float, float, float]:
        # What follows the draw tells it from the generators of clips and of mixtures.
        rng = np.random.default_rng([self.seed, epoch, draw, 0, 2])
        brightness, contrast, saturation = rng.uniform(max(0.0, 1 - self.jitter), 1 + self.jitter, 3)
        return brightness, contrast, 0.0 if rng.random() < self.grey else saturation
