"""Every path of the pipeline, named once."""

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
TUNED = RECIPES / "tuned.yaml"

RAW = ROOT / "data" / "raw"
SOURCE = RAW / "source.json"
VIDEOS = ROOT / "data" / "videos.csv"
SPLITS = ROOT / "data" / "splits"
FRAMES = ROOT / "data" / "frames"
DOWNLOADS = MAIN / "data" / "downloads"
CHECKSUMS = MAIN / "data" / "checksums.txt"

ARTIFACTS = ROOT / "artifacts"
MODEL = ARTIFACTS / "model.pt"
HISTORY = ARTIFACTS / "history.csv"
CALIBRATION = ARTIFACTS / "calibration.json"
METRICS = ARTIFACTS / "metrics.json"
EVALUATION = ARTIFACTS / "evaluation"
REPORT = ARTIFACTS / "report.html"
DATA_REPORT = ARTIFACTS / "data_report.html"
PREVIEW = ARTIFACTS / "preview.html"
TUNE = ARTIFACTS / "tune.html"
TUNE_FIGURES = ARTIFACTS / "tune"
TUNE_RESULT = ARTIFACTS / "tune.json"

ABLATION = MAIN / "artifacts" / "ablation"

STATE = MAIN / ".state"
MLFLOW_DB = MAIN / "mlflow.db"
OPTUNA_DB = MAIN / "optuna.db"
MLFLOW_ARTIFACTS = MAIN / "mlruns"
