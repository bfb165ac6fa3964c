"""The numbers of one side, the table, a checkpoint's answers against views cut out by hand, and runs out of MLflow."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from src.evaluate import headline, table
from src.model.checkpoint import Checkpoint, build
from src.training.answers import probabilities, sample
from src.training.calibration import Calibration
from src.video import store
from src.video.manifest import Video
from tests.conftest import TINY_MODEL as MODEL
from tests.conftest import Checkout
from tests.test_pipeline import runs

pytestmark = pytest.mark.usefixtures("one_thread")


def video(number: int, *, label: int = 0, group: str = "g1", file: Path = Path("none.avi"), frames: int = 1) -> Video:
    return Video(f"v{number:02}.mp4", file, label, group, frames, "")


def test_a_sample_is_the_same_for_the_same_seed():
    videos = [video(number) for number in range(50)]
    chosen = sample(videos, 20, seed=3)
    random.seed(0)  # what else draws does not matter
    assert sample(videos, 20, seed=3) == chosen
    assert sample(videos, 20, seed=4) != chosen
    assert len(set(chosen)) == 20
    assert chosen == sorted(chosen, key=lambda video: video.name)


def test_a_sample_of_more_than_there_are_is_all():
    videos = [video(number) for number in range(5)]
    assert sample(videos, 5, seed=0) == sample(videos, 9, seed=0) == videos


def test_headline_counts_what_could_not_be_read():
    answers = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    videos = [video(n, label=label, group=f"g{n // 2}") for n, label in enumerate((0, 0, 1, 1))]
    calibration = Calibration(1.0, 0.7, 0.95, 1, 1, 9, "")
    numbers = headline(answers, videos, calibration=calibration, listed=6, bootstrap=1000, seed=0)
    assert (numbers["coverage"], numbers["certain_top1"]) == (0.75, 1.0)  # the wrong answer has a confidence of 0.6
    assert (numbers["evaluated"], numbers["listed"]) == (4, 6)
    assert (numbers["top1"], numbers["top5"], numbers["mean_class"]) == (0.75, 1.0, 0.75)
    assert (numbers["top1_low"], numbers["top1_high"]) == (0.5, 1.0)  # two groups: both the one, or both the other
    assert numbers["loss"] == pytest.approx(-np.log(0.9 * 0.8 * 0.7 * 0.4) / 4)
    assert list(numbers) == [
        *("top1", "top1_low", "top1_high", "top5", "mean_class", "loss", "ece"),
        *("coverage", "certain_top1", "evaluated", "listed"),
    ]


def test_the_table_is_that_of_the_original():
    train = {"top1": 0.975, "top1_low": 0.951, "top1_high": 1.0}
    test = {"top1": 0.9, "top1_low": 0.8666, "top1_high": 0.9333}
    assert table("SlowFast R18, 16 frames", train, test).splitlines() == [
        "Net                     | Training               | Test                  | Gap       ",
        "SlowFast R18, 16 frames | 97.5% (95.1% – 100.0%) | 90.0% (86.7% – 93.3%) | 7.5 points",
    ]


def test_a_gap_may_be_negative():
    side = {"top1_low": 0.0, "top1_high": 1.0}
    assert table("Net", side | {"top1": 0.5}, side | {"top1": 0.75}).endswith("| -25.0 points")


@pytest.mark.parametrize("workers", [0, 2])
def test_answers_are_the_mean_over_views_cut_out_by_hand(tmp_path, workers):
    videos, images = [], []
    for number, length in enumerate((15, 3)):
        noise = np.random.default_rng(number).integers(0, 256, (length, 40, 48, 3), dtype=np.uint8)
        store.write(tmp_path / f"{number}.avi", noise, fps=12.5, quality=95)
        images.append(torch.from_numpy(store.read(tmp_path / f"{number}.avi", range(length))))
        videos.append(video(number, file=tmp_path / f"{number}.avi", frames=length))
    torch.manual_seed(0)
    weights = build(MODEL, classes=3).state_dict()
    weights["head.weight"] *= 30  # else all answers are a third
    checkpoint = Checkpoint(weights, MODEL, {}, "fp32", ["A", "B", "C"], 1, None)

    answers = probabilities(checkpoint, videos, views=2, crops=3, device="cpu", workers=workers, title="test")

    network = checkpoint.network().eval()
    numbers = [[range(8), range(7, 15)], [[0, 1, 2, 2, 2, 2, 2, 2]] * 2]
    for frames, clips, answer in zip(images, numbers, answers, strict=True):
        views = torch.stack([frames[list(n), 4:36, left : left + 32] for n in clips for left in (0, 8, 16)])
        with torch.inference_mode():
            logits = network((views.permute(0, 4, 1, 2, 3) / 255 - 0.45) / 0.225)
        assert answer == pytest.approx(logits.softmax(1).mean(0).numpy(), abs=1e-5)
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    assert answers.sum(1) == pytest.approx([1, 1])


def test_a_checkpoint_that_mlflow_has_is_evaluated_beside_what_dvc_keeps(reproduced: Checkout):
    training = runs(reproduced)[0]
    number, best = training.info.run_id, int(training.data.tags["checkpoint.best"])
    kept = (reproduced.path / "artifacts/metrics.json").read_text()
    try:
        for options, name in ((), number), (("--epoch", "1"), f"{number}-epoch-1"):
            reproduced.run("python", "-m", "src.evaluate", "--run", number, *options)
            folder = reproduced.path / f"artifacts/evaluation-{name}"
            assert {path.name for path in folder.iterdir()} == {
                *("metrics.json", "predictions.csv", "per_class.csv", "per_class.png", "confusion.png"),
                *("reliability.png", "report.html", "calibration.json"),
            }
            if not options or best == 1:  # the same network as artifacts/model.pt
                assert json.loads((folder / "metrics.json").read_text()) == json.loads(kept)
            evaluation = runs(reproduced)[-1]
            assert (evaluation.info.run_name, evaluation.info.status) == ("evaluation", "FINISHED")
            assert evaluation.data.tags["trained in"] == number
            assert evaluation.data.tags.get("evaluate.epoch") == (options[1] if options else None)
        assert (reproduced.path / "artifacts/metrics.json").read_text() == kept
        assert reproduced.run("git", "status", "--porcelain").stdout == ""
    finally:
        for folder in (reproduced.path / "artifacts").glob("evaluation-*"):
            shutil.rmtree(folder)
    missing = reproduced.run("python", "-m", "src.evaluate", "--run", number, "--epoch", "9", check=False)
    assert missing.returncode == 1
    assert f"has no checkpoint of epoch 9 of run {number}: there is 1, 2" in missing.stderr


def write_anew(file: Path, text: str) -> None:
    """Not over what is there: DVC's cache may share its bytes."""
    file.unlink()
    file.write_text(text)


def test_what_was_trained_on_other_videos_or_frames_is_not_evaluated(reproduced: Checkout, tmp_path: Path):
    own = Checkout(tmp_path / "project", reproduced.env)
    subprocess.run(["cp", "-a", reproduced.path, own.path], check=True)
    train, frames = (own.path / "data" / name for name in ("splits/train.csv", "frames/settings.json"))
    write_anew(train, "".join(train.read_text().splitlines(keepends=True)[:-1]))
    number = runs(own)[0].info.run_id
    for options, name in ((), "artifacts/model.pt"), (("--run", number), f"run {number}"):
        refused = own.run("python", "-m", "src.evaluate", *options, check=False)
        assert refused.returncode == 1
        assert f"error: {name} was trained on other videos than data/splits has now" in refused.stderr
    write_anew(frames, json.dumps(json.loads(frames.read_text()) | {"fps": 25.0}))
    refused = own.run("python", "-m", "src.evaluate", check=False)
    assert refused.returncode == 1
    assert "error: the model's extract.fps is 8.0, but data/frames was made with 25.0: train anew" in refused.stderr


def test_an_epoch_without_a_run_is_refused(reproduced: Checkout):
    refused = reproduced.run("python", "-m", "src.evaluate", "--epoch", "1", check=False)
    assert refused.returncode == 2
    assert "--epoch chooses among a run's checkpoints: it needs --run RUN_ID" in refused.stderr
