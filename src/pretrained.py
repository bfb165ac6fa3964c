"""`model.weights` → a file on this disk, fetched if need be.

kinetics400     the variant's published weights
imagenet        torchvision's ResNet of the variant's depth
mlflow:RUN      the best checkpoint of a run in MLflow, by its id or its spool's name
FILE or URL     published weights, or a model.pt of this pipeline
"""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from src import paths
from src.model.variants import IMAGENET, PUBLISHED

if TYPE_CHECKING:
    from src.training.start import Weights


def find(weights: str | None, *, variant: str, depth: int) -> Weights | None:
    """The file that `model.weights` names, and its hash; None for null.

    Raises `UserError` if there is no such file or run, or it holds no weights.
    """
    from src.training.start import Weights

    if weights is None:
        return None
    if weights.startswith("mlflow:"):
        from src.tracking import store

        return Weights.of(store.checkpoint(weights.removeprefix("mlflow:")), source=weights)
    place = {"imagenet": IMAGENET.get(depth), "kinetics400": variant in PUBLISHED and PUBLISHED[variant].address}.get(
        weights, weights
    )
    if "://" not in place:
        return Weights.of(paths.MAIN / Path(place).expanduser(), source=weights)
    from src.fetching.downloads import Downloads

    if weights == "kinetics400":
        print(f"{place}: about {PUBLISHED[variant].size / 1e6:.0f} MB, fetched if it is not here yet", file=sys.stderr)
    downloads = Downloads(paths.DOWNLOADS, paths.CHECKSUMS)
    check = functools.partial(_check, named_after_its_hash=weights == "imagenet", name=place.rpartition("/")[2])
    return Weights.of(downloads.file(place, setting="model.weights", check=check), source=weights)


@functools.cache
def kept(weights: str | None, *, variant: str, depth: int) -> Weights | None:
    """The same for many trainings of one process: of what MLflow has, one copy serves them all."""
    return find(weights, variant=variant, depth=depth)


def _check(file: Path, *, name: str, named_after_its_hash: bool) -> None:
    """Raise `DamagedError` for what is no file of weights, before its hash is taken for the right one."""
    from src.fetching.fetch import DamagedError

    with file.open("rb") as content:
        start = content.read(4)
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not start.startswith((b"PK\3\4", b"\x80")):
        raise DamagedError(f"model.weights: {name} is no file of weights: it begins with {start!r}")
    if named_after_its_hash and not digest.startswith(expected := name.rpartition("-")[2].removesuffix(".pth")):
        raise DamagedError(f"model.weights: {name} has a hash that begins with {digest[:8]}, not {expected}")
