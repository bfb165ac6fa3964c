"""A checkpoint's network in other programs: the same answers there, from the video on, or no file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from src import export as command
from src import paths
from src.command import UserError
from src.export import FORMATS, Format, export, largest_difference, load_torch, to_torch
from src.model.checkpoint import Checkpoint, build
from src.training.answers import probabilities
from src.video import store
from src.video.decode import read_frames
from src.video.manifest import Video
from src.video.transforms import normalise
from tests.conftest import TINY_MODEL
from tests.video import clips

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (3, 8, 32, 32)
VIEWS, CROPS = 3, 3


def new_checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    weights = build(TINY_MODEL, classes=3).state_dict()
    weights["head.weight"] *= 30  # else all answers are a third
    extract = {"short_side": 40, "fps": 12.5, "quality": 90}
    return Checkpoint(weights, TINY_MODEL, extract, "fp32", ["Run", "Baile de salón", "太极"], 7, "a1b2")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return new_checkpoint()


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Path:
    """The folder in which both files and their description lie."""
    folder = tmp_path_factory.mktemp("export") / "new"
    export(checkpoint, folder, name="model", formats=list(FORMATS), views=VIEWS, crops=CROPS)
    return folder


def described(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def some_clips(batch: int) -> Tensor:
    return normalise(torch.randint(256, (batch, *SHAPE), dtype=torch.uint8))


# The files


@pytest.mark.parametrize("batch", [1, 5])
def test_onnx_runtime_gives_the_models_logits_for_any_batch(checkpoint, exported, batch):
    import onnxruntime

    inputs = some_clips(batch)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"clips": inputs.numpy()})
    with torch.inference_mode():
        expected = checkpoint.network().eval()(inputs).numpy()
    assert logits == pytest.approx(expected, abs=1e-3)
    assert np.ptp(expected, axis=1).min() > 0.1


@pytest.mark.parametrize("batch", [1, 5])
def test_torch_export_gives_the_models_logits_for_any_batch(checkpoint, exported, batch):
    inputs = some_clips(batch)
    network = torch.export.load(exported / "model.pt2").module()
    with torch.inference_mode():
        torch.testing.assert_close(network(inputs), checkpoint.network().eval()(inputs), atol=1e-3, rtol=0)


def test_names_and_shapes_in_the_onnx_file_are_those_of_the_description(exported):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (answered,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("clips", ["batch", 3, 8, 32, 32], "tensor(float)")
    assert (answered.name, answered.shape, answered.type) == ("logits", ["batch", 3], "tensor(float)")
    for key, value in (("input", given), ("output", answered)):
        assert described(exported)[key] == {"name": value.name, "type": "float32", "shape": value.shape}


def test_the_description_says_what_leads_to_the_input_and_where_the_model_is_from(exported):
    description = described(exported)
    files = description.pop("files")
    assert {key: value for key, value in description.items() if key not in ("input", "output", "model")} == {
        "classes": ["Run", "Baile de salón", "太极"],
        "fps": 12.5,
        "short_side": 40,
        "jpeg_quality": 90,
        "frames": 8,
        "stride": 1,
        "sampling": "window",
        "pad": "repeat",
        "views": VIEWS,
        "crops": CROPS,
        "crop": 32,
        "mean": [0.45] * 3,
        "std": [0.225] * 3,
        "run_id": "a1b2",
        "epoch": 7,
    }
    assert description["model"] == TINY_MODEL
    assert sorted(files) == ["model.onnx", "model.pt2"]
    for name, checked in files.items():
        assert checked["sha256"] == hashlib.sha256((exported / name).read_bytes()).hexdigest()
        assert 0 <= checked["largest_difference"] < 1e-3
    assert sorted(path.name for path in exported.iterdir()) == ["model.json", "model.onnx", "model.pt2"]


def test_the_files_say_nothing_of_the_machine_they_were_made_on(exported):
    for name in ("model.onnx", "model.pt2"):
        assert b"slowfast.py" not in (exported / name).read_bytes()
        assert str(paths.ROOT).encode() not in (exported / name).read_bytes()


# What is not written


def test_a_network_that_answers_otherwise_leaves_no_file(checkpoint, tmp_path, monkeypatch):
    """Also none of another format that agreed."""
    off = Format(".off", to_torch, lambda content: lambda clips: load_torch(content)(clips) + 0.002)
    monkeypatch.setitem(FORMATS, "off", off)
    with pytest.raises(
        UserError, match=r"model.off: its logits differ from the model's by 0.002 .*nothing was written"
    ):
        export(checkpoint, tmp_path, name="model", formats=["torch", "off"], views=1, crops=1)
    assert list(tmp_path.iterdir()) == []


def test_logits_that_are_no_numbers_agree_with_nothing(checkpoint, tmp_path):
    weights = checkpoint.weights | {"head.bias": torch.full((3,), torch.nan)}
    with pytest.raises(UserError, match="differ from the model's by nan"):
        export(replace(checkpoint, weights=weights), tmp_path, name="model", formats=["torch"], views=1, crops=1)
    assert list(tmp_path.iterdir()) == []


def test_the_difference_is_the_largest_of_any_clip_and_class():
    def one(clips: Tensor) -> Tensor:
        return clips.mean((2, 3, 4))

    def other(clips: Tensor) -> Tensor:
        wrong = torch.zeros(len(clips), 3)
        wrong[-1, 1] = 0.25 if len(clips) == 1 else -0.5
        return one(clips) + wrong

    assert largest_difference(one, other, SHAPE) == pytest.approx(0.5)
    assert largest_difference(one, one, SHAPE) == 0


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_way_out(checkpoint, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert importlib.util.find_spec(package) is None
    with pytest.raises(UserError) as error:
        export(checkpoint, tmp_path, name="model", formats=["torch", "onnx"], views=1, crops=1)
    assert str(error.value) == (
        f"--format onnx needs {package}: pip install -r requirements-export.txt; --format torch does without"
    )
    assert list(tmp_path.iterdir()) == []


# The command


def test_the_command_names_its_files_after_the_checkpoint(checkpoint, tmp_path, monkeypatch, capsys):
    checkpoint.save(tmp_path / "best.pt")
    options = ["--model", f"{tmp_path}/best.pt", "--format", "torch", "--output", f"{tmp_path}/out"]
    monkeypatch.setattr(sys, "argv", ["x", *options, "--set", "evaluate.views=5", "--set", "evaluate.crops=3"])
    monkeypatch.chdir(tmp_path)
    command.main()
    program, about = capsys.readouterr().out.splitlines()
    said = re.fullmatch(r"out/best\.pt2: logits within (\S+) of the model's", program)
    assert float(said[1]) < 1e-4  # 0 on some processors
    assert about == "out/best.json"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["best.json", "best.pt2"]
    description = json.loads((tmp_path / "out" / "best.json").read_text())
    assert list(description["files"]) == ["best.pt2"]
    assert (description["views"], description["crops"]) == (5, 3)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--model", f"{tmp_path}/none.pt"])
    with pytest.raises(UserError, match=r"none.pt: no such file"):
        command.main()


# The example in docs/export.md


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (paths.ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    return code


def moving(count: int, *, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """A bright square that crosses a grey picture, in colours that change on the way."""
    frames = []
    for time in range(count):
        frame = np.full((height, width, 3), (90, 110, 5 * time % 256), np.uint8)
        left = time * (width - 16) // max(1, count - 1)
        frame[10:26, left : left + 16] = (250 - 6 * time % 250, 200, 40)
        frames.append(frame)
    return frames


VIDEOS = {
    "wide": lambda path: clips.write(path, moving(40)),
    "tall and enlarged": lambda path: clips.write(path, moving(40, width=32, height=44)),
    "of pixels that are not square": lambda path: clips.write(path, moving(40), pixel="4/3"),
    "turned": lambda path: clips.turn(clips.write(path, moving(40)), 90),
    "of a varying rate": lambda path: clips.write(path, moving(30), times=[40 * n + 15 * (n % 3) for n in range(30)]),
    "shorter than a clip": lambda path: clips.write(path, moving(5)),
    "one frame": lambda path: clips.write(path, moving(1)),
    "high definition": lambda path: clips.write(path, moving(12, width=960, height=720)),
}


@pytest.mark.parametrize(
    ("kind", "crops", "sampling"),
    [
        *((kind, crops, {}) for kind in VIDEOS for crops in (1, 3)),
        *((kind, 1, {"pad": "loop"}) for kind in ("wide", "shorter than a clip")),
        *((kind, 1, {"sampling": "uniform"}) for kind in ("wide", "shorter than a clip")),
    ],
)
def test_the_example_finds_the_probabilities_that_evaluation_finds(
    checkpoint, exported, tmp_path, monkeypatch, capsys, kind, crops, sampling
):
    checkpoint = replace(checkpoint, model=checkpoint.model | sampling)
    raw = VIDEOS[kind](tmp_path / "raw.mp4")
    extract = checkpoint.extract
    decoded = read_frames(raw, short_side=extract["short_side"], fps=extract["fps"])
    count, _, _ = store.write(tmp_path / "frames.avi", decoded, fps=extract["fps"], quality=extract["quality"])
    video = Video("raw.mp4", tmp_path / "frames.avi", 0, "g1", count, "")
    (expected,) = probabilities(checkpoint, [video], views=VIEWS, crops=crops, device="cpu", workers=0, title="")

    (tmp_path / "model.onnx").write_bytes((exported / "model.onnx").read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(described(exported) | {"crops": crops} | sampling))
    (tmp_path / "classify.py").write_text(example())
    monkeypatch.setattr(sys, "argv", ["classify.py", f"{tmp_path}/model.onnx", str(raw)])
    found = runpy.run_path(f"{tmp_path}/classify.py")

    assert found["probabilities"] == pytest.approx(expected, abs=1e-3)
    assert np.ptp(expected) > 0.05
    best = checkpoint.classes[int(expected.argmax())]
    assert capsys.readouterr().out.splitlines()[0] == f"{found['probabilities'].max():7.2%}  {best}"
