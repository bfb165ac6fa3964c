"""Runs that are kept: found again for the same settings wherever the videos lie, for no others; not trained again."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from bench import closing_the_gap as bench
from bench import closing_the_gap_kept as kept
from bench.closing_the_gap_studies import OURS, Study
from tests.test_bench_closing_the_gap import runs

STUDY = Study("claim", "a claim", dataset="ucf101", arms={"ours": OURS, "other": {"train": {"epochs": 1}}}, folds=())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    return tmp_path / "kept"


def done() -> list[kept.Run]:
    return runs(5, dataset={"path": "/here", "name": "folder"})


def without_answers(**changes) -> list[kept.Run]:
    """The same runs, planned."""
    planned = copy.deepcopy(done())
    for run in planned:
        run["settings"] |= changes
        run["answers"] = None
    return planned


def answered(found: list[kept.Run]) -> list[bool]:
    return [run["answers"] is not None for run in found]


def test_what_is_done_is_found_again_with_its_answers_and_where_it_is_from(folder):
    half = [done()[0], without_answers()[1]]
    kept.keep("claim", "ours", half)
    found = kept.recall("claim", "ours", without_answers(dataset={"path": "/there", "name": "folder"}))
    assert answered(found) == [True, False]
    assert found[0]["answers"] == done()[0]["answers"]
    assert found[0]["machine"].startswith("Machine: ")
    assert len(found[0]["commit"]) == 40
    assert "/here" not in (folder / "claim-ours.json").read_text()


def test_where_a_run_is_from_stays_with_it(folder):
    first = done()[0] | {"machine": "Machine: another.", "commit": "1" * 40}
    kept.keep("claim", "ours", [first, without_answers()[1]])
    kept.keep("claim", "ours", [kept.recall("claim", "ours", without_answers())[0], done()[1]])
    found = kept.recall("claim", "ours", without_answers())
    assert answered(found) == [True, True]
    assert found[0]["machine"] == "Machine: another."
    assert found[1]["commit"] != "1" * 40


def test_other_settings_or_videos_are_another_run(folder):
    kept.keep("claim", "ours", done())
    assert answered(kept.recall("claim", "ours", without_answers())) == [True, True]
    assert answered(kept.recall("claim", "other", without_answers())) == [False, False]
    assert answered(kept.recall("claim", "ours", without_answers(train={"epochs": 9}))) == [False, False]
    planned = without_answers()
    planned[0]["videos"] = {"train": 6}
    assert answered(kept.recall("claim", "ours", planned)) == [False, True]


def test_what_is_kept_is_not_trained_again(folder, monkeypatch, tmp_path):
    """`src.ablation` finds it where its own answers come to lie."""
    trained = []

    def ablation(checkout: Path, module: str, *arguments: str, **options):
        """Stands for hours of training: plans two runs an arm, and answers those that are not answered."""
        arms = [Path(each).stem for each in arguments if each.startswith("arms/")]
        plan = []
        for arm in arms:
            for run in done():
                file = checkout / f"{arm}-{run['fold']}.json"
                if "--plan" not in arguments and not file.exists():
                    trained.append(file.stem)
                    file.write_text(json.dumps(run["answers"]))
                plan.append(run | {"recipe": arm, "done": file.exists(), "answers": str(file)})
        return type("Done", (), {"stdout": json.dumps(plan)})

    monkeypatch.setattr(bench, "run", ablation)
    kept.keep("claim", "ours", [done()[0], without_answers()[1]])
    bench.carry_out(STUDY, tmp_path, jobs=1)
    assert trained == ["ours-fold-1", "other-fold-0", "other-fold-1"]
    for file in tmp_path.glob("*.json"):
        file.unlink()
    bench.carry_out(STUDY, tmp_path, jobs=1)
    assert len(trained) == 3


def test_places_are_named_once_or_for_each_arm():
    one = {"machine": "Machine: a.", "commit": "1234567890"}
    assert kept.machines({"x": [one, one], "y": [one, {}]}) == "Machine: a. Commit 1234567."
    other = {"machine": "Machine: b.", "commit": "7654321000"}
    assert kept.machines({"x": [one], "y": [other, one]}) == (
        "Machine: a. Commit 1234567.\n\nRuns of y: Machine: b. Commit 7654321."
    )
    assert kept.machines({"x": [{}]}).startswith("Machine: ")
