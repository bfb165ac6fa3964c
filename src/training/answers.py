"""A trained network's answers on whole videos: what evaluation, on training and on test videos alike, is made of."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from src.model.checkpoint import Checkpoint
from src.model.folding import folded
from src.training.loader import loader
from src.training.optim import choose_device
from src.training.predict import predict_views
from src.video.dataset import TestViews
from src.video.manifest import Video
from src.video.sampling import Sampling


def probabilities(
    checkpoint: Checkpoint,
    videos: Sequence[Video],
    *,
    views: int,
    crops: int,
    device: str,
    workers: int,
    title: str,
) -> np.ndarray:
    """`(N, classes)`: the mean over `views` clips × `crops` squares of each video, each frame decoded once."""
    options = {"device": device, "workers": workers, "title": title}
    return view_probabilities(checkpoint, videos, views=views, crops=crops, **options).mean(1)


def view_probabilities(
    checkpoint: Checkpoint,
    videos: Sequence[Video],
    *,
    views: int,
    crops: int,
    device: str,
    workers: int,
    title: str,
) -> np.ndarray:
    """The same before the mean: `(N, crops * views, classes)`, all clips of the first square first."""
    where = choose_device(device)
    network = folded(checkpoint.network()).to(where, memory_format=torch.channels_last_3d)
    model = checkpoint.model
    dataset = TestViews(videos, sampling=Sampling.of(model), size=model["crop"], views=views, crops=crops)
    batches = tqdm(loader(dataset, workers=workers, device=where), desc=title, unit="video", disable=None)
    return torch.stack([*predict_views(network, batches, device=where, precision=checkpoint.precision)]).numpy()


def sample(videos: Sequence[Video], count: int, *, seed: int) -> list[Video]:
    """`count` of the videos, the same ones for the same seed, in their order; all if there are fewer."""
    chosen = random.Random(seed).sample(range(len(videos)), min(count, len(videos)))
    return [videos[index] for index in sorted(chosen)]
