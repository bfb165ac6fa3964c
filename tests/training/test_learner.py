"""The training step, on networks whose gradient can be written down."""

import math

import pytest
import torch
from torch import Tensor, nn

from src.command import UserError
from tests.training.toy import learner, step


class Brightness(nn.Module):
    """Logits from a clip's mean brightness."""

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


class Noisy(Brightness):
    """Brightness, and with it a number that training draws."""

    def forward(self, clips: Tensor) -> Tensor:
        self.drawn = torch.rand(())
        return super().forward(clips) + 0 * self.drawn


def clips(*brightness: int) -> Tensor:
    """Uniform clips, `(B, 3, 2, 4, 4)` uint8."""
    return torch.tensor(brightness, dtype=torch.uint8)[:, None, None, None, None].expand(-1, 3, 2, 4, 4)


DARK_AND_BRIGHT = (clips(20, 230), torch.tensor([0, 1]))


def test_training_lowers_the_loss():
    taught = learner(Brightness())
    done = [step(taught, DARK_AND_BRIGHT) for _ in range(30)]
    assert done[0].loss / 2 == pytest.approx(math.log(2))
    assert done[-1].loss / 2 < 0.2
    assert done[-1].correct == 2


def test_a_step_sums_over_all_clips_of_all_parts():
    model = Scripted([[0.0, math.log(3)]] * 3, [[0.0, math.log(3)]] * 2)
    parts = [(clips(0, 0, 0), torch.tensor([1, 1, 0])), (clips(0, 0), torch.tensor([1, 1]))]
    done = step(learner(model), *parts, rate=0.0)
    assert done.loss == pytest.approx(-(4 * math.log(3 / 4) + math.log(1 / 4)))
    assert (done.correct, done.clips, done.stop) == (4, 5, False)


def test_label_smoothing_spreads_the_target():
    model = Scripted([[0.0, math.log(3)]])
    done = step(learner(model, label_smoothing=0.2), (clips(0), torch.tensor([1])))
    assert done.loss == pytest.approx(-0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4))


def test_mixed_clips_have_mixed_targets():
    """The loss is linear in the target, and these two mixtures have between them one whole of each class."""
    model = Scripted([[0.0, math.log(3)]] * 2)
    done = step(learner(model, augment={"mixup": 1.0}), (clips(0, 255), torch.tensor([0, 1])))
    assert done.loss == pytest.approx(-math.log(3 / 4) - math.log(1 / 4), rel=1e-5)
    low, high = ((value - 0.45) / 0.225 for value in (0, 1))
    means = model.asked[0][0].mean((1, 2, 3, 4)).tolist()
    assert sum(means) == pytest.approx(low + high, rel=1e-4)
    assert all(low < mean < high for mean in means)


def test_a_rate_is_shared_out_to_groups():
    model = Brightness()
    groups = [{"params": [model.head.weight], "share": 0.1}, {"params": [model.head.bias]}]
    optimizer = torch.optim.SGD(groups, lr=9.0)
    step(learner(model, optimizer=optimizer), DARK_AND_BRIGHT, rate=0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5]


def test_each_step_has_a_gradient_of_its_own():
    gradients = []
    for steps in (1, 3):
        taught = learner(Brightness())
        for number in range(steps):
            step(taught, DARK_AND_BRIGHT, rate=0.0, number=number)
        gradients.append(taught.network.head.weight.grad)
    assert gradients[0].abs().max() > 0
    assert gradients[0].equal(gradients[1])


def test_the_gradient_is_that_of_the_whole_batch_however_it_is_cut():
    gradients = []
    for cut in ([3], [1, 2], [1, 1, 1]):
        taught = learner(Brightness())
        shades, labels = clips(20, 120, 230).split(cut), torch.tensor([0, 1, 1]).split(cut)
        step(taught, *zip(shades, labels, strict=True), rate=0.0)
        gradients.append(taught.network.head.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


@pytest.mark.parametrize(("clip_norm", "length"), [(None, None), (0.01, 0.01), (100.0, None)])
def test_a_gradient_is_never_longer_than_clip_norm(clip_norm, length):
    model = Brightness()
    done = step(learner(model, clip_norm=clip_norm), DARK_AND_BRIGHT, rate=1.0)
    moved = torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).norm().item()
    # One step from zero weights at rate 1 is the gradient; by hand, brightness b moves both rows by (p - target) * b.
    low, high = ((value / 255 - 0.45) / 0.225 for value in (20, 230))
    gradient = math.sqrt(2) * (high - low) / 4
    assert moved == pytest.approx(length or gradient, rel=1e-4)
    assert done.gradient_norm == pytest.approx(gradient, rel=1e-4)


def test_what_a_step_draws_follows_from_its_place():
    def drawn(seed: int = 0, **place) -> float:
        taught = learner(Noisy(), seed=seed)
        step(taught, DARK_AND_BRIGHT, **place)
        return taught.network.drawn.item()

    first = drawn(epoch=1, number=2, part=3)
    torch.manual_seed(77)
    assert drawn(epoch=1, number=2, part=3) == first
    others = [{"seed": 5}, {"epoch": 0}, {"number": 1}, {"part": 2}]
    assert len({first} | {drawn(**{"epoch": 1, "number": 2, "part": 3} | change) for change in others}) == 5


def test_a_later_part_draws_as_if_it_were_first_in_another_process():
    together, apart = learner(Noisy()), learner(Noisy())
    step(together, DARK_AND_BRIGHT, DARK_AND_BRIGHT)
    step(apart, DARK_AND_BRIGHT, part=1)
    assert together.network.drawn == apart.network.drawn


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_advice(value):
    taught = learner(Scripted([[0.0, 0.0]], [[value, 0.0]]))
    batch = (clips(0), torch.tensor([1]))
    step(taught, batch, rate=0.5)
    before = taught.network.weight.detach().clone()
    with pytest.raises(UserError, match=r"step 1 .* learning rate of 0\.5: lower train\.lr") as error:
        step(taught, batch, rate=0.5, number=1)
    assert "\n" not in str(error.value)
    assert torch.equal(taught.network.weight, before)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_spoiled():
    model = Brightness()
    model.head.weight.register_hook(lambda gradient: gradient * float("nan"))
    before = model.head.weight.detach().clone()
    with pytest.raises(UserError, match="the gradient is nan at step 0"):
        step(learner(model), DARK_AND_BRIGHT)
    assert torch.equal(model.head.weight, before)


def test_a_float16_overflow_leaves_the_step_out_and_scales_less():
    """The loss is scaled by 65,536 to begin with; a gradient that is then too large for float16 is no fault."""
    model = Brightness()
    factor = {"now": math.inf}
    model.head.weight.register_hook(lambda gradient: gradient * factor["now"])
    taught = learner(model, precision="fp16")
    assert step(taught, DARK_AND_BRIGHT).gradient_norm == math.inf
    assert not model.head.weight.any()
    assert taught.scaler.get_scale() == 32768
    factor["now"] = 1.0
    assert math.isfinite(step(taught, DARK_AND_BRIGHT).gradient_norm)
    assert model.head.weight.any()
    factor["now"] = math.inf
    for _ in range(14):
        step(taught, DARK_AND_BRIGHT)
    assert taught.scaler.get_scale() == 2
    step(taught, DARK_AND_BRIGHT)
    with pytest.raises(UserError, match="the gradient is inf"):
        step(taught, DARK_AND_BRIGHT)


def test_training_puts_the_network_into_training_mode_and_leaves_frozen_parts():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept, self.head = nn.BatchNorm3d(3), Brightness()

        def forward(self, clips: Tensor) -> Tensor:
            return self.head(self.kept(clips))

    model = Two()
    step(learner(model, frozen=[model.kept]), DARK_AND_BRIGHT)
    assert model.training
    assert not model.kept.training
    assert model.kept.num_batches_tracked == 0


def test_a_process_that_is_told_to_stop_tells():
    assert step(learner(Brightness()), DARK_AND_BRIGHT, stop=True).stop is True


def test_averaged_weights_are_a_running_mean():
    taught = learner(Brightness(), ema=0.9)
    seen = []
    for number in range(3):
        step(taught, DARK_AND_BRIGHT, number=number)
        seen.append(taught.network.head.weight.detach().clone())
    mean = 0.9 * (0.9 * seen[0] + 0.1 * seen[1]) + 0.1 * seen[2]
    torch.testing.assert_close(taught.answering.head.weight, mean)
    assert learner(network := Brightness()).answering is network


@pytest.mark.parametrize("settings", [{"ema": 0.9}, {"precision": "fp16"}, {}])
def test_a_learner_goes_on_from_a_saved_state(settings):
    def taught() -> tuple:
        model = Brightness()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
        return learner(model, optimizer=optimizer, **settings)

    whole, first, second = taught(), taught(), taught()
    for number in range(4):
        step(whole, DARK_AND_BRIGHT, number=number)
    for number in range(2):
        step(first, DARK_AND_BRIGHT, number=number)
    second.load_state_dict(first.state_dict())
    for number in range(2, 4):
        step(second, DARK_AND_BRIGHT, number=number)
    assert torch.equal(second.network.head.weight, whole.network.head.weight)
    assert torch.equal(second.answering.head.weight, whole.answering.head.weight)
    assert second.scaler.get_scale() == whole.scaler.get_scale()


def test_norms_are_set_alike_whatever_was_drawn_before():
    """A resumed training comes to them without the steps that were made before."""
    clips, found = torch.randint(256, (4, 3, 2, 8, 8), dtype=torch.uint8), []
    for seed in (1, 2):
        network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm3d(3))
        torch.manual_seed(seed)
        learner(network).set_norms([(clips, torch.zeros(4), torch.arange(4))], epoch=3)
        found.append(network[1].running_mean)
    assert torch.equal(*found)
