"""What arms of bench/closing_the_gap.py answered, kept in the repository: bench/results/closing-the-gap/STUDY-ARM.json.

Training all arms takes hours; an arm that is kept is not trained again. What is kept names its commit and its machine. It counts for nothing as soon as the arm has other settings, folds, seeds or videos;
after a change of the code it is for who changed it to delete the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import common
from src import files, paths
from src.tracking import origin

FOLDER = paths.ROOT / "bench" / "results" / "closing-the-gap"

Runs = list[dict[str, Any]]
"""As `src.ablation --plan` has them, with `answers` read in, or None."""

Kept = dict[str, Any]
"""An arm's `runs`, and the `machine` and the `commit` that they are of."""


def keep(study: str, arm: str, runs: Runs) -> None:
    """Write an arm's runs, of which every one is done."""
    commit = origin.commit()["git.commit"]
    kept = {"machine": common.machine(), "commit": commit, "runs": [_slim(run) for run in runs]}
    files.write_text(_file(study, arm), json.dumps(kept, separators=(",", ":")) + "\n")


def recall(study: str, arm: str, planned: Runs) -> Kept | None:
    """What is kept of an arm, if it is of the runs that are `planned` now."""
    try:
        kept = json.loads(_file(study, arm).read_text())
    except FileNotFoundError:
        return None
    return kept if list(map(_what, kept["runs"])) == list(map(_what, planned)) else None


def machines(found: dict[str, Kept]) -> str:
    """Where arms, by their names, were trained: a line, or one for each machine and commit if there are several."""
    places: dict[str, list[str]] = {}
    for name, kept in found.items():
        places.setdefault(f"{kept['machine']} Commit {kept['commit'][:7]}.", []).append(name)
    if len(places) == 1:
        return next(iter(places))
    return "\n".join(f"- {place} {', '.join(names)}." for place, names in places.items())


def _file(study: str, arm: str) -> Path:
    return FOLDER / f"{study}-{arm}.json"


def _what(run: dict[str, Any]) -> dict[str, Any]:
    """What decides a run's answers, wherever its videos lie."""
    settings = {name: dict(section) for name, section in run["settings"].items()}
    settings["dataset"].pop("path", None)
    return {"fold": run["fold"], "seed": run["seed"], "videos": run["videos"], "settings": settings}


def _slim(run: dict[str, Any]) -> dict[str, Any]:
    """A run with what a page can be made of, and no more."""
    answers = run["answers"]
    curves = [{key: round(row[key], 5) for key in ("epoch", "train_top1", "val_top1")} for row in answers["history"]]
    sides = {side: [_row(row) for row in answers[side]] for side in ("train", "test")}
    return _what(run) | {"answers": sides | {"history": curves}}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"probabilities": [round(each, 5) for each in row["probabilities"]]}
