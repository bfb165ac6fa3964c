"""Numbers → figures worth looking at, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from src.report.breakdown import Bin

TRAIN, VAL, TEST = "#2a6f97", "#e07a1f", "#b5179e"


def curves(path: Path, history: Sequence[dict[str, float]], *, best: int) -> None:
    """Loss and accuracy by epoch, training and validation; the epoch that was kept is marked."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.3), layout="constrained")
    for axis, key in zip(axes, ("loss", "top1"), strict=True):
        _curve(axis, history, key=key, best=best)
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside lower center")
    _save(figure, path)


def curve(path: Path, history: Sequence[dict[str, float]], *, key: str, best: int) -> None:
    """One of the two, `loss` or `top1`, so narrow that it is legible on a phone."""
    figure, axis = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    _curve(axis, history, key=key, best=best)
    figure.legend(*axis.get_legend_handles_labels(), frameon=False, ncols=2, loc="outside lower center")
    _save(figure, path)


def _curve(axis: plt.Axes, history: Sequence[dict[str, float]], *, key: str, best: int) -> None:
    epochs = [row["epoch"] for row in history]
    scale = 100 if key == "top1" else 1
    for side, colour, name in (("train", TRAIN, "training, augmented clips"), ("val", VAL, "validation")):
        values = [row[f"{side}_{key}"] * scale for row in history]
        axis.plot(epochs, values, color=colour, lw=2, label=name, marker="o", markevery=[epochs.index(best)])
    axis.axvline(best, color="grey", lw=1, ls=":", label=f"kept: epoch {best:g}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    title, top = ("Accuracy (%)", 101) if key == "top1" else ("Loss", None)
    axis.set(xlabel="epoch", xlim=(0, epochs[-1] + 1), title=title, ylim=(0, top))
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def reliability(path: Path, calibrated: Sequence[Bin], raw: Sequence[Bin]) -> None:
    """Accuracy against confidence: on the diagonal, of ten answers with 80 % confidence eight are right.

    After Guo et al. 2017 (arXiv:1706.04599), figure 1; a number is that of the videos, and a dot's area their share.
    """
    figure, axis = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
    axis.plot([0, 100], [0, 100], color="grey", lw=1, ls=":")
    for bins, colour, name in ((raw, "darkgrey", "as the network says"), (calibrated, TEST, "calibrated")):
        confidence = [100 * each.confidence for each in bins]
        accuracy = [100 * each.accuracy for each in bins]
        total = sum(each.videos for each in bins)
        sizes = [15 + 500 * each.videos / total for each in bins]
        axis.plot(confidence, accuracy, color=colour, lw=1.5, alpha=0.5)
        axis.scatter(confidence, accuracy, s=sizes, color=colour, lw=0, label=name, clip_on=False)
    for each, x, y in zip(bins, confidence, accuracy, strict=True):
        number = {"fontsize": 8, "color": "dimgrey", "ha": "center", "va": "bottom"}
        axis.annotate(f"{each.videos}", (x, y), xytext=(0, 7), textcoords="offset points", **number)
    legend = figure.legend(frameon=False, ncols=2, loc="outside lower center")
    for handle in legend.legend_handles:
        handle.set_sizes([40])
    axis.set(xlabel="confidence (%)", ylabel="accuracy (%)", xlim=(0, 104), ylim=(-3, 112), yticks=range(0, 101, 20))
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def confusion(path: Path, counts: np.ndarray, classes: Sequence[str], *, title: str) -> None:
    """`(classes, classes)` counts, rows the true class, coloured by the share of the row; legible for 101 classes."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    few = len(classes) <= 12
    size = max(5.5, 0.19 * len(classes) + 2.5)
    figure, axis = plt.subplots(figsize=(size + 0.8, size), layout="compressed")
    # The square root of the share: one video in forty confused is still to be seen.
    image = axis.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    names = {"fontsize": 9 if len(classes) <= 30 else 8}
    axis.set_xticks(range(len(classes)), classes, rotation=40 if few else 90, ha="right" if few else "center", **names)
    axis.set_yticks(range(len(classes)), classes, **names)
    axis.set_xlabel("predicted", fontsize=10 + size / 4)
    axis.set_ylabel("true", fontsize=10 + size / 4)
    axis.set_title(title, fontsize=10 + size / 4)
    between = np.arange(len(classes) - 1) + 0.5
    axis.set_xticks(between, minor=True)
    axis.set_yticks(between, minor=True)
    axis.grid(which="minor", color="white" if few else "#dfe8f1", lw=0.6)
    axis.tick_params(which="minor", length=0)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.3 else "black"
        number = {"fontsize": 9 if few else 6, "ha": "center", "va": "center", "color": colour}
        axis.text(column, row, counts[row, column], **number)
    figure.colorbar(image, label="share of the true class", aspect=40, fraction=0.03, pad=0.01)
    _save(figure, path)


def per_class(path: Path, rows: Sequence[dict[str, float | str]], *, overall: float) -> None:
    """Accuracy of every class, worst first, against the accuracy over all videos."""
    rows = sorted(rows, key=lambda row: (-row["top1"], row["class"]))
    figure, axis = plt.subplots(figsize=(7, 0.24 * len(rows) + 1.2), layout="constrained")
    bars = axis.barh([row["class"] for row in rows], [row["top1"] * 100 for row in rows], color=TEST, height=0.7)
    right = [f"{round(row['top1'] * row['videos'])} of {row['videos']}" for row in rows]
    # A white ground hides the dotted line where a number stands on it.
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axis.bar_label(bars, right, padding=4, fontsize=7, color="dimgrey", bbox=ground)
    axis.axvline(overall * 100, color="black", lw=1, ls=":")
    everywhere = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 9}
    axis.text(overall * 100, 1.0, f"all videos: {overall:.1%}", **everywhere)
    axis.set(xlabel="test accuracy (%)", xlim=(0, 100), ylim=(-0.6, len(rows) - 0.4))
    axis.tick_params(axis="y", labelsize=9 if len(rows) <= 30 else 8)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
