"""artifacts/model.pt on test videos, and on as many training videos → metrics, intervals, the gap, a report.

    python -m src.evaluate                              artifacts/model.pt
    python -m src.evaluate --run RUN_ID [--epoch 12]    a checkpoint that MLflow has: the run's best, or an epoch's

Training videos are evaluated exactly as test videos are: no augmentation, no dropout, the same views. So the gap
compares like with like. Validation videos are answered first: to them, the probabilities' temperature is fitted, and on
them the confidence is chosen from which on an answer is certain. Writes metrics.json, calibration.json, report.html and
evaluation/ to artifacts/; with --run, the same but for the curves to artifacts/evaluation-RUN_ID/, so that what DVC
keeps stays, and to an MLflow run of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import command, files, paths, tables
from src.evaluated import answered

if TYPE_CHECKING:
    import numpy as np

    from src.model.checkpoint import Checkpoint
    from src.settings import Evaluate
    from src.training.calibration import Calibration
    from src.video.manifest import Video


def headline(
    answers: np.ndarray,
    videos: Sequence[Video],
    *,
    calibration: Calibration,
    listed: int,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """What metrics.json says of one side, whose calibrated answers are `(N, classes)`."""
    import numpy as np

    from src.training import metrics

    labels, groups = np.array([video.label for video in videos]), [video.group for video in videos]
    numbers = metrics.summary(answers, labels, groups, bootstrap=bootstrap, seed=seed)
    sure = calibration.sure(answers.max(1))
    certain = metrics.certainty(answers.argmax(1) == labels, sure)
    return numbers | certain | {"evaluated": len(videos), "listed": listed}


def table(name: str, train: dict[str, Any], test: dict[str, Any]) -> str:
    """The table that the original printed, with 95 % intervals."""
    cells = [name, *(f"{s['top1']:.1%} ({s['top1_low']:.1%} – {s['top1_high']:.1%})" for s in (train, test))]
    cells.append(f"{100 * (train['top1'] - test['top1']):.1f} points")
    heads = ["Net", "Training", "Test", "Gap"]
    widths = [max(len(head), len(cell)) for head, cell in zip(heads, cells, strict=True)]
    return "\n".join(
        " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, cells)
    )


def write_details(
    folder: Path, videos: Sequence[Video], answers: np.ndarray, raw: np.ndarray, *, classes: Sequence[str]
) -> None:
    """Every prediction and the accuracy of every class, as tables and figures, to `folder`.

    `answers`, `(N, classes)`, are calibrated, and `raw` are not.
    """
    import numpy as np

    from src.report import breakdown, figures
    from src.training import metrics

    labels, predicted = np.array([video.label for video in videos]), answers.argmax(1)
    overall = float((labels == predicted).mean())
    predictions = [
        row | {"confidence": f"{confidence:.6f}"}
        for row, confidence in zip(answered(videos, predicted, classes), answers.max(1), strict=True)
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
    hits = predicted == labels
    bins = (breakdown.reliability(each.max(1), hits) for each in (answers, raw))
    figures.reliability(folder / "reliability.png", *bins)


def write_curves(folder: Path, *, best: int) -> None:
    """The learning curves of the training here, in one figure and in two."""
    from src.report import figures

    history = [{key: float(value) for key, value in row.items()} for row in tables.read(paths.HISTORY)]
    figures.curves(folder / "curves.png", history, best=best)
    for key in ("loss", "top1"):
        figures.curve(folder / f"curve_{key}.png", history, key=key, best=best)


def write_report(
    file: Path,
    result: dict[str, Any],
    checkpoint: Checkpoint,
    videos: Sequence[Video],
    views: np.ndarray,
    *,
    calibration: Calibration,
    folder: Path,
    run: str | None,
    settings: Evaluate,
) -> None:
    """The page on `result`, what metrics.json holds. `views`, `(N, V, classes)`, answer the test `videos`.

    The figures in `folder` become part of the page. `run` is the training's in MLflow.
    """
    from src.report import evaluation, looks

    fps = checkpoint.extract["fps"]
    answers = looks.answers_of(videos, calibration.apply(views.mean(1)), checkpoint.classes)
    page = evaluation.html(
        result,
        videos,
        views,
        calibration=calibration,
        net=f"{_net(checkpoint)}, crop {checkpoint.model['crop']}; {_look(settings)}",
        origin=f"Epoch {checkpoint.epoch}" + (f" of MLflow run {run}." if run else "."),
        classes=checkpoint.classes,
        fps=fps,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        figures=evaluation.Figures.of(folder),
        thumbnails=looks.thumbnails(answers, fps=fps),
        looks=looks.looks(checkpoint, answers),
    )
    files.write_text(file, page)


def _look(settings: Evaluate) -> str:
    clips = "1 clip" if settings.views == 1 else f"{settings.views} clips"
    return f"{clips} a video" + (f", {settings.crops} squares of each" if settings.crops > 1 else "")


def _net(checkpoint: Checkpoint) -> str:
    return f"SlowFast R{checkpoint.model['depth']}, {checkpoint.model['frames']} frames"


def check_videos(checkpoint: Checkpoint, now: str, *, name: str) -> None:
    """Raise `UserError` if a network, `name`, was trained on other videos than `now` stands for.

    It may have seen what is tested.
    """
    if checkpoint.data is None:
        print(f"note: {name} does not say which videos it was trained on: see that none is tested", file=sys.stderr)
    elif checkpoint.data != now:
        raise command.UserError(
            f"{name} was trained on other videos than data/splits has now, and may have seen those of test.csv: train "
            f"anew with `dvc repro`, or bring back the data and the split of its run {checkpoint.run_id}, whose tag "
            "git.commit says where they are"
        )


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--run", metavar="RUN_ID", help="evaluate this run's best checkpoint in MLflow instead")
    parser.add_argument("--epoch", type=int, metavar="N", help="with --run: the checkpoint of epoch N")
    arguments = parser.parse_args()
    if arguments.epoch is not None and arguments.run is None:
        parser.error("--epoch chooses among a run's checkpoints: it needs --run RUN_ID")
    params = command.settings_of(arguments)
    import numpy as np

    from src.model.checkpoint import Checkpoint
    from src.serving.package import submit
    from src.tracking.recorder import evaluating
    from src.training import metrics
    from src.training.answers import probabilities, sample, view_probabilities
    from src.training.calibration import calibrate
    from src.video import manifest

    model, folder, beside = paths.MODEL, paths.EVALUATION, paths.ARTIFACTS
    of_epoch = {} if arguments.epoch is None else {"epoch": arguments.epoch}
    if arguments.run is not None:
        from src.tracking import store

        model = store.checkpoint(arguments.run, arguments.epoch)
        name = "-epoch-".join([arguments.run, *map(str, of_epoch.values())])
        folder = beside = paths.EVALUATION.with_name(f"{paths.EVALUATION.name}-{name}")
    metrics_file, calibration_file, report_file = (
        beside / each.name for each in (paths.METRICS, paths.CALIBRATION, paths.REPORT)
    )
    checkpoint = Checkpoint.load(model)
    manifest.check_settings(
        paths.FRAMES,
        extract=checkpoint.extract,
        whose="the model's ",
        remedy="train anew with `dvc repro`, or set what the model has and run `dvc repro extract_frames`",
    )
    classes, settings = checkpoint.classes, params.evaluate
    (val, _), (test, test_listed), (train, _) = (
        manifest.videos(paths.SPLITS / f"{side}.csv", frames=paths.FRAMES, classes=classes)
        for side in ("val", "test", "train")
    )
    whose = f"run {arguments.run}" if arguments.run else "artifacts/model.pt"
    check_videos(checkpoint, manifest.fingerprint([train, val], extract=checkpoint.extract), name=whose)
    train = sample(train, len(test), seed=settings.seed)
    look = {"views": settings.views, "crops": settings.crops}
    runtime = {"device": params.runtime.device, "workers": params.runtime.workers}
    resampling = {"bootstrap": settings.bootstrap, "seed": settings.seed}
    validation = probabilities(checkpoint, val, **look, **runtime, title="validation")
    calibration = calibrate(
        validation,
        np.array([video.label for video in val]),
        certain=settings.certain,
        weights=checkpoint.fingerprint(),
        **look,
    )
    sides, views, judged = {}, {}, {}
    for side, videos, listed in (("test", test, test_listed), ("train", train, len(train))):
        views[side] = view_probabilities(checkpoint, videos, **look, **runtime, title=side)
        answers = calibration.apply(views[side].mean(1))
        sides[side] = headline(answers, videos, calibration=calibration, listed=listed, **resampling)
        judged[side] = answers.argmax(1) == [video.label for video in videos], [video.group for video in videos]
    low, high = metrics.gap_interval(judged["train"], judged["test"], times=settings.bootstrap, seed=settings.seed)
    result = sides | {"gap": sides["train"]["top1"] - sides["test"]["top1"], "gap_low": low, "gap_high": high}
    files.write_text(metrics_file, json.dumps(result, indent=2) + "\n")
    calibration.save(calibration_file)
    raw = views["test"].mean(1)
    write_details(folder, test, calibration.apply(raw), raw, classes=classes)
    of, own = arguments.run or checkpoint.run_id, arguments.run is not None
    if not own:
        write_curves(folder, best=checkpoint.epoch)
    say = {"calibration": calibration, "folder": folder, "run": of, "settings": settings}
    write_report(report_file, result, checkpoint, test, views["test"], **say)

    numbers = {f"{side}.{key}": value for side, values in sides.items() for key, value in values.items()}
    numbers |= {key: value for key, value in result.items() if key not in sides} | {
        "temperature": calibration.temperature
    }
    with evaluating(of, settings=settings.model_dump() | of_epoch, own=own) as recorder:
        written = {metrics_file, calibration_file, report_file, *folder.iterdir()}
        recorder.results(numbers, sorted(written), folder="evaluation")
        if not own:
            submit(recorder, checkpoint, calibration_file, val, validation, params=params)
    if len(test) < test_listed:
        print(f"evaluated {len(test)} of {test_listed} listed test videos; the others could not be read")
    print(table(_net(checkpoint), sides["train"], sides["test"]))


if __name__ == "__main__":
    command.run(main)
