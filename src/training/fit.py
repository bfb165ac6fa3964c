"""Clips and settings → trained weights: epochs, validation, and a state to go on from at any step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

from src.model.checkpoint import build
from src.model.slowfast import SlowFast
from src.training import metrics
from src.training.colours import Colours
from src.training.distributed import ALONE, Team, broken_off
from src.training.heap import give_freed_memory_back, keep_freed_memory
from src.training.interrupt import held_back
from src.training.learner import Learner, Step
from src.training.loader import batched, loader
from src.training.loop import Totals, train_epoch
from src.training.mixing import Mix
from src.training.optim import Schedule, build_optimizer, choose_device
from src.training.predict import predict
from src.training.start import freeze
from src.training.state import TrainingState
from src.training.stream import ClipStream

Epoch = dict[str, float]


class Observer:
    """Who is told of a training while it goes on, and here does not care.

    It is told before the state is saved, so that it misses nothing; after an interruption the same may come again.
    """

    def step(self, number: int, values: Mapping[str, float]) -> None:
        """Numbers of one step, counted from 1 over all epochs."""

    def epoch(self, history: list[Epoch], more: Mapping[str, float], weights: dict[str, Tensor], *, kept: int) -> None:
        """All epochs so far; of the last one, what no two runs have in common, as its speed, and its weights.

        `kept` is the number of the one to keep.
        """


class Fit:
    """One training. `model`, `settings` (of `train`) and `runtime` are sections of params.yaml.

    It learns from `clips`, which are asked for by `(epoch, draw)`, and is validated on `views`, `(V, 3, T, H, W)` each,
    whose `labels` are known. `colours` and `mix` are settings of `Colours` and `Mix`; `start`, if given, writes the
    weights to start from into a new network. `state` is where it goes on from and saves to; it and `observer` are the
    first process's alone.
    `title` is printed before each epoch.
    """

    def __init__(
        self,
        clips: Dataset,
        views: Dataset,
        labels: Sequence[int],
        *,
        classes: int,
        model: dict[str, Any],
        colours: dict[str, float],
        mix: dict[str, float],
        settings: dict[str, Any],
        runtime: dict[str, Any],
        state: TrainingState | None,
        observer: Observer,
        team: Team = ALONE,
        start: Callable[[SlowFast], None] | None = None,
        title: str = "",
    ):
        self.settings, self.runtime, self.state, self.observer, self.team = settings, runtime, state, observer, team
        self.labels, self.title = labels, title
        self.device = choose_device(runtime["device"])
        if self.device.type == "cpu":
            keep_freed_memory()
            give_freed_memory_back()  # of a training before, in this process
        peak = settings["lr"] * (settings["batch"] / settings["lr_batch"] if settings["lr_batch"] else 1)
        shape = {field.name: settings[field.name] for field in fields(Schedule) if field.name != "lr"}
        self.schedule = Schedule(lr=peak, **shape)
        seed = settings["seed"]
        changes = {"colours": Colours(**colours, seed=seed), "mix": Mix(**mix, classes=classes, seed=seed)}
        self.learner = self._learner(model, classes, start, **changes)
        parts = settings["accumulate"]
        self.stream = ClipStream(
            len(clips),
            batch=settings["batch"],
            seed=seed,
            parts=parts * team.size,
            mine=range(parts * team.rank, parts * (team.rank + 1)),
        )
        workers = {"workers": runtime["workers"], "device": self.device}
        self.batches = loader(clips, **workers, batch_sampler=self.stream, collate_fn=batched)
        self.views = loader(Subset(views, team.divide(range(len(labels)))), **workers)
        self.validated = False
        self.history: list[Epoch] = []
        self.step, self.totals = 0, Totals()  # of the epoch that has begun

    def _learner(
        self,
        model: dict[str, Any],
        classes: int,
        start: Callable[[SlowFast], None] | None,
        **changes: Colours | Mix,
    ) -> Learner:
        settings = self.settings
        torch.manual_seed(settings["seed"])
        network: nn.Module = build(model, classes=classes)
        if start:
            start(network)
        if settings["sync_bn"] and self.device.type == "cuda" and self.team.size > 1:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        frozen = freeze(network, last=settings["freeze"], norms=settings["freeze_norms"])
        network.to(self.device, memory_format=torch.channels_last_3d)
        optimizer = {key: settings[key] for key in ("momentum", "nesterov", "weight_decay", "backbone_lr")}
        return Learner(
            network,
            optimizer=build_optimizer(network, name=settings["optimizer"], lr=self.schedule.lr, **optimizer),
            device=self.device,
            team=self.team,
            **changes,
            frozen=frozen,
            compiled=self.runtime["compile"],
            **{key: settings[key] for key in ("precision", "label_smoothing", "clip_norm", "ema", "seed")},
        )

    def run(self) -> list[Epoch]:
        """Train to the end; returns every epoch's numbers. The weights to keep are `state.best(fit.kept)`.

        Raises `UserError` on a loss that is not finite, and `KeyboardInterrupt` when the step in which a signal came
        is done and saved.
        """
        self._resume()
        epochs, clips = self.settings["epochs"], self.stream.steps * self.stream.batch
        before = len(self.history) * clips + self.step * self.stream.batch
        quiet = None if self.team.first else True
        with (
            tqdm(total=epochs * clips, initial=before, unit="clip", disable=quiet) as bar,
            held_back() as stop,
            _interrupted_rather_than_broken_off(stop),
        ):
            for epoch in range(len(self.history), epochs):
                if self._stands_still():
                    if self.team.first:
                        best = best_epoch(self.history)
                        bar.write(f"{self.title}no epoch after {best} was better: train.early_stopping")
                    break
                speed = self._train(epoch, bar, stop)
                row = {
                    "epoch": epoch + 1,
                    "lr": self._rate(epoch, 0),
                    **self.totals.means(),
                    **self._validate(epoch, stop),
                }
                best = self._keep(row, speed)
                if self.team.first:
                    left = _clock(clips * (epochs - epoch - 1) / speed) if speed else "?"
                    numbers = (
                        f"loss {row['train_loss']:.3f}  train {row['train_top1']:6.1%}  val {row['val_top1']:6.1%}  "
                        f"{speed:.0f} clips/s  {left} left{'  best' if best else ''}"
                    )
                    bar.write(f"{self.title}epoch {epoch + 1:3}/{epochs}  {numbers}")
        return self.history

    def _resume(self) -> None:
        saved = self.team.share(self.state and self.state.load("cpu"))
        if not saved:
            return
        self.learner.load_state_dict(saved["learner"])
        self.history, self.step, self.totals = saved["history"], saved["step"], Totals(**saved["totals"])
        if self.team.first and len(self.history) < self.settings["epochs"]:
            within = f", step {self.step} of {self.stream.steps}" if self.step else ""
            print(f"{self.title}resuming after epoch {len(self.history)} of {self.settings['epochs']}{within}")

    def _save(self) -> None:
        if self.state:
            place = {"history": self.history, "step": self.step, "totals": asdict(self.totals)}
            self.state.save({"learner": self.learner.state_dict()} | place)

    def _rate(self, epoch: int, step: int) -> float:
        return self.schedule.rate(epoch + step / self.stream.steps, [row["val_loss"] for row in self.history])

    @property
    def kept(self) -> int:
        """The number, from 1, of the epoch to keep, of those so far."""
        return len(self.history) if self.settings["keep"] == "last" else best_epoch(self.history)

    def _stands_still(self) -> bool:
        """Whether it is time for `early_stopping`."""
        patience = self.settings["early_stopping"]
        return bool(patience and self.history) and len(self.history) - best_epoch(self.history) >= patience

    def _train(self, epoch: int, bar: tqdm, stop: Callable[[], bool]) -> float:
        """Train what is left of an epoch; returns clips a second."""

        def after_step(step: Step) -> None:
            self.step, self.totals = self.step + 1, self.totals.plus(step)
            bar.update(self.stream.batch)
            number = epoch * self.stream.steps + self.step
            if number % self.runtime["log_every"] == 0:
                values = {"loss": step.loss / step.clips, "gradient_norm": step.gradient_norm}
                self.observer.step(number, values | {"lr": self._rate(epoch, self.step - 1)})
            if step.stop or number % self.runtime["save_every"] == 0:
                self._save()
            if step.stop:
                raise KeyboardInterrupt

        began, left = time.monotonic(), self.stream.steps - self.step
        self.stream.begin(epoch, step=self.step)
        train_epoch(
            self.learner,
            self.stream,
            self.batches,
            rate=lambda step: self._rate(epoch, step),
            stop=stop,
            after_step=after_step,
        )
        return left * self.stream.batch / (time.monotonic() - began)

    def _validate(self, epoch: int, stop: Callable[[], bool]) -> dict[str, float]:
        """Loss and accuracy on all validation videos, each answered by one process."""
        self._save()
        if self.settings["precise_bn"]:
            self.stream.begin(epoch, until=self.settings["precise_bn"])
            self.learner.set_norms(_until(stop, self.batches), epoch=epoch)
        if not self.validated:  # the workers that load for it are forked now
            give_freed_memory_back()
        self.validated = True
        network, precision = self.learner.answering, self.settings["precision"]
        part = predict(network, _until(stop, self.views), device=self.device, precision=precision)
        tested = metrics.accuracy_and_loss(self.team.unite(part).numpy(), self.labels)
        return {"val_loss": tested["loss"], "val_top1": tested["top1"]}

    def _keep(self, row: Epoch, speed: float) -> bool:
        """Note an epoch that is done, and save; returns whether it is the best so far."""
        self.history = [*self.history, row]
        best = self.kept == len(self.history)
        self.step, self.totals = 0, Totals()
        weights = self.learner.answering.state_dict()
        more = {"clips_per_second": speed} if speed else {}
        if self.device.type == "cuda":
            more["gpu_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
        self.observer.epoch(self.history, more, weights, kept=self.kept)
        if best and self.state:
            self.state.save_best(weights, epoch=len(self.history))
        self._save()
        if self.state:
            self.state.drop_others(self.kept)
        return best


def best_epoch(history: Sequence[Epoch]) -> int:
    """The number, from 1, of the epoch that did best on validation."""
    return int(max(history, key=_merit)["epoch"])


def _merit(row: Epoch) -> tuple[float, float]:
    """Validation accuracy; among equals, the lower validation loss."""
    return row["val_top1"], -row["val_loss"]


def _clock(seconds: float) -> str:
    """`1:02:03`, or `02:03` if under an hour."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


def _until(stop: Callable[[], bool], items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if stop():
            raise KeyboardInterrupt
        yield item


@contextmanager
def _interrupted_rather_than_broken_off(stop: Callable[[], bool]) -> Iterator[None]:
    """Ctrl-C ends the other processes as well: that a collective fails for that reason is no error."""
    try:
        yield
    except RuntimeError as error:
        if stop() and broken_off(error):
            raise KeyboardInterrupt from None
        raise
