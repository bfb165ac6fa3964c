"""Recipes side by side: the folds, the pooled numbers, and a series that is killed and goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mlflow
import pytest

from src.ablation import class_table, fold_table, headline_table, leave_one_group_out, mean_and_deviation, pooled, top1
from src.command import UserError
from src.video.manifest import Video
from tests.conftest import TINY, Checkout, new_checkout
from tests.datasets.official_lists import write_ucf101_lists
from tests.test_train import read_until
from tests.video import clips


def video(name: str, group: str) -> Video:
    return Video(name, Path(name), label=0, group=group, frames=10, sha256=name)


def answer(group: str, label: int, *probabilities: float) -> dict:
    return {"video": f"{group}{label}", "group": group, "label": label, "probabilities": list(probabilities)}


FOLDS = [
    {"train": [answer("b", 0, 0.9, 0.1), answer("b", 1, 0.2, 0.8)], "test": [answer("a", 0, 0.7, 0.3)]},
    {"train": [answer("a", 0, 0.6, 0.4), answer("a", 1, 0.1, 0.9)], "test": [answer("b", 1, 0.8, 0.2)]},
]
"""All four answers on training videos are right, and one of two on test videos."""


def test_every_group_is_tested_once_by_a_network_that_has_not_seen_it():
    videos = [video(f"{group}{number}", group) for group in "abcde" for number in range(2)]
    folds = leave_one_group_out(videos, val=0.3)
    assert list(folds) == list("abcde")
    assert [v.name for v in folds["d"]["test"]] == ["d0", "d1"]
    assert {v.group for v in folds["d"]["val"]} == {"e", "a"}  # 0.3 of 5, the next ones by name
    assert {v.group for v in folds["d"]["train"]} == {"b", "c"}


def test_too_few_groups_are_refused():
    with pytest.raises(UserError, match="needs 3 groups, and there are 2"):
        leave_one_group_out([video("1", "a"), video("2", "b")], val=0.2)


def test_answers_of_all_folds_are_pooled():
    result = pooled(FOLDS, bootstrap=1000, seed=0)
    assert (result["train"]["top1"], result["test"]["top1"], result["gap"]) == (1.0, 0.5, 0.5)
    # Of two groups, one all right and one all wrong, a resampling may hold either alone.
    assert (result["gap_low"], result["gap_high"]) == (0.0, 1.0)


def test_tables_have_a_row_a_net_and_a_column_a_net():
    head = headline_table({"ours": pooled(FOLDS, bootstrap=100, seed=0)})
    assert head.splitlines()[2].startswith("| ours | 100.0% (100.0% – 100.0%) | 50.0% (0.0% – 100.0%) | 50.0 (")
    rows = class_table({"ours": FOLDS}, [("walk",), ("run",), ("walk", "run")], ["walk", "run"]).splitlines()
    assert rows[2:] == ["| walk | 100.0% |", "| run | 0.0% |", "| walk / run | 50.0% |"]


def test_folds_stand_side_by_side_with_mean_and_deviation():
    assert [top1(fold["test"]) for fold in FOLDS] == [1.0, 0.0]
    assert mean_and_deviation([0.8, 0.9, 1.0]) == pytest.approx((0.9, 0.1))  # of a sample: the squares over n - 1
    rows = fold_table({"ours": FOLDS}, ["a", "b"]).splitlines()
    assert rows[0] == "| Net | Videos | a | b | Mean |"
    assert rows[2:] == [
        "| ours | train | 100.0% | 100.0% | 100.0 ± 0.0 % |",
        "| ours | test | 100.0% | 0.0% | 50.0 ± 70.7 % |",
    ]


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
        read_until(first, "default, fold 2 of 3: official-2")
        first.kill()
    table = checkout.run(*series).stdout
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
    assert refused.stderr.endswith("this dataset came with no division; see --leave-one-group-out\n")


def test_a_killed_series_goes_on(reproduced: Checkout, tmp_path: Path):
    path = tmp_path / "project"
    subprocess.run(["cp", "-r", reproduced.path, path], check=True)
    checkout = Checkout(path, reproduced.env)
    series = ("python", "-m", "src.ablation", "default", "still-frames", "--leave-one-group-out")
    with checkout.start(*series) as first:
        read_until(first, "default, fold 3 of 4")
        first.kill()
    done = {each: each.stat().st_mtime_ns for each in (path / "artifacts/ablation").glob("*.json")}
    assert len(done) == 2

    table = checkout.run(*series).stdout
    assert {each: each.stat().st_mtime_ns for each in done} == done
    assert len(list((path / "artifacts/ablation").glob("*.json"))) == 8
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert rows[2:4] == ["default", "still-frames"]
    assert "Walk / Run" in rows
    assert sum(line.endswith("| 40 |") for line in table.splitlines()) == 2


def test_a_recipe_that_changes_the_videos_is_refused(reproduced: Checkout):
    refused = reproduced.run("python", "-m", "src.ablation", "folder", check=False)
    assert refused.returncode == 1
    assert "recipes are compared on the same videos and frames" in refused.stderr
