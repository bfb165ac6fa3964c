"""The datasets, arms and folds of bench/closing_the_gap.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.checkouts import Dataset
from src import params

Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Study:
    """Arms, each with its settings over the dataset's, on the same folds, so many `seeds` of each.

    With `--validation` in `folds`, test videos are left alone.
    """

    name: str
    title: str
    dataset: str
    arms: dict[str, Settings]
    folds: tuple[str, ...]
    seeds: int = 1
    settings: tuple[str, ...] = field(default=("runtime.workers=0",))


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("ucf101", "UCF101, six classes of it", recipes=("ucf101-small",), option="ucf101"),
        Dataset(
            "weizmann",
            "Weizmann",
            recipes=("weizmann",),
            # Of the recipe's own size and length a series would take five times as long.
            settings=("model.frames=8", "model.stride=4", "model.crop=64", "extract.short_side=72", "train.epochs=20"),
            option="weizmann",
        ),
        Dataset("synthetic", "the embedded data", settings=("model.frames=8", "model.stride=4")),
    )
}


def baseline(epochs: int) -> Settings:
    """The original's training, for so many epochs."""
    recipe = params.read_recipe("baseline-2019")
    return recipe | {"train": recipe["train"] | {"epochs": epochs}}


OURS: Settings = {}
"""params.yaml with the dataset's recipe: nothing to lay over it."""

PARTS: dict[str, tuple[str, Settings]] = {
    "ours": ("", OURS),
    "pretrain": (
        "half of the epochs, after as many of pre-training to tell videos apart",
        {"pretrain": {"epochs": 30, "task": "instance"}, "train": {"epochs": 30}},
    ),
    "mixing": ("mixup, alpha 0.2, or cutmix, alpha 1", {"augment": {"mixup": 0.2, "cutmix": 1.0}}),
    "colour": (
        "colours changed twice as much, and a fifth of the clips grey",
        {"augment": {"jitter": 0.4, "grey": 0.2}},
    ),
    "half": ("half of the epochs", {"train": {"epochs": 30}}),
    "longer": ("half as many epochs again", {"train": {"epochs": 90}}),
    "batch": ("8 clips a step", {"train": {"batch": 8}}),
    "corner-crop": ("one of four corners or the centre, as `baseline-2019` has it", {"augment": {"crop": "corner"}}),
    "own-pace": ("no change of playback speed", {"augment": {"speed": [1.0, 1.0]}}),
    "erase": ("a rectangle erased in every other clip", {"augment": {"erase": 0.5}}),
    "randaugment": ("two operations of RandAugment", {"augment": {"randaugment": 2}}),
    "decay": (
        "six times the weight decay, 0.3, and dropout 0.5",
        {"train": {"weight_decay": 0.3}, "model": {"dropout": 0.5}},
    ),
    "sgd": (
        "SGD with Nesterov's momentum, rate 0.02, weight decay 0.001, in place of AdamW",
        {"train": {"optimizer": "sgd", "lr": 0.02, "nesterov": True, "weight_decay": 0.001, "clip_norm": None}},
    ),
}
"""Each with what is otherwise than in `ours`."""

FIRST_FOLD = ("--folds", "5", "--fold", "fold-1", "--validation")

STUDIES = (
    Study(
        "parts",
        "ours with one part changed, by validation accuracy",
        dataset="ucf101",
        arms={name: settings for name, (_, settings) in PARTS.items()},
        folds=FIRST_FOLD,
        seeds=3,
    ),
    Study(
        "ucf101",
        "the claim",
        dataset="ucf101",
        arms={"ours": OURS, "baseline-2019": baseline(epochs=200)},
        folds=("--folds", "5"),
        seeds=3,
    ),
    Study(
        "synthetic",
        "the split of the embedded data",
        dataset="synthetic",
        arms={"ours": OURS, "baseline-2019": baseline(epochs=100)},
        folds=(),
    ),
    Study(
        "weizmann",
        "each actor left out",
        dataset="weizmann",
        arms={"ours": OURS, "baseline-2019": baseline(epochs=80)},
        folds=("--leave-one-group-out",),
    ),
)
