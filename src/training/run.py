"""The pipeline's settings and videos → a trained network as it is kept, in artifacts/model.pt and in MLflow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from src import paths
from src.model.checkpoint import Checkpoint
from src.model.weights import transfer
from src.training.clips import in_batches, training_clips, validation_views
from src.training.distributed import ALONE, Team
from src.training.fit import Epoch, Fit, Observer
from src.training.memory import memory_named
from src.training.pretrain import pretrain
from src.training.start import Weights, start_from
from src.training.state import TrainingState, fingerprint
from src.video import manifest
from src.video.labels import mirrored_labels
from src.video.manifest import Video

if TYPE_CHECKING:
    from src.settings import Params


LESS_MEMORY = "raise train.accumulate, or lower train.batch, model.frames or model.crop"


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the network of the epoch that is kept, and every epoch's numbers."""

    best: Checkpoint
    history: list[Epoch]


class Recorder(Protocol):
    """Where numbers and checkpoints go: src/tracking/recorder.py, which each of the same step may be given twice."""

    run_id: str

    def points(self, values: Mapping[str, float], *, step: int) -> None: ...

    def checkpoint(self, write: Callable[[Path], None], *, epoch: int, best: int) -> None: ...


def identify(
    params: Params, sides: Iterable[Sequence[Video]], *, classes: list[str], weights: Weights | None = None
) -> dict[str, str]:
    """Fingerprints of a training: `dataset.sha256` of its videos and frames, and `state` of all that decides it.

    With `weights` to start from, also what they are. `state` includes the code: other code would go on with what this
    one left, and answer with its numbers.
    """
    extract = params.extract.of_frames()
    manifest.check_settings(paths.FRAMES, extract=extract)
    data = manifest.fingerprint(sides, extract=extract)
    sections = [params.model.network(), params.augment.model_dump(), params.train.model_dump()]
    if params.pretrain.epochs:
        sections.append(params.pretrain.model_dump())
    start = {"weights": weights.source, "weights.sha256": weights.sha256} if weights else {}
    mirrored = mirrored_labels(classes, params.dataset.mirror)
    key = [sections, mirrored, classes, data, version(), weights and weights.sha256]
    return {"dataset.sha256": data, "state": fingerprint(key)} | start


def version() -> list[str]:
    """Of the code and libraries that decide what a training comes to."""
    sources = [path for part in ("model", "training", "video") for path in (paths.ROOT / "src" / part).glob("*.py")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    return [digest, *(metadata.version(name) for name in ("torch", "torchvision", "numpy", "simplejpeg"))]


def train_network(
    params: Params,
    train: Sequence[Video],
    val: Sequence[Video],
    *,
    classes: list[str],
    state: TrainingState | None,
    recorder: Recorder | None,
    team: Team = ALONE,
    weights: Weights | None = None,
    watch: Observer | None = None,
) -> Trained | None:
    """Pre-train and train as `params` says, and wrap the network of the epoch that is kept; None but in a job's first
    process.

    `state`, `recorder` and `watch`, who is told of the training's epochs after `recorder`, are the first process's.
    """
    model, extract = params.model.network(), params.extract.of_frames()
    data = manifest.fingerprint([train, val], extract=extract)

    def checkpoint(weights: dict[str, Tensor], epoch: int) -> Checkpoint:
        return Checkpoint(weights, model, extract, params.train.precision, classes, epoch, recorder.run_id, data)

    class Told(Observer):
        def step(self, number: int, values: Mapping[str, float]) -> None:
            recorder.points({f"step/{key}": value for key, value in values.items()}, step=number)

        def epoch(
            self, history: list[Epoch], more: Mapping[str, float], weights: dict[str, Tensor], *, kept: int
        ) -> None:
            for row in history:
                recorder.points({key: value for key, value in row.items() if key != "epoch"}, step=int(row["epoch"]))
            recorder.points(more, step=len(history))
            now = checkpoint(weights, len(history))
            recorder.checkpoint(now.save, epoch=now.epoch, best=kept)
            if watch:
                watch.epoch(history, more, weights, kept=kept)

    class ToldOfPretraining(Observer):
        def epoch(
            self, history: list[Epoch], more: Mapping[str, float], weights: dict[str, Tensor], *, kept: int
        ) -> None:
            for row in history:
                values = {f"pretrain/{key}": value for key, value in row.items() if key != "epoch"}
                recorder.points(values, step=int(row["epoch"]))

    mirrored = mirrored_labels(classes, params.dataset.mirror)
    augment, settings = params.augment.model_dump(), params.train.model_dump()
    common = {"model": model, "settings": settings, "runtime": params.runtime.model_dump(), "team": team}
    with memory_named(LESS_MEMORY):
        start = partial(start_from, weights) if weights else None
        if params.pretrain.epochs:
            learnt = pretrain(
                train,
                val,
                augment=augment,
                pretraining=params.pretrain.model_dump(),
                flips=mirrored is not None,
                state=state and state.part("pretrain"),
                observer=ToldOfPretraining() if recorder else Observer(),
                **common,
            )
            start = partial(transfer, learnt)
        fit = Fit(
            training_clips(train, model=model, augment=augment, settings=settings, mirrored=mirrored),
            validation_views(val, model=model),
            [video.label for video in val],
            classes=len(classes),
            **in_batches(augment),
            state=state,
            observer=Told() if recorder else Observer(),
            start=start,
            **common,
        )
        history = fit.run()
    return Trained(checkpoint(state.best(fit.kept), fit.kept), history) if state else None
