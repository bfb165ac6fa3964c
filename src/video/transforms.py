"""What training and testing do alike to clips: which squares of a frame are looked at, and on which scale pixels are.

Clips are `(T, C, H, W)` uint8 tensors, fastest with channels last. No torchvision here, which takes a second or two to
import: whoever only answers videos does without it. How training clips are changed: augment.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

MEAN, STD = 0.45, 0.225
"""Of Kinetics-400, on the scale 0–1, the same for all three channels, as in PySlowFast."""

GREY = round(255 * MEAN)
"""What is put where a transform leaves nothing: zero, once normalised, unless colours are changed before."""


def spatial_crops(clip: Tensor, *, size: int, crops: int) -> Tensor:
    """`(T, 3, H, W)` → `(crops, T, 3, size, size)`: the centre, or three squares along the longer side.

    Raises ValueError where a frame has no room for one.
    """
    height, width = clip.shape[-2:]
    if size > min(height, width):
        raise ValueError(f"a square of {size} pixels out of frames of {width}×{height}")
    places = torch.linspace(0, 1, crops).tolist() if crops > 1 else [0.5]
    tops = [round((height - size) * (place if height > width else 0.5)) for place in places]
    lefts = [round((width - size) * (place if width >= height else 0.5)) for place in places]
    return torch.stack([clip[..., t : t + size, left : left + size] for t, left in zip(tops, lefts, strict=True)])


def normalise(clips: Tensor) -> Tensor:
    """uint8 → float32, zero mean and unit variance over Kinetics-400; runs on the clips' device.

    One new tensor, laid out as the clips are: writing several of its size takes longer than all the arithmetic.
    """
    return clips.to(torch.float32, copy=True).div_(255).sub_(MEAN).div_(STD)
