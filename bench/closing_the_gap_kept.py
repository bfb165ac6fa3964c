"""What runs of bench/closing_the_gap.py answered, kept in the repository: bench/results/closing-the-gap/STUDY-ARM.json.

All of them take hours, and a run that is kept is not trained again. Each names the machine and the commit that it is
of, and counts for nothing as soon as its arm has other settings or videos; after a change of the code it is for who
changed it to delete the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import common
from src import files, paths
from src.tracking import origin

FOLDER = paths.ROOT / "bench" / "results" / "closing-the-gap"

Run = dict[str, Any]
"""As `src.ablation --plan` has it, with `answers` read in, or None; if it was kept, with `machine` and `commit`."""


def keep(study: str, arm: str, runs: Iterable[Run]) -> None:
    """Write an arm's runs, as far as they are done."""
    here = {"machine": common.machine(), "commit": origin.commit()["git.commit"]}
    done = [here | _slim(run) for run in runs if run["answers"]]
    if done:
        files.write_text(_file(study, arm), json.dumps(done, separators=(",", ":")) + "\n")


def recall(study: str, arm: str, planned: Iterable[Run]) -> list[Run]:
    """The runs of an arm, of which those that are kept have their answers, and where they are from."""
    known = json.loads(_file(study, arm).read_text()) if _file(study, arm).exists() else []
    found = []
    for run in planned:
        same = [each for each in known if _what(each) == _what(run)]
        found.append(run | {key: same[0][key] for key in ("answers", "machine", "commit")} if same else run)
    return found


def machines(found: dict[str, list[Run]]) -> str:
    """Where the runs of arms, by their names, are from: the machine and commit of most, and what is of another."""
    places: dict[str, list[str]] = {}
    for name, runs in found.items():
        for place in dict.fromkeys(f"{run['machine']} Commit {run['commit'][:7]}." for run in runs if "commit" in run):
            places.setdefault(place, []).append(name)
    most, *others = sorted(places, key=lambda place: -len(places[place])) or [common.machine()]
    return "\n\n".join([most, *(f"Runs of {', '.join(places[place])}: {place}" for place in others)])


def _file(study: str, arm: str) -> Path:
    return FOLDER / f"{study}-{arm}.json"


def _what(run: Run) -> Run:
    """What decides a run's answers, wherever its videos lie."""
    settings = {name: dict(section) for name, section in run["settings"].items()}
    settings["dataset"].pop("path", None)
    return {"fold": run["fold"], "seed": run["seed"], "videos": run["videos"], "settings": settings}


def _slim(run: Run) -> Run:
    """A run with what a page can be made of, and no more."""
    answers = run["answers"]
    curves = [{key: round(row[key], 5) for key in ("epoch", "train_top1", "val_top1")} for row in answers["history"]]
    sides = {side: [_row(row) for row in answers[side]] for side in ("train", "test")}
    known = {key: run[key] for key in ("machine", "commit") if key in run}
    return _what(run) | {"answers": sides | {"history": curves}} | known


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"probabilities": [round(each, 5) for each in row["probabilities"]]}
