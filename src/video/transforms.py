"""A clip of frames → the network's square input; each random choice is made once for the whole clip.

Clips are `(T, C, H, W)` uint8 tensors. torchvision's transforms draw from torch's global generator: the caller
seeds it for each clip.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

MEAN, STD = 0.45, 0.225
"""Of Kinetics-400, on the scale 0–1, the same for all three channels, as in PySlowFast."""


class Augment:
    """Random crop, flip, colour jitter and grey, the same for every frame of a clip.

    `crop` is `resized` (a random part of the frame of `scale` times its area, scaled to `size`), `random` (a random
    square of `size` pixels) or `corner` (one of the four corners or the centre). A call returns the clip and
    whether it was flipped, since a flip may change the label.
    """

    def __init__(self, *, size: int, crop: str, scale: list[float], flip: float, jitter: float, grey: float):
        self.crop, self.size, self.flip = crop, size, flip
        self.resized_crop = v2.RandomResizedCrop(size, scale=scale, ratio=(3 / 4, 4 / 3), antialias=True)
        self.random_crop = v2.RandomCrop(size)
        self.jitter = v2.ColorJitter(jitter, jitter, jitter) if jitter else v2.Identity()
        self.grey = v2.RandomGrayscale(grey)

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
        return self.grey(self.jitter(clip)), flipped


def spatial_crops(clip: Tensor, *, size: int, crops: int) -> Tensor:
    """`(T, 3, H, W)` → `(crops, T, 3, size, size)`: the centre, or three squares along the longer side."""
    height, width = clip.shape[-2:]
    if crops == 1:
        return F.center_crop(clip, [size, size])[None]
    places = torch.linspace(0, 1, crops).tolist()
    tops = [round((height - size) * (place if height > width else 0.5)) for place in places]
    lefts = [round((width - size) * (place if width >= height else 0.5)) for place in places]
    return torch.stack([clip[..., t : t + size, left : left + size] for t, left in zip(tops, lefts, strict=True)])


def normalise(clips: Tensor) -> Tensor:
    """uint8 → float32, zero mean and unit variance over Kinetics-400; runs on the clips' device."""
    return (clips.float() / 255 - MEAN) / STD
