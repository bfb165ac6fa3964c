"""Several recipes on the same videos, side by side: training accuracy, test accuracy and the gap of each.

    python -m src.ablation default baseline-2019                           on the split in data/splits
    python -m src.ablation default --official-splits                       UCF101, HMDB51: all three
    python -m src.ablation default baseline-2019 --leave-one-group-out     every video is tested once

A recipe is laid over params.yaml; `default` is params.yaml itself. With --official-splits a network is trained on
each division that the dataset came with. With --leave-one-group-out, meant for small datasets, each group is tested
by a network that was trained without it. Both pool the answers, and give mean ± standard deviation over the folds.
Needs data/frames and data/splits (`dvc repro extract_frames split`). What is finished is kept in artifacts/ablation,
so an interrupted series goes on, also in the middle of a training. In MLflow the folds of a recipe are nested under
one run.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import command, files, paths, split, tables

if TYPE_CHECKING:
    from src.params import Params
    from src.training.start import Weights
    from src.video.manifest import Video

Answers = dict[str, list[dict[str, Any]]]
"""`train` and `test`: one `{video, group, label, probabilities}` a video; `history`: one row an epoch."""


def leave_one_group_out(videos: Sequence[Video], *, val: float) -> dict[str, dict[str, list[Video]]]:
    """For each group: it is the test side, the next ones by name (a share `val`, at least 1) are validation."""
    groups = sorted({video.group for video in videos})
    if len(groups) < 3:
        raise command.UserError(f"--leave-one-group-out needs 3 groups, and there are {len(groups)}; see dataset.group")
    held = max(1, round(val * len(groups)))
    folds = {}
    for number, group in enumerate(groups):
        side = {group: "test"} | {groups[(number + 1 + i) % len(groups)]: "val" for i in range(held)}
        folds[group] = {
            part: [video for video in videos if side.get(video.group, "train") == part]
            for part in ("train", "val", "test")
        }
    return folds


def official_splits(
    rows: Sequence[dict[str, str]], params: Params, *, frames: Path, raw: Path, classes: list[str]
) -> dict[str, dict[str, list[Video]]]:
    """For each division that the inventory `rows` came with: its sides, validation out of train by whole groups."""
    from src.video import manifest

    numbers = split.divisions(rows)
    if not numbers:
        raise command.UserError("--official-splits: this dataset came with no division; see --leave-one-group-out")
    folds = {}
    published = params.dataset.name in split.PUBLISHED
    for number in numbers:
        try:
            members = split.division(rows, number)
        except command.UserError as error:  # of a partial tree that has no test video of this one
            print(f"note: official split {number} is left out: {error}", file=sys.stderr)
            continue
        merged, _ = split.merge_identical(members, raw, published=published)
        sides = split.split(merged, **params.split.model_dump(exclude={"number"}), published=published)
        folds[f"official-{number}"] = {
            side: manifest.extracted(members, frames=frames, classes=classes, source=f"official split {number}")
            for side, members in sides.items()
        }
    return folds


def run_recipe(
    params: Params, folds: dict[str, dict[str, list[Video]]], *, classes: list[str], recipe: str, results: Path
) -> list[Answers]:
    """Train and test on each fold; several are nested under one MLflow run, which ends with their mean."""
    from src.tracking.recorder import recording
    from src.training import run
    from src.training.state import fingerprint, locked

    def fold(name: str) -> Answers:
        tags = {"recipe": recipe, "fold": name}
        return run_one(params, folds[name], classes=classes, name=tags, results=results)

    if len(folds) == 1:
        return [fold(name) for name in folds]
    weights = _weights(params)
    identities = [run.identify(params, sides.values(), classes=classes, weights=weights) for sides in folds.values()]
    key = fingerprint([identities, params.evaluate.model_dump()])
    finished = results / f"{recipe}-{key}.run"
    if finished.exists():
        return [fold(name) for name in folds]
    tags = {"recipe": recipe, "folds": str(len(folds))}
    settings = params.in_force(exclude={"split", "runtime"})
    title = f"{recipe}, {len(folds)} folds"
    with locked(paths.STATE / "ablation" / key) as state:
        with recording(spool=state.spool, settings=settings, tags=tags, name=title) as recorder:
            state.spool = recorder.spool
            answers = []
            for number, name in enumerate(folds, start=1):
                print(f"{recipe}, fold {number} of {len(folds)}: {name}", file=sys.stderr)
                answers.append(fold(name))
            numbers = {}
            for side in ("train", "test"):
                mean, deviation = mean_and_deviation([top1(rows[side]) for rows in answers])
                numbers |= {f"{side}.top1": mean, f"{side}.top1_deviation": deviation}
            recorder.results(numbers)
        files.write_text(finished, recorder.run_id)
        state.discard()
    return answers


def top1(rows: Sequence[dict[str, Any]]) -> float:
    """The share of rows whose most probable class is the label."""
    right = [row["probabilities"].index(max(row["probabilities"])) == row["label"] for row in rows]
    return sum(right) / len(right)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the sample, as papers give them for official splits."""
    return statistics.mean(values), statistics.stdev(values)


def run_one(
    params: Params, fold: dict[str, list[Video]], *, classes: list[str], name: dict[str, str], results: Path
) -> Answers:
    """Train on one fold; answer its test videos and as many training videos. What is in `results` is not redone."""
    from src.tracking.recorder import recording
    from src.training import run
    from src.training.answers import probabilities, sample
    from src.training.state import fingerprint, locked

    weights = _weights(params)
    identity = run.identify(params, fold.values(), classes=classes, weights=weights)
    key = fingerprint([identity, params.evaluate.model_dump()])
    done = results / f"{name['recipe']}-{name['fold']}-{key}.json"
    if done.exists():
        return json.loads(done.read_text())
    # Which videos stand where is the fold's tag; the settings of `split` say it of data/splits alone.
    settings = params.in_force(exclude={"runtime"} | ({"split"} if name["fold"] != "split" else set()))
    with locked(paths.STATE / "ablation" / key) as state:
        with recording(spool=state.spool, settings=settings, tags=name | identity) as recorder:
            state.spool = recorder.spool
            trained = run.train_network(
                params, fold["train"], fold["val"], classes=classes, state=state, recorder=recorder, weights=weights
            )
            answers: Answers = {"history": trained.history}
            chosen = {
                "train": sample(fold["train"], len(fold["test"]), seed=params.evaluate.seed),
                "test": fold["test"],
            }
            for side, videos in chosen.items():
                rows = probabilities(
                    trained.best,
                    videos,
                    views=params.evaluate.views,
                    crops=params.evaluate.crops,
                    device=params.runtime.device,
                    workers=params.runtime.workers,
                    title=side,
                )
                answers[side] = [
                    {
                        "video": v.name,
                        "group": v.group,
                        "label": v.label,
                        "probabilities": row.round(5).tolist(),
                    }
                    for v, row in zip(videos, rows, strict=True)
                ]
                recorder.results({f"{side}.top1": top1(answers[side])})
        files.write_text(done, json.dumps(answers))
        state.discard()
    return answers


def _weights(params: Params) -> Weights | None:
    from src import pretrained

    return pretrained.find(params.model.weights, variant=params.model.variant, depth=params.model.network()["depth"])


def pooled(answers: Sequence[Answers], *, bootstrap: int, seed: int) -> dict[str, Any]:
    """Each side's headline numbers over all folds, and the gap with a 95 % interval that resamples groups."""
    import numpy as np

    from src.training import metrics

    result, resampled = {}, {}
    for number, side in enumerate(("train", "test")):
        rows = [row for fold in answers for row in fold[side]]
        probabilities, labels = (
            np.array([row["probabilities"] for row in rows]),
            np.array([row["label"] for row in rows]),
        )
        groups = [row["group"] for row in rows]
        result[side] = metrics.summary(probabilities, labels, groups, bootstrap=bootstrap, seed=seed)
        result[side]["videos"] = len(rows)
        hits = probabilities.argmax(1) == labels
        resampled[side] = metrics.resampled_means(hits, groups, times=bootstrap, seed=seed + number)
    result["gap"] = result["train"]["top1"] - result["test"]["top1"]
    low, high = np.quantile(resampled["train"] - resampled["test"], [0.025, 0.975])
    return result | {"gap_low": float(low), "gap_high": float(high)}


def headline_table(nets: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row a net, percentages with 95 % intervals."""
    lines = ["| Net | Training | Test | Gap, points | Videos tested |", "|---|---|---|---|---|"]
    for name, net in nets.items():
        sides = [f"{s['top1']:.1%} ({s['top1_low']:.1%} – {s['top1_high']:.1%})" for s in (net["train"], net["test"])]
        gap = f"{100 * net['gap']:.1f} ({100 * net['gap_low']:.1f} – {100 * net['gap_high']:.1f})"
        lines.append(f"| {name} | {sides[0]} | {sides[1]} | {gap} | {net['test']['videos']} |")
    return "\n".join(lines)


def fold_table(nets: dict[str, list[Answers]], folds: Sequence[str]) -> str:
    """Markdown: a row a net, training and test accuracy of each fold, and their mean ± standard deviation."""
    lines = [f"| Net | Videos | {' | '.join(folds)} | Mean |", "|---|---|" + "---|" * (len(folds) + 1)]
    for name, answers in nets.items():
        for side in ("train", "test"):
            values = [top1(fold[side]) for fold in answers]
            mean, deviation = mean_and_deviation(values)
            cells = [*(f"{value:.1%}" for value in values), f"{100 * mean:.1f} ± {100 * deviation:.1f} %"]
            lines.append(f"| {name} | {side} | {' | '.join(cells)} |")
    return "\n".join(lines)


def class_table(nets: dict[str, list[Answers]], rows: Sequence[tuple[str, ...]], classes: list[str]) -> str:
    """Markdown: test accuracy over the videos of the classes in each row, a column a net."""
    lines = [f"| Test videos of | {' | '.join(nets)} |", "|---|" + "---|" * len(nets)]
    for names in rows:
        labels, cells = {classes.index(name) for name in names}, []
        for answers in nets.values():
            tested = [row for fold in answers for row in fold["test"] if row["label"] in labels]
            cells.append(f"{top1(tested):.1%}" if tested else "–")
        lines.append(f"| {' / '.join(names)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("recipe", nargs="+", help="a file, the name of one in recipes/, or default")
    several = parser.add_mutually_exclusive_group()
    several.add_argument(
        "--official-splits", action="store_true", help="one fold for each of the dataset's own divisions"
    )
    several.add_argument("--leave-one-group-out", action="store_true", help="one fold a group instead of data/splits")
    arguments = parser.parse_args()
    base = command.settings_of(arguments)
    from src import params
    from src.datasets import synthetic
    from src.video import labels, manifest

    overrides = [params.parse_override(text) for text in arguments.set]
    classes = labels.class_names(paths.SPLITS)
    if arguments.official_splits:
        inventory = tables.read(paths.VIDEOS, columns=["video", "label", "group", "part1", "part2", "part3"])
        folds = official_splits(inventory, base, frames=paths.FRAMES, raw=paths.RAW, classes=classes)
    else:
        sides = {
            side: manifest.videos(paths.SPLITS / f"{side}.csv", frames=paths.FRAMES, classes=classes)[0]
            for side in ("train", "val", "test")
        }
        folds = {"split": sides}
        if arguments.leave_one_group_out:
            everything = sorted((video for side in sides.values() for video in side), key=lambda video: video.name)
            folds = leave_one_group_out(everything, val=base.split.val)
    nets = {}
    for recipe in arguments.recipe:
        overlay = {} if recipe == "default" else params.read_recipe(recipe)
        if other := {"dataset", "split", "extract"} & overlay.keys():
            raise command.UserError(f"{recipe} sets {other.pop()}: recipes are compared on the same videos and frames")
        settings = params.check(params.lay_on(base.model_dump(), overlay, *overrides), source=recipe)
        name = Path(recipe).stem
        nets[name] = run_recipe(settings, folds, classes=classes, recipe=name, results=paths.ABLATION)
    settings = {"bootstrap": base.evaluate.bootstrap, "seed": base.evaluate.seed}
    print("\n" + headline_table({name: pooled(answers, **settings) for name, answers in nets.items()}))
    if len(folds) > 1:
        print("\n" + fold_table(nets, list(folds)))
    pairs = [pair for pair in synthetic.PAIRS if set(pair) <= set(classes)]
    rows = pairs if base.dataset.name == "synthetic" and pairs else [(name,) for name in classes]
    print("\n" + class_table(nets, rows, classes))


if __name__ == "__main__":
    command.run(main)
