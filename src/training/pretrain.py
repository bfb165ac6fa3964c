"""Training videos without their labels → a network that has learnt something of them, for training to start from.

What it learns is one of two tasks. Each clip has one answer, so that neither takes large batches, as comparing the
clips of a batch with each other would:

instance    which of the training videos a clip is from, however it is cut, coloured and timed: Cao et al., Parametric
            Instance Classification, NeurIPS 2020 (arXiv:2006.14618)
playback    how a clip is played: src/video/playback.py

It is the same training as any other, on other labels: interrupted, it goes on at the step that was saved last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from src.model.checkpoint import build
from src.model.slowfast import SlowFast
from src.training.clips import in_batches, played_clips, played_views, training_clips, validation_views
from src.training.distributed import ALONE, Team
from src.training.fit import Fit, Observer
from src.training.state import TrainingState
from src.video.manifest import Video

SUPERVISED = {"balanced": False, "early_stopping": None, "freeze": None, "freeze_norms": False, "backbone_lr": 1.0}
"""Settings of `train` that are about labels of videos, or about weights that are there already."""


def pretrain(
    train: Sequence[Video],
    val: Sequence[Video],
    *,
    model: dict[str, Any],
    augment: dict[str, Any],
    settings: dict[str, Any],
    pretraining: dict[str, Any],
    flips: bool,
    runtime: dict[str, Any],
    state: TrainingState | None,
    observer: Observer,
    team: Team = ALONE,
) -> SlowFast:
    """The network of the epoch that is kept, on each of `team`'s processes.

    `model`, `augment`, `settings` (of `train`), `pretraining` and `runtime` are sections of params.yaml. Batch,
    optimiser and schedule are those of `train`; a warm-up is no longer than half of it.
    """
    given = {key: value for key, value in pretraining.items() if value is not None and key != "task"}
    settings = settings | SUPERVISED | given
    settings["warmup"] = min(settings["warmup"], pretraining["epochs"] / 2)
    how = {"model": model, "augment": augment, "settings": settings, "flips": flips}
    clips, views, labels = {"instance": instances, "playback": playbacks}[pretraining["task"]](train, val, **how)
    classes = max(labels) + 1
    fit = Fit(
        clips,
        views,
        labels,
        classes=classes,
        model=model,
        **in_batches(augment | {"mixup": 0.0, "cutmix": 0.0}),
        settings=settings,
        runtime=runtime,
        state=state,
        observer=observer,
        team=team,
        title="pre-training, ",
    )
    fit.run()
    network = build(model, classes=classes)
    network.load_state_dict(team.share(state and state.best(fit.kept)))
    return network


def instances(
    train: Sequence[Video], val: Sequence[Video], *, flips: bool, model: dict[str, Any], **how: Any
) -> tuple[Dataset, Dataset, list[int]]:
    """Clips whose label is their video's number; validated on the same videos, since of others there is no number."""
    numbered = [replace(video, label=number) for number, video in enumerate(train)]
    labels = list(range(len(numbered)))
    clips = training_clips(numbered, model=model, mirrored=labels if flips else None, **how)
    return clips, validation_views(numbered, model=model), labels


def playbacks(
    train: Sequence[Video], val: Sequence[Video], *, model: dict[str, Any], settings: dict[str, Any], **how: Any
) -> tuple[Dataset, Dataset, list[int]]:
    """Clips whose label is how they are played; validated on validation videos, each in all ways."""
    views = played_views(val, model=model, seed=settings["seed"])
    return played_clips(train, model=model, settings=settings, **how), views, views.labels
