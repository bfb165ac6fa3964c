"""The runs of bench/closing_the_gap.py → docs/closing-the-gap.md and its figure. What is not finished says so."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import common
from bench.closing_the_gap_studies import DATASETS, PARTS
from src import files, paths
from src.series import tables

Runs = list[dict[str, Any]]
"""As `src.ablation --plan` has them, with `answers` read in, or None."""

PAGE = paths.ROOT / "docs" / "closing-the-gap.md"
FIGURE = PAGE.with_suffix(".png")

HOW = {"bootstrap": 10_000, "seed": 0}

HEAD = """# Closing the gap

The original reached 92 % on training videos and 42 % on test. What makes the same network generalise, measured on real
and on drawn videos, from scratch, with no more compute than the original's way of training gets.

```
python -m bench.closing_the_gap --ucf101 UCF101 --weizmann WEIZMANN --folder WORK --jobs 2
```

writes this page; started again it goes on, and `--write` writes what is finished. UCF101 is a folder with six of its
classes, Archery, BasketballDunk, HorseRace, PlayingPiano, PlayingViolin and Surfing, two clips of each of the groups 8 to
25; WEIZMANN has the 90 clips in folders by action. `baseline-2019` is the recipe of that name, `ours` is `params.yaml`
with the dataset's own recipe. Intervals are 95 %, from 10,000 resamplings of whole groups; a training accuracy is that of
whole training videos, answered as test videos are.
"""


def write(
    everything: dict[str, dict[str, Runs]],
    *,
    classes: dict[str, list[str]],
    machine: str,
    videos: dict[str, tuple[int, int]],
) -> None:
    """Write the page, and the figure of the claim's learning curves once there are any."""
    parts = [HEAD, machine + "\n", claim(everything["ucf101"], classes["ucf101"], videos["ucf101"])]
    for name in ("weizmann", "synthetic"):
        parts.append(other(name, everything[name], classes[name], videos[name]))
    parts += [single_parts(everything["parts"]), files_text()]
    curves = {name: runs for name, runs in everything["ucf101"].items() if finished(runs)}
    if curves:
        draw(curves, FIGURE)
    files.write_text(PAGE, "\n".join(parts))


def files_text() -> str:
    """What is said of all of it, from a file of its own: it is written by hand, after a look at the numbers."""
    return (Path(__file__).with_suffix(".md")).read_text()


def finished(runs: Runs) -> list[tables.Answers] | None:
    """The answers, if there are all."""
    answers = [run["answers"] for run in runs]
    return answers if all(answers) else None


def clips(run: dict[str, Any]) -> int:
    """How many clips the network was trained on, pre-training and epochs that were cut short included."""
    train, pretrain, count = run["settings"]["train"], run["settings"]["pretrain"], run["videos"]["train"]

    def epoch(windows: int) -> int:
        return count * windows // train["batch"] * train["batch"]

    return len(run["answers"]["history"]) * epoch(train["windows"]) + pretrain["epochs"] * epoch(pretrain["windows"])


def headline(arms: dict[str, Runs]) -> str:
    """A row an arm: training, test and gap with intervals, clips trained on; or how much is there."""
    rows = []
    for name, runs in arms.items():
        answers = finished(runs)
        if answers is None:
            done = sum(run["answers"] is not None for run in runs)
            rows.append([name, f"unfinished: {done} of {len(runs)} runs", "", "", ""])
            continue
        net = tables.pooled(answers, **HOW)
        rows.append([name, *map(accuracy, (net["train"], net["test"])), gap(net), f"{mean_clips(runs):,.0f}"])
    return common.table(["Net", "Training", "Test", "Gap, points", "Clips trained on, a run"], rows)


def mean_clips(runs: Runs) -> float:
    return statistics.mean(map(clips, runs))


def accuracy(side: dict[str, float]) -> str:
    return f"{side['top1']:.1%} ({side['top1_low']:.1%} – {side['top1_high']:.1%})"


def gap(net: dict[str, float]) -> str:
    return f"{100 * net['gap']:.1f} ({100 * net['gap_low']:.1f} – {100 * net['gap_high']:.1f})"


def points(gain: dict[str, float]) -> str:
    """A difference of accuracies with its interval."""
    return f"{100 * gain['mean']:+.1f} points ({100 * gain['low']:+.1f} – {100 * gain['high']:+.1f})"


def claim(arms: dict[str, Runs], classes: list[str], videos: tuple[int, int]) -> str:
    """UCF101: both nets, and whether what was set out to be shown is."""
    count, groups = videos
    text = [
        f"## {DATASETS['ucf101'].title}\n",
        f"{count} clips in {groups} groups, five folds by whole groups, three seeds: each clip is answered by three networks "
        "that have seen nothing of its group. A group is one recording. Nothing was chosen by these folds' test clips.\n",
        headline(arms),
    ]
    ours, base = (finished(arms[name]) for name in ("ours", "baseline-2019"))
    if ours and base:
        gain = tables.difference(base, ours, **HOW)
        nets = {"ours": tables.pooled(ours, **HOW), "baseline-2019": tables.pooled(base, **HOW)}
        late, before = standing_still(base)
        share = nets["ours"]["gap"] / nets["baseline-2019"]["gap"]
        text += [
            common.table(
                ["Set out to show", "Found", ""],
                [
                    [
                        "ours at least 10 points above, interval clear of 0",
                        points(gain),
                        verdict(gain["mean"] >= 0.1 and gain["low"] > 0),
                    ],
                    ["ours with at most half of the gap", f"{share:.0%} of it", verdict(share <= 0.5)],
                    [
                        "the baseline's training accuracy at least 90 %",
                        f"{nets['baseline-2019']['train']['top1']:.1%}",
                        verdict(nets["baseline-2019"]["train"]["top1"] >= 0.9),
                    ],
                    [
                        "and standing still: on augmented clips, the last 20 epochs after the 20 before",
                        f"{late:.1%} after {before:.1%}",
                        "",
                    ],
                    [
                        "ours with no more compute, in clips",
                        f"{mean_clips(arms['ours']):,.0f} and {mean_clips(arms['baseline-2019']):,.0f}",
                        verdict(mean_clips(arms["ours"]) <= mean_clips(arms["baseline-2019"])),
                    ],
                ],
            ),
            f"![Learning curves of both nets, mean and range over all runs]({FIGURE.name})\n",
            tables.fold_table({"ours": by_fold(arms["ours"]), "baseline-2019": by_fold(arms["baseline-2019"])}) + "\n",
            tables.class_table({"ours": ours, "baseline-2019": base}, [(name,) for name in classes], classes) + "\n",
        ]
    return "\n".join(text)


def verdict(holds: bool) -> str:
    return "yes" if holds else "**no**"


def by_fold(runs: Runs) -> dict[str, list[tables.Answers]]:
    """Answers of each fold, seed by seed."""
    found: dict[str, list[tables.Answers]] = {}
    for run in runs:
        found.setdefault(run["fold"], []).append(run["answers"])
    return found


def standing_still(answers: Sequence[tables.Answers]) -> tuple[float, float]:
    """Mean accuracy on training clips over the last 20 epochs, and over the 20 before."""
    late = [row["train_top1"] for each in answers for row in each["history"][-20:]]
    before = [row["train_top1"] for each in answers for row in each["history"][-40:-20]]
    return statistics.mean(late), statistics.mean(before)


def other(name: str, arms: dict[str, Runs], classes: list[str], videos: tuple[int, int]) -> str:
    """Weizmann or the embedded data."""
    count, groups = videos
    how = {
        "weizmann": f"{count} clips by {groups} actors, each actor left out in turn: every clip is answered once, by a network "
        "that has not seen its actor. Smaller pictures and fewer frames than `recipes/weizmann.yaml` has "
        "([results.md](results.md) has that size).",
        "synthetic": f"{count} videos of {groups} drawn actors, the split of `dvc repro`: four actors are tested.",
    }[name]
    title = DATASETS[name].title
    text = [f"## {title[0].upper()}{title[1:]}\n", how + "\n", headline(arms)]
    ours, base = (finished(arms[arm]) for arm in ("ours", "baseline-2019"))
    if ours and base:
        text += [
            f"Ours less the baseline, on the same videos: {points(tables.difference(base, ours, **HOW))}.\n",
            tables.class_table({"ours": ours, "baseline-2019": base}, [(each,) for each in classes], classes) + "\n",
        ]
    return "\n".join(text)


def single_parts(arms: dict[str, Runs]) -> str:
    """Each part by itself, on validation clips."""
    plain, rows = finished(arms["plain"]), []
    for name, runs in arms.items():
        answers = finished(runs)
        what = PARTS[name][0]
        if answers is None:
            done = sum(run["answers"] is not None for run in runs)
            rows.append([name, what, f"unfinished: {done} of {len(runs)} runs", "", "", ""])
            continue
        net = tables.pooled(answers, **HOW)
        gain = points(tables.difference(plain, answers, **HOW)) if plain and name != "plain" else "–"
        rows.append(
            [
                name,
                what,
                f"{net['train']['top1']:.1%}",
                f"{net['test']['top1']:.1%}",
                f"{net['test']['loss']:.3f}",
                gain,
            ]
        )
    run = arms["plain"][0]
    return "\n".join(
        [
            "## Single parts\n",
            f"What was switched on was chosen here, without a look at test clips: the first of the five folds, its {run['videos']['train']} "
            f"training clips learnt from, its {run['videos']['val']} validation clips answered, three seeds, {run['settings']['train']['epochs']} "
            "epochs. `plain` is the training that each other row adds one part to. With so few clips most differences are "
            "within their intervals, which is itself a finding.\n",
            common.table(["Arm", "What it adds", "Training", "Validation", "Loss, nats", "More than plain"], rows),
        ]
    )


def draw(arms: dict[str, Runs], path: Path) -> None:
    """Accuracy by share of the training done: mean over the runs, and the range of the middle 80 %."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from src.report.figures import TRAIN, VAL

    figure, axes = plt.subplots(
        1, len(arms), figsize=(5.2 * len(arms), 3.6), layout="constrained", sharey=True, squeeze=False
    )
    for axis, (name, runs) in zip(axes[0], arms.items(), strict=True):
        for side, colour, label in (("train", TRAIN, "training, augmented clips"), ("val", VAL, "validation")):
            found = np.array([[100 * row[f"{side}_top1"] for row in run["answers"]["history"]] for run in runs])
            epochs = np.arange(1, found.shape[1] + 1)
            low, high = np.quantile(found, [0.1, 0.9], axis=0)
            axis.fill_between(epochs, low, high, color=colour, alpha=0.15, lw=0)
            axis.plot(epochs, found.mean(0), color=colour, lw=2, label=label)
        axis.set(title=name, xlabel="epoch", ylim=(0, 101), xlim=(0, None))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("accuracy (%)")
    figure.legend(*axes[0][0].get_legend_handles_labels(), frameon=False, ncols=2, loc="outside lower center")
    figure.savefig(path, dpi=100)
    plt.close(figure)
