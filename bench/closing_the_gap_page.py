"""The runs of bench/closing_the_gap.py → docs/closing-the-gap.md and its figure. What is not finished says so."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench import common
from bench.closing_the_gap_kept import Run
from bench.closing_the_gap_studies import PARTS
from src import files, paths
from src.series import tables

PAGE = paths.ROOT / "docs" / "closing-the-gap.md"
FIGURE = PAGE.with_suffix(".png")

TEMPLATE = Path(__file__).with_name("closing_the_gap.md")
"""What is said of the numbers, written by hand after a look at them, with a mark where each table goes."""

HOW = {"bootstrap": 10_000, "seed": 0}


def write(everything: dict[str, dict[str, list[Run]]], *, classes: dict[str, list[str]], machine: str) -> None:
    """Fill in the template's marks, and draw the claim's learning curves once there are any."""
    tables_of = {
        "machine": machine,
        "ucf101": claim(everything["ucf101"], classes["ucf101"]),
        "weizmann": other(everything["weizmann"], classes["weizmann"]),
        "synthetic": other(everything["synthetic"], classes["synthetic"]),
        "parts": beside_ours(everything["parts"]),
    }
    text = TEMPLATE.read_text()
    for name, found in tables_of.items():
        text = text.replace(f"<!-- {name} -->", found.strip())
    if all(finished(runs) for runs in everything["ucf101"].values()):
        draw(everything["ucf101"], FIGURE)
    files.write_text(PAGE, text)


def finished(runs: list[Run]) -> list[tables.Answers] | None:
    """The answers, if there are all."""
    answers = [run["answers"] for run in runs]
    return answers if all(answers) else None


def clips(run: Run) -> int:
    """How many clips the network was trained on, pre-training and epochs that were cut short included."""
    train, pretrain, count = run["settings"]["train"], run["settings"]["pretrain"], run["videos"]["train"]

    def epoch(windows: int) -> int:
        return count * windows // train["batch"] * train["batch"]

    return len(run["answers"]["history"]) * epoch(train["windows"]) + pretrain["epochs"] * epoch(pretrain["windows"])


def headline(arms: dict[str, list[Run]]) -> str:
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


def mean_clips(runs: list[Run]) -> float:
    return statistics.mean(map(clips, runs))


def accuracy(side: dict[str, float]) -> str:
    return f"{side['top1']:.1%} ({side['top1_low']:.1%} – {side['top1_high']:.1%})"


def gap(net: dict[str, float]) -> str:
    return f"{100 * net['gap']:.1f} ({100 * net['gap_low']:.1f} – {100 * net['gap_high']:.1f})"


def points(gain: dict[str, float]) -> str:
    """A difference of accuracies with its interval."""
    return f"{100 * gain['mean']:+.1f} points ({100 * gain['low']:+.1f} – {100 * gain['high']:+.1f})"


def claim(arms: dict[str, list[Run]], classes: list[str]) -> str:
    """UCF101: both nets, and whether what was set out to be shown is."""
    text = [headline(arms)]
    ours, base = (finished(arms[name]) for name in ("ours", "baseline-2019"))
    if ours and base:
        text += [
            common.table(["Set out to show", "Found", ""], targets(arms, ours, base)),
            f"![Learning curves of both nets, mean and range over all runs]({FIGURE.name})\n",
            tables.fold_table({name: by_fold(runs) for name, runs in arms.items()}) + "\n",
            tables.class_table({"ours": ours, "baseline-2019": base}, [(name,) for name in classes], classes),
        ]
    return "\n".join(text)


def targets(arms: dict[str, list[Run]], ours: list[tables.Answers], base: list[tables.Answers]) -> list[list[str]]:
    """Rows: what was set out to be shown, what was found, and whether that is it."""
    gain = tables.difference(base, ours, **HOW)
    new, old = (tables.pooled(answers, **HOW) for answers in (ours, base))
    share, learnt = new["gap"] / old["gap"], old["train"]["top1"]
    late, before = standing_still(base)
    clips_of = [mean_clips(arms[name]) for name in ("ours", "baseline-2019")]
    return [
        [
            "ours at least 10 points above on test, interval clear of 0",
            points(gain),
            verdict(gain["mean"] >= 0.1 and gain["low"] > 0),
        ],
        ["ours with at most half of the gap", f"{share:.0%} of it", verdict(share <= 0.5)],
        ["the baseline's training accuracy at least 90 %", f"{learnt:.1%}", verdict(learnt >= 0.9)],
        [
            "and standing still: on its augmented clips, in the last 20 epochs and the 20 before",
            f"{late:.1%} and {before:.1%}",
            verdict(late - before < 0.02),
        ],
        [
            "ours with no more compute, in clips a run",
            "{:,.0f} and {:,.0f}".format(*clips_of),
            verdict(clips_of[0] <= clips_of[1]),
        ],
    ]


def verdict(holds: bool) -> str:
    return "yes" if holds else "**no**"


def by_fold(runs: list[Run]) -> dict[str, list[tables.Answers]]:
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


def other(arms: dict[str, list[Run]], classes: list[str]) -> str:
    """Weizmann or the embedded data: both nets, and by how much they differ."""
    text = [headline(arms)]
    ours, base = (finished(arms[arm]) for arm in ("ours", "baseline-2019"))
    if ours and base:
        text += [
            f"Ours less the baseline, on the same videos: {points(tables.difference(base, ours, **HOW))}.\n",
            tables.class_table({"ours": ours, "baseline-2019": base}, [(each,) for each in classes], classes),
        ]
    return "\n".join(text)


def beside_ours(arms: dict[str, list[Run]]) -> str:
    """Each arm on validation clips, and what it has more than `ours`."""
    ours, rows = finished(arms["ours"]), []
    for name, runs in arms.items():
        answers, what = finished(runs), PARTS[name][0]
        if answers is None:
            done = sum(run["answers"] is not None for run in runs)
            rows.append([name, what, f"unfinished: {done} of {len(runs)} runs", "", "", ""])
            continue
        net = tables.pooled(answers, **HOW)
        gain = points(tables.difference(ours, answers, **HOW)) if ours and name != "ours" else "–"
        sides = [f"{net[side]['top1']:.1%}" for side in ("train", "test")]
        rows.append([name, what, *sides, f"{net['test']['loss']:.3f}", gain])
    return common.table(["Arm", "What is otherwise", "Training", "Validation", "Loss, nats", "More than ours"], rows)


def draw(arms: dict[str, list[Run]], path: Path) -> None:
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
