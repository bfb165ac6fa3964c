"""data/frames and data/splits/{train,val}.csv → artifacts/model.pt and artifacts/history.csv.

    python -m src.train

Interrupted and started again, it goes on after its last whole epoch, in the same MLflow run. The model kept is
the one of the epoch that did best on validation; test videos are not looked at.
"""

from __future__ import annotations

import shutil

from src import command, paths, tables


def main() -> None:
    params = command.settings(__doc__)
    from src import tracking
    from src.model.checkpoint import Checkpoint
    from src.training import run
    from src.training.state import fingerprint, locked
    from src.video import labels, manifest

    classes = labels.class_names(paths.SPLITS)
    train, val = (
        manifest.videos(paths.SPLITS / f"{side}.csv", frames=paths.FRAMES, classes=classes)[0]
        for side in ("train", "val")
    )
    extract = params.extract.model_dump(exclude={"on_error"})
    data = manifest.fingerprint([train, val], extract=extract)
    mirrored = labels.mirrored_labels(classes, params.dataset.mirror)
    sections = {name: getattr(params, name).model_dump() for name in ("model", "augment", "train")}
    key = fingerprint([sections, mirrored, classes, data])
    with locked(paths.STATE / "train" / key) as state:
        tags = {"dataset": params.dataset.name, "dataset.sha256": data, "state": key}
        with tracking.run(run_id=state.run_id, settings=params.model_dump(exclude={"runtime"}), tags=tags) as tracker:
            state.run_id = tracker.run_id
            weights, history = run.fit(
                train,
                val,
                classes=len(classes),
                mirrored=mirrored,
                model=sections["model"],
                augment=sections["augment"],
                settings=sections["train"],
                device=params.runtime.device,
                workers=params.runtime.workers,
                state=state,
                after_epoch=tracker.epochs,
            )
            best = run.best_epoch(history)
            last = state.load("cpu")["model"]
            for name, weights, epoch in (("best", weights, best), ("last", last, len(history))):
                path = state.folder / f"checkpoints/{name}.pt"
                Checkpoint(
                    weights=weights,
                    model=sections["model"],
                    extract=extract,
                    precision=params.train.precision,
                    classes=classes,
                    epoch=epoch,
                    run_id=tracker.run_id,
                ).save(path)
                tracker.file(path, "checkpoints")
            shutil.copy(state.folder / "checkpoints/best.pt", paths.MODEL)
            tables.write(paths.HISTORY, history, columns=list(history[0]))
            tracker.metrics({"best_epoch": best})
        state.discard()
    print(f"artifacts/model.pt: epoch {best} of {len(history)}, validation {history[best - 1]['val_top1']:.1%}")


if __name__ == "__main__":
    command.run(main)
