"""Recipes side by side: series that are killed and go on, and what the command says."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from pathlib import Path

import mlflow
import psutil
import pytest

from src import tables
from src.series.tables import mean_and_deviation
from tests.conftest import TINY, Checkout, new_checkout
from tests.datasets.official_lists import write_ucf101_lists
from tests.test_train import read_until
from tests.tracking.trainings import wait_for
from tests.video import clips


@pytest.fixture
def own(reproduced: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the reproduced checkout: what fails or is killed leaves a state and a spool to go on from."""
    path = tmp_path / "project"
    subprocess.run(["cp", "-a", reproduced.path, path], check=True)
    return Checkout(path, reproduced.env)


UCF101 = [
    *("dataset.partial=true", "dataset.classes=[Archery, Surfing]", "split.val=0.2", "dataset.mirror={}"),
    *("train.epochs=1", "extract.short_side=32"),
]


def test_all_official_splits_are_run_by_one_command_and_nested_under_one_run(tmp_path: Path):
    """UCF101, of which a few clips of two classes are there: three groups for each split to test on, and two more."""
    checkout = new_checkout(tmp_path / "project")
    write_ucf101_lists(tmp_path / "lists")
    for label, level in (("Archery", 0), ("Surfing", 20)):
        for group in (1, 2, 8, 9, 15, 16, 22, 23):
            clip = tmp_path / "UCF-101" / label / f"v_{label}_g{group:02}_c01.avi"
            clips.write(clip, clips.numbered(31)[level : level + 9], codec="mpeg4", metadata={"title": clip.stem})
    places = [f"dataset.path={tmp_path / 'UCF-101'}", f"dataset.lists={tmp_path / 'lists'}"]
    changes = [part for setting in [*TINY, *places, *UCF101] for part in ("--set", setting)]
    checkout.run("python", "-m", "src.params", "apply", "ucf101", *changes, "--set", "model.depth=18")
    checkout.run("dvc", "repro", "extract_frames", "split")

    series = ("python", "-m", "src.ablation", "default", "--official-splits")
    with checkout.start(*series) as first:
        read_until(first, "default, 2 of 3: official-2")
        # The series' own, and the second run's: in which run of MLflow they go on.
        wait_for(lambda: len(list(checkout.path.glob(".state/ablation/*/spool"))) == 2)
        first.kill()
    done = {each: each.stat().st_mtime_ns for each in (checkout.path / "artifacts/ablation").glob("*.json")}
    assert len(done) == 1
    table = checkout.run(*series).stdout
    assert {each: each.stat().st_mtime_ns for each in done} == done
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert ["Net", "Videos", "official-1", "official-2", "official-3", "Mean"] in rows
    (tested,) = [row for row in rows if row[:2] == ["default", "test"]]
    accuracies = [float(cell.rstrip("%")) for cell in tested[2:5]]
    mean, deviation = mean_and_deviation(accuracies)
    assert tested[5] == f"{mean:.1f} ± {deviation:.1f} %"

    answers = [json.loads(path.read_text()) for path in sorted((checkout.path / "artifacts/ablation").glob("*.json"))]
    assert [{row["group"][-3:] for row in fold["test"]} for fold in answers] == [
        {"g01", "g02"},
        {"g08", "g09"},
        {"g15", "g16"},
    ]
    client = mlflow.MlflowClient(f"sqlite:///{checkout.path / 'mlflow.db'}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    (parent,) = [run for run in found if "folds" in run.data.tags]
    nested = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.tags["fold"] for run in nested) == ["official-1", "official-2", "official-3"]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert parent.data.metrics["test.top1"] == pytest.approx(mean / 100, abs=1e-6)
    assert parent.data.tags["source.dataset"] == "ucf101"
    assert not any(name.startswith("split.") for run in found for name in run.data.params)

    assert table.endswith(checkout.run(*series).stdout)
    assert len(client.get_metric_history(parent.info.run_id, "test.top1")) == 1

    for group in (1, 2):
        for label in ("Archery", "Surfing"):
            (tmp_path / "UCF-101" / label / f"v_{label}_g{group:02}_c01.avi").unlink()
    checkout.run("python", "-m", "src.download")
    two = checkout.run(*series)
    assert "note: official split 1 is left out: split.number: of the videos that are there, none is on" in two.stderr
    assert "| Net | Videos | official-2 | official-3 | Mean |" in two.stdout


def test_official_splits_are_asked_of_a_dataset_that_has_some(reproduced: Checkout):
    refused = reproduced.run("python", "-m", "src.ablation", "default", "--official-splits", check=False)
    assert refused.returncode == 1
    assert refused.stderr.endswith("this dataset came with no division; see --folds and --leave-one-group-out\n")


def test_two_recipes_leave_out_the_same_group_and_stand_side_by_side(own: Checkout):
    series = ("python", "-m", "src.ablation", "default", "still-frames", "--leave-one-group-out", "--fold", "g01")
    table = own.run(*series).stdout
    assert len(list((own.path / "artifacts/ablation").glob("*.json"))) == 2
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert rows[2:4] == ["default", "still-frames"]
    assert "Walk / Run" in rows
    assert sum(line.endswith("| 10 |") for line in table.splitlines()) == 2


def test_a_recipe_that_changes_the_videos_is_refused(reproduced: Checkout):
    refused = reproduced.run("python", "-m", "src.ablation", "folder", check=False)
    assert refused.returncode == 1
    assert "recipes are compared on the same videos and frames" in refused.stderr


def plan(checkout: Checkout, *arguments: str) -> list[dict]:
    return json.loads(checkout.run("python", "-m", "src.ablation", *arguments, "--plan").stdout)


def trainings_of(series: subprocess.Popen) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(series.pid).children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # it has just ended
            found += [child] if "--only" in child.cmdline() else []
    return found


def test_folds_and_seeds_are_done_two_at_a_time_and_one_by_one_to_the_same_end(own: Checkout):
    """Interrupted too: Ctrl-C reaches the trainings, and what they had done is not done again."""
    checkout, path = own, own.path
    series = ("still-frames", "--folds", "2", "--seeds", "2")
    before = plan(checkout, *series)
    assert [(run["recipe"], run["fold"], run["seed"], run["done"]) for run in before] == [
        ("still-frames", fold, seed, False) for fold in ("fold-1", "fold-2") for seed in (0, 1)
    ]
    assert [run["settings"]["train"]["seed"] for run in before] == [0, 1, 0, 1]

    with checkout.start("python", "-m", "src.ablation", *series, "--jobs", "2") as first:
        wait_for(lambda: list((path / "artifacts" / "ablation").glob("*.json")))
        first.send_signal(signal.SIGINT)
        assert "interrupted: the same command goes on from here" in first.stdout.read()
    answers = [Path(run["answers"]) for run in before]
    done = {each: each.stat().st_mtime_ns for each in answers if each.exists()}
    assert 1 <= len(done) < 4  # the third has only begun

    with checkout.start("python", "-m", "src.ablation", *series, "--jobs", "2") as second:
        wait_for(lambda: len(trainings_of(second)) == min(2, 4 - len(done)))
        trainings = trainings_of(second)
        second.kill()
    psutil.wait_procs(trainings)  # they end by themselves, or the next series would find their states locked
    table = checkout.run("python", "-m", "src.ablation", *series, "--jobs", "2").stdout
    assert {each: each.stat().st_mtime_ns for each in done} == done
    assert "| Net | Videos | fold-1 | fold-2 | Mean |" in table
    assert not list((path / ".state" / "ablation").glob("*.log"))

    together = [json.loads(each.read_text()) for each in answers]
    answers[1].unlink()  # to be done by itself
    checkout.run("python", "-m", "src.ablation", *series, "--set", "runtime.workers=1")
    assert [json.loads(each.read_text()) for each in answers] == together
    tested = [row["video"] for answers in together[::2] for row in answers["test"]]
    assert len(tested) == len(set(tested)) == 40

    client = mlflow.MlflowClient(f"sqlite:///{path / 'mlflow.db'}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    parents = [run.info.run_id for run in found if run.data.tags.get("runs") == "4"]
    nested = [run for run in found if run.data.tags.get("mlflow.parentRunId") in parents]
    # One that is stopped before it has noted which run is its own leaves that KILLED, and takes another.
    assert {run.info.status for run in nested} <= {"FINISHED", "KILLED"}
    whole = [(run.data.tags["fold"], run.data.params["train.seed"]) for run in nested if run.info.status == "FINISHED"]
    four = [(fold, seed) for fold in ("fold-1", "fold-2") for seed in "01"]
    assert sorted(whole) == sorted([*four, ("fold-1", "1")])


def test_to_choose_settings_validation_videos_are_answered_and_no_test_video(own: Checkout):
    checkout, path = own, own.path
    test = tables.read(path / "data" / "splits" / "test.csv")
    for row in test:  # whoever looked at one would fail
        (path / "data" / "frames" / row["video"]).with_suffix(".avi").unlink()
    done = checkout.run("python", "-m", "src.ablation", "still-frames", "--validation")
    assert "| Net | Training | Validation | Gap, points | Videos tested |" in done.stdout
    (answers,) = (path / "artifacts/ablation").glob("*.json")
    answered = [row["video"] for row in json.loads(answers.read_text())["test"]]
    assert answered == [row["video"] for row in tables.read(path / "data" / "splits" / "val.csv")]
    assert not plan(checkout, "still-frames")[0]["done"]


def test_a_run_that_fails_is_named_with_what_it_said(own: Checkout):
    failed = own.run(
        *("python", "-m", "src.ablation", "default", "--folds", "2", "--jobs", "2"),
        *("--set", "train.lr=1e30", "--set", "train.optimizer=sgd", "--set", "train.clip_norm=null"),
        check=False,
    )
    assert failed.returncode == 1
    said = failed.stderr.splitlines()
    assert said[-2].startswith("error: default, fold-")
    assert "lower train.lr" in said[-2]
    assert said[-1].startswith("see ")


def test_a_training_that_is_not_the_planned_one_any_more_is_refused(own: Checkout):
    """As a series starts it, after params.yaml has been edited: its answers would be looked for elsewhere."""
    series = ("still-frames", "--folds", "2")
    planned = plan(own, *series)[0]
    key = Path(planned["answers"]).stem.rpartition("-")[2]
    edited, only = ("--set", "train.lr=0.03"), ("--only", "still-frames", "fold-1", str(planned["seed"]), key)
    refused = own.run("python", "-m", "src.ablation", *series, *edited, *only, check=False)
    assert refused.returncode == 1
    assert "have changed since the command was started" in refused.stderr
    assert not list((own.path / "artifacts" / "ablation").glob("*.json"))


def test_two_recipes_of_one_name_are_refused(own: Checkout):
    (own.path / "another").mkdir()
    (own.path / "another" / "still-frames.yaml").write_text("train:\n  lr: 0.1\n")
    both = ("still-frames", "another/still-frames.yaml")
    refused = own.run("python", "-m", "src.ablation", *both, "--plan", check=False)
    assert refused.returncode == 1
    assert "another/still-frames.yaml: another recipe is called still-frames too" in refused.stderr


def test_a_fold_that_there_is_not_is_named(reproduced: Checkout):
    asked = ("python", "-m", "src.ablation", "default", "--folds", "2", "--fold", "fold-3")
    refused = reproduced.run(*asked, check=False)
    assert refused.stderr == "error: --fold fold-3: there is none of that name, but fold-1, fold-2\n"
