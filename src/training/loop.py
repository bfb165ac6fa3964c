"""One epoch of training: the stream's batches through the learner, from any step on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from src.training.learner import Learner, Part, Step
from src.training.stream import ClipStream


@dataclass(frozen=True)
class Totals:
    """Sums over the steps of an epoch so far, kept with a training's state: a resumed epoch reports all of it."""

    loss: float = 0.0
    correct: float = 0.0
    clips: float = 0.0
    norms: float = 0.0
    largest_norm: float = 0.0
    measured: int = 0

    def plus(self, step: Step) -> Totals:
        """With one step more; a norm that overflowed is left out."""
        known = math.isfinite(step.gradient_norm)
        norm = step.gradient_norm if known else 0.0
        return Totals(
            loss=self.loss + step.loss,
            correct=self.correct + step.correct,
            clips=self.clips + step.clips,
            norms=self.norms + norm,
            largest_norm=max(self.largest_norm, norm),
            measured=self.measured + known,
        )

    def means(self) -> dict[str, float]:
        """`train_loss` and `train_top1` over the augmented clips; mean and largest gradient norm, before clipping."""
        return {
            "train_loss": self.loss / self.clips,
            "train_top1": self.correct / self.clips,
            "gradient_norm": self.norms / max(1, self.measured),
            "gradient_norm_max": self.largest_norm,
        }


def train_epoch(
    learner: Learner,
    stream: ClipStream,
    batches: Iterable[Part],
    *,
    rate: Callable[[int], float],
    stop: Callable[[], bool],
    after_step: Callable[[Step], None],
) -> None:
    """Train on the batches of `stream`, which has begun and which `batches` loads from.

    `rate(step)` is the learning rate. `stop` says whether this process was told to stop, which the step tells all.
    """
    parts = iter(batches)
    for step in range(stream.first, stream.last):
        after_step(
            learner.step(
                list(islice(parts, len(stream.mine))),
                batch=stream.batch,
                epoch=stream.epoch,
                step=step,
                part=stream.mine.start,
                rate=rate(step),
                stop=stop(),
            )
        )
