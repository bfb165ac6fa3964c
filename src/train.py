"""data/frames and data/splits/{train,val}.csv → artifacts/model.pt and artifacts/history.csv.

    python -m src.train
    python -m src.train --set runtime.processes=4        on four GPUs
    torchrun --nnodes=2 --nproc-per-node=4 --rdzv-endpoint=HOST:29400 -m src.train        on each of two machines

Interrupted and started again, it goes on from the step that was saved last, in the same MLflow run. The model kept is
the one of the epoch that did best on validation, or with train.keep: last the last one; test videos are not looked at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from src import command, files, paths, tables


def _say_what_is_left(states: Sequence[Path]) -> None:
    size = sum(map(files.size, states)) / 1e9
    names = " ".join(os.path.relpath(each) for each in states)
    print(
        f"note: of trainings that were interrupted, with other settings, data or code, {size:.2g} GB are kept to go on "
        f"from; if none is to: rm -r {names}",
        file=sys.stderr,
    )


def main() -> None:
    params = command.settings(__doc__)
    from src import pretrained
    from src.tracking.recorder import recording
    from src.training import distributed, run
    from src.training.state import abandoned, locked
    from src.video import labels, manifest

    classes = labels.class_names(paths.SPLITS)
    train, val = (
        manifest.videos(paths.SPLITS / f"{side}.csv", frames=paths.FRAMES, classes=classes)[0]
        for side in ("train", "val")
    )
    depth = params.model.network()["depth"]
    weights = pretrained.find(params.model.weights, variant=params.model.variant, depth=depth)
    identity = run.identify(params, [train, val], classes=classes, weights=weights)
    if params.runtime.processes > 1 and not distributed.launched():
        distributed.launch(params.runtime.processes)
        return
    settings = params.in_force(exclude={"tune", "evaluate", "predict", "serve", "runtime"})
    with distributed.joined(device=params.runtime.device) as team:
        what = {"classes": classes, "weights": weights, "team": team}
        if not team.first:
            run.train_network(params, train, val, state=None, recorder=None, **what)
            return
        with locked(paths.STATE / "train" / identity["state"]) as state:
            if old := abandoned(state.folder):
                _say_what_is_left(old)
            tags = {"dataset": params.dataset.name} | identity
            checkpoints = params.runtime.checkpoints
            with recording(spool=state.spool, settings=settings, tags=tags, checkpoints=checkpoints) as recorder:
                state.spool = recorder.spool
                trained = run.train_network(params, train, val, state=state, recorder=recorder, **what)
                trained.best.save(paths.MODEL)
                tables.write(paths.HISTORY, trained.history, columns=list(trained.history[0]))
                recorder.results({"best_epoch": trained.best.epoch})
            state.discard()
    best = trained.history[trained.best.epoch - 1]
    print(f"artifacts/model.pt: epoch {best['epoch']} of {len(trained.history)}, validation {best['val_top1']:.1%}")


if __name__ == "__main__":
    command.run(main)
