"""`model.weights` → the network that training starts from: published, ImageNet's, or one that was trained here.

All but the head is taken over; the head is new, as the classes are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from src.command import UserError
from src.model.checkpoint import Checkpoint
from src.model.inflate import inflate_imagenet
from src.model.slowfast import SlowFast
from src.model.weights import load_published, transfer
from src.video.transforms import MEAN, STD

STAGES = ("stem", "res2", "res3", "res4", "res5")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's ResNets expect images to have been normalised with."""


@dataclass(frozen=True)
class Weights:
    """A file of weights: `source` is `model.weights` as it was given, `sha256` the file's."""

    file: Path
    source: str
    sha256: str

    @classmethod
    def of(cls, file: Path, *, source: str) -> Weights:
        """Raises `UserError` if there is no such file."""
        try:
            with file.open("rb") as content:
                return cls(file, source, hashlib.file_digest(content, "sha256").hexdigest())
        except OSError as error:
            raise UserError(f"model.weights: {file}: {error.strerror}") from None


def start_from(weights: Weights, network: SlowFast) -> None:
    """Write `weights` into `network`, all but its head. Raises `UserError` if they are of another network."""
    if weights.source == "imagenet":
        state = torch.load(weights.file, map_location="cpu", weights_only=True)
        inflate_imagenet(state, network)
        renormalise(network.slow.stem)
    elif ours := _trained_here(weights.file):
        transfer(ours, network)
    else:
        transfer(load_published(weights.file, alpha=network.architecture["alpha"]), network)


def renormalise(stem: nn.Module) -> None:
    """Let a stem that expects ImageNet's normalisation take ours: exact, but for the border, where it sees padding.

    An image normalised for ImageNet is `scale * x + shift` of ours, and a convolution of that is another convolution
    plus a constant, which the norm after it takes off.
    """
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    scale, shift = STD / std, (MEAN - mean) / std
    with torch.no_grad():
        weight = stem.conv.weight
        stem.bn.running_mean -= (weight.sum((2, 3, 4)) * shift).sum(1)
        weight *= scale.view(1, 3, 1, 1, 1)


def stages(network: SlowFast, last: str | None) -> Iterator[nn.Module]:
    """The parts of the backbone from the input up to the stage `last`, with the laterals between them; None: none."""
    chosen = STAGES[: STAGES.index(last) + 1] if last else ()
    for pathway in (getattr(network, name, None) for name in ("slow", "fast")):
        yield from (getattr(pathway, stage) for stage in chosen if pathway)
    for stage in chosen[:-1]:
        if hasattr(network, "fuse"):
            yield getattr(network.fuse, stage)


def freeze(network: SlowFast, *, last: str | None, norms: bool) -> list[nn.Module]:
    """Stop the parts up to stage `last` from learning, and with `norms` all batch norms of the backbone.

    Returns what must stay in evaluation mode while training: frozen norms keep their statistics too.
    """
    frozen = list(stages(network, last))
    if norms:
        frozen += [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def _trained_here(file: Path) -> SlowFast | None:
    """The network of an artifacts/model.pt, or None for a file of another kind."""
    try:
        content: Mapping[str, Tensor] = torch.load(file, map_location="meta", weights_only=True)
    except Exception:  # of a pickle, or no file of PyTorch's; whoever reads the published ones says what it is
        return None
    if not (isinstance(content, dict) and {"weights", "model", "classes"} <= content.keys()):
        return None
    return Checkpoint.load(file).network()
