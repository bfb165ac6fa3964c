"""A 3D convolution whose gradient is right in a CPU's bfloat16 too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv3d(nn.Conv3d):
    """torch.nn.Conv3d: `(B, C, T, H, W)` to `(B, outputs, T', H', W')`.

    Of a map that is smaller than the kernel somewhere, such as two frames beneath a kernel of three, oneDNN 3.12 makes
    a gradient of the weights that is nonsense, often infinite, in bfloat16 on processors with AVX-512 and without
    AMX. Of the same map with its zeros around it, it does not.
    """

    def forward(self, clip: Tensor) -> Tensor:
        if not in_cpu_bfloat16(clip):
            return super().forward(clip)
        small = [size < kernel for size, kernel in zip(clip.shape[2:], self.kernel_size, strict=True)]
        before = [size * each for size, each in zip(self.padding, small, strict=True)]
        left = [size * (not each) for size, each in zip(self.padding, small, strict=True)]
        return F.conv3d(with_zeros(clip, before), self.weight, self.bias, self.stride, left)


def with_zeros(clip: Tensor, padding: Sequence[int]) -> Tensor:
    """`(B, C, T, H, W)` with so many zeros before and after each of T, H and W."""
    return F.pad(clip, [size for size in reversed(padding) for _ in range(2)]) if any(padding) else clip


def in_cpu_bfloat16(clip: Tensor) -> bool:
    """Whether a layer computes with it in bfloat16, and on a CPU."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else clip.dtype
    return clip.device.type == "cpu" and dtype == torch.bfloat16
