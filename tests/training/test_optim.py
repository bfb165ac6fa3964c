"""Optimiser groups, learning rates at points worked out by hand, and the choice of precision."""

import math

import pytest
import torch
from torch import nn

from src.command import UserError
from src.model.slowfast import SlowFast
from src.training.optim import Schedule, autocast, build_optimizer, choose_device, plateaus


def schedule(name: str, **changes) -> Schedule:
    settings = {"lr": 0.8, "epochs": 10, "warmup": 2, "step_size": 3, "milestones": [4], "gamma": 0.1, "patience": 2}
    return Schedule(schedule=name, **settings | changes)


def tiny() -> SlowFast:
    return SlowFast(classes=2, depth=18, width=8, beta_inv=4)


def test_only_weights_that_multiply_are_decayed():
    model = tiny()
    optimizer = build_optimizer(model, name="sgd", lr=0.1, momentum=0.9, weight_decay=0.05)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    expected = {
        id(p): 0.05 if isinstance(module, nn.Conv3d | nn.Linear) and name == "weight" else 0.0
        for module in model.modules()
        for name, p in module.named_parameters(recurse=False)
    }
    assert decay == expected
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(decay)


def test_frozen_parameters_are_left_alone():
    model = nn.Linear(2, 2)
    model.bias.requires_grad = False
    optimizer = build_optimizer(model, name="adamw", lr=0.1, momentum=0.9, weight_decay=0.0)
    assert [p for group in optimizer.param_groups for p in group["params"]] == [model.weight]


def test_settings_arrive():
    sgd = build_optimizer(tiny(), name="sgd", lr=0.3, momentum=0.8, weight_decay=0.01)
    adamw = build_optimizer(tiny(), name="adamw", lr=0.002, momentum=0.7, weight_decay=0.05)
    assert type(sgd) is torch.optim.SGD
    assert type(adamw) is torch.optim.AdamW
    assert {(group["lr"], group["momentum"]) for group in sgd.param_groups} == {(0.3, 0.8)}
    assert {(group["lr"], group["betas"]) for group in adamw.param_groups} == {(0.002, (0.7, 0.999))}


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 0.01 * 0.8),  # a hundredth of the peak, not nothing
        (0.01, 0.01 * 0.4 * (1 + math.cos(math.pi * 0.001))),
        (1, 0.5 * 0.4 * (1 + math.cos(math.pi / 10))),  # halfway through the warm-up
        (5, 0.4),  # the middle of the cosine
        (7.5, 0.4 * (1 - math.sqrt(0.5))),
        (10, 0.0),
    ],
)
def test_cosine_after_a_warmup(epoch, expected):
    assert schedule("cosine").rate(epoch, []) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.008), (1, 0.4), (2, 0.8), (9.9, 0.8)])
def test_constant_after_a_warmup(epoch, expected):
    assert schedule("constant").rate(epoch, []) == pytest.approx(expected)


def test_without_a_warmup_the_first_step_has_the_full_rate():
    assert schedule("cosine", warmup=0).rate(0, []) == 0.8
    assert schedule("constant", warmup=0).rate(0, []) == 0.8


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("step", [0.8, 0.8, 0.8, 0.08, 0.08, 0.08, 0.008, 0.008, 0.008, 0.0008]),
        ("multistep", [0.8, 0.8, 0.8, 0.8, 0.08, 0.08, 0.08, 0.08, 0.008, 0.008]),
    ],
)
def test_steps_lower_the_rate_by_gamma_and_stay(name, expected):
    given = schedule(name, warmup=0, step_size=3, milestones=[4, 8])
    assert [given.rate(epoch, []) for epoch in range(10)] == pytest.approx(expected)
    assert given.rate(2.99, []) == 0.8


def test_a_plateau_of_the_validation_loss_lowers_the_rate_as_torch_does():
    losses = [1.0, 0.9, 0.9, 0.95, 0.8999999, 0.91, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.6]
    given = schedule("plateau", warmup=0, patience=2)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=0.8)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
    for epoch in range(1, len(losses) + 1):
        torchs.step(losses[epoch - 1])
        assert given.rate(epoch, losses[:epoch]) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert plateaus(losses, 2) == 3


def test_nesterov_is_asked_of_sgd():
    settings = {"name": "sgd", "lr": 0.3, "momentum": 0.8, "weight_decay": 0.0}
    assert [
        {group["nesterov"] for group in build_optimizer(tiny(), **settings, nesterov=wanted).param_groups}
        for wanted in (False, True)
    ] == [{False}, {True}]


@pytest.mark.parametrize(
    ("precision", "avx512", "amx", "expected"),
    [
        ("fp32", True, True, torch.float32),
        ("bf16", False, False, torch.bfloat16),
        ("auto", False, False, torch.float32),
        ("auto", True, False, torch.bfloat16),
        ("auto", False, True, torch.bfloat16),
    ],
)
def test_a_cpu_computes_in_bf16_where_it_has_the_instructions(monkeypatch, precision, avx512, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    with autocast(torch.device("cpu"), precision=precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_computes_in_bf16_from_ampere_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda kind, *, dtype, enabled: (kind, dtype, enabled))
    assert autocast(torch.device("cuda"), precision="auto") == ("cuda", torch.bfloat16, expected)


@pytest.mark.parametrize(("there", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, there, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto") == torch.device(expected)


def test_a_named_device_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(("name", "there"), [("cuda", 0), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_named(monkeypatch, name, there):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(UserError, match=f"runtime.device is {name}, and PyTorch finds {there} GPUs: set it to auto"):
        choose_device(name)
