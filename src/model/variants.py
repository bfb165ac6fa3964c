"""The networks that have a name: the settings that make each, and where its published weights are.

Frames, stride and crop are what a network was made for; it takes any crop, and any number of frames that alpha
divides. Settings of the 8x8 and 16x8 R101 follow PySlowFast's configs/Kinetics/c2/SLOWFAST_8x8_R101_101_101.yaml and
SLOWFAST_16x8_R101_50_50.yaml, those of the R50s its SLOWFAST_8x8_R50.yaml and SLOWFAST_4x16_R50.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

_PAPER = {"width": 64, "beta_inv": 8, "temporal_blocks": 23, "stride": 2, "crop": 224}
_4X16 = _PAPER | {"alpha": 8, "fusion_kernel": 5, "frames": 32}
_8X8 = _PAPER | {"alpha": 4, "fusion_kernel": 5, "frames": 32}

VARIANTS: dict[str, dict[str, int]] = {
    "small": {
        "depth": 18,
        "width": 16,
        "alpha": 4,
        "beta_inv": 4,
        "fusion_kernel": 5,
        "temporal_blocks": 23,
        "frames": 16,
        "stride": 2,
        "crop": 64,
    },
    "slowfast_4x16_r50": _4X16 | {"depth": 50},
    "slowfast_8x8_r50": _8X8 | {"depth": 50, "fusion_kernel": 7},
    "slowfast_8x8_r101": _8X8 | {"depth": 101},
    # Along time it looks in as many blocks as an R50, hence the publisher's "50_50".
    "slowfast_16x8_r101": _8X8 | {"depth": 101, "temporal_blocks": 6, "frames": 64},
    # Of these two nobody publishes weights; what is not the depth is as in the R50 of that name.
    "slowfast_4x16_r18": _4X16 | {"depth": 18},
    "slowfast_8x8_r18": _8X8 | {"depth": 18, "fusion_kernel": 7},
}


@dataclass(frozen=True)
class Published:
    """Weights trained on Kinetics-400, 400 classes: `address`, and about how many bytes.

    They expect the variant's frames and stride, of a video of `fps` frames a second, and the normalisation that all
    networks here have (src/video/transforms.py).
    """

    address: str
    size: int
    fps: float = 30.0


_HUB = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"

# pytorchvideo's hub. A file holds the optimiser's momentum beside the weights: 8 bytes a parameter and a little more.
# The sizes of the two 8x8 are those that people report who have the files; the other two are reckoned from them.
# PySlowFast's model zoo has other weights of the two R50s, by Caffe2, which are read as well:
# https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400/SLOWFAST_8x8_R50.pkl and SLOWFAST_4x16_R50.pkl.
PUBLISHED: dict[str, Published] = {
    "slowfast_4x16_r50": Published(f"{_HUB}/SLOWFAST_4x16_R50.pyth", 276_450_000),
    "slowfast_8x8_r50": Published(f"{_HUB}/SLOWFAST_8x8_R50.pyth", 277_138_115),
    "slowfast_8x8_r101": Published(f"{_HUB}/SLOWFAST_8x8_R101.pyth", 503_790_111),
    "slowfast_16x8_r101": Published(f"{_HUB}/SLOWFAST_16x8_R101_50_50.pyth", 431_300_000),
}

_TORCHVISION = "https://download.pytorch.org/models"

# IMAGENET1K_V1 of torchvision, by depth.
IMAGENET: dict[int, str] = {
    18: f"{_TORCHVISION}/resnet18-f37072fd.pth",
    50: f"{_TORCHVISION}/resnet50-0676ba61.pth",
    101: f"{_TORCHVISION}/resnet101-63fe2227.pth",
}
