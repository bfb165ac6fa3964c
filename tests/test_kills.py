"""The bench of kills, with three of them, each of which the training survives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from bench import kills
from tests.conftest import Checkout


@pytest.fixture
def checkout(reproduced: Checkout, empty_store: Path, tmp_path: Path) -> Checkout:
    path = tmp_path / "project"
    subprocess.run(["cp", "-a", reproduced.path, path], check=True)
    shutil.copy(empty_store, path)
    shutil.rmtree(path / "artifacts")
    return Checkout(path, reproduced.env)


def test_killed_and_resumed_it_ends_with_the_same_bits_and_every_point_once(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kills, "LONGEST", 0.5)
    outcome = kills.survive(checkout, kills=3, epochs=24, seed=1)
    assert len(outcome.kills) == 3
    assert outcome.kills[-1].resumed != "the start"
    assert outcome.kills[-1].torn.endswith(".pt")  # the third was killed while it saved
    assert outcome.weights_differ == []
    assert not outcome.history_differs
    # Five numbers and the rate of each epoch, three of each step, and the best epoch's number.
    assert outcome.points > 24 * 7
    assert (outcome.missing, outcome.twice) == (0, 0)
    assert not list((checkout.path / ".state/train").glob("*/"))


def test_a_difference_is_found(checkout: Checkout, tmp_path: Path):
    """Or the test above could not fail."""
    process = kills.train(checkout, epochs=2, workers=0)
    process.communicate()
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        shutil.copytree(checkout.path / "artifacts", folder)
        shutil.copy(checkout.path / "mlflow.db", folder)
    assert kills.compare(first, second, kills=[]).weights_differ == []
    model = torch.load(second / "model.pt", weights_only=True)
    model["weights"]["head.bias"][0] += 1e-6
    torch.save(model, second / "model.pt")
    (second / "history.csv").write_text("")
    outcome = kills.compare(first, second, kills=[])
    assert outcome.weights_differ == ["head.bias"]
    assert outcome.history_differs
