"""Videos and settings → a trained network, going on from where an interrupted training stopped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from src import paths
from src.model.checkpoint import Checkpoint, build
from src.training import metrics
from src.training.loop import predict, train_epoch
from src.training.optim import build_optimizer, choose_device, learning_rate
from src.training.start import Weights, freeze, start_from
from src.training.state import TrainingState, fingerprint
from src.training.stream import ClipStream
from src.video import manifest
from src.video.dataset import TestViews, TrainingClips
from src.video.labels import mirrored_labels
from src.video.manifest import Video
from src.video.transforms import Augment

if TYPE_CHECKING:
    from src.params import Params

Epoch = dict[str, float]


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the network that did best on validation, the last one, and every epoch's numbers."""

    best: Checkpoint
    last: Checkpoint
    history: list[Epoch]


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
    start = {"weights": weights.source, "weights.sha256": weights.sha256} if weights else {}
    mirrored = mirrored_labels(classes, params.dataset.mirror)
    key = [sections, mirrored, classes, data, _version(), weights and weights.sha256]
    return {"dataset.sha256": data, "state": fingerprint(key)} | start


def _version() -> list[str]:
    sources = [path for part in ("model", "training", "video") for path in (paths.ROOT / "src" / part).glob("*.py")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    return [digest, torch.__version__]


def train_network(
    params: Params,
    train: Sequence[Video],
    val: Sequence[Video],
    *,
    classes: list[str],
    state: TrainingState,
    run_id: str,
    after_epoch: Callable[[list[Epoch]], None],
    weights: Weights | None = None,
) -> Trained:
    """Train as `params` says and wrap the result up; see `fit`. `run_id` is the tracked run that it belongs to."""
    model = params.model.network()
    weights, history = fit(
        train,
        val,
        classes=len(classes),
        mirrored=mirrored_labels(classes, params.dataset.mirror),
        model=model,
        augment=params.augment.model_dump(),
        settings=params.train.model_dump(),
        device=params.runtime.device,
        workers=params.runtime.workers,
        state=state,
        after_epoch=after_epoch,
        start=weights,
    )

    def checkpoint(weights: dict[str, Tensor], epoch: int) -> Checkpoint:
        extract = params.extract.of_frames()
        return Checkpoint(weights, model, extract, params.train.precision, classes, epoch, run_id)

    last = state.load("cpu")["model"]
    return Trained(checkpoint(weights, best_epoch(history)), checkpoint(last, len(history)), history)


def fit(
    train: Sequence[Video],
    val: Sequence[Video],
    *,
    classes: int,
    mirrored: Sequence[int] | None,
    model: dict[str, Any],
    augment: dict[str, Any],
    settings: dict[str, Any],
    device: str,
    workers: int,
    state: TrainingState,
    after_epoch: Callable[[list[Epoch]], None],
    start: Weights | None = None,
) -> tuple[dict[str, Tensor], list[Epoch]]:
    """Train and return the weights of the epoch that did best on `val`, and every epoch's numbers.

    `model`, `augment` and `settings` are the sections of params.yaml (the last one is `train`); `mirrored[label]`
    is what a horizontal flip makes of a label, None forbids flips. `after_epoch` is called with the history so far,
    also with what a resumed training did before. Raises `UserError` on a loss that is not finite.
    """
    where = choose_device(device)
    torch.manual_seed(settings["seed"])
    network = build(model, classes=classes)
    if start:
        start_from(start, network)
    frozen = freeze(network, last=settings["freeze"], norms=settings["freeze_norms"])
    network.to(where, memory_format=torch.channels_last_3d)
    optimizer = build_optimizer(
        network,
        name=settings["optimizer"],
        **{k: settings[k] for k in ("lr", "momentum", "weight_decay", "backbone_lr")},
    )
    shape = {"frames": model["frames"], "stride": model["stride"]}
    clips = TrainingClips(
        train,
        **shape,
        windows=settings["windows"],
        augment=Augment(size=model["crop"], **augment | ({} if mirrored else {"flip": 0.0})),
        mirrored=mirrored,
        seed=settings["seed"],
    )
    stream = ClipStream(len(clips), batch=settings["batch"], seed=settings["seed"])
    batches = loader(clips, workers=workers, device=where, batch_sampler=stream)
    views = loader(TestViews(val, **shape, size=model["crop"], views=1, crops=1), workers=workers, device=where)

    history: list[Epoch] = []
    if saved := state.load("cpu"):
        network.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history = saved["history"]
        print(f"resuming after epoch {len(history)} of {settings['epochs']}")
        after_epoch(history)

    epochs, steps = settings["epochs"], len(stream)
    per_epoch = steps * min(settings["batch"], len(clips))
    with tqdm(total=epochs * per_epoch, initial=len(history) * per_epoch, unit="clip", disable=None) as bar:
        for epoch in range(len(history), epochs):
            # Dropout draws from a generator that each epoch seeds, so that a resumed epoch is the same epoch.
            torch.manual_seed(settings["seed"] * 100_003 + epoch)
            stream.epoch = epoch
            began = time.monotonic()

            def rate(step: int, epoch: int = epoch) -> float:
                schedule = {k: settings[k] for k in ("lr", "epochs", "warmup", "schedule")}
                return learning_rate(epoch + step / steps, **schedule)

            trained = train_epoch(
                network,
                batches,
                optimizer=optimizer,
                rate=rate,
                device=where,
                after_step=bar.update,
                frozen=frozen,
                **{k: settings[k] for k in ("precision", "label_smoothing", "clip_norm")},
            )
            speed = per_epoch / (time.monotonic() - began)
            answers = predict(network, views, device=where, precision=settings["precision"]).numpy()
            tested = metrics.accuracy_and_loss(answers, [video.label for video in val])
            row = {
                "epoch": epoch + 1,
                "lr": rate(0),
                "train_loss": trained["loss"],
                "train_top1": trained["top1"],
                "val_loss": tested["loss"],
                "val_top1": tested["top1"],
            }
            best = not history or _merit(row) > max(map(_merit, history))
            history = [*history, row]
            state.save(
                {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "history": history},
                best=best,
            )
            after_epoch(history)
            left = per_epoch * (epochs - epoch - 1) / speed
            bar.write(
                f"epoch {epoch + 1:3}/{epochs}  loss {row['train_loss']:.3f}  train {row['train_top1']:6.1%}  "
                f"val {row['val_top1']:6.1%}  {speed:.0f} clips/s  {_clock(left)} left{'  best' if best else ''}"
            )
    return state.best(), history


def _clock(seconds: float) -> str:
    """`1:02:03`, or `02:03` if under an hour."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


def best_epoch(history: Sequence[Epoch]) -> int:
    """The number, from 1, of the epoch that did best on validation."""
    return int(max(history, key=_merit)["epoch"])


def _merit(row: Epoch) -> tuple[float, float]:
    """Validation accuracy; among equals, the lower validation loss."""
    return row["val_top1"], -row["val_loss"]


def loader(dataset: Dataset, *, workers: int, device: torch.device, **options: Any) -> DataLoader:
    """A `DataLoader` whose workers stay from epoch to epoch; without further options, items one by one."""
    return DataLoader(
        dataset,
        num_workers=min(workers, len(dataset)),
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        # Its own generator: otherwise it draws from dropout's, and only in the epochs that start workers.
        generator=torch.Generator(),
        **(options or {"batch_size": None}),
    )
