"""Training videos without their labels → a network that has learnt how clips are played, for training to start from.

See src/video/playback.py for what it learns to tell apart, and why. It is the same training as any other, on other
labels: interrupted, it goes on at the step that was saved last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from src.model.checkpoint import build
from src.model.slowfast import SlowFast
from src.training.clips import played_clips, played_views
from src.training.distributed import ALONE, Team
from src.training.fit import Fit, Observer
from src.training.state import TrainingState
from src.video.manifest import Video
from src.video.playback import PLAYBACKS

SUPERVISED = {"label_smoothing": 0.0, "early_stopping": None, "freeze": None, "freeze_norms": False}
"""Settings of `train` that are about the labels, or about weights that are there already."""


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
    """The network of the epoch that is kept, by what it said of clips of `val`, on each of `team`'s processes.

    `model`, `augment`, `settings` (of `train`), `pretraining` and `runtime` are sections of params.yaml. Batch,
    optimiser and schedule are those of `train`; a warm-up is no longer than half of it.
    """
    given = {key: value for key, value in pretraining.items() if value is not None}
    settings = settings | SUPERVISED | given
    settings["warmup"] = min(settings["warmup"], pretraining["epochs"] / 2)
    views = played_views(val, model=model, seed=settings["seed"])
    fit = Fit(
        played_clips(train, model=model, augment=augment, settings=settings, flips=flips),
        views,
        views.labels,
        classes=len(PLAYBACKS),
        model=model,
        mix={"mixup": 0.0, "cutmix": 0.0},
        settings=settings,
        runtime=runtime,
        state=state,
        observer=observer,
        team=team,
        title="pre-training, ",
    )
    fit.run()
    network = build(model, classes=len(PLAYBACKS))
    network.load_state_dict(team.share(state and state.best(fit.kept)))
    return network
