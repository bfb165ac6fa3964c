"""`model.weights` → a file on this disk, fetched if need be.

kinetics400     the variant's published weights
imagenet        torchvision's ResNet of the variant's depth
mlflow:RUN      the best checkpoint of a run in MLflow
FILE or URL     published weights, or a model.pt of this pipeline
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from src import paths
from src.command import UserError
from src.model.variants import IMAGENET, PUBLISHED

if TYPE_CHECKING:
    from src.training.start import Weights


def find(weights: str | None, *, variant: str, depth: int) -> Weights | None:
    """The file that `model.weights` names, and its hash; None for null.

    Raises `UserError` if nobody publishes such weights, or there is no such file or run.
    """
    from src.training.start import Weights

    if weights is None:
        return None
    if weights.startswith("mlflow:"):
        from src import tracking

        return Weights.of(tracking.checkpoint(weights.removeprefix("mlflow:")), source=weights)
    place = weights
    if weights == "kinetics400":
        if variant not in PUBLISHED:
            others = ", ".join(PUBLISHED)
            raise UserError(f"model.weights: nobody publishes {variant} trained on Kinetics-400; there are {others}")
        place = PUBLISHED[variant].address
    elif weights == "imagenet":
        place = IMAGENET[depth]
    if "://" not in place:
        return Weights.of(paths.MAIN / Path(place).expanduser(), source=weights)
    from src.fetching.downloads import Downloads

    downloads = Downloads(paths.DOWNLOADS, paths.CHECKSUMS)
    found = Weights.of(downloads.file(place, setting="model.weights"), source=weights)
    if weights == "imagenet" and not found.sha256.startswith(start := place.rpartition("-")[2].removesuffix(".pth")):
        raise UserError(f"model.weights: {found.file} has a hash that begins with {found.sha256[:8]}, not {start}")
    return found
