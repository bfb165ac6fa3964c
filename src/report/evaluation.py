"""An evaluation → artifacts/report.html: one page that says how good a model is, where it is wrong, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.report import breakdown, page
from src.report.findings import FEW_GROUPS, Finding
from src.report.looks import Look, Thumbnail
from src.training import metrics
from src.training.calibration import Calibration
from src.video.manifest import Video

WORST = 10  # classes and pairs that are shown at once
PARTS = 5  # of the videos by length


@dataclass(frozen=True)
class Figures:
    """PNG files; the curves are those of the training here, and None for a run out of MLflow."""

    confusion: Path
    reliability: Path
    loss: Path | None
    accuracy: Path | None

    @classmethod
    def of(cls, folder: Path) -> Figures:
        """Those that an evaluation has left in `folder`."""
        curves = (folder / f"curve_{key}.png" for key in ("loss", "top1"))
        return cls(
            folder / "confusion.png", folder / "reliability.png", *(path if path.exists() else None for path in curves)
        )


def attention(test: dict[str, Any], groups: Sequence[str]) -> list[Finding]:
    """What a reader should know before believing the numbers of the test side."""
    found = []
    if lost := test["listed"] - test["evaluated"]:
        found.append(Finding(f"{lost} of {test['listed']} listed test videos could not be read", problem=True))
    if len(few := set(groups)) <= FEW_GROUPS:
        text = f"only {page.count(few, 'group')} tested: the intervals say little of another one"
        found.append(Finding(text, sorted(few)))
    return found


def html(
    result: dict[str, Any],
    videos: Sequence[Video],
    views: np.ndarray,
    *,
    calibration: Calibration,
    net: str,
    origin: str,
    classes: Sequence[str],
    fps: float,
    bootstrap: int,
    seed: int,
    figures: Figures,
    thumbnails: Sequence[Thumbnail],
    looks: Sequence[Look],
) -> str:
    """The page. `result` is what metrics.json holds; `views`, `(N, V, classes)`, answers the test `videos`.

    `net` and `origin` say in a line each which network it is, and where it comes from.
    """
    labels, groups = np.array([video.label for video in videos]), [video.group for video in videos]
    predicted = views.mean(1).argmax(1)
    counts = metrics.confusion(predicted, labels, classes=len(classes))
    per_class = sorted(
        (
            (name, int(row[label]), int(row.sum()))
            for label, (name, row) in enumerate(zip(classes, counts, strict=True))
        ),
        key=lambda each: (each[1] / max(1, each[2]), each[0]),
    )
    seconds = [video.frames / fps for video in videos]
    resampling = {"bootstrap": bootstrap, "seed": seed}
    return page.render(
        "report.html",
        net=net,
        origin=origin,
        result=result,
        calibration=calibration,
        attention=attention(result["test"], groups),
        figures={name: path and page.png(path) for name, path in vars(figures).items()},
        per_class=[each for each in per_class if each[2]],
        worst=WORST,
        pairs=breakdown.most_confused(counts, classes, most=WORST),
        lengths=breakdown.by_length(seconds, predicted == labels, groups, parts=PARTS, **resampling),
        views=breakdown.by_views(views, labels, seed=seed),
        thumbnails=thumbnails,
        looks=looks,
    )
