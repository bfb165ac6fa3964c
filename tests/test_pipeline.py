"""The pipeline through its real door, `dvc repro` and `dvc exp run`, and what it leaves on disk and in MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import mlflow
import pytest
import yaml
from mlflow.entities import Run

from tests.conftest import Checkout

SIDE = {"top1", "top1_low", "top1_high", "top5", "mean_class", "loss", "ece"} | {
    *("coverage", "certain_top1", "evaluated", "listed")
}


def runs(checkout: Checkout) -> list[Run]:
    client = mlflow.MlflowClient(f"sqlite:///{checkout.path / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, order_by=["attributes.start_time ASC"])


def ran(output: str) -> list[str]:
    """The stages that DVC says it ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_repro_leaves_a_model_numbers_and_figures(reproduced: Checkout):
    left = {
        p.relative_to(reproduced.path).as_posix() for p in (reproduced.path / "artifacts").rglob("*") if p.is_file()
    }
    assert left >= {
        "artifacts/model.pt",
        "artifacts/history.csv",
        "artifacts/metrics.json",
        "artifacts/calibration.json",
        "artifacts/report.html",
        *(f"artifacts/evaluation/{name}.png" for name in ("confusion", "curves", "per_class", "reliability")),
        *(f"artifacts/evaluation/{name}.csv" for name in ("per_class", "predictions")),
    }
    data = reproduced.path / "data"
    assert len(list((data / "raw").rglob("*.avi"))) == len(list((data / "frames").rglob("*.avi"))) == 40
    assert (data / "splits" / "classes.txt").read_text().split()[:2] == ["ArmCircleLeft", "ArmCircleRight"]
    assert list((reproduced.path / ".state" / "train").glob("*/")) == []


def test_metrics_are_complete_and_kept_by_git(reproduced: Checkout):
    metrics = json.loads((reproduced.path / "artifacts/metrics.json").read_text())
    assert metrics.keys() == {"test", "train", "gap", "gap_low", "gap_high"}
    for side in ("test", "train"):
        assert metrics[side].keys() == SIDE
        assert 0 <= metrics[side]["top1_low"] <= metrics[side]["top1"] <= metrics[side]["top1_high"] <= 1
    assert metrics["test"]["listed"] == metrics["test"]["evaluated"] == metrics["train"]["evaluated"] == 10
    assert metrics["gap"] == metrics["train"]["top1"] - metrics["test"]["top1"]
    assert metrics["gap_low"] <= metrics["gap"] <= metrics["gap_high"]
    assert "artifacts/metrics.json" in reproduced.run("git", "ls-files").stdout
    assert "0." in reproduced.run("dvc", "metrics", "show").stdout


def test_dvc_plots_show_curves_and_confusion(reproduced: Checkout, tmp_path: Path):
    reproduced.run("dvc", "plots", "show", "-o", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    assert "val_top1" in page
    assert "predicted" in page


def test_the_run_in_mlflow_is_complete(reproduced: Checkout):
    run = runs(reproduced)[0]
    assert run.info.status == "FINISHED"
    assert run.data.params["train.epochs"] == "2"
    assert not any(name.startswith("runtime.") for name in run.data.params)
    assert {"val_top1", "train_loss", "lr", "test.top1", "gap", "best_epoch"} <= run.data.metrics.keys()
    assert any(name.startswith("system/") for name in run.data.metrics)
    assert run.data.tags["git.dirty"] == "false"
    first = reproduced.run("git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    assert run.data.tags["git.commit"] == first
    assert len(run.data.tags["dataset.sha256"]) == 64
    artifacts = Path(unquote(run.info.artifact_uri.removeprefix("file://")))
    found = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file()}
    assert found >= {
        "checkpoints/epoch-0001.pt",
        "checkpoints/epoch-0002.pt",
        "evaluation/confusion.png",
        "evaluation/metrics.json",
        "evaluation/report.html",
        "evaluation/calibration.json",
    }
    client = mlflow.MlflowClient(f"sqlite:///{reproduced.path / 'mlflow.db'}")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_top1")] == [1, 2]


def test_repro_again_runs_no_more_than_the_inventory(reproduced: Checkout):
    assert ran(reproduced.run("dvc", "repro").stdout) == ["download"]
    assert reproduced.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("# peak learning rate", "# another comment", []),
        ("workers: 0", "workers: 1", []),
        ("lr: 0.002", "lr: 0.001", ["train"]),
        ("views: 2", "views: 3", ["evaluate"]),
    ],
)
def test_a_setting_reruns_what_reads_it(reproduced: Checkout, old: str, new: str, stages: list[str]):
    """Of stages in a row a dry run names the first; that the rest follow is seen where two machines work together."""
    params = reproduced.path / "params.yaml"
    before = params.read_text()
    assert old in before
    params.write_text(before.replace(old, new))
    try:
        would_run = ran(reproduced.run("dvc", "repro", "--dry").stdout)
    finally:
        params.write_text(before)
    assert would_run == ["download", *stages]


def test_experiments_queued_or_not_share_one_mlflow_db(reproduced: Checkout):
    known = {run.info.run_id for run in runs(reproduced)}
    done = reproduced.run("dvc", "exp", "run", "-S", "evaluate.views=1")
    assert ran(done.stdout) == ["download", "evaluate"]
    reproduced.run("dvc", "exp", "run", "--queue", "-S", "train.lr=0.03")
    reproduced.run("dvc", "exp", "run", "--run-all")
    evaluation, training = [run for run in runs(reproduced) if run.info.run_id not in known]
    assert evaluation.data.tags["evaluate.views"] == "1"
    assert evaluation.data.tags["trained in"] in known
    assert training.data.params["train.lr"] == "0.03"
    assert training.info.status == "FINISHED"
    assert "test.top1" in training.data.metrics
    experiments = json.loads(reproduced.run("dvc", "exp", "show", "--json").stdout)
    assert len(experiments[1]["experiments"]) == 2
    reproduced.run("git", "checkout", "-q", ".")
    reproduced.run("dvc", "checkout")


def test_a_queued_experiment_takes_frames_from_the_main_checkout(reproduced: Checkout):
    """Hard links of the files: a second copy of a large dataset would be made otherwise."""
    from src import paths

    copy = reproduced.path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    assert paths.main_checkout(copy) == reproduced.path
    (copy / "src").mkdir(parents=True)
    for module in ("__init__", "command", "files", "paths"):
        (copy / "src" / f"{module}.py").write_text((reproduced.path / "src" / f"{module}.py").read_text())
    code = "from src import files, paths; files.borrow(paths.FRAMES)"
    Checkout(copy, reproduced.env).run("python", "-c", code)
    name = "frames/Walk/v_Walk_g01_c01.avi"
    assert (copy / "data" / name).stat().st_ino == (reproduced.path / "data" / name).stat().st_ino


def test_dvc_repro_notices_what_happens_to_a_folder_of_videos(reproduced: Checkout, tmp_path: Path):
    """Through the inventory: the folder is outside the project, where DVC does not look."""
    videos = tmp_path / "videos"
    for number, video in enumerate(sorted((reproduced.path / "data/raw/Walk").iterdir())):
        for label in ("Walk", "Run"):
            (videos / label).mkdir(parents=True, exist_ok=True)
            (videos / label / f"clip{number}.avi").write_bytes(
                (reproduced.path / f"data/raw/{label}" / video.name.replace("Walk", label)).read_bytes()
            )
    params = reproduced.path / "params.yaml"
    settings = yaml.safe_load(params.read_text())
    settings["dataset"] |= {"name": "folder", "path": str(videos), "mirror": {}}
    params.write_text(yaml.safe_dump(settings))
    try:
        reproduced.run("dvc", "repro", "extract_frames", "split")
        assert ran(reproduced.run("dvc", "repro", "extract_frames", "split").stdout) == ["download"]
        (videos / "Walk" / "clip0.avi").rename(videos / "Walk" / "another.avi")
        assert set(ran(reproduced.run("dvc", "repro", "extract_frames", "split").stdout)) == {
            "download",
            "split",
            "extract_frames",
        }
        assert (reproduced.path / "data/frames/Walk/another.avi").exists()
        assert not (reproduced.path / "data/frames/Walk/clip0.avi").exists()
        # Changed in place, behind the link that stands in data/raw.
        (videos / "Walk" / "clip1.avi").write_bytes((videos / "Run" / "clip1.avi").read_bytes() + b"\0")
        assert "extract_frames" in ran(reproduced.run("dvc", "repro", "extract_frames").stdout)
    finally:
        reproduced.run("git", "checkout", "-q", ".")
        reproduced.run("dvc", "repro")
    assert reproduced.run("git", "status", "--porcelain").stdout == ""
