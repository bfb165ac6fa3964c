"""Two clips of a batch → mixtures of both: mixup and cutmix.

Mixup (Zhang et al., ICLR 2018) blends pictures, cutmix (Yun et al., ICCV 2019) puts a rectangle of one into the other,
here the same rectangle in all frames. Labels are blended in the same proportion.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Mix:
    """Mixes neighbours, places 2i and 2i + 1 of a batch, in a way that follows from seed, epoch and the two clips.

    `mixup` and `cutmix` are the alpha of the Beta distribution that the proportion is drawn from, 0 for none; with
    both, each pair takes one or the other. A last clip without a neighbour stays as it is.
    """

    def __init__(self, *, mixup: float, cutmix: float, classes: int, seed: int):
        self.mixup, self.cutmix, self.classes, self.seed = mixup, cutmix, classes, seed

    def __call__(self, clips: Tensor, labels: Tensor, *, epoch: int, draws: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, 3, T, H, W)` floats, labels and draws `(B,)` → clips, and targets `(B, classes)` that sum to one.

        With nothing to mix, clips and labels as they were given.
        """
        if not self.mixup and not self.cutmix:
            return clips, labels
        targets = F.one_hot(labels, self.classes).float()
        clips, pure, plain = clips.clone(), clips, targets.clone()
        for first in range(0, len(clips) - 1, 2):
            second = first + 1
            rng = np.random.default_rng([self.seed, epoch, *draws[first : second + 1].tolist()])
            cut = self.cutmix and (not self.mixup or rng.random() < 0.5)
            alpha = self.cutmix if cut else self.mixup
            own = float(rng.beta(alpha, alpha))
            if cut:
                rows, columns = rectangle(rng, 1 - own, height=clips.shape[-2], width=clips.shape[-1])
                for here, there in ((first, second), (second, first)):
                    clips[here, ..., rows, columns] = pure[there, ..., rows, columns]
                area = (rows.stop - rows.start) * (columns.stop - columns.start)
                own = 1 - area / (clips.shape[-2] * clips.shape[-1])
            else:
                for here, there in ((first, second), (second, first)):
                    clips[here] = torch.lerp(pure[there], pure[here], own)
            for here, there in ((first, second), (second, first)):
                targets[here] = torch.lerp(plain[there], plain[here], own)
        return clips, targets


def rectangle(rng: np.random.Generator, area: float, *, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a rectangle of the picture's shape, anywhere: `area` of it, less what sticks out."""
    spans = []
    for size in (height, width):
        half, centre = size * area**0.5 / 2, rng.uniform(0, size)
        spans.append(slice(round(max(0, centre - half)), round(min(size, centre + half))))
    return spans[0], spans[1]
