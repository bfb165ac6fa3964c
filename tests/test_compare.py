"""Two evaluations by all that names one: files, folders, runs in MLflow, revisions that DVC knows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from src import compare, evaluated
from src.command import UserError
from src.evaluated import Evaluated
from tests.conftest import Checkout
from tests.test_pipeline import runs

GIVEN = {"bootstrap": 200, "seed": 0}


def side(name: str, answers: dict[str, str], settings: dict[str, str] | None = None) -> Evaluated:
    """Answers by clips like `g1/Run1`, whose group and class stand in its name."""
    rows = {
        clip: {"video": clip, "group": clip[:2], "actual": clip[3:].rstrip("0123456789"), "predicted": answer}
        for clip, answer in answers.items()
    }
    return Evaluated(name, rows, settings)


def answers(right: int, *, of: int = 24) -> dict[str, str]:
    """`of` clips of Run and Walk in turn, in groups of two; the first `right` are answered rightly."""
    names = [f"g{number // 2 % 10}/{'Run' if number % 2 else 'Walk'}{number}" for number in range(of)]
    return {name: name[3:].rstrip("0123456789") if n < right else "Jump" for n, name in enumerate(names)}


def test_a_comparison_says_how_much_where_and_in_which_settings():
    a = side("first", answers(8, of=20), {"train.lr": "0.1", "train.epochs": "9"})
    b = side("second", answers(20, of=20), {"train.lr": "0.2", "train.epochs": "9", "model.depth": "18"})
    lines = compare.text(a, b, **GIVEN).splitlines()
    assert lines[:3] == ["A: first", "B: second", "20 clips of 10 groups answered by both"]
    assert lines[4].split(" | ")[0] == "A right"
    # Six groups of ten differ, all to one side: the p-value is a half to the sixth.
    assert [cell.strip() for cell in lines[5].split(" | ")][:3] == ["40.0%", "100.0%", "+60.0 points"]
    assert lines[5].endswith(" | 0.016")
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    assert ["Run", "10", "40.0%", "100.0%", "+60.0 points", "0.031"] in rows  # twice 0.016, as there are two classes
    assert rows[-3:] == [["setting", "A", "B"], ["model.depth", "–", "18"], ["train.lr", "0.1", "0.2"]]


def test_what_one_alone_has_answered_is_left_out_and_said():
    text = compare.text(side("first", answers(20, of=20)), side("second", answers(24)), **GIVEN)
    assert "note: 4 clips answered by B alone are left out, e.g. g0/Run21" in text
    assert "no class in which they differ" in text
    assert "settings: not known of first and second" in text


def test_with_few_groups_that_differ_no_difference_can_be_found_and_that_is_said():
    text = compare.text(side("a", answers(12)), side("b", answers(16)), **GIVEN)
    assert "note: with 2 groups in which they differ, no p is below 0.250" in text


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UserError, match="a and b have no test clip in common"):
        compare.text(side("a", {"g1/Run1": "Run"}), side("b", {"g1/Run2": "Run"}), **GIVEN)
    other = side("b", {"g1/Run1": "Run"})
    other.answers["g1/Run1"]["actual"] = "Walk"
    with pytest.raises(UserError, match="g1/Run1 is Run to a and Walk to b: they were split anew"):
        compare.text(side("a", {"g1/Run1": "Run"}), other, **GIVEN)


def test_a_run_a_revision_a_folder_and_the_workspace_are_the_same_evaluation(reproduced: Checkout, tmp_path: Path):
    run = runs(reproduced)[0].info.run_id
    table = reproduced.path / "artifacts/evaluation/predictions.csv"
    folder = tmp_path / "other"
    folder.mkdir()
    with table.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["predicted"] = row["actual"]
    with (folder / "predictions.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    code = f"""
from src import compare, evaluated
for name in ("workspace", {run!r}, "HEAD", {str(table)!r}):
    print(compare.text(evaluated.find(name), evaluated.find("HEAD"), bootstrap=100, seed=0))
for name in ("no-such-branch", "mlflow:0123"):
    try:
        evaluated.find(name)
    except evaluated.UserError as error:
        print(error)
"""
    said = reproduced.run("python", "-c", code).stdout
    assert said.count("10 clips of 1 groups answered by both") == 4
    assert said.count("+0.0 points") == 4
    assert said.count("no class in which they differ") == 4
    assert said.count("no setting in which they differ") == 3  # of the file, none are known
    assert "no-such-branch: no file, no run's id, and no revision whose results DVC has" in said
    assert "MLflow has no run 0123" in said
    done = reproduced.run("python", "-m", "src.compare", "HEAD", str(folder))
    assert "100.0%" in done.stdout


def test_a_file_that_is_no_table_of_answers_is_named(tmp_path: Path):
    (tmp_path / "a.csv").write_text("video,group\na,b\n")
    with pytest.raises(UserError, match=r"a.csv: no column actual, predicted"):
        evaluated.find(str(tmp_path / "a.csv"))
