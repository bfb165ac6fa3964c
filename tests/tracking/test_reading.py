"""The experiment as tables."""

from src.tracking import reading
from tests.conftest import Checkout
from tests.test_pipeline import runs


def test_runs_have_settings_and_numbers_and_curves_their_steps(reproduced: Checkout, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{reproduced.path / 'mlflow.db'}")
    training = runs(reproduced)[0]
    table = reading.runs()
    row = table.loc[training.info.run_id]
    assert (row["name"], row["status"], row["train.epochs"]) == (training.info.run_name, "FINISHED", "2")
    assert row["test.top1"] == training.data.metrics["test.top1"]
    assert table["started"].is_monotonic_decreasing
    curves = reading.curves(training.info.run_id, ["val_top1", "train_loss"])
    assert (list(curves), list(curves.index)) == (["val_top1", "train_loss"], [1, 2])
    assert curves["val_top1"].iloc[-1] == training.data.metrics["val_top1"]
