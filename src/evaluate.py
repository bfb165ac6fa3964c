"""artifacts/model.pt on test videos, and on as many training videos → metrics, intervals, the gap, figures.

    python -m src.evaluate

Training videos are evaluated exactly as test videos are: no augmentation, no dropout, the same views. So the gap
compares like with like. Writes artifacts/metrics.json and artifacts/evaluation/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from src import command, files, paths, tables

if TYPE_CHECKING:
    import numpy as np

    from src.video.manifest import Video


def headline(answers: np.ndarray, videos: Sequence[Video], *, listed: int, bootstrap: int, seed: int) -> dict[str, Any]:
    """What metrics.json says of one side."""
    import numpy as np

    from src.training import metrics

    labels, groups = np.array([video.label for video in videos]), [video.group for video in videos]
    numbers = metrics.summary(answers, labels, groups, bootstrap=bootstrap, seed=seed)
    return numbers | {"evaluated": len(videos), "listed": listed}


def table(name: str, train: dict[str, Any], test: dict[str, Any]) -> str:
    """The table that the original printed, with 95 % intervals."""
    cells = [name, *(f"{s['top1']:.1%} ({s['top1_low']:.1%} – {s['top1_high']:.1%})" for s in (train, test))]
    cells.append(f"{100 * (train['top1'] - test['top1']):.1f} points")
    heads = ["Net", "Training", "Test", "Gap"]
    widths = [max(len(head), len(cell)) for head, cell in zip(heads, cells, strict=True)]
    return "\n".join(
        " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, cells)
    )


def main() -> None:
    params = command.settings(__doc__)
    import numpy as np

    from src import tracking
    from src.model.checkpoint import Checkpoint
    from src.report import figures
    from src.training import metrics
    from src.training.answers import probabilities, sample
    from src.video import manifest

    checkpoint = Checkpoint.load(paths.MODEL)
    classes, settings = checkpoint.classes, params.evaluate
    sides, answers = {}, {}
    test, test_listed = manifest.videos(paths.SPLITS / "test.csv", frames=paths.FRAMES, classes=classes)
    train, _ = manifest.videos(paths.SPLITS / "train.csv", frames=paths.FRAMES, classes=classes)
    train = sample(train, len(test), seed=settings.seed)
    for side, videos, listed in (("train", train, len(train)), ("test", test, test_listed)):
        answers[side] = probabilities(
            checkpoint,
            videos,
            views=settings.views,
            crops=settings.crops,
            device=params.runtime.device,
            workers=params.runtime.workers,
            title=side,
        )
        sides[side] = headline(answers[side], videos, listed=listed, bootstrap=settings.bootstrap, seed=settings.seed)
    result = {
        "test": sides["test"],
        "train": sides["train"],
        "gap": sides["train"]["top1"] - sides["test"]["top1"],
    }

    labels, predicted = np.array([video.label for video in test]), answers["test"].argmax(1)
    counts = metrics.confusion(predicted, labels, classes=len(classes))
    per_class = [
        {"class": name, "videos": int(row.sum()), "top1": float(row[label] / row.sum()) if row.sum() else None}
        for label, (name, row) in enumerate(zip(classes, counts, strict=True))
    ]
    folder = paths.EVALUATION
    tables.write(folder / "per_class.csv", per_class, columns=["class", "videos", "top1"])
    tables.write(
        folder / "predictions.csv",
        [
            {
                "video": video.name,
                "group": video.group,
                "actual": classes[video.label],
                "predicted": classes[guess],
                "confidence": f"{row[guess]:.4f}",
            }
            for video, guess, row in zip(test, predicted, answers["test"], strict=True)
        ],
        columns=["video", "group", "actual", "predicted", "confidence"],
    )
    history = [{k: float(v) for k, v in row.items()} for row in tables.read(paths.HISTORY)]
    figures.curves(folder / "curves.png", history, best=checkpoint.epoch)
    figures.confusion(
        folder / "confusion.png",
        counts,
        classes,
        title=f"Test: {result['test']['top1']:.1%} of {len(test)} videos",
    )
    figures.per_class(
        folder / "per_class.png", [row for row in per_class if row["videos"]], overall=result["test"]["top1"]
    )
    files.write_text(paths.METRICS, json.dumps(result, indent=2) + "\n")

    numbers = {f"{side}.{key}": value for side in ("test", "train") for key, value in result[side].items()}
    tracker = tracking.for_evaluation(checkpoint.run_id, settings=settings.model_dump())
    tracker.results(numbers | {"gap": result["gap"]}, [paths.METRICS, *sorted(folder.iterdir())], folder="evaluation")
    if len(test) < test_listed:
        print(f"evaluated {len(test)} of {test_listed} listed test videos; the others could not be read")
    model = checkpoint.model
    print(table(f"SlowFast R{model['depth']}, {model['frames']} frames", result["train"], result["test"]))


if __name__ == "__main__":
    command.run(main)
