"""Recipes side by side: the folds, the pooled numbers, and a series that is killed and goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from src.ablation import class_table, headline_table, leave_one_group_out, pooled
from src.command import UserError
from src.video.manifest import Video
from tests.conftest import Checkout
from tests.test_train import read_until


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
