"""A whole training of a tiny network: exact across interruptions and workers, and the right epoch kept."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from src.command import UserError
from src.training import metrics, run
from src.training.state import TrainingState
from src.video import store
from src.video.manifest import Video
from tests.conftest import TINY_MODEL as MODEL

pytestmark = pytest.mark.usefixtures("one_thread")
AUGMENT = {"crop": "resized", "scale": [0.5, 1.0], "flip": 0.5, "jitter": 0.2, "grey": 0.2}
SETTINGS = {
    "epochs": 3,
    "batch": 4,
    "optimizer": "adamw",
    "lr": 0.002,
    "momentum": 0.9,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup": 1,
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "backbone_lr": 1.0,
    "freeze": None,
    "freeze_norms": False,
    "windows": 2,
    "precision": "fp32",
    "seed": 0,
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Video]:
    """Four videos, two of each class: a bright bar on a dark ground, that moves down or up in the right half."""
    folder = tmp_path_factory.mktemp("frames")
    found = []
    for number in range(4):
        label, frames = number % 2, []
        for time in range(12):
            frame = np.full((40, 44, 3), 10 * number, np.uint8)
            row = 3 * time if label else 36 - 3 * time
            frame[row : row + 4, 22:] = 200
            frames.append(frame)
        file = folder / f"{number}.avi"
        store.write(file, frames, fps=12.5, quality=95)
        found.append(Video(f"{number}.mp4", file, label, f"g{number}", 12, ""))
    return found


def fit(videos: list[Video], folder: Path, *, mirrored=(1, 0), workers=0, after_epoch=lambda history: None, **changes):
    return run.fit(
        videos,
        videos[:3],
        classes=2,
        mirrored=mirrored,
        model=MODEL,
        augment=AUGMENT | changes.pop("augment", {}),
        settings=SETTINGS | changes,
        device="cpu",
        workers=workers,
        state=TrainingState(folder),
        after_epoch=after_epoch,
    )


def last_weights(folder: Path) -> dict[str, Tensor]:
    return TrainingState(folder).load(torch.device("cpu"))["model"]


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert list(first) == list(second)
    assert [name for name in first if not first[name].equal(second[name])] == []


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory) -> tuple[dict[str, Tensor], list[dict], dict[str, Tensor]]:
    """A training in one go: the weights kept, its history and the weights of its last epoch."""
    folder = tmp_path_factory.mktemp("state")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    weights, history = fit(videos, folder)
    torch.set_num_threads(threads)
    return weights, history, last_weights(folder)


def test_an_epoch_says_what_it_did(whole):
    _, history, _ = whole
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert [row["lr"] for row in history] == pytest.approx([0.00002, 0.0015, 0.0005])
    keys = ["epoch", "lr", "train_loss", "train_top1", "val_loss", "val_top1"]
    assert all(list(row) == keys for row in history)
    assert all(0 <= row["train_top1"] <= 1 and row["train_loss"] > 0 for row in history)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_training_is_the_same_training(videos, whole, tmp_path, capsys, workers):
    """Bit for bit, with dropout, augmentation and the optimiser's memory in play."""

    def interrupt(history):
        if len(history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(videos, tmp_path, workers=workers, after_epoch=interrupt)
    torch.manual_seed(123)  # what else went on in between does not matter
    told = []
    weights, history = fit(videos, tmp_path, workers=workers, after_epoch=lambda h: told.append(len(h)))
    assert "resuming after epoch 1 of 3" in capsys.readouterr().out
    assert told == [1, 2, 3]
    assert history == whole[1]
    assert_same(weights, whole[0])
    assert_same(last_weights(tmp_path), whole[2])


def test_an_epoch_broken_off_is_begun_again(videos, whole, tmp_path, monkeypatch):
    train_epoch, epochs = run.train_epoch, []

    def interrupted(*arguments, after_step, **options):
        epochs.append(len(epochs))

        def step(clips: int) -> None:
            if len(epochs) == 2:
                raise KeyboardInterrupt

        return train_epoch(*arguments, after_step=step, **options)

    monkeypatch.setattr(run, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(videos, tmp_path)
    _, history = fit(videos, tmp_path)
    assert history == whole[1]
    assert_same(last_weights(tmp_path), whole[2])


def test_workers_change_nothing(videos, whole, tmp_path):
    weights, history = fit(videos, tmp_path, workers=2)
    assert history == whole[1]
    assert_same(weights, whole[0])


def test_every_epoch_draws_other_clips(videos, tmp_path, monkeypatch):
    clips = []

    def look(network, batches, **options):
        clips.append([clip.numpy().tobytes() for batch, _ in batches for clip in batch])
        return {"loss": 1.0, "top1": 0.5}

    monkeypatch.setattr(run, "train_epoch", look)
    fit(videos, tmp_path)
    assert [len(epoch) for epoch in clips] == [8, 8, 8]
    assert len({clip for epoch in clips for clip in epoch}) == 24


def test_a_finished_training_is_not_trained_again(videos, tmp_path, monkeypatch):
    weights, history = fit(videos, tmp_path, epochs=1, warmup=0)
    monkeypatch.setattr(run, "train_epoch", lambda *arguments, **options: pytest.fail("trained again"))
    told = []
    again, same = fit(videos, tmp_path, epochs=1, warmup=0, after_epoch=told.append)
    assert told == [history]
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
    monkeypatch.setattr(run, "train_epoch", shifted)

    def remember(history):
        weights_of[len(history)] = last_weights(tmp_path)
        if interrupted and len(weights_of) == 2:
            raise KeyboardInterrupt

    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            fit(videos, tmp_path, after_epoch=remember)
        interrupted = False
    weights, history = fit(videos, tmp_path, after_epoch=remember)
    assert run.best_epoch(history) == best
    assert [epoch for epoch in (1, 2, 3) if weights["head.weight"].equal(weights_of[epoch]["head.weight"])] == [best]


def shifted(network, batches, **options) -> dict[str, float]:
    """In place of an epoch of training: other weights."""
    with torch.no_grad():
        network.head.weight += 1
    return {"loss": 1.0, "top1": 0.5}


@pytest.mark.parametrize(("mirrored", "flipped"), [(None, False), ((1, 0), True)])
def test_nothing_is_flipped_where_that_is_forbidden(videos, tmp_path, monkeypatch, mirrored, flipped):
    """The bar is in the right half; a class is a direction, so that the video says which label it had."""
    found = []

    def look(network, batches, **options):
        for clips, labels in batches:
            for clip, label in zip(clips.float(), labels.tolist(), strict=True):
                left, right = clip[0, :, :, :16].mean(), clip[0, :, :, 16:].mean()
                rows = clip[0, :, :, 10:].mean(2).argmax(1)
                found.append((bool(left > right), label == int(rows[-1] > rows[0])))
        return {"loss": 1.0, "top1": 0.5}

    monkeypatch.setattr(run, "train_epoch", look)
    monkeypatch.setattr(run, "predict", lambda *_, **__: torch.full((3, 2), 0.5))
    fit(videos, tmp_path, mirrored=mirrored, augment={"crop": "corner", "flip": 1.0, "jitter": 0.0, "grey": 0.0})
    assert len(found) == 3 * 8
    assert set(found) == {(flipped, not flipped)}


def test_a_loss_that_is_not_finite_leaves_the_last_epoch(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "learning_rate", lambda epoch, **_: 1e30 if epoch >= 1 else 0.001)
    with pytest.raises(UserError, match=r"lower train\.lr"):
        fit(videos, tmp_path, optimizer="sgd", clip_norm=None)
    assert len(TrainingState(tmp_path).load(torch.device("cpu"))["history"]) == 1


def test_progress_counts_the_clips_there_are(videos, tmp_path, monkeypatch):
    """Also with fewer clips than a batch, or the time left would be wrong."""
    bars = []

    class Bar(run.tqdm):
        def __init__(self, **options):
            super().__init__(**options | {"disable": False, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(run, "tqdm", Bar)
    fit(videos[:2], tmp_path / "small", batch=16, epochs=2)
    fit(videos, tmp_path / "large", batch=3, epochs=2)
    assert [(bar.n, bar.total) for bar in bars] == [(8, 8), (12, 12)]
