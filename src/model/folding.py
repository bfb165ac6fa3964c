"""A trained network → the same to answer with: every batch norm in the weights of the convolution before it.

In evaluation a batch norm multiplies and adds numbers that do not change any more, and so does a convolution.
"""

from __future__ import annotations

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, which gives the same logits up to rounding; it cannot be trained any further."""
    network = copy.deepcopy(network).eval()  # a convolution that is learning cannot take a norm over
    for module in network.modules():
        match dict(module.named_children()):
            case {"conv": nn.Conv3d() as conv, "bn": nn.BatchNorm3d() as bn}:
                module.conv, module.bn = fuse_conv_bn_eval(conv, bn), nn.Identity()
    return network.eval()
