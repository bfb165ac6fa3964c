"""artifacts/model.pt: the weights and all that is needed to use them on a new video.

The file holds tensors and plain values only, so it is read with `weights_only=True`: no code runs from it.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src import files
from src.command import UserError
from src.model.slowfast import SlowFast

INPUT = ("frames", "stride", "sampling", "pad", "crop")
"""The settings of `model` that say what the network sees, not what it is."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: weights, settings of `model` and `extract`, class names in order, and where it came from.

    `data` stands for the videos that it was trained on and chosen by, as `src.video.manifest.fingerprint` has it; None
    where a file does not say.
    """

    weights: dict[str, Tensor]
    model: dict[str, Any]
    extract: dict[str, Any]
    precision: str
    classes: list[str]
    epoch: int
    run_id: str | None
    data: str | None = None

    def network(self) -> SlowFast:
        """The network with its weights."""
        network = build(self.model, classes=len(self.classes))
        network.load_state_dict(self.weights)
        return network

    def fingerprint(self) -> str:
        """64 hexadecimal digits that stand for the weights, wherever and when they were saved."""
        digest = hashlib.sha256()
        for name, value in sorted(self.weights.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        save(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read `path`. Raises `UserError` if it is missing or no such file."""
        try:
            return cls(**torch.load(path, map_location="cpu", weights_only=True))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; `dvc repro` trains a model") from None
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        except Exception as error:
            # Without PyTorch's message: it advises to read the file without this check, and so to run what is in it.
            raise UserError(f"{path}: not a model of this pipeline, or damaged; `dvc repro` trains one") from error


def save(path: Path, value: Any) -> None:
    """`torch.save` that leaves what was there if the disk is full (a `UserError`) or the process is killed."""
    content = io.BytesIO()  # in memory first: onto a full disk, torch's zip writer fails with an error about positions
    torch.save(value, content)
    files.write_bytes(path, content.getbuffer())


def build(model: dict[str, Any], *, classes: int) -> SlowFast:
    """A network, randomly initialised, from the `model` section's settings."""
    settings = {key: value for key, value in model.items() if key not in INPUT}
    return SlowFast(classes=classes, **settings)
