"""An epoch: its steps in order, from any one on, and what they add up to."""

import math

import pytest
import torch

from src.training.learner import Step
from src.training.loop import Totals, train_epoch
from src.training.stream import ClipStream
from tests.training.test_learner import Brightness, clips
from tests.training.toy import learner


def batches(stream: ClipStream):
    """What a loader makes of the stream's keys: a clip's brightness is its draw."""
    for keys in stream:
        draws = [draw for _, draw in keys]
        yield clips(*draws), torch.tensor([draw % 2 for draw in draws]), torch.tensor(draws)


def run(stream: ClipStream, *, told: list[bool] | None = None) -> tuple[list[Step], list[int]]:
    """The steps, and the learning rate of each, of which step n's is n."""
    taught, steps, rates = learner(Brightness()), [], []
    answers = iter(told or [])

    def after(step: Step) -> None:
        steps.append(step)
        rates.append(taught.optimizer.param_groups[0]["lr"])

    train_epoch(taught, stream, batches(stream), rate=float, stop=lambda: next(answers, False), after_step=after)
    return steps, rates


def test_an_epoch_has_a_step_for_each_batch():
    steps, rates = run(ClipStream(11, batch=4, seed=0))
    assert [step.clips for step in steps] == [4, 4]
    assert rates == [0, 1]


def test_an_epoch_begins_where_the_stream_does():
    stream = ClipStream(24, batch=4, seed=0)
    stream.begin(0, step=4)
    assert run(stream)[1] == [4, 5]


def test_several_parts_are_one_step():
    steps, _ = run(ClipStream(16, batch=8, seed=0, parts=4, mine=range(4)))
    assert [step.clips for step in steps] == [8, 8]


def test_a_step_tells_that_it_is_to_be_the_last():
    steps, _ = run(ClipStream(12, batch=4, seed=0), told=[False, True])
    assert [step.stop for step in steps] == [False, True, False]


def test_totals_are_means_over_clips_and_over_the_norms_that_are_known():
    totals = Totals()
    for loss, correct, count, norm in ((3.0, 1, 4, 2.0), (5.0, 3, 4, math.inf), (1.0, 2, 2, 6.0)):
        totals = totals.plus(Step(loss, correct, count, norm, False))
    assert totals.means() == pytest.approx(
        {"train_loss": 0.9, "train_top1": 0.6, "gradient_norm": 4.0, "gradient_norm_max": 6.0}
    )
