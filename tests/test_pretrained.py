"""`model.weights` → a file: fetched once, compared, or what is wrong with it; and a training that starts from it."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import mlflow
import pytest
import torch

from src import params, pretrained
from src.command import UserError
from src.model.checkpoint import Checkpoint, build
from src.model.variants import IMAGENET, PUBLISHED, Published
from tests.conftest import TINY_MODEL, Checkout
from tests.fetching.server import File, Server

WEIGHTS = b"PK\3\4 and so on"


def find(weights: str, *, variant: str = "slowfast_8x8_r50", depth: int = 50) -> pretrained.Weights:
    return pretrained.find(weights, variant=variant, depth=depth)


@pytest.fixture(autouse=True)
def downloads(tmp_path: Path, monkeypatch) -> Path:
    """Of this test alone."""
    monkeypatch.setattr(pretrained.paths, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setattr(pretrained.paths, "CHECKSUMS", tmp_path / "checksums.txt")
    return tmp_path / "downloads"


def test_null_is_nothing_to_start_from():
    assert pretrained.find(None, variant="small", depth=18) is None


def test_a_published_file_is_fetched_once_and_must_stay_what_it_was(monkeypatch, downloads):
    with Server(File(WEIGHTS)) as server:
        address = f"{server.root}/SLOWFAST_8x8_R50.pyth"
        monkeypatch.setitem(PUBLISHED, "slowfast_8x8_r50", Published(address, 7))
        for _ in range(2):
            found = find("kinetics400")
            assert found.file.read_bytes() == WEIGHTS
            assert (found.source, found.sha256) == ("kinetics400", hashlib.sha256(WEIGHTS).hexdigest())
        assert len(server.requests) == 1
        assert find(address).file == found.file
        shutil.rmtree(downloads)
        server.reset(File(WEIGHTS + b"others", etag='"two"'))
        with pytest.raises(UserError, match=r"model\.weights: .* when SLOWFAST_8x8_R50\.pyth was first used it had"):
            find("kinetics400")


def test_a_page_in_its_place_is_never_taken_for_the_weights(downloads):
    with Server(File(b"<html>please sign in</html>")) as server:
        with pytest.raises(UserError, match=r"x\.pyth is no file of weights: it begins with b'<htm'"):
            find(f"{server.root}/x.pyth")
        server.reset(File(WEIGHTS, etag='"two"'))
        assert find(f"{server.root}/x.pyth").file.read_bytes() == WEIGHTS


def test_imagenets_file_must_have_the_hash_that_is_in_its_name(monkeypatch):
    with Server(File(WEIGHTS)) as server:
        start = hashlib.sha256(WEIGHTS).hexdigest()[:8]
        monkeypatch.setitem(IMAGENET, 50, f"{server.root}/resnet50-{start}.pth")
        assert find("imagenet").source == "imagenet"
        monkeypatch.setitem(IMAGENET, 50, f"{server.root}/resnet50-00000000.pth")
        with pytest.raises(UserError, match=r"resnet50-00000000\.pth has a hash that begins with .*, not 00000000"):
            find("imagenet")


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"model\.weights: .*nowhere\.pyth: No such file"):
        find("nowhere.pyth")


def test_training_starts_from_a_file_and_from_a_run_and_says_so(reproduced: Checkout, tmp_path: Path):
    """The second training takes the first one's best checkpoint out of MLflow; with all frozen, the backbone is its."""
    checkout = Checkout(tmp_path / "project", reproduced.env)
    shutil.copytree(reproduced.path, checkout.path, symlinks=True)
    torch.manual_seed(5)
    weights = build(TINY_MODEL, classes=4).state_dict()
    Checkpoint(weights, TINY_MODEL, {}, "fp32", list("abcd"), 1, None).save(checkout.path / "start.pt")
    client = mlflow.MlflowClient(f"sqlite:///{checkout.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("slowfast").experiment_id

    source, expected = "start.pt", weights
    for _ in range(2):
        frozen = ("train.freeze=res5", "train.freeze_norms=true", "train.epochs=1", f"model.weights={source}")
        done = checkout.run("python", "-m", "src.train", *(part for each in frozen for part in ("--set", each)))
        assert "artifacts/model.pt: epoch 1 of 1" in done.stdout
        trained = Checkpoint.load(checkout.path / "artifacts" / "model.pt")
        backbone = [name for name in expected if not name.startswith("head.")]
        assert all(torch.equal(trained.weights[name], expected[name]) for name in backbone)
        assert trained.weights["head.weight"].shape[0] == 10
        run = client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0]
        assert run.data.tags["weights"] == source
        assert len(run.data.tags["weights.sha256"]) == 64
        assert run.data.params["model.depth"] == "18"
        source, expected = f"mlflow:{run.info.run_id}", trained.weights

    lost = checkout.run("python", "-m", "src.train", "--set", "model.weights=mlflow:0123", check=False)
    assert lost.returncode == 1
    assert "has no checkpoint of run 0123" in lost.stderr


KINETICS = {"variant": "slowfast_8x8_r50", "weights": "kinetics400", "crop": 64}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"freeze": "res2"}}, "train.freeze is for a network that starts from model.weights, which is null"),
        (
            {"model": {"weights": "kinetics400"}},
            "nobody publishes small trained on Kinetics-400; there are slowfast_4x16",
        ),
        ({"model": KINETICS | {"alpha": 8}}, "model.alpha is 8, and model.weights kinetics400 has 4"),
        ({"model": KINETICS | {"stride": 1}}, "model.stride is 1, and model.weights kinetics400 has 2"),
        ({"model": KINETICS | {"pathways": "slow"}}, "model.pathways is slow, and model.weights kinetics400 has both"),
        ({"model": KINETICS}, "extract.fps is 12.5, and model.weights kinetics400 was trained at 30: set it to 30"),
        ({"model": {"weights": "imagenet"}}, "model.weights imagenet is for a slow pathway of model.width 64"),
        (
            {"model": {"weights": "imagenet", "width": 64}, "train": {"freeze_norms": True}},
            "train.freeze_norms would freeze the fast pathway and the laterals as well, which know nothing yet",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fetched(changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        params.check(changes, source="params.yaml")


def test_the_recipe_for_published_weights_is_in_order():
    recipes = [params.read_recipe(name) for name in ("ucf101", "ucf101-kinetics")]
    assert params.check(params.lay_on({}, *recipes), source="").model.weights == "kinetics400"
