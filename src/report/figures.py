"""Numbers → figures worth looking at, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TRAIN, VAL, TEST = "#2a6f97", "#e07a1f", "#b5179e"


def curves(path: Path, history: Sequence[dict[str, float]], *, best: int) -> None:
    """Loss and accuracy by epoch, training and validation; the epoch that was kept is marked."""
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, key, scale in ((left, "loss", 1), (right, "top1", 100)):
        for side, colour, name in (("train", TRAIN, "training, augmented clips"), ("val", VAL, "validation")):
            axis.plot(epochs, [row[f"{side}_{key}"] * scale for row in history], color=colour, lw=2, label=name)
        axis.axvline(best, color="grey", lw=1, ls=":", label=f"kept: epoch {best}")
        axis.set(xlabel="epoch", xlim=(1, max(2, epochs[-1])))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    left.set(title="Loss", ylim=(0, None))
    right.set(title="Accuracy (%)", ylim=(0, 101))
    right.legend(frameon=False, loc="lower right")
    _save(figure, path)


def confusion(path: Path, counts: np.ndarray, classes: Sequence[str], *, title: str) -> None:
    """`(classes, classes)` counts, rows the true class, coloured by the share of the row; legible for 101 classes."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = max(5.5, 0.19 * len(classes) + 2.5)
    figure, axis = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    letters = 9 if len(classes) <= 30 else 6
    axis.set_xticks(
        range(len(classes)),
        classes,
        rotation=90 if len(classes) > 12 else 40,
        ha="right" if len(classes) <= 12 else "center",
        fontsize=letters,
    )
    axis.set_yticks(range(len(classes)), classes, fontsize=letters)
    axis.set(xlabel="predicted", ylabel="true", title=title)
    if len(classes) <= 30:
        for row, column in np.argwhere(counts):
            dark = shares[row, column] > 0.5
            axis.text(
                column,
                row,
                counts[row, column],
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    figure.colorbar(image, label="share of the true class", fraction=0.046, pad=0.02)
    _save(figure, path)


def per_class(path: Path, rows: Sequence[dict[str, float | str]], *, overall: float) -> None:
    """Accuracy of every class, worst first, against the accuracy over all videos."""
    rows = sorted(rows, key=lambda row: (-row["top1"], row["class"]))
    figure, axis = plt.subplots(figsize=(7, max(2.5, 0.24 * len(rows) + 1.2)), layout="constrained")
    axis.barh([row["class"] for row in rows], [row["top1"] * 100 for row in rows], color=TEST, height=0.7)
    axis.axvline(overall * 100, color="black", lw=1, ls=":", label=f"all videos: {overall:.1%}")
    axis.set(xlabel="test accuracy (%)", xlim=(0, 100), ylim=(-0.6, len(rows) - 0.4))
    axis.tick_params(axis="y", labelsize=9 if len(rows) <= 30 else 6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.9 / (0.24 * len(rows) + 1.2)))
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
