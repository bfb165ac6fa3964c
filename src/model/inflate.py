"""An ImageNet ResNet of torchvision → the slow pathway, as in I3D: what it sees in an image it sees in a still clip.

Carreira, Zisserman: Quo Vadis, Action Recognition?, CVPR 2017, section 3.1. A 2D kernel is repeated over time and
divided by its length; near the first and last frame it meets the padding's zeros, so there the features are weaker.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from src.command import UserError
from src.model.slowfast import SlowFast
from src.model.weights import require_fit


def inflate_imagenet(state: dict[str, Tensor], target: SlowFast) -> list[str]:
    """Write the `state_dict` of torchvision's ResNet into `target.slow`, and return the names that were set.

    Fast pathway, laterals, non-local blocks and head stay as they are, and so do counts of batches, which older files
    do not have. Channels that arrive from the laterals get the weight zero: the pathway starts as the network that
    ImageNet trained, whatever the untrained fast one says, and learns from the first step on how much to listen.
    Raises `UserError` if the ResNet is not of the pathway's depth and width.
    """
    if target.architecture["pathways"] == "fast":
        raise UserError("model.weights: imagenet is for the slow pathway, and model.pathways is fast")
    wanted = {
        name: value
        for name, value in target.state_dict().items()
        if name.startswith("slow.") and ".nonlocal" not in name and not name.endswith("num_batches_tracked")
    }
    if "slow.res2.0.shortcut.conv.weight" in wanted:
        state = _identity(target.architecture["width"]) | state
    found = {
        slow_name(name): value
        for name, value in state.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    inflated = {name: _inflated(value, wanted[name]) if name in wanted else value for name, value in found.items()}
    settings = " and ".join(f"model.{name} {target.architecture[name]}" for name in ("depth", "width"))
    require_fit(
        f"model.weights: imagenet does not fit {settings}; ResNets of torchvision are 64 wide",
        wanted=wanted,
        found=inflated,
    )
    for name, value in wanted.items():
        value.copy_(inflated[name])
    return list(wanted)


def slow_name(name: str) -> str:
    """What we call the entry of torchvision's ResNet of this `name`, which comes back as it is if unknown.

    >>> slow_name("layer1.0.downsample.1.bias")
    'slow.res2.0.shortcut.bn.bias'
    """
    stages = {"layer1": "res2", "layer2": "res3", "layer3": "res4", "layer4": "res5"}
    layers = {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.bn"}
    layers |= {f"{layer}{i}": f"branch.{part}.{layer}" for layer in ("conv", "bn") for i, part in enumerate("abc", 1)}
    match name.split("."):
        case [("conv1" | "bn1") as layer, value]:
            return f"slow.stem.{layer[:-1]}.{value}"
        case [stage, block, *layer, value] if stage in stages and ".".join(layer) in layers:
            return f"slow.{stages[stage]}.{block}.{layers['.'.join(layer)]}.{value}"
    return name


def _identity(channels: int) -> dict[str, Tensor]:
    """A shortcut that hands on what it gets, by torchvision's names.

    The 18 has none in its first stage; the pathway has one there, as the laterals' channels must go.
    """
    norm = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    return {"layer1.0.downsample.0.weight": torch.eye(channels)[:, :, None, None]} | {
        f"layer1.0.downsample.1.{name}": torch.full((channels,), value) for name, value in norm.items()
    }


def _inflated(value: Tensor, wanted: Tensor) -> Tensor:
    """`value` with the time and the input channels of `wanted`, if it is of a convolution."""
    if value.ndim != 4:
        return value
    frames, channels = wanted.shape[2], wanted.shape[1]
    value = value.unsqueeze(2).expand(-1, -1, frames, -1, -1) / frames
    return F.pad(value, (0, 0, 0, 0, 0, 0, 0, max(0, channels - value.shape[1])))
