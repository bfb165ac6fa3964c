"""What a network costs: against the paper's numbers, against arithmetic by hand, and against a real training step."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from src import paths
from src.model import __main__ as command
from src.model.checkpoint import build
from src.model.summary import Row, summarise, table
from tests.conftest import TINY_MODEL

CPU = torch.device("cpu")
R50 = {"depth": 50, "width": 64, "beta_inv": 8, "dropout": 0.5, "zero_init": True, "frames": 32, "stride": 2}
R50_4X16 = R50 | {"alpha": 8, "fusion_kernel": 5}
R50_8X8 = R50 | {"alpha": 4, "fusion_kernel": 7}


def rows(model: dict, *, classes: int = 101) -> dict[str, Row]:
    """By name, as in `slow res2`."""
    return {f"{row.part} {row.stage}".strip(): row for row in summarise(model, classes=classes, device=CPU)}


def total(found: dict[str, Row], what: str) -> int:
    return sum(getattr(row, what) for row in found.values())


@pytest.mark.parametrize(
    ("model", "crop", "billions", "bf16"),
    [
        (R50_4X16, 224, 27.7, False),
        (R50_4X16, 224, 27.7, True),
        (R50_4X16, 256, 36.2, False),
        (R50_8X8, 256, 66.0, False),
    ],
)
def test_multiply_adds_are_the_published_ones(model, crop, billions, bf16):
    """Published counts take norms or pooling along in one way or another: a percent is for these."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = rows(model | {"crop": crop})
    assert total(found, "multiply_adds") == pytest.approx(billions * 1e9, rel=0.01)


def test_parameters_are_all_accounted_for():
    found = rows(R50_4X16 | {"crop": 224})
    assert total(found, "parameters") == 33_791_021
    assert found["head"].parameters == 101 * (2048 + 256) + 101


def test_outputs_are_those_of_the_papers_table_1():
    found = rows(R50_8X8 | {"crop": 224}, classes=400)
    shapes = {name: row.output for name, row in found.items() if not name.startswith("fuse")}
    assert shapes == {
        "slow stem": (64, 8, 56, 56),
        "fast stem": (8, 32, 56, 56),
        "slow res2": (256, 8, 56, 56),
        "fast res2": (32, 32, 56, 56),
        "slow res3": (512, 8, 28, 28),
        "fast res3": (64, 32, 28, 28),
        "slow res4": (1024, 8, 14, 14),
        "fast res4": (128, 32, 14, 14),
        "slow res5": (2048, 8, 7, 7),
        "fast res5": (256, 32, 7, 7),
        "head": (400,),
    }
    assert list(found)[:6] == ["slow stem", "fast stem", "fuse stem", "slow res2", "fast res2", "fuse res2"]


def test_the_stems_and_the_first_lateral_by_hand():
    """8 frames of 32 pixels: 2 slow ones to 8 channels, 8 fast ones to 2, of which the lateral makes 4; in float32.

    Kept are what goes into the convolution, what goes into the norm, and what the ReLU makes of the norm's output in
    its place; in a stem the norm's output, the place, in 8 bytes, of each maximum, and what the ReLU makes of these,
    which goes into the lateral. What goes into the fast stem's convolution is twice four frames and, as channels, two
    more to either side of them.
    """
    found = rows(TINY_MODEL, classes=3)
    assert found["slow stem"] == Row(
        stage="stem",
        part="slow",
        output=(8, 2, 8, 8),
        parameters=8 * 3 * 7 * 7 + 2 * 8,
        multiply_adds=(8 * 2 * 16 * 16) * (3 * 7 * 7),
        activations=4 * (3 * 2 * 32 * 32 + 2 * 8 * 2 * 16 * 16) + (8 + 4) * (8 * 2 * 8 * 8),
    )
    assert found["fast stem"] == Row(
        stage="stem",
        part="fast",
        output=(2, 8, 8, 8),
        parameters=2 * 3 * 5 * 7 * 7 + 2 * 2,
        multiply_adds=(2 * 8 * 16 * 16) * (3 * 5 * 7 * 7),
        activations=4 * (3 * 2 * (4 + 4) * 32 * 32 + 2 * 2 * 8 * 16 * 16) + (8 + 4) * (2 * 8 * 8 * 8),
    )
    assert found["fuse stem"] == Row(
        stage="stem",
        part="fuse",
        output=(4, 2, 8, 8),
        parameters=4 * 2 * 5 + 2 * 4,
        multiply_adds=(4 * 2 * 8 * 8) * (2 * 5),
        activations=4 * (2 * 4 * 2 * 8 * 8),
    )


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("bf16", [False, True])
def test_activations_are_what_a_training_step_keeps(bf16):
    """Of a third clip, so that weights and what stands for them in bfloat16 fall out."""
    kept = []
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        summarised = total(rows(TINY_MODEL, classes=3), "activations")
        for clips in (2, 3):
            network = build(TINY_MODEL, classes=3).train().to(memory_format=torch.channels_last_3d)
            storages = {}
            with saved_tensors_hooks(lambda saved, to=storages: to.update({saved.untyped_storage(): 0}), lambda _: _):
                network(torch.rand(clips, 3, 8, 32, 32).to(memory_format=torch.channels_last_3d))
            kept.append(sum(storage.nbytes() for storage in storages))
    assert summarised == kept[1] - kept[0]


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"pathways": "slow"}, {"slow"}),
        ({"pathways": "fast"}, {"fast"}),
        ({"non_local": True}, {"slow", "fast", "fuse"}),
    ],
)
def test_every_variant_is_counted_whole(settings, parts):
    found = rows(TINY_MODEL | settings, classes=3)
    assert {row.part for row in found.values()} == parts | {""}
    network = build(TINY_MODEL | settings, classes=3)
    assert total(found, "parameters") == sum(parameter.numel() for parameter in network.parameters())


def test_bfloat16_halves_them_more_or_less():
    """Less, since positions of maxima stay 8 bytes long; and more, since float32 keeps a frame's neighbours with it."""
    model = TINY_MODEL | {"frames": 16, "crop": 128}  # in smaller maps the zeros around them, of conv.py, are a lot
    full = total(rows(model), "activations")
    with torch.autocast("cpu", torch.bfloat16):
        assert 0.4 * full < total(rows(model), "activations") < 0.6 * full


def test_a_network_too_large_for_any_machine_is_summarised():
    found = rows(R50_8X8 | {"depth": 101, "frames": 256, "crop": 2048})
    assert total(found, "activations") > 1e12
    assert found["slow res5"].output == (2048, 64, 64, 64)


def test_the_table_ends_with_a_total():
    found = [
        Row("stem", "slow", (8, 2, 56, 56), 9_536, 2_360_000_000, 51_380_000),
        Row("head", "", (101,), 232_805, 232_704, 640),
    ]
    assert table(found).splitlines() == [
        "stage  part  output C × T × H × W  parameters  multiply-adds  activations",
        "stem   slow  8 × 2 × 56 × 56            9,536         2.36 G     51.38 MB",
        "head         101                      232,805       232.70 k        640 B",
        "total                                 242,341         2.36 G     51.38 MB",
    ]


def test_classes_are_those_given_or_listed_or_of_ucf101(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SPLITS", tmp_path)
    count, source = command.number_of_classes(None)
    assert (count, source.split(":")[0]) == (101, "as in UCF101")
    (tmp_path / "classes.txt").write_text("Run\nWalk\n")
    assert command.number_of_classes(None) == (2, "data/splits/classes.txt")
    assert command.number_of_classes(7) == (7, "--classes")


def test_the_command_says_what_it_took_and_what_it_counts(monkeypatch, capsys):
    settings = ["model.depth=18", "model.frames=8", "model.crop=32", "train.precision=bf16", "runtime.device=cpu"]
    overrides = [part for setting in settings for part in ("--set", setting)]
    monkeypatch.setattr(sys, "argv", ["x", "summary", *overrides, "--classes", "7"])
    command.main()
    printed = capsys.readouterr().out
    assert "depth 18, " in printed.splitlines()[0]
    assert "frames 8, " in printed.splitlines()[0]
    assert printed.splitlines()[1] == "7 classes (--classes)"
    assert "\nhead         7  " in printed
    assert "for the backward pass, on cpu in bf16, " in printed


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "src.model", *arguments]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=paths.ROOT, env=env, capture_output=True, text=True)


def test_the_command_is_called_by_the_name_that_one_types():
    shown = run("--help")
    assert shown.stdout.startswith("usage: python -m src.model [-h]")
    refused = run("summary", "--classes", "0")
    assert refused.returncode == 2
    assert refused.stderr.endswith("python -m src.model: error: argument --classes: must be at least 1, not 0\n")


def test_a_gpu_that_is_not_there_is_named():
    refused = run("summary", "--set", "runtime.device=cuda:1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == ("error: runtime.device is cuda:1, and PyTorch finds 0 GPUs: set it to auto or cpu\n")
