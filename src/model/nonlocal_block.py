"""The non-local block: every position of a feature map looks at every other, over space and time.

Wang, Girshick, Gupta, He: Non-local Neural Networks, CVPR 2018. The dot-product form, as in SlowFast's NLN variants
(section 4 of that paper); what the papers leave open follows PySlowFast, so that its weights fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NonLocal(nn.Module):
    """`x + bn(out(attended))` for `x` of `(B, channels, T, H, W)`; a new block is the identity, as its BN is zero.

    Half the channels inside; what is looked at is pooled to half its height and width (section 3.3).
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 2
        self.conv_theta = nn.Conv3d(channels, inner, 1)
        self.conv_phi = nn.Conv3d(channels, inner, 1)
        self.conv_g = nn.Conv3d(channels, inner, 1)
        self.conv_out = nn.Conv3d(inner, channels, 1)
        for conv in (self.conv_theta, self.conv_phi, self.conv_g, self.conv_out):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[3:]
        # A map of one row, as a crop of 16 pixels leaves, has nothing to pool.
        pooled = F.max_pool3d(x, (1, min(2, height), min(2, width)))
        theta, phi, g = self.conv_theta(x), self.conv_phi(pooled).flatten(2), self.conv_g(pooled).flatten(2)
        # Without a softmax the three matrices may be multiplied in either order. This one never holds the weights of
        # all pairs of positions, (THW)²/4 numbers, but inner² ones.
        summary = torch.bmm(g / g.shape[2], phi.transpose(1, 2))
        attended = torch.bmm(summary, theta.flatten(2)).view_as(theta)
        return x + self.bn(self.conv_out(attended))
