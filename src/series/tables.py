"""Answers of many runs → numbers with intervals, and Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from src.series.runs import Answers, is_right, top1

TESTED = {"test": "test", "val": "validation"}
"""What the side is called whose videos were answered."""


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the sample, as papers give them for official splits."""
    return statistics.mean(values), statistics.stdev(values)


def pooled(answers: Sequence[Answers], *, bootstrap: int, seed: int) -> dict[str, Any]:
    """Each side's headline numbers over all runs, and the gap with a 95 % interval that resamples groups."""
    import numpy as np

    from src.training import metrics

    result, hits = {}, {}
    for side in ("train", "test"):
        rows = [row for fold in answers for row in fold[side]]
        probabilities, labels = (
            np.array([row["probabilities"] for row in rows]),
            np.array([row["label"] for row in rows]),
        )
        groups = [row["group"] for row in rows]
        result[side] = metrics.summary(probabilities, labels, groups, bootstrap=bootstrap, seed=seed)
        result[side]["videos"] = len({row["video"] for row in rows})
        hits[side] = (probabilities.argmax(1) == labels, groups)
    result["gap"] = result["train"]["top1"] - result["test"]["top1"]
    low, high = metrics.gap_interval(hits["train"], hits["test"], times=bootstrap, seed=seed)
    return result | {"gap_low": low, "gap_high": high}


def difference(first: Sequence[Answers], second: Sequence[Answers], *, bootstrap: int, seed: int) -> dict[str, float]:
    """How much more of the test videos `second` has right, `mean`, with a 95 % interval, `low` and `high`.

    Paired: each video's share of right answers over its runs, of one less that of the other; groups are resampled.
    Raises ValueError if the two were not tested on the same videos.
    """
    import numpy as np

    from src.training import metrics

    shares, groups = [], {}
    for answers in (first, second):
        hits: dict[str, list[bool]] = {}
        for row in (row for fold in answers for row in fold["test"]):
            hits.setdefault(row["video"], []).append(is_right(row))
            groups[row["video"]] = row["group"]
        shares.append({video: statistics.mean(found) for video, found in hits.items()})
    if shares[0].keys() != shares[1].keys():
        raise ValueError("the two were tested on other videos")
    gains = np.array([shares[1][video] - shares[0][video] for video in groups])
    means = metrics.resampled_means(gains, list(groups.values()), times=bootstrap, seed=seed)
    low, high = metrics.interval(means)
    return {"mean": float(gains.mean()), "low": low, "high": high}


def headline_table(nets: dict[str, dict[str, Any]], *, tested: str = "test") -> str:
    """Markdown: a row a net, percentages with 95 % intervals."""
    lines = [
        f"| Net | Training | {TESTED[tested].capitalize()} | Gap, points | Videos tested |",
        "|---|---|---|---|---|",
    ]
    for name, net in nets.items():
        sides = [f"{s['top1']:.1%} ({s['top1_low']:.1%} – {s['top1_high']:.1%})" for s in (net["train"], net["test"])]
        gap = f"{100 * net['gap']:.1f} ({100 * net['gap_low']:.1f} – {100 * net['gap_high']:.1f})"
        lines.append(f"| {name} | {sides[0]} | {sides[1]} | {gap} | {net['test']['videos']} |")
    return "\n".join(lines)


def fold_table(nets: dict[str, dict[str, Sequence[Answers]]], *, tested: str = "test") -> str:
    """Markdown: a row a net, training and test accuracy of each fold, and of all runs the mean ± standard deviation.

    `nets` has for each net the runs of each fold, of different seeds.
    """
    folds = list(next(iter(nets.values())))
    lines = [f"| Net | Videos | {' | '.join(folds)} | Mean |", "|---|---|" + "---|" * (len(folds) + 1)]
    for name, runs in nets.items():
        for side, head in (("train", "train"), ("test", TESTED[tested])):
            values = {fold: [top1(answers[side]) for answers in runs[fold]] for fold in folds}
            mean, deviation = mean_and_deviation([value for found in values.values() for value in found])
            cells = [*(f"{statistics.mean(found):.1%}" for found in values.values())]
            lines.append(f"| {name} | {head} | {' | '.join(cells)} | {100 * mean:.1f} ± {100 * deviation:.1f} % |")
    return "\n".join(lines)


def class_table(
    nets: dict[str, Sequence[Answers]], rows: Sequence[tuple[str, ...]], classes: list[str], *, tested: str = "test"
) -> str:
    """Markdown: accuracy over the videos of the classes in each row, a column a net."""
    lines = [f"| {TESTED[tested].capitalize()} videos of | {' | '.join(nets)} |", "|---|" + "---|" * len(nets)]
    for names in rows:
        labels, cells = {classes.index(name) for name in names}, []
        for answers in nets.values():
            found = [row for fold in answers for row in fold["test"] if row["label"] in labels]
            cells.append(f"{top1(found):.1%}" if found else "–")
        lines.append(f"| {' / '.join(names)} | {' | '.join(cells)} |")
    return "\n".join(lines)
