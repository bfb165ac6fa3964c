"""Settings → how good they are, by validation alone: the score of a training, epoch by epoch while it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import optuna
import torch
from torch import Tensor

from src import paths
from src.command import UserError
from src.model.checkpoint import build
from src.settings import Params
from src.tracking.recorder import Recorder
from src.training import metrics
from src.training.answers import sample
from src.training.clips import validation_views
from src.training.fit import Epoch, Observer
from src.training.loader import loader
from src.training.optim import choose_device
from src.training.predict import predict
from src.video import labels, manifest
from src.video.manifest import Video


@dataclass(frozen=True)
class Data:
    """What all trials are trained and judged on. Test videos are not among it."""

    train: list[Video]
    val: list[Video]
    classes: list[str]

    @classmethod
    def of_pipeline(cls) -> Data:
        """data/frames and data/splits/{train,val}.csv.

        Raises `UserError` naming a validation video that is a test or training video, or of the same group as one.
        """
        classes = labels.class_names(paths.SPLITS)
        train, val, test = (
            manifest.videos(paths.SPLITS / f"{side}.csv", frames=paths.FRAMES, classes=classes)[0]
            for side in ("train", "val", "test")
        )
        _apart(val, test, "val.csv", "test.csv")
        _apart(val, train, "val.csv", "train.csv")
        return cls(train, val, classes)


def _apart(here: Sequence[Video], there: Sequence[Video], this: str, other: str) -> None:
    """Raise `UserError` if two sides share a video, its bytes or a group: settings would be chosen by what leaks."""
    for what in ("name", "sha256", "group"):
        known = {getattr(video, what): video for video in there}
        for video in here:
            if twin := known.get(getattr(video, what)):
                how = {"name": "stands in", "sha256": f"is the same file as {twin.name} in"}
                why = how.get(what, f"is of group {video.group}, as {twin.name} in")
                raise UserError(f"data/splits/{this}: {video.name} {why} {other} too: run `dvc repro split`")


def score(val: float, gap: float, *, penalty: float, tolerance: float) -> float:
    """Validation accuracy, less `penalty` times what the gap has more than `tolerance`."""
    return val - penalty * max(0.0, gap - tolerance)


@dataclass
class Judge(Observer):
    """Looks at a training after each epoch: its score goes to MLflow and Optuna, which may end it there.

    Training accuracy is that of as many training videos as there are validation videos, answered in the same way: one
    clip from the middle, without augmentation. Raises `TrialPruned`, unless `prunable` is false; Optuna does not prune
    a search with two objectives.
    """

    trial: optuna.Trial
    settings: Params
    data: Data
    recorder: Recorder
    prunable: bool
    epochs: list[dict[str, float]] = field(default_factory=list)
    training: float = 0.0
    judging: float = 0.0

    def __post_init__(self) -> None:
        model, runtime = self.settings.model.network(), self.settings.runtime
        videos = sample(self.data.train, len(self.data.val), seed=self.settings.evaluate.seed)
        self.labels = [video.label for video in videos]
        self.device = choose_device(runtime.device)
        self.network = build(model, classes=len(self.data.classes)).to(self.device)
        self.network.to(memory_format=torch.channels_last_3d)
        self.views = loader(validation_views(videos, model=model), workers=runtime.workers, device=self.device)

    def epoch(self, history: list[Epoch], more: Mapping[str, float], weights: dict[str, Tensor], *, kept: int) -> None:
        began = time.monotonic()
        val, train = history[-1]["val_top1"], self._train_accuracy(weights)
        self.judging += time.monotonic() - began
        clips = len(self.data.train) * self.settings.train.windows
        self.training += clips / more["clips_per_second"] if "clips_per_second" in more else 0.0
        how = self.settings.tune
        gap = train - val
        value = score(val, gap, penalty=how.penalty, tolerance=how.tolerance)
        self.epochs.append({"val": val, "train": train, "gap": gap, "score": value})
        points = {f"search/{key}": number for key, number in self.epochs[-1].items()}
        self.recorder.points(points, step=len(history))
        if len(self.trial.study.directions) == 1:
            self.trial.report(value, step=len(history))
            over = len(history) == self.settings.train.epochs
            # Asked of every trial: so it is on the rungs that others are compared on, params.yaml's too.
            if not over and self.trial.should_prune() and self.prunable:
                raise optuna.TrialPruned
        else:
            self.trial.set_user_attr("epoch", len(history))  # also how a worker that was asleep learns of it

    def note(self, *, seconds: float) -> None:
        """Keep with the trial where its `seconds` went, and how many epochs it took."""
        spent = {"training": self.training, "judging": self.judging, "whole": seconds}
        self.trial.set_user_attr("seconds", {key: round(value, 2) for key, value in spent.items()})
        self.trial.set_user_attr("epochs", len(self.epochs))

    def _train_accuracy(self, weights: dict[str, Tensor]) -> float:
        self.network.load_state_dict(weights)
        answers = predict(self.network, self.views, device=self.device, precision=self.settings.train.precision)
        return metrics.accuracy_and_loss(answers.numpy(), self.labels)["top1"]
