"""Arms that are kept: found again for the same runs wherever the videos lie, and for no others."""

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


def done() -> kept.Runs:
    return runs(5, dataset={"path": "/here", "name": "folder"})


def without_answers(found: kept.Runs, **changes) -> kept.Runs:
    """The same runs, planned."""
    planned = copy.deepcopy(found)
    for run in planned:
        run["settings"] |= changes
        run["answers"] = None
    return planned


def test_an_arm_is_found_again_with_its_answers_and_where_it_is_from(folder):
    kept.keep("claim", "ours", done())
    found = kept.recall("claim", "ours", without_answers(done(), dataset={"path": "/there", "name": "folder"}))
    assert found["machine"].startswith("Machine: ")
    assert len(found["commit"]) == 40
    for run, before in zip(found["runs"], done(), strict=True):
        assert run["answers"] == before["answers"]
        assert run["settings"]["train"] == before["settings"]["train"]
    assert "/here" not in (folder / "claim-ours.json").read_text()


def test_one_of_other_settings_videos_or_seeds_is_none(folder):
    kept.keep("claim", "ours", done())
    planned = without_answers(done())
    assert kept.recall("claim", "ours", planned)
    assert kept.recall("claim", "other", planned) is None
    assert kept.recall("claim", "ours", without_answers(done(), train={"epochs": 9})) is None
    assert kept.recall("claim", "ours", planned[:1]) is None
    planned[0]["videos"] = {"train": 6}
    assert kept.recall("claim", "ours", planned) is None


def test_an_arm_that_is_kept_is_not_trained_again(folder, monkeypatch, tmp_path):
    trained = []
    answered = {"ours": done(), "other": without_answers(done())}

    def run(checkout, module, *arguments, **options):
        trained.append(Path(arguments[0]).stem)
        answered[trained[-1]] = done()

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(bench, "planned", lambda study, checkout: answered)
    kept.keep("claim", "ours", done())
    bench.carry_out(STUDY, tmp_path, jobs=1)
    assert trained == ["other"]
    assert json.loads((folder / "claim-other.json").read_text())["runs"]
    bench.carry_out(STUDY, tmp_path, jobs=1)
    assert trained == ["other"]


def test_places_are_named_once_or_for_each_arm():
    one = {"machine": "Machine: a.", "commit": "1234567890"}
    assert kept.machines({"x": one, "y": one}) == "Machine: a. Commit 1234567."
    other = {"machine": "Machine: b.", "commit": "7654321000"}
    assert kept.machines({"x": one, "y": other, "z": one}) == (
        "- Machine: a. Commit 1234567. x, z.\n- Machine: b. Commit 7654321. y."
    )
