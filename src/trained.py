"""What `--model` names → a network's file and how its answers are to be read. Prediction and serving share it.

FILE                 artifacts/model.pt or a copy, with calibration.json beside it
RUN or mlflow:RUN    the best checkpoint of a run in MLflow, by its id or its spool's name
models:/NAME@ALIAS   or models:/NAME/VERSION: a registered model, with the calibration that it is served with
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from src import paths
from src.command import UserError

if TYPE_CHECKING:
    from src.model.checkpoint import Checkpoint
    from src.training.calibration import Calibration


def find(model: str) -> tuple[Checkpoint, Calibration | None]:
    """The network, and its calibration where there is one; what is missing is said on stderr.

    Raises `UserError` if there is no such file, run or registered model.
    """
    from src.model.checkpoint import Checkpoint
    from src.training.calibration import Calibration

    file, beside = _files(model)
    checkpoint = Checkpoint.load(file)
    if beside is None or not beside.exists():
        return checkpoint, _uncalibrated(model, "there is no calibration beside it")
    calibration = Calibration.load(beside)
    if calibration.weights != checkpoint.fingerprint():
        return checkpoint, _uncalibrated(model, "the calibration beside it is another network's")
    return checkpoint, calibration


def _uncalibrated(model: str, why: str) -> None:
    print(
        f"note: {model}: {why}: probabilities are the network's own, and no answer is withheld; "
        "`python -m src.evaluate` calibrates",
        file=sys.stderr,
    )


def _files(model: str) -> tuple[Path, Path | None]:
    """The checkpoint's file, and the calibration's, which may not be there."""
    run = None
    if model.startswith("models:"):
        from src.tracking import registry, store

        version, (client, _) = registry.find(model), store.configured()
        model_file, calibration = (
            registry.file(client, version, each.name) for each in (paths.MODEL, paths.CALIBRATION)
        )
        return model_file, calibration
    if model.startswith("mlflow:"):
        run = model.removeprefix("mlflow:")
    elif re.fullmatch("[0-9a-f]{16}|[0-9a-f]{32}", model) and not Path(model).exists():
        run = model
    if run is not None:
        from src.tracking import store

        return store.checkpoint(run), store.artifact(run, f"evaluation/{paths.CALIBRATION.name}")
    file = Path(model).expanduser()
    if file.is_dir():
        raise UserError(f"--model {model}: a folder; name a file, e.g. {file / paths.MODEL.name}")
    return file, file.with_name(paths.CALIBRATION.name)
