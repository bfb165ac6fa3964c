"""A training clip → the network's square input; each random choice is made once for the whole clip.

Clips are `(T, C, H, W)` uint8 tensors, fastest with channels last. torchvision's transforms draw from torch's global
generator: the caller seeds it for each clip. Colours are changed later, with whole batches: src/training/colours.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from src.video.transforms import GREY


class RandAugment(v2.RandAugment):
    """torchvision's, Cubuk et al. (arXiv:1909.13719), without what would change each frame of a clip in its own way.

    AutoContrast, Equalize and Contrast look at a frame's histogram or mean; `augment.jitter` changes contrast as well.
    """

    _AUGMENTATION_SPACE = {  # noqa: RUF012
        name: space
        for name, space in v2.RandAugment._AUGMENTATION_SPACE.items()
        if name not in ("AutoContrast", "Equalize", "Contrast")
    }


class Augment:
    """Random crop, flip, RandAugment and erasing, the same for every frame of a clip.

    `crop` is `resized` (a random part of the frame, of `scale` times its area and a width to height in `aspect`,
    scaled to `size`), `random` (a random square of `size` pixels) or `corner` (one of the four corners or the centre).
    `randaugment` is how many operations a clip goes through, of `magnitude` out of 30; `erase`, the probability that a
    rectangle of it is grey (Zhong et al., arXiv:1708.04896). A call returns the clip and whether it was flipped, since
    a flip may change the label.
    """

    def __init__(
        self,
        *,
        size: int,
        crop: str,
        scale: Sequence[float],
        aspect: Sequence[float],
        flip: float,
        randaugment: int,
        magnitude: int,
        erase: float,
    ):
        self.crop, self.size, self.flip = crop, size, flip
        self.resized_crop = v2.RandomResizedCrop(size, scale=scale, ratio=aspect, antialias=True)
        self.random_crop = v2.RandomCrop(size)
        how = {"magnitude": magnitude, "interpolation": InterpolationMode.BILINEAR, "fill": GREY}
        self.operations = RandAugment(randaugment, **how) if randaugment else v2.Identity()
        self.erase = v2.RandomErasing(erase, value=GREY) if erase else v2.Identity()

    def __call__(self, clip: Tensor) -> tuple[Tensor, bool]:
        """`(T, 3, H, W)` → `(T, 3, size, size)`, flipped or not."""
        if self.crop == "resized":
            clip = self.resized_crop(clip)
        elif self.crop == "random":
            clip = self.random_crop(clip)
        else:
            clip = F.five_crop(clip, [self.size, self.size])[int(torch.randint(5, ()))]
        flipped = bool(torch.rand(()) < self.flip)
        if flipped:
            clip = F.horizontal_flip(clip)
        return self.erase(self.operations(clip)), flipped
