"""Weights of every kind → a network whose backbone they are, with the parts frozen that were asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from src import params
from src.command import UserError
from src.model.checkpoint import Checkpoint, build
from src.model.slowfast import published_name
from src.model.weights import hub_name
from src.training import run
from src.training.optim import build_optimizer
from src.training.predict import predict
from src.training.start import IMAGENET_MEAN, IMAGENET_STD, Weights, freeze, renormalise, start_from
from src.video.transforms import MEAN, STD
from tests.conftest import TINY_MODEL
from tests.training.toy import learner, step


def network(*, classes: int = 3, seed: int = 0, **changes) -> nn.Module:
    torch.manual_seed(seed)
    return build(TINY_MODEL | changes, classes=classes)


@pytest.fixture
def trained() -> nn.Module:
    return network(classes=5, seed=1)


def saved(trained: nn.Module, path: Path, *, kind: str) -> Weights:
    """As a model.pt of this pipeline, as PySlowFast saves it, or as it lies in pytorchvideo's hub."""
    state = trained.state_dict()
    if kind == "ours":
        Checkpoint(state, TINY_MODEL, {}, "fp32", list("abcde"), 1, None).save(path)
    else:
        named = {"pyslowfast": published_name, "hub": hub_name}[kind]
        torch.save({"model_state": {named(name): value for name, value in state.items()}}, path)
    return Weights.of(path, source=str(path))


@pytest.mark.parametrize("kind", ["ours", "pyslowfast", "hub"])
def test_all_but_the_head_is_taken_over(trained, tmp_path, kind):
    target = network()
    head = target.head.weight.clone()
    start_from(saved(trained, tmp_path / "weights", kind=kind), target)
    state = trained.state_dict()
    for name, value in target.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(value, state[name]), name
    assert target.head.out_features == 3
    assert torch.equal(target.head.weight, head)


def test_weights_of_another_network_are_refused_with_the_settings_that_differ(trained, tmp_path):
    weights = saved(trained, tmp_path / "weights", kind="ours")
    with pytest.raises(UserError, match=r"model\.fusion_kernel is 3, the weights have 5"):
        start_from(weights, network(fusion_kernel=3))


def test_a_file_that_is_no_network_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("not weights")
    with pytest.raises(UserError, match=r"notes\.txt"):
        start_from(Weights.of(tmp_path / "notes.txt", source="x"), network())
    with pytest.raises(UserError, match=r"model\.weights: .*nowhere: No such file"):
        Weights.of(tmp_path / "nowhere", source="x")


def test_a_stem_that_expects_imagenets_colours_takes_ours():
    """Away from the border, where there is padding, what comes out is the same."""
    stem = network().slow.stem.eval()
    for value in (stem.bn.running_mean, stem.bn.running_var):
        value.uniform_(0.5, 1.5)
    image = torch.rand(1, 3, 1, 32, 32)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    expected = stem.bn(stem.conv((image - mean) / std))
    renormalise(stem)
    found = stem.bn(stem.conv((image - MEAN) / STD))
    inside = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-5, rtol=1e-4)


def one_step(model: nn.Module, frozen: list[nn.Module], **settings) -> dict[str, Tensor]:
    """By how much each entry of the state has moved after a training step, an evaluation and another step."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = {"name": "sgd", "lr": 0.05, "momentum": 0.0, "weight_decay": 0.01} | settings
    optimizer = build_optimizer(model, **settings)
    batch = (torch.randint(0, 256, (2, 3, 8, 32, 32), dtype=torch.uint8), torch.tensor([0, 1]))
    trained = learner(model, optimizer=optimizer, frozen=frozen)
    for _ in range(2):
        step(trained, batch, rate=settings["lr"])
        predict(model, [batch[0]], device=torch.device("cpu"), precision="fp32")
    return {name: value - before[name] for name, value in model.state_dict().items()}


@pytest.mark.parametrize("last", [None, "stem", "res3", "res5"])
def test_frozen_stages_are_unchanged_to_the_bit_and_the_others_learn(one_thread, last):
    order = ["stem", "res2", "res3", "res4", "res5", "head"]
    still = order[: order.index(last) + 1] if last else []
    model = network(dropout=0.0)
    moved = one_step(model, freeze(model, last=last, norms=False))
    for name, change in moved.items():
        stage = "head" if name.startswith("head.") else name.split(".")[1]
        is_lateral_after = name.startswith("fuse.") and stage == last
        frozen = stage in still and not is_lateral_after
        assert bool(change.any()) is not frozen or name.endswith("bias"), name
        assert not (frozen and change.any()), name


def test_frozen_norms_keep_their_statistics_and_their_scale(one_thread):
    model = network(dropout=0.0)
    moved = one_step(model, freeze(model, last=None, norms=True))
    assert not any(change.any() for name, change in moved.items() if ".bn." in name)
    assert all(change.any() for name, change in moved.items() if name.endswith("conv.weight"))


def test_the_backbone_learns_at_its_share_of_the_rate(one_thread):
    """A hundredth of the way, but for what the second step's gradient differs by."""
    moves = []
    for share in (1.0, 0.01):
        model = network(dropout=0.0)
        torch.manual_seed(3)
        moves.append(one_step(model, [], lr=1e-3, backbone_lr=share))
    whole, part = moves
    name = "slow.res2.0.branch.a.conv.weight"
    assert part["head.weight"].norm() == pytest.approx(whole["head.weight"].norm().item(), rel=0.05)
    assert 0.005 < part[name].norm() / whole[name].norm() < 0.02


def test_fine_tuning_from_a_file_of_the_hub(trained, tmp_path, one_thread):
    """The head replaced, frozen stages unchanged to the bit, and two learning rates."""
    weights = saved(trained, tmp_path / "hub.pyth", kind="hub")
    model = network(dropout=0.0)
    start_from(weights, model)
    moved = one_step(model, freeze(model, last="res3", norms=True), lr=0.1, backbone_lr=0.01)
    state = trained.state_dict()
    frozen = [
        name for name in moved if name.split(".")[1] in ("stem", "res2", "res3") and not name.startswith("fuse.res3")
    ]
    assert len(frozen) > 100
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in frozen)
    assert moved["slow.res5.0.branch.a.conv.weight"].any()
    assert moved["head.weight"].any()


def test_weights_are_part_of_what_a_training_is_known_by(tmp_path, monkeypatch):
    """Otherwise an interrupted training would go on from another start."""
    monkeypatch.setattr(run.paths, "FRAMES", tmp_path)
    settings = params.check({}, source="")
    (tmp_path / "settings.json").write_text(json.dumps(settings.extract.of_frames()))
    keys = [
        run.identify(settings, [[]], classes=["ArmCircleLeft", "ArmCircleRight"], weights=weights)["state"]
        for weights in (None, Weights(tmp_path, "a", "1"), Weights(tmp_path, "b", "1"), Weights(tmp_path, "a", "2"))
    ]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3
