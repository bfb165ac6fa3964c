"""data/frames and data/splits/{train,val}.csv → artifacts/model.pt and artifacts/history.csv.

    python -m src.train

Interrupted and started again, it goes on after its last whole epoch, in the same MLflow run. The model kept is
the one of the epoch that did best on validation; test videos are not looked at.
"""

from __future__ import annotations

from src import command, paths, tables


def main() -> None:
    params = command.settings(__doc__)
    from src import pretrained, tracking
    from src.training import run
    from src.training.state import locked
    from src.video import labels, manifest

    classes = labels.class_names(paths.SPLITS)
    train, val = (
        manifest.videos(paths.SPLITS / f"{side}.csv", frames=paths.FRAMES, classes=classes)[0]
        for side in ("train", "val")
    )
    depth = params.model.network()["depth"]
    weights = pretrained.find(params.model.weights, variant=params.model.variant, depth=depth)
    identity = run.identify(params, [train, val], classes=classes, weights=weights)
    settings = params.in_force(exclude={"evaluate", "runtime"})
    with locked(paths.STATE / "train" / identity["state"]) as state:
        tags = {"dataset": params.dataset.name} | identity
        with tracking.run(run_id=state.run_id, settings=settings, tags=tags) as tracker:
            state.run_id = tracker.run_id
            trained = run.train_network(
                params,
                train,
                val,
                classes=classes,
                state=state,
                run_id=tracker.run_id,
                after_epoch=tracker.epochs,
                weights=weights,
            )
            trained.best.save(paths.MODEL)
            tables.write(paths.HISTORY, trained.history, columns=list(trained.history[0]))
            checkpoints = [state.folder / "checkpoints" / name for name in ("best.pt", "last.pt")]
            for checkpoint, path in zip((trained.best, trained.last), checkpoints, strict=True):
                checkpoint.save(path)
            tracker.results({"best_epoch": trained.best.epoch}, checkpoints, folder="checkpoints")
        state.discard()
    best = trained.history[trained.best.epoch - 1]
    print(f"artifacts/model.pt: epoch {best['epoch']} of {len(trained.history)}, validation {best['val_top1']:.1%}")


if __name__ == "__main__":
    command.run(main)
