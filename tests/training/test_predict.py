"""Answers are the mean over views, in evaluation mode."""

import math

import torch

from src.training.predict import predict, predict_views, to_device
from tests.training.test_learner import Brightness, Scripted, clips

CPU = torch.device("cpu")


def test_an_answer_is_the_mean_of_the_softmax_over_views():
    model = Scripted([[0.0, math.log(3)], [math.log(9), 0.0], [0.0, math.log(4)]])
    answers = predict(model, [clips(0, 0), clips(0)], device=CPU, precision="fp32")
    # (1/4, 3/4) and (9/10, 1/10); the softmax of the mean would be another one
    torch.testing.assert_close(answers, torch.tensor([[0.575, 0.425], [0.2, 0.8]]))


def test_few_clips_are_answered_together_and_each_video_gets_its_own_answers():
    counts = [1, 3, 9, 2, 8, 1]
    model = Brightness()
    model.head.weight.data = torch.tensor([[1.0], [-1.0]])
    asked: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: asked.append(len(inputs[0])))
    videos = [clips(*range(10 * number, 10 * number + count)) for number, count in enumerate(counts)]
    together = [*predict_views(model, iter(videos), device=CPU, precision="fp32")]
    assert asked == [13, 10, 1]
    assert [len(answers) for answers in together] == counts
    for views, answers in zip(videos, together, strict=True):
        torch.testing.assert_close(answers, model(to_device(views, CPU)).softmax(1))


def test_answers_are_given_in_evaluation_mode_and_without_gradient():
    model = Scripted([[0.0, 0.0]])
    answers = predict(model.train(), [clips(0)], device=CPU, precision="fp32")
    assert model.asked[0][1] is False
    assert not answers.requires_grad


def test_bf16_answers_are_float32_probabilities():
    answers = predict(Brightness(), [clips(0, 255)], device=CPU, precision="bf16")
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers, torch.tensor([[0.5, 0.5]]))


def test_nothing_asked_is_nothing_answered():
    assert len(predict(Brightness(), [], device=CPU, precision="fp32")) == 0


def test_clips_arrive_normalised_and_channels_last():
    (arrived,) = to_device(clips(255), CPU)
    assert arrived.dtype == torch.float32
    torch.testing.assert_close(arrived, torch.full_like(arrived, 0.55 / 0.225))
    assert to_device(clips(1, 2), CPU).is_contiguous(memory_format=torch.channels_last_3d)
