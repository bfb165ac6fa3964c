"""`tune.space`: what is refused before the first trial, and that params.yaml itself can always be a trial."""

from __future__ import annotations

import optuna
import pytest

from src import params
from src.command import UserError
from src.search import space
from src.settings import Params


def settings(axes: dict, **sections: dict) -> Params:
    return params.check(params.lay_on({"tune": {"space": axes}}, sections), source="test")


def test_the_space_that_params_yaml_comes_with_holds_its_own_values():
    base = Params()
    found = space.dimensions(base)
    assert [dimension.key for dimension in found] == list(base.tune.space)
    assert space.widened(base, found) == []
    assert space.overlay(found, space.own_values(found)) == {
        section: {
            key.partition(".")[2]: base.model_dump()[section][key.partition(".")[2]]
            for key in base.tune.space
            if key.startswith(f"{section}.")
        }
        for section in ("train", "model", "augment")
    }


@pytest.mark.parametrize(
    ("key", "axis", "reason"),
    [
        ("extract.fps", {"low": 5.0, "high": 20.0}, "only settings of model, augment, train"),
        ("runtime.workers", {"low": 0, "high": 4}, "only settings of model, augment, train"),
        ("lr", {"low": 0.1, "high": 0.2}, "only settings of model, augment, train"),
        ("train.speed", {"low": 0.1, "high": 0.2}, "there is no such setting"),
        ("model.dropout", {"low": 0.0, "high": 1.5}, "model.dropout 1.5"),
        ("train.optimizer", {"choices": ["sgd", "lion"]}, "train.optimizer lion"),
        ("model.variant", {"low": 0, "high": 3}, "model.variant"),
        ("train.ema", {"low": 0.9, "high": 0.99}, "give choices"),
    ],
)
def test_what_no_training_can_have_is_refused_by_name(key: str, axis: dict, reason: str):
    with pytest.raises(UserError, match=f"tune.space: {key}.*") as error:
        space.dimensions(settings({key: axis}))
    assert reason in str(error.value)


@pytest.mark.parametrize(
    "axis",
    [
        {"low": 1.0, "high": 1.0},
        {"low": 0.1},
        {"choices": [0.1]},
        {"choices": [0.1, 0.2], "low": 0.1, "high": 1.0},
        {"low": 0.0, "high": 1.0, "log": True},
        {"low": 0.1, "high": 1.0, "step": 0.1},
    ],
)
def test_an_axis_is_a_range_or_choices(axis: dict):
    with pytest.raises(UserError, match="tune"):
        settings({"model.dropout": axis})


def test_a_space_that_misses_the_own_value_is_widened_and_that_is_said():
    base = settings(
        {"train.lr": {"low": 0.01, "high": 0.1}, "augment.scale": {"choices": [[0.1, 0.5], [0.3, 1.0]]}},
        train={"lr": 0.002},
    )
    lr, scale = space.dimensions(base)
    assert (lr.low, lr.high, lr.own) == (0.002, 0.1, 0.002)
    assert scale.choices == ("[0.1, 0.5]", "[0.3, 1.0]", "[0.4, 1.0]")
    assert [line.partition(":")[0] for line in space.widened(base, [lr, scale])] == ["train.lr", "augment.scale"]


def test_values_are_drawn_within_their_ranges_and_of_their_kind():
    base = settings(
        {
            "train.lr": {"low": 0.0001, "high": 0.1, "log": True},
            "augment.randaugment": {"low": 0, "high": 3},
            "augment.erase": {"low": 0, "high": 1},
            "train.ema": {"choices": [None, 0.99]},
            "augment.scale": {"choices": [[0.1, 0.5], [0.4, 1.0]]},
        }
    )
    found = space.dimensions(base)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(200):
        trial = study.ask()
        laid = space.overlay(found, {dimension.key: dimension.suggest(trial) for dimension in found})
        params.check(params.lay_on(base.model_dump(), laid), source="trial")
        drawn.append(laid)
    rates = [each["train"]["lr"] for each in drawn]
    assert min(rates) >= 0.0001
    assert max(rates) <= 0.1
    assert 60 < sum(rate < 0.00316 for rate in rates) < 140  # half of a logarithmic scale
    assert {each["augment"]["randaugment"] for each in drawn} == {0, 1, 2, 3}
    assert len({each["augment"]["erase"] for each in drawn}) > 100  # a share, though its ends are written as 0 and 1
    assert {each["train"]["ema"] for each in drawn} == {None, 0.99}
    assert {tuple(each["augment"]["scale"]) for each in drawn} == {(0.1, 0.5), (0.4, 1.0)}
    assert all(rate == float(f"{rate:.3g}") for rate in rates)


def test_near_the_end_of_a_narrow_range_values_stay_apart_and_within():
    base = settings({"train.ema": {"low": 0.99, "high": 0.9999}}, train={"ema": 0.999})
    (ema,) = space.dimensions(base)
    assert [ema.setting(drawn) for drawn in (0.99961, 0.99962, 0.99, 0.9999, 0.999)] == [
        *(0.99961, 0.99962),
        *(0.99, 0.9999, 0.999),
    ]
    assert ema.setting(0.990000001) == 0.99


def test_a_whole_number_within_a_range_that_is_refused_is_an_error_before_the_first_trial():
    base = settings({"model.frames": {"low": 8, "high": 32}}, model={"frames": 16})
    with pytest.raises(UserError, match=r"model\.frames 9"):
        space.dimensions(base)


def test_the_space_survives_params_apply(tmp_path):
    target = tmp_path / "params.yaml"
    target.write_text((params.paths.ROOT / "params.yaml").read_text())
    params.apply([], ["train.lr=0.003"], target=target)
    assert params.load(target).tune == Params().tune
    assert "train.lr: {low: 0.0005, high: 0.01, log: true}" in target.read_text()
