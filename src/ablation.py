"""Several recipes on the same videos, side by side: training accuracy, test accuracy and the gap of each.

    python -m src.ablation default baseline-2019                           on the split in data/splits
    python -m src.ablation default --official-splits                       UCF101, HMDB51: all three
    python -m src.ablation default baseline-2019 --folds 5 --seeds 3       every video is tested, by three networks
    python -m src.ablation default baseline-2019 --leave-one-group-out     as many folds as there are groups

A recipe is laid over params.yaml, and --set over all of them; `default` is params.yaml itself. With --official-splits a
network is trained on each division that the dataset came with; with --folds and --leave-one-group-out, meant for small
datasets, each group is tested by networks that were trained without it. The answers are pooled, and what the first
recipe and each other differ by has an interval that resamples groups. To choose settings by, --validation leaves test
videos alone.

Needs data/frames and data/splits (`dvc repro extract_frames split`). What is finished is kept in artifacts/ablation,
so an interrupted series goes on, also in the middle of a training. In MLflow the runs of a recipe are nested.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import children, command, files, paths, tables
from src.series import folds as dividing
from src.series.runs import Answers, Run, carry_out, top1
from src.series.side_by_side import carry_out_all
from src.series.tables import class_table, difference, fold_table, headline_table, mean_and_deviation, pooled

if TYPE_CHECKING:
    from src.series.folds import Fold
    from src.settings import Params


def carry_out_recipe(runs: list[Run], *, jobs: int) -> None:
    """All runs of a recipe; several are nested under one MLflow run, which ends with their mean."""
    from src.tracking.recorder import recording
    from src.training.state import fingerprint, locked

    if len(runs) == 1:
        carry_out_all(runs, jobs=1)
        return
    recipe, results = runs[0].recipe, runs[0].results
    key = fingerprint([run.key for run in runs])
    finished = results / f"{recipe}-{key}.run"
    if finished.exists() and all(run.done for run in runs):
        return
    tags = {"recipe": recipe, "folds": str(len({run.name for run in runs})), "runs": str(len(runs))}
    settings = runs[0].params.in_force(exclude={"split", "tune", "predict", "serve", "runtime"})
    title = f"{recipe}, {len(runs)} runs"
    with locked(paths.STATE / "ablation" / key) as state:
        with recording(spool=state.spool, settings=settings, tags=tags, name=title) as recorder:
            state.spool = recorder.spool
            carry_out_all(runs, jobs=jobs, parent=recorder.spool)
            numbers, answers = {}, [run.answers() for run in runs]
            for side, name in (("train", "train"), ("test", runs[0].tested)):
                mean, deviation = mean_and_deviation([top1(rows[side]) for rows in answers])
                numbers |= {f"{name}.top1": mean, f"{name}.top1_deviation": deviation}
            recorder.results(numbers)
        files.write_text(finished, recorder.run_id)
        state.discard()


def parse() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("recipe", nargs="+", help="a file, the name of one in recipes/, or default")
    several = parser.add_mutually_exclusive_group()
    several.add_argument(
        "--official-splits", action="store_true", help="one fold for each of the dataset's own divisions"
    )
    several.add_argument("--folds", type=int, metavar="K", help="K folds by whole groups instead of data/splits")
    several.add_argument("--leave-one-group-out", action="store_true", help="one fold a group instead of data/splits")
    parser.add_argument("--fold", action="append", metavar="NAME", help="this fold only; may be given more than once")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="networks a fold, from train.seed on")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time, which share the cores")
    parser.add_argument(
        "--validation", action="store_true", help="answer validation videos instead of test videos: to choose settings"
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="train nothing, print every run as JSON: settings, and where its answers lie",
    )
    # How a series starts its own runs.
    parser.add_argument("--only", nargs=4, metavar=("RECIPE", "FOLD", "SEED", "KEY"), help=argparse.SUPPRESS)
    parser.add_argument("--parent", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for option in ("folds", "seeds", "jobs"):
        least = 2 if option == "folds" else 1
        if (value := getattr(arguments, option)) is not None and value < least:
            parser.error(f"--{option} is {value}, and must be at least {least}")
    return arguments


def divide(arguments: argparse.Namespace, params: Params, *, classes: list[str]) -> dict[str, Fold]:
    """The folds that the command line asks for."""
    from src.video import manifest

    if arguments.official_splits:
        inventory = tables.read(paths.VIDEOS, columns=["video", "label", "group", "part1", "part2", "part3"])
        found = dividing.official_splits(inventory, params, frames=paths.FRAMES, raw=paths.RAW, classes=classes)
    else:
        sides = {
            side: manifest.videos(paths.SPLITS / f"{side}.csv", frames=paths.FRAMES, classes=classes)[0]
            for side in ("train", "val", "test")
        }
        found = {"split": sides}
        everything = sorted((video for side in sides.values() for video in side), key=lambda video: video.name)
        if arguments.leave_one_group_out:
            found = dividing.leave_one_group_out(everything, val=params.split.val)
        elif arguments.folds:
            found = dividing.k_folds(everything, count=arguments.folds, val=params.split.val)
    if unknown := [name for name in arguments.fold or [] if name not in found]:
        raise command.UserError(f"--fold {unknown[0]}: there is none of that name, but {', '.join(found)}")
    return {name: fold for name, fold in found.items() if name in (arguments.fold or found)}


def runs_of(recipe: str, arguments: argparse.Namespace, base: Params, *, classes: list[str], folds: dict[str, Fold]):
    """Every run of a recipe, fold by fold and seed by seed. Raises `UserError` for one that changes the videos."""
    from src import params

    overlay = {} if recipe == "default" else params.read_recipe(recipe)
    if other := {"dataset", "split", "extract"} & overlay.keys():
        raise command.UserError(f"{recipe} sets {other.pop()}: recipes are compared on the same videos and frames")
    overrides = [params.parse_override(text) for text in arguments.set]
    settings = params.lay_on(base.model_dump(), overlay, *overrides)
    first = params.check(settings, source=recipe).train.seed
    seeded = [
        params.check(params.lay_on(settings, {"train": {"seed": first + number}}), source=recipe)
        for number in range(arguments.seeds)
    ]
    tested = "val" if arguments.validation else "test"
    common = {"classes": classes, "recipe": Path(recipe).stem, "results": paths.ABLATION, "tested": tested}
    return [Run(params=each, fold=fold, name=name, **common) for name, fold in folds.items() for each in seeded]


def plan(run: Run) -> dict[str, Any]:
    """What --plan says of a run; `answers` is where they come to lie, once it is `done`."""
    return {
        "recipe": run.recipe,
        "fold": run.name,
        "seed": run.seed,
        "videos": {side: len(videos) for side, videos in run.fold.items()},
        "settings": run.params.in_force(exclude={"tune", "predict", "serve", "runtime"}),
        "done": run.done,
        "answers": str(run.file),
    }


def show(nets: dict[str, list[Run]], base: Params, *, classes: list[str]) -> None:
    """Print the tables."""
    from src.datasets import synthetic

    how = {"bootstrap": base.evaluate.bootstrap, "seed": base.evaluate.seed}
    answers: dict[str, list[Answers]] = {name: [run.answers() for run in runs] for name, runs in nets.items()}
    runs = next(iter(nets.values()))
    pooled_of = {name: pooled(found, **how) for name, found in answers.items()}
    print("\n" + headline_table(pooled_of, tested=runs[0].tested))
    first, *others = answers
    for name in others:
        more = difference(answers[name], answers[first], **how)
        low, mean, high = (f"{100 * more[key]:+.1f}" for key in ("low", "mean", "high"))
        print(f"\n{first} less {name}, on the same videos: {mean} points ({low} – {high})")
    if len(runs) > 1:
        by_fold = {
            name: {run.name: [answers[name][i] for i, r in enumerate(of) if r.name == run.name] for run in of}
            for name, of in nets.items()
        }
        print("\n" + fold_table(by_fold, tested=runs[0].tested))
    pairs = [pair for pair in synthetic.PAIRS if set(pair) <= set(classes)]
    rows = pairs if base.dataset.name == "synthetic" and pairs else [(name,) for name in classes]
    print("\n" + class_table(answers, rows, classes, tested=runs[0].tested))


def main() -> None:
    arguments = parse()
    base = command.settings_of(arguments)
    from src.video import labels

    classes = labels.class_names(paths.SPLITS)
    folds = divide(arguments, base, classes=classes)
    nets = {}
    for recipe in arguments.recipe:
        runs = runs_of(recipe, arguments, base, classes=classes, folds=folds)
        if runs[0].recipe in nets:
            raise command.UserError(f"{recipe}: another recipe is called {runs[0].recipe} too: rename one of the files")
        nets[runs[0].recipe] = runs
    if arguments.only:
        recipe, fold, seed, key = arguments.only
        planned = [run for run in nets[recipe] if (run.name, str(run.seed)) == (fold, seed) and run.key == key]
        if not planned:
            raise command.UserError(children.CHANGED)
        children.end_with_parent()
        carry_out(planned[0], parent=arguments.parent)
        return
    if arguments.plan:
        print(json.dumps([plan(run) for runs in nets.values() for run in runs], indent=1))
        return
    for runs in nets.values():
        carry_out_recipe(runs, jobs=arguments.jobs)
    show(nets, base, classes=classes)


if __name__ == "__main__":
    command.run(main)
