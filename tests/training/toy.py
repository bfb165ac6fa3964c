"""A training that takes a second: four videos of a moving bar, a tiny network, and settings for `Fit`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from src.model.slowfast import SlowFast
from src.training.clips import in_batches, training_clips, validation_views
from src.training.colours import Colours
from src.training.distributed import ALONE, Team
from src.training.fit import Fit, Observer
from src.training.learner import Learner, Step
from src.training.mixing import Mix
from src.training.pretrain import pretrain
from src.training.state import TrainingState
from src.video import store
from src.video.manifest import Video
from tests.conftest import TINY_MODEL

AUGMENT = {
    "crop": "resized",
    "scale": [0.5, 1.0],
    "aspect": [0.75, 1.333],
    "flip": 0.5,
    "jitter": 0.2,
    "grey": 0.2,
    "randaugment": 1,
    "magnitude": 9,
    "erase": 0.3,
    "mixup": 0.0,
    "cutmix": 0.0,
    "speed": [0.8, 1.25],
    "strides": None,
}
SETTINGS = {
    "epochs": 3,
    "batch": 4,
    "accumulate": 1,
    "optimizer": "adamw",
    "lr": 0.002,
    "lr_batch": None,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "step_size": 1,
    "milestones": [1],
    "gamma": 0.1,
    "patience": 1,
    "early_stopping": None,
    "keep": "best",
    "warmup": 1,
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "backbone_lr": 1.0,
    "freeze": None,
    "freeze_norms": False,
    "ema": None,
    "precise_bn": 0,
    "sync_bn": False,
    "windows": 2,
    "balanced": False,
    "precision": "fp32",
    "seed": 0,
}
RUNTIME = {"device": "cpu", "workers": 0, "compile": False, "save_every": 1000, "log_every": 1}


def draw(folder: Path, *, count: int = 4) -> list[Video]:
    """Videos of two classes in turn: a bright bar on a dark ground, that moves up or down in the right half."""
    found = []
    for number in range(count):
        label, frames = number % 2, []
        for time in range(12):
            frame = np.full((40, 44, 3), 10 * number, np.uint8)
            row = 3 * time if label else 36 - 3 * time
            frame[row : row + 4, 22:] = 200
            frames.append(frame)
        file = folder / f"{number}.avi"
        store.write(file, frames, fps=12.5, quality=95)
        found.append(Video(f"{number}.mp4", file, label, f"g{number}", 12, ""))
    return found


def fit(
    videos: Sequence[Video],
    state: Path | None,
    *,
    mirrored: Sequence[int] | None = (1, 0),
    model: dict[str, Any] = TINY_MODEL,
    augment: dict[str, Any] | None = None,
    runtime: dict[str, Any] | None = None,
    observer: Observer | None = None,
    team: Team = ALONE,
    **changes: Any,
) -> Fit:
    """A training of `videos`, validated on the first three, whose state is in the folder `state`; to be `run`."""
    augment, settings = AUGMENT | (augment or {}), SETTINGS | changes
    return Fit(
        training_clips(videos, model=model, augment=augment, settings=settings, mirrored=mirrored),
        validation_views(videos[:3], model=model),
        [video.label for video in videos[:3]],
        classes=2,
        model=model,
        **in_batches(augment),
        settings=settings,
        runtime=RUNTIME | (runtime or {}),
        state=TrainingState(state) if state else None,
        observer=observer or Observer(),
        team=team,
    )


def pretrained(
    videos: Sequence[Video],
    state: Path | None,
    *,
    augment: dict[str, Any] | None = None,
    observer: Observer | None = None,
    team: Team = ALONE,
    **pretraining: Any,
) -> SlowFast:
    """A pre-training on `videos` of two epochs, whose state is in the folder `state`."""
    return pretrain(
        videos,
        videos[:2],
        model=TINY_MODEL,
        augment=AUGMENT | (augment or {}),
        settings=SETTINGS | {"early_stopping": 1, "balanced": True, "backbone_lr": 0.1},  # all three of no use here
        pretraining={"epochs": 2, "task": "instance", "lr": None, "windows": 2} | pretraining,
        flips=True,
        runtime=RUNTIME,
        state=TrainingState(state) if state else None,
        observer=observer or Observer(),
        team=team,
    )


def hashes(training: Fit, *, epoch: int) -> list[list[tuple[str, int, int]]]:
    """Of each batch that this process loads in an epoch, or part of one: the clips' hashes, labels and draws."""
    training.stream.begin(epoch)
    return [
        [
            (hashlib.sha256(clip.numpy().tobytes()).hexdigest(), int(label), int(draw))
            for clip, label, draw in zip(*part, strict=True)
        ]
        for part in training.batches
    ]


def learner(
    network: nn.Module, *, classes: int = 2, augment: dict[str, float] | None = None, **changes: Any
) -> Learner:
    """One that learns by plain gradient descent, without anything that is not asked for."""
    settings = {"precision": "fp32", "label_smoothing": 0.0, "clip_norm": None, "ema": None, "seed": 0}
    return Learner(
        network,
        optimizer=changes.pop("optimizer", None) or torch.optim.SGD(network.parameters(), lr=9.0),
        device=torch.device("cpu"),
        team=ALONE,
        colours=Colours(jitter=0.0, grey=0.0, seed=0),
        mix=Mix(**{"mixup": 0.0, "cutmix": 0.0} | (augment or {}), classes=classes, seed=0),
        **settings | changes,
    )


def step(learner: Learner, *parts: tuple[Tensor, Tensor], rate: float = 0.1, number: int = 0, **changes: Any) -> Step:
    """One step on a batch of `(clips, labels)` parts."""
    drawn = [(clips, labels, torch.arange(len(labels))) for clips, labels in parts]
    place = {"epoch": 0, "step": number, "part": 0, "stop": False} | changes
    return learner.step(drawn, batch=sum(len(labels) for _, labels in parts), rate=rate, **place)
