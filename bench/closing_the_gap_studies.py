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


PLAIN: Settings = {
    "model": {"dropout": 0.2, "drop_path": 0.0},
    "augment": {
        "crop": "resized",
        "scale": [0.4, 1.0],
        "flip": 0.5,
        "jitter": 0.4,
        "grey": 0.2,
        "randaugment": 0,
        "erase": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "speed": [1.0, 1.0],
    },
    "train": {
        "epochs": 24,
        "batch": 16,
        "windows": 2,
        "optimizer": "adamw",
        "lr": 0.002,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup": 2,
        "label_smoothing": 0.1,
        "clip_norm": 1.0,
        "ema": None,
        "precise_bn": 0,
        "keep": "best",
        "seed": 0,
    },
    "pretrain": {"epochs": 0},
}
"""What the parts are added to: every setting that one of them changes, whatever the defaults become."""


def plain(**changes: dict[str, Any]) -> Settings:
    """PLAIN with some settings changed."""
    return params.lay_on(PLAIN, changes)


PARTS: dict[str, tuple[str, Settings]] = {
    "plain": ("resized crop, colour jitter and grey, AdamW, cosine, label smoothing 0.1", plain()),
    "colour": (
        "a fifth of the frame's area at least, twice the jitter, half of the clips grey",
        plain(augment={"scale": [0.2, 1.0], "jitter": 0.8, "grey": 0.5}),
    ),
    "randaugment": ("two operations of RandAugment", plain(augment={"randaugment": 2})),
    "erase": ("a rectangle erased in every other clip", plain(augment={"erase": 0.5})),
    "mixup": ("mixup, alpha 0.2", plain(augment={"mixup": 0.2})),
    "cutmix": ("cutmix, alpha 1", plain(augment={"cutmix": 1.0})),
    "speed": ("playback at half to double speed", plain(augment={"speed": [0.5, 2.0]})),
    "drop-path": ("stochastic depth 0.2", plain(model={"drop_path": 0.2})),
    "ema": ("averaged weights, decay 0.99", plain(train={"ema": 0.99})),
    "keep-last": ("the last epoch kept, not the best on validation", plain(train={"keep": "last"})),
    "pretrain-instance": (
        "pre-training to tell videos apart, 20 epochs",
        plain(pretrain={"epochs": 20, "task": "instance"}),
    ),
}
"""Each with what it adds to `plain`."""

OURS: Settings = {}
"""params.yaml with the dataset's recipe: nothing to lay over it."""

FIRST_FOLD = ("--folds", "5", "--fold", "fold-1", "--validation")

STUDIES = (
    Study(
        "parts",
        "single parts, by validation accuracy",
        dataset="ucf101",
        arms={name: settings for name, (_, settings) in PARTS.items()},
        folds=FIRST_FOLD,
        seeds=3,
    ),
    Study(
        "ucf101",
        "the claim",
        dataset="ucf101",
        arms={"ours": OURS, "baseline-2019": baseline(epochs=130)},
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
