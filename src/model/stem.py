"""How a pathway begins, a convolution `(kernel, 7, 7)` over three channels and a pooling, both with stride 2 in space:
the same, faster.

A CPU works on bfloat16 with 16 or more channels at a time, of what comes in as of what goes out; of three or four it
leaves most of its width unused. So neighbouring pixels and frames become channels (space to depth, as MLPerf's ResNets
have it): 2 × 2 pixels of 2 frames are 24 of them, and the convolution is one of a quarter of the positions, whose
kernel is the same numbers in another order with zeros between. Where few channels go out, more frames are computed at
once, until they are 16: for four channels a third more to compute, on twice the width.

In float32 it is the gradient of few channels' weights that takes long. It does not where the frames that the kernel
looks at become channels, and the convolution is 2D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from src.model.conv import conv3d, in_cpu_bfloat16

SIZE = 7
"""Of the kernel, in pixels."""

WIDTH = 16
"""Channels in bfloat16 that a CPU works on at a time."""

FLOATS = 8
"""Channels in float32 that it works on at a time, without AVX-512."""


class StemConv(nn.Conv3d):
    """`(B, 3, T, H, W)` to `(B, outputs, T, ceil(H/2), ceil(W/2))`; `kernel`, odd, is its frames."""

    def __init__(self, outputs: int, kernel: int):
        padding = (kernel // 2, SIZE // 2, SIZE // 2)
        super().__init__(3, outputs, (kernel, SIZE, SIZE), (1, 2, 2), padding, bias=False)

    def forward(self, clip: Tensor) -> Tensor:
        if in_cpu_bfloat16(clip):
            with torch.autocast("cpu", enabled=False):
                return self._by_cells(clip)
        if clip.device.type == "cpu" and torch.is_grad_enabled() and self.kernel_size[0] > 1:
            return self._by_frames(clip)
        return super().forward(clip)

    def _by_cells(self, clip: Tensor) -> Tensor:
        """The convolution in bfloat16, in cells of one or two frames × 2 × 2, of which come `at_once` of outputs."""
        frames = 2 if self.kernel_size[0] > 1 and clip.shape[2] % 2 == 0 else 1
        at_once = self._at_once(clip, frames, WIDTH) if frames > 1 else 1
        inputs, kernel = cells(clip, frames), cell_kernel(self.weight, frames, at_once).to(torch.bfloat16)
        stride = at_once // frames
        # Of few blocks oneDNN 3.12's matrix units make nonsense if the kernel sees more: zeros, but not to it.
        beside = (kernel.shape[2] - stride) // 2
        unseen = max(0, beside - inputs.shape[2] + stride)
        kernel = kernel[:, :, unseen : kernel.shape[2] - unseen]
        bias = None if self.bias is None else self.bias.repeat(at_once).to(torch.bfloat16)
        out = conv3d(inputs, kernel, bias, stride=(stride, 1, 1), padding=(beside - unseen, 0, 0))
        return in_order(out, at_once)

    def _by_frames(self, clip: Tensor) -> Tensor:
        """The convolution as a 2D one, of each frame, or `at_once` of them, with its neighbours as channels."""
        at_once = self._at_once(clip, 1, FLOATS)
        inputs = with_neighbours(clip, self.kernel_size[0], at_once)
        kernel = neighbours_kernel(self.weight, at_once).contiguous(memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.repeat(at_once)
        out = F.conv2d(inputs.flatten(0, 1), kernel, bias, self.stride[1:], self.padding[1:])
        return in_order(out.unflatten(0, inputs.shape[:2]).transpose(1, 2), at_once)

    def _at_once(self, clip: Tensor, frames: int, width: int) -> int:
        """Frames to compute at once for `width` channels to go out: `frames`, or twice that, or four times …"""
        while frames * self.out_channels < width and clip.shape[2] % (2 * frames) == 0:
            frames *= 2
        return frames


def in_order(out: Tensor, at_once: int) -> Tensor:
    """`(B, at_once·O, T/at_once, H, W)` to `(B, O, T, H, W)`, channels last."""
    out = out.permute(0, 2, 3, 4, 1)
    if at_once > 1:  # chunks and a stack, whose gradient keeps channels last: a permutation's is turned over twice
        out = torch.stack(out.chunk(at_once, dim=-1), dim=2).flatten(1, 2)
    return out.permute(0, 4, 1, 2, 3)


class StemPool(nn.MaxPool3d):
    """`(B, C, T, H, W)` to `(B, C, T, ceil(H/2), ceil(W/2))`: of 3 × 3 pixels the largest, in bfloat16 if it comes so.

    Left to itself, a CPU's autocast has it in float32, and every layer that follows turns it back.
    """

    def __init__(self):
        super().__init__((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        if not in_cpu_bfloat16(maps):
            return super().forward(maps)
        few = maps.shape[1] < WIDTH  # of which the largest is found faster in float32
        with torch.autocast("cpu", enabled=False):
            return super().forward(maps.float() if few else maps).to(torch.bfloat16)


def cells(clip: Tensor, frames: int) -> Tensor:
    """`(B, C, T, H, W)` to bfloat16 `(B, frames·4·C, T/frames, ceil(H/2) + 3, ceil(W/2) + 3)`, channels last.

    Two empty cells come before the first row and column, and one follows the last.
    """
    if clip.shape[3] % 2 or clip.shape[4] % 2:
        clip = F.pad(clip, (0, clip.shape[4] % 2, 0, clip.shape[3] % 2))
    batch, channels, length, height, width = clip.shape
    blocks, rows, columns = length // frames, height // 2, width // 2
    pixels = clip.to(torch.bfloat16).permute(0, 2, 3, 4, 1)
    inside = pixels.reshape(batch, blocks, frames, rows, 2, columns, 2, channels)
    shape = (batch, blocks, rows + 3, columns + 3, frames, 2, 2, channels)
    padded = torch.zeros(shape, dtype=torch.bfloat16, device=clip.device)
    for frame in range(frames):  # one by one: all at once, permuted, takes twice as long
        for row in range(2):
            padded[:, :, 2:-1, 2:-1, frame, row] = inside[:, :, frame, :, row]
    return padded.flatten(4).permute(0, 4, 1, 2, 3)


def cell_kernel(weight: Tensor, frames: int, at_once: int) -> Tensor:
    """The kernel `(O, C, K, 7, 7)` for cells: `(at_once·O, frames·4·C, blocks, 4, 4)`.

    Its outputs are those of each of `at_once` frames, a multiple of a block's; `blocks` are as many as these see.
    """
    outputs, channels, kernel = weight.shape[:3]
    beside = -(-(kernel // 2) // frames)  # blocks on either side
    blocks = 2 * beside + at_once // frames
    shifted = []
    for frame in range(at_once):
        before = beside * frames + frame - kernel // 2
        shifted.append(F.pad(weight, (1, 0, 1, 0, before, blocks * frames - kernel - before)))
    parts = torch.stack(shifted).reshape(at_once, outputs, channels, blocks, frames, 4, 2, 4, 2)
    return parts.permute(0, 1, 4, 6, 8, 2, 3, 5, 7).reshape(at_once * outputs, frames * 4 * channels, blocks, 4, 4)


def with_neighbours(clip: Tensor, kernel: int, at_once: int) -> Tensor:
    """`(B, C, T, H, W)` to `(B, T/at_once, frames·C, H, W)`, channels last.

    `frames` are `at_once` and `kernel // 2` to either side of them.
    """
    beside = kernel // 2
    padded = F.pad(clip.permute(0, 3, 4, 2, 1), (0, 0, beside, beside))
    seen = padded.unfold(3, at_once + 2 * beside, at_once).permute(0, 3, 1, 2, 5, 4)
    return seen.contiguous().flatten(4).permute(0, 1, 4, 2, 3)


def neighbours_kernel(weight: Tensor, at_once: int) -> Tensor:
    """The kernel `(O, C, K, 7, 7)` for clips with neighbours: `(at_once·O, frames·C, 7, 7)`."""
    shifted = [F.pad(weight, (0, 0, 0, 0, frame, at_once - 1 - frame)) for frame in range(at_once)]
    return torch.cat(shifted).transpose(1, 2).flatten(1, 2)
