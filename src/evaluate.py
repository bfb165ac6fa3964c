"""artifacts/model.pt on test videos, and on as many training videos → metrics, intervals, the gap, figures.

    python -m src.evaluate                              artifacts/model.pt
    python -m src.evaluate --run RUN_ID [--epoch 12]    a checkpoint that MLflow has: the run's best, or an epoch's

Training videos are evaluated exactly as test videos are: no augmentation, no dropout, the same views. So the gap
compares like with like. Writes artifacts/metrics.json and artifacts/evaluation/; with --run, the same but for the
curves to artifacts/evaluation-RUN_ID/, so that what DVC keeps stays, and to an MLflow run of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
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


def write_details(folder: Path, videos: Sequence[Video], answers: np.ndarray, *, classes: Sequence[str]) -> None:
    """Every prediction and the accuracy of every class, as tables and figures, to `folder`."""
    import numpy as np

    from src.report import figures
    from src.training import metrics

    labels, predicted = np.array([video.label for video in videos]), answers.argmax(1)
    overall = float((labels == predicted).mean())
    predictions = [
        {
            "video": video.name,
            "group": video.group,
            "actual": classes[video.label],
            "predicted": classes[guess],
            "confidence": f"{row[guess]:.4f}",
        }
        for video, guess, row in zip(videos, predicted, answers, strict=True)
    ]
    tables.write(folder / "predictions.csv", predictions, columns=list(predictions[0]))
    counts = metrics.confusion(predicted, labels, classes=len(classes))
    per_class = [
        {"class": name, "videos": int(row.sum()), "top1": float(row[label] / row.sum())}
        for label, (name, row) in enumerate(zip(classes, counts, strict=True))
        if row.sum()
    ]
    tables.write(folder / "per_class.csv", per_class, columns=list(per_class[0]))
    figures.per_class(folder / "per_class.png", per_class, overall=overall)
    figures.confusion(folder / "confusion.png", counts, classes, title=f"Test: {overall:.1%} of {len(videos)} videos")


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--run", metavar="RUN_ID", help="evaluate this run's best checkpoint in MLflow instead")
    parser.add_argument("--epoch", type=int, metavar="N", help="with --run: the checkpoint of epoch N")
    arguments = parser.parse_args()
    if arguments.epoch is not None and arguments.run is None:
        parser.error("--epoch chooses among a run's checkpoints: it needs --run RUN_ID")
    params = command.settings_of(arguments)
    from src.model.checkpoint import Checkpoint
    from src.report import figures
    from src.tracking.recorder import evaluating
    from src.training.answers import probabilities, sample
    from src.video import manifest

    model, folder, metrics_file = paths.MODEL, paths.EVALUATION, paths.METRICS
    of_epoch = {} if arguments.epoch is None else {"epoch": arguments.epoch}
    if arguments.run is not None:
        from src.tracking import store

        model = store.checkpoint(arguments.run, arguments.epoch)
        name = "-epoch-".join([arguments.run, *map(str, of_epoch.values())])
        folder = paths.EVALUATION.with_name(f"{paths.EVALUATION.name}-{name}")
        metrics_file = folder / "metrics.json"
    checkpoint = Checkpoint.load(model)
    classes, settings = checkpoint.classes, params.evaluate
    test, test_listed = manifest.videos(paths.SPLITS / "test.csv", frames=paths.FRAMES, classes=classes)
    train, _ = manifest.videos(paths.SPLITS / "train.csv", frames=paths.FRAMES, classes=classes)
    train = sample(train, len(test), seed=settings.seed)
    sides, answers = {}, {}
    for side, videos, listed in (("test", test, test_listed), ("train", train, len(train))):
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
    result = sides | {"gap": sides["train"]["top1"] - sides["test"]["top1"]}
    files.write_text(metrics_file, json.dumps(result, indent=2) + "\n")
    write_details(folder, test, answers["test"], classes=classes)
    if arguments.run is None:
        history = [{key: float(value) for key, value in row.items()} for row in tables.read(paths.HISTORY)]
        figures.curves(folder / "curves.png", history, best=checkpoint.epoch)

    numbers = {f"{side}.{key}": value for side, values in sides.items() for key, value in values.items()}
    of, own = arguments.run or checkpoint.run_id, arguments.run is not None
    with evaluating(of, settings=settings.model_dump() | of_epoch, own=own) as recorder:
        written = sorted({metrics_file, *folder.iterdir()})
        recorder.results(numbers | {"gap": result["gap"]}, written, folder="evaluation")
    if len(test) < test_listed:
        print(f"evaluated {len(test)} of {test_listed} listed test videos; the others could not be read")
    model = checkpoint.model
    print(table(f"SlowFast R{model['depth']}, {model['frames']} frames", sides["train"], sides["test"]))


if __name__ == "__main__":
    command.run(main)
