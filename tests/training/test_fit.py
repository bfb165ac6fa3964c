"""A whole training of a tiny network: exact across interruptions and workers, and the right epoch kept."""

import io
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src.command import UserError
from src.training import fit as module
from src.training import metrics
from src.training.fit import Observer, best_epoch
from src.training.state import TrainingState
from src.video.manifest import Video
from tests.conftest import TINY_MODEL
from tests.training.toy import draw, fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Video]:
    return draw(tmp_path_factory.mktemp("frames"))


class Told(Observer):
    """Remembers what it is told, and calls `act` with the number of each step."""

    def __init__(self, act=lambda number: None):
        self.steps, self.epochs, self.weights, self.act = [], [], [], act

    def step(self, number, values):
        self.steps.append((number, values))
        self.act(number)

    def epoch(self, history, more, weights, *, kept):
        self.epochs.append((history, more))
        self.weights.append({name: value.clone() for name, value in weights.items()})


def trained(videos: list[Video], folder: Path, **options) -> tuple[dict[str, Tensor], list[dict]]:
    """The weights that a training ends with, and its history."""
    training = fit(videos, folder, **options)
    history = training.run()
    return training.learner.answering.state_dict(), history


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def last_weights(folder: Path) -> dict[str, Tensor]:
    return TrainingState(folder).load("cpu")["learner"]["model"]


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert list(first) == list(second)
    assert [name for name in first if not first[name].equal(second[name])] == []


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """A training in one go: the last weights, the best ones, its history, and what an observer was told."""
    folder, told = tmp_path_factory.mktemp("state"), Told()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    weights, history = trained(videos, folder, observer=told)
    torch.set_num_threads(threads)
    return weights, TrainingState(folder).best(best_epoch(history)), history, told


def test_an_epoch_says_what_it_did(whole):
    *_, history, _ = whole
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["lr"] for row in history] == pytest.approx([0.00002, 0.0015, 0.0005])
    keys = ["epoch", "lr", "train_loss", "train_top1", "gradient_norm", "gradient_norm_max", "val_loss", "val_top1"]
    assert all(list(row) == keys for row in history)
    assert all(0 <= row["train_top1"] <= 1 and row["train_loss"] > 0 for row in history)
    assert all(0 < row["gradient_norm"] <= row["gradient_norm_max"] for row in history)


def test_an_observer_is_told_of_steps_and_epochs(whole):
    *_, history, told = whole
    assert [number for number, _ in told.steps] == [1, 2, 3, 4, 5, 6]
    assert all(values.keys() == {"loss", "gradient_norm", "lr"} for _, values in told.steps)
    for epoch, row in enumerate(history):
        of_it = [values for _, values in told.steps[2 * epoch : 2 * epoch + 2]]
        assert sum(values["loss"] for values in of_it) / 2 == pytest.approx(row["train_loss"])
        assert max(values["gradient_norm"] for values in of_it) == row["gradient_norm_max"]
    assert [len(epochs) for epochs, _ in told.epochs] == [1, 2, 3]
    assert all(more["clips_per_second"] > 0 for _, more in told.epochs)
    assert_same(told.weights[-1], whole[0])


def test_an_observer_is_told_of_every_so_many_steps(videos, tmp_path):
    told = Told()
    fit(videos, tmp_path, observer=told, runtime={"log_every": 4}).run()
    assert [number for number, _ in told.steps] == [4]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [1, 2, 3, 6])
def test_an_interrupted_training_goes_on_with_the_next_step(videos, whole, tmp_path, capsys, step, workers):
    """Bit for bit, with dropout, augmentation and the optimiser's memory in play."""

    def act(number):
        if number == step:
            interrupt()

    first, second = Told(act), Told()
    with pytest.raises(KeyboardInterrupt):
        fit(videos, tmp_path, observer=first, runtime={"workers": workers}).run()
    torch.manual_seed(123)  # what else went on in between does not matter
    weights, history = trained(videos, tmp_path, observer=second, runtime={"workers": workers})
    assert "resuming after epoch" in capsys.readouterr().out
    assert history == whole[2]
    assert_same(weights, whole[0])
    assert_same(TrainingState(tmp_path).best(best_epoch(history)), whole[1])
    assert [number for number, _ in first.steps + second.steps][-1] == 6
    assert dict(first.steps + second.steps) == dict(whole[3].steps)
    # It is seen when the next step begins, which is still done, or while the epoch's last is validated.
    assert len(first.steps) == step + step % 2
    assert len(first.steps) + len(second.steps) == 6


@pytest.mark.parametrize("save_every", [1, 2, 3])
def test_killed_at_any_step_it_repeats_what_was_not_saved(videos, whole, tmp_path, save_every):
    """As with kill -9: what was told after the last save is told again, the same."""

    class Killed(BaseException):
        pass

    def act(number):
        if number == 4:
            raise Killed

    first, second = Told(act), Told()
    with pytest.raises(Killed):
        fit(videos, tmp_path, observer=first, runtime={"save_every": save_every}).run()
    weights, history = trained(videos, tmp_path, observer=second, runtime={"save_every": save_every})
    assert second.steps[0][0] == {1: 4, 2: 3, 3: 4}[save_every]
    assert dict(first.steps + second.steps) == dict(whole[3].steps)
    assert history == whole[2]
    assert_same(weights, whole[0])


def test_interrupted_while_validating_it_goes_on_with_that(videos, whole, tmp_path, monkeypatch):
    predict = module.predict

    def interrupted(network, views, **options):
        interrupt()
        return predict(network, views, **options)

    monkeypatch.setattr(module, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(videos, tmp_path).run()
    monkeypatch.setattr(module, "predict", predict)
    told = Told()
    weights, history = trained(videos, tmp_path, observer=told)
    assert [number for number, _ in told.steps] == [3, 4, 5, 6]
    assert history == whole[2]
    assert_same(weights, whole[0])


def test_with_all_that_a_state_holds_it_is_still_the_same(videos, tmp_path):
    """Averaged weights, a scaled loss, several parts of a batch, norms set anew, mixed clips."""
    settings = {"precision": "fp16", "ema": 0.7, "precise_bn": 1, "accumulate": 2, "epochs": 2, "optimizer": "sgd"}
    settings |= {"augment": {"mixup": 0.8, "cutmix": 1.0}}

    def act(number):
        if number == 3:
            interrupt()

    weights, history = trained(videos, tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(videos, tmp_path / "parts", observer=Told(act), **settings).run()
    again, same = trained(videos, tmp_path / "parts", **settings)
    assert same == history
    assert_same(again, weights)
    kept = [TrainingState(tmp_path / name).best(best_epoch(history)) for name in ("parts", "whole")]
    assert_same(*kept)


def test_a_save_that_fails_leaves_the_best_that_its_state_knows(videos, tmp_path, monkeypatch):
    """The next epoch was better, its weights were kept already, and then the disk was full."""
    scores = iter([(0.5, 1.0), (0.9, 1.0)])
    monkeypatch.setattr(metrics, "accuracy_and_loss", lambda *_: dict(zip(("top1", "loss"), next(scores), strict=True)))
    save = TrainingState.save

    def full(state, content):
        if len(content["history"]) == 2:
            raise UserError("the disk is full")
        save(state, content)

    monkeypatch.setattr(TrainingState, "save", full)
    with pytest.raises(UserError, match="full"):
        fit(videos, tmp_path).run()
    history = TrainingState(tmp_path).load("cpu")["history"]
    assert best_epoch(history) == 1
    assert TrainingState(tmp_path).best(1).keys() == last_weights(tmp_path).keys()


def test_workers_change_nothing(videos, whole, tmp_path):
    weights, history = trained(videos, tmp_path, runtime={"workers": 2})
    assert history == whole[2]
    assert_same(weights, whole[0])


def clips_of(monkeypatch) -> list[list[bytes]]:
    """Where the clips of each epoch will be found, in place of training on them."""
    clips = []

    def look(learner, stream, batches, **options):
        clips.append([clip.numpy().tobytes() for batch, *_ in batches for clip in batch])
        options["after_step"](module.Step(1.0, 1.0, 1.0, 1.0, False))

    monkeypatch.setattr(module, "train_epoch", look)
    return clips


def test_every_epoch_draws_other_clips(videos, tmp_path, monkeypatch):
    clips = clips_of(monkeypatch)
    fit(videos, tmp_path).run()
    assert [len(epoch) for epoch in clips] == [8, 8, 8]
    assert len({clip for epoch in clips for clip in epoch}) == 24


def test_a_finished_training_is_not_trained_again(videos, tmp_path, monkeypatch):
    weights, history = trained(videos, tmp_path, epochs=1, warmup=0)
    monkeypatch.setattr(module, "train_epoch", lambda *arguments, **options: pytest.fail("trained again"))
    again, same = trained(videos, tmp_path, epochs=1, warmup=0)
    assert same == history
    assert_same(again, weights)


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.5, 1.0), (0.9, 2.0), (0.7, 0.1)], 2),  # accuracy first
        ([(0.5, 1.0), (0.5, 0.8), (0.5, 0.9)], 2),  # among equals the lower loss
        ([(0.5, 1.0), (0.4, 0.1), (0.5, 1.0)], 1),  # among equals in both the first
    ],
)
def test_the_epoch_that_did_best_on_validation_is_kept(videos, tmp_path, monkeypatch, scores, best, interrupted):
    left, weights_of = iter(scores), {}
    monkeypatch.setattr(metrics, "accuracy_and_loss", lambda *_: dict(zip(("top1", "loss"), next(left), strict=True)))

    class Remember(Observer):
        def epoch(self, history, more, weights, *, kept):
            weights_of[len(history)] = weights["head.weight"].clone()

        def step(self, number, values):
            if interrupted and number == 4:
                interrupt()

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            fit(videos, tmp_path, observer=Remember()).run()
    _, history = trained(videos, tmp_path, observer=Remember())
    assert best_epoch(history) == best
    kept = TrainingState(tmp_path).best(best)["head.weight"]
    assert [epoch for epoch in (1, 2, 3) if kept.equal(weights_of[epoch])] == [best]


@pytest.mark.parametrize(("mirrored", "flipped"), [(None, False), ((1, 0), True)])
def test_nothing_is_flipped_where_that_is_forbidden(videos, tmp_path, monkeypatch, mirrored, flipped):
    """The bar is in the right half; a class is a direction, so that the video says which label it had."""
    found = []

    def look(learner, stream, batches, **options):
        for clips, labels, _ in batches:
            for clip, label in zip(clips.float(), labels.tolist(), strict=True):
                left, right = clip[0, :, :, :16].mean(), clip[0, :, :, 16:].mean()
                rows = clip[0, :, :, 10:].mean(2).argmax(1)
                found.append((bool(left > right), label == int(rows[-1] > rows[0])))
        options["after_step"](module.Step(1.0, 1.0, 1.0, 1.0, False))

    monkeypatch.setattr(module, "train_epoch", look)
    augment = {"crop": "corner", "flip": 1.0, "jitter": 0.0, "grey": 0.0, "randaugment": 0, "erase": 0.0}
    augment["speed"] = [1.0, 1.0]
    fit(videos, tmp_path, mirrored=mirrored, augment=augment).run()
    assert len(found) == 3 * 8
    assert set(found) == {(flipped, not flipped)}


def test_a_loss_that_is_not_finite_leaves_the_last_epoch(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(module.Schedule, "rate", lambda schedule, epoch, losses: 1e30 if epoch >= 1 else 0.001)
    with pytest.raises(UserError, match=r"lower train\.lr"):
        fit(videos, tmp_path, optimizer="sgd", clip_norm=None).run()
    assert len(TrainingState(tmp_path).load("cpu")["history"]) == 1


def test_progress_counts_the_clips_there_are(videos, tmp_path, monkeypatch):
    """Also with fewer clips than a batch, or the time left would be wrong."""
    bars = []

    class Bar(module.tqdm):
        def __init__(self, **options):
            super().__init__(**options | {"disable": False, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(module, "tqdm", Bar)
    fit(videos[:2], tmp_path / "small", batch=16, epochs=2).run()
    fit(videos, tmp_path / "large", batch=3, epochs=2).run()
    assert [(bar.n, bar.total) for bar in bars] == [(8, 8), (12, 12)]


@pytest.mark.parametrize(
    ("scores", "ends", "kept"),
    [
        ([0.5, 0.4, 0.5, 0.6, 0.9], 3, 1),  # among equals the later is no better
        ([0.5, 0.4, 0.6, 0.5, 0.6], 5, 3),
    ],
)
def test_early_stopping_ends_after_so_many_epochs_that_are_not_better(
    videos, tmp_path, monkeypatch, capsys, scores, ends, kept
):
    left = iter(scores)
    monkeypatch.setattr(metrics, "accuracy_and_loss", lambda *_: {"top1": next(left), "loss": 1.0})
    training = fit(videos, tmp_path, epochs=5, early_stopping=2)
    history = training.run()
    assert [row["val_top1"] for row in history] == scores[:ends]
    assert training.kept == kept
    said = f"no epoch after {kept} was better: train.early_stopping"
    assert (said in capsys.readouterr().out) == (ends < 5)
    assert fit(videos, tmp_path, epochs=5, early_stopping=2).run() == history


def test_the_last_epoch_is_kept_on_request(videos, tmp_path, monkeypatch):
    left = iter([0.5, 0.9, 0.1])
    monkeypatch.setattr(metrics, "accuracy_and_loss", lambda *_: {"top1": next(left), "loss": 1.0})
    told = []

    class Kept(Observer):
        def epoch(self, history, more, weights, *, kept):
            told.append(kept)

    training = fit(videos, tmp_path, keep="last", observer=Kept())
    training.run()
    assert told == [1, 2, 3]
    assert_same(TrainingState(tmp_path).best(training.kept), training.learner.answering.state_dict())
    assert [path.name for path in tmp_path.glob("best-*.pt")] == ["best-0003.pt"]


def test_a_plateau_lowers_the_rate_of_later_epochs_also_after_an_interruption(videos, tmp_path, monkeypatch):
    def losses():
        left = iter([1.0, 2.0, 2.0, 2.0])
        monkeypatch.setattr(metrics, "accuracy_and_loss", lambda *_: {"top1": 0.5, "loss": next(left)})
        return left

    settings = {"schedule": "plateau", "patience": 1, "gamma": 0.5, "warmup": 0, "epochs": 4}
    losses()
    _, history = trained(videos, tmp_path / "whole", **settings)
    assert [row["lr"] for row in history] == [0.002, 0.002, 0.002, 0.001]
    left = losses()
    with pytest.raises(KeyboardInterrupt):
        fit(videos, tmp_path / "parts", observer=Told(lambda number: number == 7 and interrupt()), **settings).run()
    monkeypatch.setattr(metrics, "accuracy_and_loss", lambda *_: {"top1": 0.5, "loss": next(left)})
    assert trained(videos, tmp_path / "parts", **settings)[1] == history


def test_the_learning_rate_is_scaled_to_the_batch_on_request(videos, tmp_path):
    rates = {}
    for lr_batch in (None, 4, 2):
        _, history = trained(videos, tmp_path / str(lr_batch), lr_batch=lr_batch, epochs=1, warmup=0)
        rates[lr_batch] = history[0]["lr"]
    assert rates[2] == 2 * rates[4] == 2 * rates[None] == 0.004


def test_a_batch_in_parts_is_the_same_batch(videos, tmp_path):
    """With norms frozen and nothing dropped, where the cut is makes no difference but rounding."""
    same = {"freeze_norms": True, "model": TINY_MODEL | {"dropout": 0.0}, "batch": 8, "optimizer": "sgd"}
    whole, parts = Told(), Told()
    fit(videos, tmp_path / "whole", observer=whole, **same).run()
    fit(videos, tmp_path / "parts", observer=parts, accumulate=3, **same).run()
    for (_, first), (_, second) in zip(whole.steps, parts.steps, strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)
        assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-3)


def test_averaged_weights_are_validated_and_kept(videos, tmp_path):
    """By hand: the mean begins with the first step's weights, and each later step takes 30 % of the way."""

    seen = []
    look = Told(lambda number: seen.append(training.learner.network.head.weight.detach().clone()))
    training = fit(videos, tmp_path, observer=look, ema=0.7, epochs=1, warmup=0)
    training.run()
    weights = training.learner.answering.state_dict()
    first, second = seen
    torch.testing.assert_close(weights["head.weight"], 0.7 * first + 0.3 * second)
    assert TrainingState(tmp_path).best(1)["head.weight"].equal(weights["head.weight"])
    assert last_weights(tmp_path)["head.weight"].equal(second)


def test_norms_are_set_to_the_means_of_clips_seen(videos, tmp_path):
    """The first norm sees the stem's convolution of the clips, whose mean anyone can compute."""
    training = fit(videos, tmp_path, precise_bn=2, epochs=1, warmup=0, lr=1e-12)
    stem = training.learner.network.fast.stem
    means = []
    hook = stem.conv.register_forward_hook(lambda module, inputs, output: means.append(output.mean((0, 2, 3, 4))))
    training.run()
    hook.remove()
    # Two steps of training, then the same two batches for the norms, then validation.
    torch.testing.assert_close(stem.bn.running_mean, (means[2] + means[3]) / 2, rtol=1e-4, atol=0)
    assert stem.bn.momentum == 0.1


def test_a_compiled_network_is_trained_and_saved_under_its_own_names(videos, whole, tmp_path, monkeypatch):
    compile_, backends = nn.Module.compile, []

    def eagerly(network, **options):
        backends.append(network)
        compile_(network, backend="eager")  # traced as ever, without minutes of a C++ compiler

    monkeypatch.setattr(nn.Module, "compile", eagerly)
    weights, history = trained(videos, tmp_path, runtime={"compile": True})
    assert len(backends) == 1
    assert_same(weights, whole[0])
    assert history == whole[2]
