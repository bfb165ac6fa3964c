"""The training step and the averaged answers, on networks that fit in one line."""

import math

import pytest
import torch
from torch import Tensor, nn

from src.command import UserError
from src.training.loop import predict, to_device, train_epoch

CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Logits from a clip's mean brightness: a network whose gradient can be written down."""

    def __init__(self, classes: int = 2):
        super().__init__()
        self.head = nn.Linear(1, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(clips.mean((1, 2, 3, 4))[:, None])


class Scripted(nn.Module):
    """Gives out one set of logits after the other, and remembers what it was asked, and in which mode."""

    def __init__(self, *answers: list[list[float]]):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.answers = [torch.tensor(answer) for answer in answers]
        self.asked: list[tuple[Tensor, bool]] = []

    def forward(self, clips: Tensor) -> Tensor:
        self.asked.append((clips, self.training))
        return self.answers[len(self.asked) - 1] + self.weight


def clips(*brightness: int) -> Tensor:
    """Uniform clips, `(B, 3, 2, 4, 4)` uint8."""
    return torch.tensor(brightness, dtype=torch.uint8)[:, None, None, None, None].expand(-1, 3, 2, 4, 4)


DARK_AND_BRIGHT = [(clips(20, 230), torch.tensor([0, 1]))]


def epoch(model: nn.Module, batches, *, optimizer=None, **changes) -> dict[str, float]:
    settings = {"rate": lambda step: 0.1, "label_smoothing": 0.0, "clip_norm": None, "after_step": lambda clips: None}
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.0)
    return train_epoch(model, batches, optimizer=optimizer, device=CPU, precision="fp32", **{**settings, **changes})


def test_training_lowers_the_loss():
    model = Brightness()
    results = [epoch(model, DARK_AND_BRIGHT * 3) for _ in range(10)]
    assert results[0]["loss"] < math.log(2)  # which it is before the first step
    assert results[-1]["loss"] < 0.2
    assert results[-1]["top1"] == 1.0


def test_loss_and_accuracy_are_means_over_clips():
    model = Scripted([[0.0, math.log(3)]] * 3, [[0.0, math.log(3)]])
    batches = [(clips(0, 0, 0), torch.tensor([1, 1, 0])), (clips(0), torch.tensor([1]))]
    result = epoch(model, batches, rate=lambda step: 0.0)
    assert result["loss"] == pytest.approx(-(3 * math.log(3 / 4) + math.log(1 / 4)) / 4)
    assert result["top1"] == 0.75


def test_label_smoothing_spreads_the_target():
    model = Scripted([[0.0, math.log(3)]])
    result = epoch(model, [(clips(0), torch.tensor([1]))], label_smoothing=0.2)
    assert result["loss"] == pytest.approx(-0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4))


def test_each_step_has_its_own_rate_and_tells_of_its_clips():
    model = Brightness()
    optimizer = torch.optim.SGD(model.parameters(), lr=9.0)
    rates, told = [], []
    epoch(
        model,
        [(clips(0, 0), torch.tensor([0, 1])), (clips(0), torch.tensor([0])), (clips(0), torch.tensor([1]))],
        optimizer=optimizer,
        rate=lambda step: 0.1 * step,
        after_step=lambda clips: (told.append(clips), rates.append(optimizer.param_groups[0]["lr"])),
    )
    assert rates == [0.0, 0.1, 0.2]
    assert told == [2, 1, 1]


def test_each_step_has_a_gradient_of_its_own():
    gradients = []
    for steps in (1, 3):
        model = Brightness()
        epoch(model, DARK_AND_BRIGHT * steps, rate=lambda step: 0.0)
        gradients.append(model.head.weight.grad)
    assert gradients[0].abs().max() > 0
    assert gradients[0].equal(gradients[1])


@pytest.mark.parametrize(("clip_norm", "length"), [(None, None), (0.01, 0.01), (100.0, None)])
def test_a_gradient_is_never_longer_than_clip_norm(clip_norm, length):
    model = Brightness()
    epoch(model, DARK_AND_BRIGHT, rate=lambda step: 1.0, clip_norm=clip_norm)
    step = torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).norm().item()
    # One step from zero weights at rate 1 is the gradient; by hand, brightness b moves both rows by (p - target) * b.
    low, high = ((value / 255 - 0.45) / 0.225 for value in (20, 230))
    gradient = math.sqrt(2) * (high - low) / 4
    assert step == pytest.approx(length or gradient, rel=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_advice(value):
    model = Scripted([[0.0, 0.0]], [[value, 0.0]])
    batches = [(clips(0), torch.tensor([1]))] * 2
    with pytest.raises(UserError, match=r"step 1 .* learning rate of 0\.5: lower train\.lr") as error:
        epoch(model, batches, rate=lambda step: 0.5)
    assert "\n" not in str(error.value)
    assert len(model.asked) == 2


def test_training_puts_the_network_into_training_mode():
    model = Scripted([[0.0, 0.0]])
    epoch(model.eval(), [(clips(0), torch.tensor([1]))])
    assert model.asked[0][1] is True


def test_an_answer_is_the_mean_of_the_softmax_over_views():
    model = Scripted([[0.0, math.log(3)], [math.log(9), 0.0]], [[0.0, math.log(4)]])
    answers = predict(model, [clips(0, 0), clips(0)], device=CPU, precision="fp32")
    # (1/4, 3/4) and (9/10, 1/10); the softmax of the mean would be another one
    torch.testing.assert_close(answers, torch.tensor([[0.575, 0.425], [0.2, 0.8]]))


def test_answers_are_given_in_evaluation_mode_and_without_gradient():
    model = Scripted([[0.0, 0.0]])
    answers = predict(model.train(), [clips(0)], device=CPU, precision="fp32")
    assert model.asked[0][1] is False
    assert not answers.requires_grad


def test_bf16_answers_are_float32_probabilities():
    answers = predict(Brightness(), [clips(0, 255)], device=CPU, precision="bf16")
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers, torch.tensor([[0.5, 0.5]]))


def test_clips_arrive_normalised_and_channels_last():
    (arrived,) = to_device(clips(255), CPU)
    assert arrived.dtype == torch.float32
    assert arrived.flatten().tolist() == pytest.approx([0.55 / 0.225] * arrived.numel())
    assert to_device(clips(1, 2), CPU).is_contiguous(memory_format=torch.channels_last_3d)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_spoiled():
    network = Brightness()
    network.head.weight.register_hook(lambda gradient: gradient * float("nan"))
    before = network.head.weight.detach().clone()
    with pytest.raises(UserError, match="the gradient is nan at step 0"):
        epoch(network, DARK_AND_BRIGHT, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    assert torch.equal(network.head.weight, before)
