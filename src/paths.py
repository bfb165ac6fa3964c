"""Every path of the pipeline, named once."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main_checkout(root: Path) -> Path:
    """The checkout that a queued `dvc exp` was started from, or `root` itself.

    DVC runs queued experiments in a copy below `.dvc/tmp/exps`. What outlives a run (the MLflow store, resume
    state) and relative paths of the user's belong to the main checkout.
    """
    for parent in root.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return root


MAIN = main_checkout(ROOT)

PARAMS = ROOT / "params.yaml"
RECIPES = ROOT / "recipes"

RAW = ROOT / "data" / "raw"
VIDEOS = ROOT / "data" / "videos.csv"
SPLITS = ROOT / "data" / "splits"
FRAMES = ROOT / "data" / "frames"

ARTIFACTS = ROOT / "artifacts"
MODEL = ARTIFACTS / "model.pt"
HISTORY = ARTIFACTS / "history.csv"
METRICS = ARTIFACTS / "metrics.json"
EVALUATION = ARTIFACTS / "evaluation"

ABLATION = MAIN / "artifacts" / "ablation"

STATE = MAIN / ".state"
MLFLOW_DB = MAIN / "mlflow.db"
MLFLOW_ARTIFACTS = MAIN / "mlruns"


def borrow(directory: Path) -> None:
    """In a queued experiment's copy, start `directory` from the main checkout's files: hard links, no second copy.

    DVC does not cache raw videos and frames, so the copy begins without them. Stages only ever replace files whole,
    so what they do here never reaches the main checkout.
    """
    source = MAIN / directory.relative_to(ROOT)
    if MAIN != ROOT and source.exists() and not directory.exists():
        shutil.copytree(source, directory, symlinks=True, copy_function=os.link)
