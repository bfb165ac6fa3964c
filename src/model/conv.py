"""3D convolutions whose gradients a CPU finds fast, and right in bfloat16 too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv3d(nn.Conv3d):
    """torch.nn.Conv3d: `(B, C, T, H, W)` to `(B, outputs, T', H', W')`."""

    def forward(self, clip: Tensor) -> Tensor:
        if clip.device.type != "cpu":
            return super().forward(clip)
        return conv3d(clip, self.weight, self.bias, stride=self.stride, padding=self.padding)


def conv3d(
    clip: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Sequence[int] = (1, 1, 1), padding: Sequence[int]
) -> Tensor:
    """torch.nn.functional.conv3d, for a CPU.

    While a network learns: of a kernel of one frame, and in bfloat16 of one that looks along time alone, oneDNN 3.12
    finds the gradients of a 2D convolution faster than those of the same 3D one. Where a kernel of one pixel strides,
    in float32, those of a product of matrices with the pixels that it meets come faster still.
    """
    in_bfloat16, stride = cpu_dtype(clip) == torch.bfloat16, tuple(stride)
    if in_bfloat16:
        clip, padding = with_zeros(clip, weight, padding)
    if not torch.is_grad_enabled():
        return F.conv3d(clip, weight, bias, stride, padding)
    if in_bfloat16 and weight.shape[3:] == stride[1:] == (1, 1) and not any(padding[1:]):
        out = F.conv2d(clip.flatten(3), weight.flatten(3), bias, (stride[0], 1), (padding[0], 0))
        return out.unflatten(3, clip.shape[3:])
    if not in_bfloat16 and weight.shape[2:] == (1, 1, 1) != stride and not any(padding):
        time, height, width = stride
        pixels = clip[:, :, ::time, ::height, ::width].permute(0, 2, 3, 4, 1)
        return F.linear(pixels, weight.flatten(1), bias).permute(0, 4, 1, 2, 3)
    if weight.shape[2] == stride[0] == 1 and not padding[0]:
        frames = clip.transpose(1, 2)
        out = F.conv2d(frames.flatten(0, 1), weight.squeeze(2), bias, stride[1:], padding[1:])
        return out.unflatten(0, frames.shape[:2]).transpose(1, 2)
    return F.conv3d(clip, weight, bias, stride, padding)


def with_zeros(clip: Tensor, weight: Tensor, padding: Sequence[int]) -> tuple[Tensor, list[int]]:
    """The clip with the zeros of `padding` around it that are better part of it, and the padding that is left.

    Where a map is smaller than the kernel, such as two frames beneath a kernel of three, oneDNN 3.12 makes nonsense of
    the weights' gradient, often infinite, on processors with AVX-512 and without AMX. It does not if the zeros around
    the map are part of it.
    """
    small = [size < kernel for size, kernel in zip(clip.shape[2:], weight.shape[2:], strict=True)]
    within = [zeros if is_small else 0 for zeros, is_small in zip(padding, small, strict=True)]
    if any(within):
        clip = F.pad(clip, [zeros for zeros in reversed(within) for _ in ("before", "after")])
    return clip, [zeros - inner for zeros, inner in zip(padding, within, strict=True)]


def in_cpu_bfloat16(clip: Tensor) -> bool:
    """Whether a layer computes with it in bfloat16, and on a CPU."""
    return clip.device.type == "cpu" and cpu_dtype(clip) == torch.bfloat16


def cpu_dtype(clip: Tensor) -> torch.dtype:
    """In which a CPU's layer computes with it."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else clip.dtype
