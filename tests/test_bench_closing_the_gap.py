"""The page of bench/closing_the_gap.py from invented runs, and that its arms are settings that there are."""

from __future__ import annotations

import re

import pytest

from bench import closing_the_gap as bench
from bench import closing_the_gap_kept as kept
from bench import closing_the_gap_page as page
from bench.closing_the_gap_studies import DATASETS, OURS, PARTS, STUDIES
from src import params
from tests.series.test_tables import right, wrong

HISTORY = [{"epoch": epoch, "train_top1": 0.9, "val_top1": 0.5} for epoch in range(1, 41)]
GROUPS = "abcdefghij"


def runs(hits: int, *, learnt: int = 10, seeds: int = 2, **changes) -> list[kept.Run]:
    """Networks that have so many of ten test videos right, and so many of ten training videos."""
    answers = {
        "train": [(right if n < learnt else wrong)(f"t{group}", n % 2) for n, group in enumerate(GROUPS)],
        "test": [(right if n < hits else wrong)(group, n % 2) for n, group in enumerate(GROUPS)],
        "history": HISTORY,
    }
    settings = {"train": {"batch": 4, "windows": 2, "epochs": 40}, "pretrain": {"epochs": 0, "windows": 3}} | changes
    return [
        {"fold": f"fold-{seed}", "seed": seed, "videos": {"train": 5}, "settings": settings, "answers": answers}
        for seed in range(seeds)
    ]


def test_clips_are_those_of_whole_batches_of_epochs_that_were_trained():
    (run,) = runs(5, seeds=1)
    assert page.clips(run) == 40 * 8  # ten clips an epoch are two batches of four
    (run,) = runs(5, seeds=1, pretrain={"epochs": 3, "windows": 3})
    assert page.clips(run) == 40 * 8 + 3 * 12


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]


def test_the_claim_says_what_was_found_and_whether_that_is_enough():
    text = page.claim({"ours": runs(9), "baseline-2019": runs(4)}, ["no", "yes"])
    found = {row[0]: row[1:] for row in reversed(cells(text))}  # of the nets, the headline
    assert found["ours"][0] == "100.0% (100.0% – 100.0%)"
    assert found["ours"][1].startswith("90.0% (")
    assert found["baseline-2019"][3] == "320"
    gain, holds = found["ours at least 10 points above on test, interval clear of 0"]
    assert gain.startswith("+50.0 points (+")
    assert holds == "yes"
    assert found["ours with at most half of the gap"] == ["17% of it", "yes"]
    assert found["the baseline's training accuracy at least 90 %"] == ["100.0%", "yes"]
    assert found["ours with no more compute, in clips a run"] == ["320 and 320", "yes"]


def test_a_claim_that_fails_says_so():
    text = page.claim(
        {"ours": runs(5, pretrain={"epochs": 1, "windows": 3}), "baseline-2019": runs(4, learnt=8)}, ["a", "b"]
    )
    found = {row[0]: row[1:] for row in cells(text)}
    assert [row[-1] for row in found.values()].count("**no**") == 4
    assert found["ours with at most half of the gap"] == ["125% of it", "**no**"]
    assert found["ours with no more compute, in clips a run"] == ["332 and 320", "**no**"]


def test_what_is_not_finished_says_how_far_it_is_and_claims_nothing():
    half = runs(9)
    half[1]["answers"] = None
    text = page.claim({"ours": half, "baseline-2019": runs(4)}, ["no", "yes"])
    assert ["ours", "unfinished: 1 of 2 runs", "", "", ""] in cells(text)
    assert "Set out to show" not in text
    assert "less the baseline" not in page.other({"ours": half, "baseline-2019": runs(4)}, ["no", "yes"])
    rows = cells(page.beside_ours({"ours": half, "mixing": runs(4)}))
    assert rows[2][2] == "unfinished: 1 of 2 runs"
    assert rows[3][-1] == "–"


def test_parts_are_compared_with_ours():
    rows = cells(page.beside_ours({"ours": runs(4), "mixing": runs(5), "erase": runs(4)}))
    assert rows[2][:4] == ["ours", "", "100.0%", "40.0%"]
    assert rows[3][-1].startswith("+10.0 points (+0.0 – ")
    assert rows[4][-1] == "+0.0 points (+0.0 – +0.0)"


def test_the_page_is_the_template_with_every_mark_filled_in(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "FIGURE", tmp_path / "page.png")
    everything = {study.name: {arm: runs(5) for arm in study.arms} for study in STUDIES}
    classes = {name: ["no", "yes"] for name in DATASETS}
    page.write(everything, classes=classes, machine="Machine: one.")
    text = (tmp_path / "page.md").read_text()
    assert "<!--" not in text
    assert "Machine: one." in text
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    marks = re.findall("<!-- (.+) -->", page.TEMPLATE.read_text())
    assert sorted(marks) == sorted(["machine", *(study.name for study in STUDIES)])


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_arm_is_made_of_settings_that_there_are(study, tmp_path):
    dataset = DATASETS[study.dataset]
    layers = [params.read_recipe(recipe) for recipe in dataset.recipes]
    layers += [params.parse_override(text) for text in (*dataset.settings, *study.settings)]
    for name, settings in study.arms.items():
        params.check(params.lay_on({}, *layers, settings), source=name)
    arguments = bench.ablation(study, tmp_path)
    for name, path in zip(study.arms, arguments, strict=False):
        assert params.read_recipe(tmp_path / path) == study.arms[name]


def test_a_part_is_otherwise_in_all_that_it_names():
    dataset = DATASETS["ucf101"]
    ours = params.check(params.lay_on({}, *map(params.read_recipe, dataset.recipes)), source="ours").model_dump()
    assert PARTS["ours"][1] == OURS == {}
    for name, (_, settings) in PARTS.items():
        same = [
            f"{section}.{key}"
            for section, values in settings.items()
            for key, value in values.items()
            if ours[section][key] == value
        ]
        assert same == (["pretrain.task"] if name == "pretrain" else [])
