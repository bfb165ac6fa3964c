"""What closes the gap between training and test accuracy: arms × folds × seeds → docs/closing-the-gap.md.

    python -m bench.closing_the_gap --ucf101 UCF101 --weizmann WEIZMANN --folder WORK
    python -m bench.closing_the_gap --ucf101 UCF101 --weizmann WEIZMANN --folder WORK --write

UCF101 and WEIZMANN are folders of videos, CLASS/VIDEO.avi: of UCF101 the six classes and the groups that the page
names. Everything lies in WORK, in a checkout for each dataset, so that an interrupted series goes on, also in the
middle of a training; it takes hours. The answers of an arm that is done are kept in bench/results/closing-the-gap,
and it is not trained again. --write trains nothing: what is finished is written, and what is not says so. --study
carries out one only, e.g. `--study parts`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from bench import closing_the_gap_kept as kept
from bench import closing_the_gap_page as page
from bench import common
from bench.checkouts import lay_out, run
from bench.closing_the_gap_kept import Runs
from bench.closing_the_gap_studies import DATASETS, STUDIES, Study
from src import command, files


def ablation(study: Study, checkout: Path, *options: str, arm: str | None = None) -> list[str]:
    """The arguments of `src.ablation` for a study, or one arm of it; its arms are written as recipes."""
    recipes = []
    for name, settings in study.arms.items():
        recipe = checkout / "arms" / f"{name}.yaml"
        files.write_text(recipe, yaml.safe_dump(settings))
        if arm in (name, None):
            recipes.append(str(recipe.relative_to(checkout)))
    fixed = [part for each in study.settings for part in ("--set", each)]
    return [*recipes, *study.folds, "--seeds", str(study.seeds), *fixed, *options]


def planned(study: Study, checkout: Path) -> dict[str, Runs]:
    """For each arm its runs as `src.ablation --plan` has them, with `answers` read in, or None where there are none."""
    listed = run(checkout, "src.ablation", *ablation(study, checkout, "--plan"), stdout=subprocess.PIPE)
    found: dict[str, Runs] = {name: [] for name in study.arms}
    for each in json.loads(listed.stdout):
        answers = each["answers"] and json.loads(Path(each["answers"]).read_text())
        found[each["recipe"]].append(each | {"answers": answers})
    return found


def carry_out(study: Study, checkout: Path, *, jobs: int) -> None:
    """Train the arms that are not kept yet, one after the other, and keep them."""
    for arm, runs in planned(study, checkout).items():
        if kept.recall(study.name, arm, runs):
            continue
        print(f"\n== {study.name}, {arm}: {study.title}", file=sys.stderr, flush=True)
        run(checkout, "src.ablation", *ablation(study, checkout, "--jobs", str(jobs), arm=arm))
        kept.keep(study.name, arm, planned(study, checkout)[arm])


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--ucf101", type=Path, metavar="FOLDER", help="videos of UCF101")
    parser.add_argument("--weizmann", type=Path, metavar="FOLDER", help="videos of Weizmann")
    parser.add_argument("--jobs", type=common.at_least(1), default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--study", action="append", choices=[study.name for study in STUDIES], help="only this one")
    parser.add_argument("--write", action="store_true", help="train nothing, write the page")
    arguments = parser.parse_args()
    if arguments.folder is None:
        parser.error("--folder: name a folder to work in, which an interrupted series goes on from")
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    videos = {"ucf101": arguments.ucf101, "weizmann": arguments.weizmann}
    checkouts = {name: lay_out(dataset, folder / name, videos) for name, dataset in DATASETS.items()}
    chosen = [study for study in STUDIES if not arguments.study or study.name in arguments.study]
    for study in [] if arguments.write else chosen:
        carry_out(study, checkouts[study.dataset], jobs=arguments.jobs)
    everything, known = {}, {}
    for study in STUDIES:
        everything[study.name] = planned(study, checkouts[study.dataset])
        for arm, runs in everything[study.name].items():
            if found := kept.recall(study.name, arm, runs):
                everything[study.name][arm] = found["runs"]
                known[f"{study.name} {arm}"] = found
    classes = {name: (checkout / "data/splits/classes.txt").read_text().split() for name, checkout in checkouts.items()}
    page.write(everything, classes=classes, machine=kept.machines(known) if known else common.machine())


if __name__ == "__main__":
    command.run(main)
