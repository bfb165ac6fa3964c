"""A trained network → the same to answer with: fewer steps, and a CPU goes over its maps less often.

In evaluation a batch norm multiplies and adds numbers that do not change any more, and so does a convolution: its
weights take the norm over. What then follows a convolution, a sum with the shortcut and a ReLU, oneDNN does while it
has the convolution's sums at hand; and it need not put the weights in its order each time.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from src.model.conv import cpu_dtype, with_zeros
from src.model.slowfast import ConvNorm, Residual
from src.model.stem import StemConv


def folded(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, which gives the same logits up to rounding; it cannot be trained any further."""
    network = copy.deepcopy(network).eval()  # a convolution that is learning cannot take a norm over
    for module in list(network.modules()):
        match dict(module.named_children()):
            case {"conv": StemConv() as conv, "bn": nn.BatchNorm3d() as bn}:
                module.conv, module.bn = fuse_conv_bn_eval(conv, bn), nn.Identity()
        for name, child in module.named_children():
            if isinstance(child, ConvNorm):
                setattr(module, name, FoldedConv(child))
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Residual):
                setattr(module, name, FoldedResidual(child))
    return network.eval()


class FoldedConv(nn.Module):
    """What a `ConvNorm` is in evaluation, without its norm."""

    def __init__(self, part: ConvNorm):
        super().__init__()
        self.conv, self.relu = fuse_conv_bn_eval(part.conv, part.bn), hasattr(part, "relu")
        self.ordered: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
        """Weights in oneDNN's order, and the bias."""

    def forward(self, clip: Tensor, onto: Tensor | None = None) -> Tensor:
        """With `onto`, the ReLU of its sum with that, which may be overwritten."""
        if _onednn_computes(clip):
            return self._at_once(clip, onto)
        out = self.conv(clip)
        if onto is not None:
            out = out + onto
        return out.relu_() if self.relu or onto is not None else out

    def _at_once(self, clip: Tensor, onto: Tensor | None) -> Tensor:
        """By the operators that torch.compile fuses such layers to, when it may take weights for constants."""
        conv, onednn = self.conv, torch.ops.mkldnn
        clip, padding = with_zeros(clip.to(cpu_dtype(clip)), conv.weight, conv.padding)
        how = (padding, conv.stride, conv.dilation, conv.groups)
        if clip.dtype not in self.ordered:
            weight, bias = (each.detach().to(clip.dtype) for each in (conv.weight, conv.bias))
            self.ordered[clip.dtype] = onednn._reorder_convolution_weight(weight, *how, clip.shape), bias
        weights = self.ordered[clip.dtype]
        if onto is None:
            return onednn._convolution_pointwise(clip, *weights, *how, "relu" if self.relu else "none", [], "")
        return onednn._convolution_pointwise_.binary(onto, clip, *weights, *how, "add", None, "relu", [], None)


class FoldedResidual(nn.Module):
    """What a `Residual` is in evaluation; it may overwrite what it is given."""

    def __init__(self, block: Residual):
        super().__init__()
        self.shortcut, self.first, self.last = block.shortcut, block.branch[:-1], block.branch[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x), self.shortcut(x))


def _onednn_computes(clip: Tensor) -> bool:
    """Whether oneDNN convolves it, on a CPU, in the precision of the moment, and nobody asks for gradients.

    Grad-CAM does.
    """
    if clip.device.type != "cpu" or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
        return False
    dtype = cpu_dtype(clip)
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
