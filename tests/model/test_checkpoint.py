"""artifacts/model.pt: what goes in comes out, and nothing but a model comes out."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from src.command import UserError
from src.model.checkpoint import Checkpoint, build
from tests.conftest import TINY_MODEL as MODEL

pytestmark = pytest.mark.usefixtures("one_thread")


class Intruder:
    """Unpickled without care, it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(
        weights=build(MODEL, classes=3).state_dict(),
        model=MODEL,
        extract={"short_side": 40, "fps": 12.5, "quality": 90},
        precision="auto",
        classes=["Run", "Walk", "Wave"],
        epoch=7,
        run_id=None,
    )


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        Checkpoint.load(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert "weights_only" not in message  # PyTorch's own advice on how to run a stranger's code
    return message


def test_a_saved_network_answers_as_before(tmp_path):
    saved = checkpoint()
    saved.save(tmp_path / "artifacts" / "model.pt")
    loaded = Checkpoint.load(tmp_path / "artifacts" / "model.pt")
    clip = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert loaded.network().eval()(clip).equal(saved.network().eval()(clip))
    assert replace(loaded, weights={}) == replace(saved, weights={})
    assert list(loaded.weights) == list(saved.weights)


def test_the_file_holds_nothing_that_runs(tmp_path):
    checkpoint().save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert sorted(content) == ["classes", "data", "epoch", "extract", "model", "precision", "run_id", "weights"]


def test_a_missing_file_says_how_to_make_one(tmp_path):
    assert "dvc repro" in refused(tmp_path / "model.pt")


def test_a_text_file_is_no_model(tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("no model\n")
    assert "not a model" in refused(path)


def test_an_empty_file_is_no_model(tmp_path):
    path = tmp_path / "model.pt"
    path.touch()
    assert "not a model" in refused(path)


def test_a_folder_is_no_model(tmp_path):
    assert "directory" in refused(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_half_a_model_is_none(tmp_path, share):
    path = tmp_path / "model.pt"
    checkpoint().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "not a model" in refused(path)


@pytest.mark.parametrize("dump", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_file_does_not_run(tmp_path, dump):
    path = tmp_path / "model.pt"
    dump({"weights": Intruder(tmp_path / "ran")}, path)
    assert "not a model" in refused(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [{"weights": {}}, {"state_dict": {}, "epoch": 3}, [1, 2], torch.zeros(3)])
def test_another_programs_file_is_no_model(tmp_path, value):
    path = tmp_path / "model.pt"
    torch.save(value, path)
    assert "not a model" in refused(path)
