"""What closes the gap between training and test accuracy: arms × folds × seeds → docs/closing-the-gap.md.

    python -m bench.closing_the_gap --ucf101 UCF101 --weizmann WEIZMANN --folder WORK
    python -m bench.closing_the_gap --ucf101 UCF101 --weizmann WEIZMANN --folder WORK --write

UCF101 and WEIZMANN are folders of videos, CLASS/VIDEO.avi: of UCF101 the six classes and the groups that the page
names. Everything lies in WORK, in a checkout for each dataset, so that an interrupted series goes on, also in the
middle of a training; it takes hours. What runs have answered is kept in bench/results/closing-the-gap, and these are
not trained again, in whatever WORK. --write trains nothing: what is finished is written, and what is not says so.
--study carries out one only, e.g. `--study parts`.
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
from bench.closing_the_gap_kept import Run
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


def known(study: Study, checkout: Path) -> dict[str, list[Run]]:
    """For each arm its runs as `src.ablation --plan` has them, with `answers` read in, from `checkout` or kept ones.

    What is done in `checkout` is kept.
    """
    listed = run(checkout, "src.ablation", *ablation(study, checkout, "--plan"), stdout=subprocess.PIPE)
    found: dict[str, list[Run]] = {name: [] for name in study.arms}
    for each in json.loads(listed.stdout):
        answers = json.loads(Path(each["answers"]).read_text()) if each["done"] else None
        found[each["recipe"]].append(each | {"file": each["answers"], "answers": answers})
    for arm, planned in found.items():
        found[arm] = kept.recall(study.name, arm, planned)
        kept.keep(study.name, arm, found[arm])
    return found


def carry_out(study: Study, checkout: Path, *, jobs: int) -> None:
    """Train what is neither kept nor done, one arm after the other."""
    for arm, runs in known(study, checkout).items():
        if all(each["answers"] for each in runs):
            continue
        for each in runs:
            if each["answers"] and not each["done"]:
                files.write_text(Path(each["file"]), json.dumps(each["answers"]))
        print(f"\n== {study.name}, {arm}: {study.title}", file=sys.stderr, flush=True)
        try:
            run(checkout, "src.ablation", *ablation(study, checkout, "--jobs", str(jobs), arm=arm))
        finally:
            known(study, checkout)


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
    everything = {study.name: known(study, checkouts[study.dataset]) for study in STUDIES}
    from_where = {f"{study} {arm}": runs for study, arms in everything.items() for arm, runs in arms.items()}
    classes = {name: (checkout / "data/splits/classes.txt").read_text().split() for name, checkout in checkouts.items()}
    page.write(everything, classes=classes, machine=kept.machines(from_where))


if __name__ == "__main__":
    command.run(main)
