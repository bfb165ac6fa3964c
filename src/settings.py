"""Every setting of params.yaml, with its type, its default, and what goes together: one class a section.

What each is for stands in params.yaml; src/params.py reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)

from src.model.variants import PUBLISHED, VARIANTS

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of params.yaml. Keys are spelled out in full there; the values here are the defaults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Dataset(Section):
    name: Literal["synthetic", "folder", "ucf101", "hmdb51"] = "synthetic"
    path: str | None = None
    group: str | None = None
    classes: Annotated[list[str], Field(min_length=2)] | None = None
    archive: str | None = None
    lists: str | None = None
    partial: bool = False
    sha256: str | None = None
    ca_bundle: str | None = None
    insecure: bool = False
    mirror: Literal["forbid"] | dict[str, str] = Field({"ArmCircleLeft": "ArmCircleRight"}, union_mode="left_to_right")
    actors: Annotated[int, Field(ge=3, le=99)] = 16
    clips: Annotated[int, Field(ge=1, le=99)] = 3
    seed: Annotated[int, Field(ge=0)] = 2019

    @field_validator("mirror", mode="before")
    @classmethod
    def _pairs_or_forbid(cls, value: Any) -> Any:
        pairs = isinstance(value, dict) and all(isinstance(name, str) for pair in value.items() for name in pair)
        if not (pairs or value == "forbid"):
            raise ValueError(f"dataset.mirror {value!r} is neither `forbid` nor pairs of classes, e.g. {{Left: Right}}")
        return value

    @field_validator("sha256")
    @classmethod
    def _is_a_hash(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch("[0-9a-fA-F]{64}", value):
            raise ValueError(f"dataset.sha256 {value!r} is not 64 hexadecimal digits, as `sha256sum FILE` prints")
        return value and value.lower()

    @field_validator("classes")
    @classmethod
    def _each_once(cls, value: list[str] | None) -> list[str] | None:
        if value and len(set(value)) < len(value):
            raise ValueError(f"dataset.classes names a class twice: {', '.join(value)}")
        return value

    @model_validator(mode="after")
    def _says_where_the_videos_are(self) -> Dataset:
        if self.name == "folder" and not self.path:
            raise ValueError("dataset.path is needed when dataset.name is folder")
        if self.name == "synthetic" and self.path:
            raise ValueError("dataset.path is for folder, ucf101 and hmdb51; dataset.name is synthetic")
        if self.path and self.archive:
            raise ValueError("dataset.path and dataset.archive both say where the videos are; set one of them to null")
        if self.path and self.sha256:
            raise ValueError(
                "dataset.sha256 is of an archive of videos, and dataset.path is none; set one of them to null"
            )
        if self.insecure and self.ca_bundle:
            raise ValueError("dataset.insecure switches off what dataset.ca_bundle is for; set one of the two")
        published = ("archive", "lists", "sha256", "ca_bundle", "partial", "insecure")
        if self.name in ("synthetic", "folder") and (idle := [key for key in published if getattr(self, key)]):
            raise ValueError(f"dataset.{idle[0]} is for ucf101 and hmdb51; dataset.name is {self.name}")
        if self.name != "folder" and self.group:
            raise ValueError(f"dataset.group is for a folder of your own; dataset.name is {self.name}")
        return self


class Split(Section):
    number: Literal[1, 2, 3] = 1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    val: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Split:
        if self.test + self.val >= 1:
            raise ValueError(f"split.test + split.val = {self.test + self.val:g} leaves no video to train on")
        return self


class Extract(Section):
    short_side: Annotated[int, Field(ge=16)] = 72
    fps: Annotated[float, Field(gt=0, le=240)] = 12.5
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    on_error: Literal["fail", "skip"] = "fail"
    time_limit: Annotated[float, Field(gt=0, le=86_400)] = 600.0

    def of_frames(self) -> dict[str, float]:
        """The settings that decide what frames look like, without those about videos that cannot be read."""
        return self.model_dump(exclude={"on_error", "time_limit"})


class Model(Section):
    """`null` in a setting that the variant has is the variant's; see src/model/variants.py."""

    variant: Literal[tuple(VARIANTS)] = "small"
    weights: Annotated[str, Field(min_length=1)] | None = None
    pathways: Literal["both", "slow", "fast"] = "both"
    non_local: bool = False
    depth: Literal[18, 50, 101] | None = None
    width: Count | None = None
    alpha: Count | None = None
    beta_inv: Count | None = None
    fusion_kernel: Count | None = None
    temporal_blocks: Count | None = None
    dropout: Share = 0.2
    drop_path: Share = 0.0
    zero_init: bool = False
    frames: Count | None = None
    stride: Annotated[int, Field(ge=0)] | None = None
    sampling: Literal["window", "uniform"] = "window"
    pad: Literal["repeat", "loop"] = "repeat"
    crop: Annotated[int, Field(ge=16)] | None = None

    def network(self) -> dict[str, Any]:
        """What the network is and sees: the variant's settings, with those that are given here laid over them."""
        given = self.model_dump(exclude={"variant", "weights"})
        return VARIANTS[self.variant] | {key: value for key, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _fits_together(self) -> Model:
        net = self.network()
        if net["frames"] % net["alpha"]:
            raise ValueError(f"model.frames {net['frames']} is not a multiple of model.alpha {net['alpha']}")
        if net["width"] % net["beta_inv"]:
            raise ValueError(f"model.width {net['width']} is not a multiple of model.beta_inv {net['beta_inv']}")
        if net["fusion_kernel"] % 2 == 0:
            raise ValueError(f"model.fusion_kernel {net['fusion_kernel']} is even; its centre frame needs an odd one")
        if self.non_local and self.pathways == "fast":
            raise ValueError("model.non_local puts blocks into the slow pathway, and model.pathways is fast")
        if self.weights == "kinetics400":
            if self.variant not in PUBLISHED:
                there = ", ".join(PUBLISHED)
                raise ValueError(
                    f"model.weights: nobody publishes {self.variant} trained on Kinetics-400; there are {there}"
                )
            trained = VARIANTS[self.variant] | {"pathways": "both", "non_local": False}
            for key in trained.keys() - {"crop"}:
                if net[key] != trained[key]:
                    raise ValueError(f"model.{key} is {net[key]}, and model.weights kinetics400 has {trained[key]}")
        if self.weights == "imagenet" and (self.pathways == "fast" or net["width"] != 64):
            raise ValueError(
                "model.weights imagenet is for a slow pathway of model.width 64, as torchvision's ResNets are"
            )
        return self


Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class Augment(Section):
    crop: Literal["resized", "random", "corner"] = "resized"
    scale: Range = [0.4, 1.0]
    aspect: Range = [0.75, 1.333]
    flip: Probability = 0.5
    jitter: Probability = 0.2
    grey: Probability = 0.0
    randaugment: Annotated[int, Field(ge=0)] = 0
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    erase: Probability = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    speed: Range = [1.0, 1.0]
    strides: Annotated[list[Count], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _ranges_rise(self) -> Augment:
        for key in ("scale", "aspect", "speed"):
            low, high = getattr(self, key)
            if not 0 < low <= high:
                raise ValueError(f"augment.{key} {[low, high]} must be two numbers, 0 < low <= high")
        if self.scale[1] > 1:
            raise ValueError(f"augment.scale {self.scale} must be two shares of the frame, 0 < low <= high <= 1")
        return self


class Train(Section):
    epochs: Count = 24
    batch: Annotated[int, Field(ge=2)] = 16
    accumulate: Count = 1
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 2.0e-3
    lr_batch: Count | None = None
    momentum: Share = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    schedule: Literal["cosine", "constant", "step", "multistep", "plateau"] = "cosine"
    step_size: Count = 10
    milestones: Annotated[list[Count], Field(min_length=1)] = [10, 14]
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 5
    warmup: Annotated[float, Field(ge=0)] = 2
    early_stopping: Count | None = None
    keep: Literal["best", "last"] = "best"
    label_smoothing: Share = 0.1
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    windows: Count = 2
    balanced: bool = False
    backbone_lr: Annotated[float, Field(gt=0)] = 1.0
    freeze: Literal["stem", "res2", "res3", "res4", "res5"] | None = None
    freeze_norms: bool = False
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    precise_bn: Annotated[int, Field(ge=0)] = 0
    sync_bn: bool = False
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _nesterov_is_of_sgd(self) -> Train:
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError("train.nesterov is for train.optimizer sgd with train.momentum above 0")
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> Train:
        if self.warmup and self.warmup >= self.epochs:
            raise ValueError(f"train.warmup {self.warmup:g} must be shorter than train.epochs {self.epochs}")
        return self

    @model_validator(mode="after")
    def _parts_of_a_batch_hold_pairs(self) -> Train:
        if self.batch < 2 * self.accumulate:
            raise ValueError(
                f"train.accumulate {self.accumulate} leaves fewer than two of train.batch {self.batch} clips a part"
            )
        return self

    @model_validator(mode="after")
    def _norms_are_frozen_or_taken_anew(self) -> Train:
        if self.precise_bn and (frozen := "freeze_norms" if self.freeze_norms else "freeze" if self.freeze else None):
            raise ValueError(f"train.precise_bn would take anew the statistics that train.{frozen} keeps")
        return self


class Pretrain(Section):
    epochs: Annotated[int, Field(ge=0)] = 0
    task: Literal["instance", "playback"] = "instance"
    lr: Positive | None = None
    windows: Count = 2


class Axis(Section):
    """What `tune.space` says of a setting: `low` to `high`, if `log` on a logarithmic scale, or one of `choices`."""

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    choices: Annotated[list[Any], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _a_range_or_choices(self) -> Axis:
        ends = (self.low, self.high)
        if self.choices is not None and (self.log or ends != (None, None)):
            raise ValueError("choices, or low and high, not both")
        if self.choices is None and (None in ends or self.low >= self.high):
            raise ValueError("expected {low: …, high: …}, low < high, or {choices: […]}")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic scale needs low above 0")
        return self

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        """Without what it does not say."""
        given = {"low": self.low, "high": self.high, "log": self.log or None, "choices": self.choices}
        return {key: value for key, value in given.items() if value is not None}


SPACE = {
    "train.lr": Axis(low=5.0e-4, high=1.0e-2, log=True),
    "train.weight_decay": Axis(low=5.0e-3, high=0.3, log=True),
    "train.label_smoothing": Axis(low=0.0, high=0.2),
    "model.dropout": Axis(low=0.0, high=0.6),
    "model.drop_path": Axis(low=0.0, high=0.3),
    "augment.scale": Axis(choices=[[0.2, 1.0], [0.4, 1.0], [0.7, 1.0]]),
    "augment.jitter": Axis(low=0.0, high=0.8),
    "augment.randaugment": Axis(low=0, high=2),
    "augment.erase": Axis(low=0.0, high=0.5),
    "augment.mixup": Axis(choices=[0.0, 0.2, 0.8]),
    "augment.cutmix": Axis(choices=[0.0, 1.0]),
}


class Tune(Section):
    space: Annotated[dict[str, Axis], Field(min_length=1)] = SPACE
    penalty: Annotated[float, Field(ge=0)] = 0.5
    tolerance: Share = 0.1
    prune: bool = True
    finalists: Count = 2
    seeds: Annotated[int, Field(ge=2)] = 3
    seed: Annotated[int, Field(ge=0)] = 0


class Evaluate(Section):
    views: Count = 4
    crops: Literal[1, 3] = 1
    bootstrap: Annotated[int, Field(ge=100)] = 10000
    certain: Annotated[float, Field(gt=0, le=1)] = 0.95
    seed: Annotated[int, Field(ge=0)] = 0


class Predict(Section):
    long: Annotated[float, Field(gt=0)] = 60.0
    window: Annotated[float, Field(gt=0)] = 10.0
    hop: Annotated[float, Field(gt=0)] = 5.0

    @model_validator(mode="after")
    def _parts_leave_nothing_out(self) -> Predict:
        if self.hop > self.window:
            raise ValueError(
                f"predict.hop {self.hop:g} leaves out what lies between windows of {self.window:g} seconds"
            )
        if self.window > self.long:
            raise ValueError(f"predict.window {self.window:g} is longer than predict.long {self.long:g}")
        return self


class Serve(Section):
    name: Annotated[str, Field(pattern=r"^[\w. -]+$")] = "slowfast"
    megabytes: Positive = 100.0
    pixels: Count = 4096 * 2160
    seconds: Positive = 7200.0
    patience: Positive = 50.0


class Runtime(Section):
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    workers: Annotated[int, Field(ge=0)] = 2
    processes: Count = 1
    compile: bool = False
    save_every: Count = 200
    log_every: Count = 10
    checkpoints: Annotated[float, Field(ge=0)] = 1.0
    cores: Count | None = None
    cluster: Annotated[str, Field(pattern=r"^[a-z]+://.+:\d+$")] | None = None


class Params(Section):
    """All settings. `Params()` holds the defaults."""

    dataset: Dataset = Dataset()
    split: Split = Split()
    extract: Extract = Extract()
    model: Model = Model()
    augment: Augment = Augment()
    train: Train = Train()
    pretrain: Pretrain = Pretrain()
    tune: Tune = Tune()
    evaluate: Evaluate = Evaluate()
    predict: Predict = Predict()
    serve: Serve = Serve()
    runtime: Runtime = Runtime()

    def in_force(self, *, exclude: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
        """Every setting by section, with the variant's numbers in place of null."""
        values = self.model_dump(exclude=set(exclude))
        return values | {"model": values["model"] | self.model.network()}

    @model_validator(mode="after")
    def _frozen_parts_have_weights(self) -> Params:
        frozen = {"freeze": self.train.freeze, "freeze_norms": self.train.freeze_norms}
        if self.model.weights is None and (idle := [key for key, value in frozen.items() if value]):
            raise ValueError(f"train.{idle[0]} is for a network that starts from model.weights, which is null")
        if self.model.weights == "imagenet" and (idle := [key for key, value in frozen.items() if value]):
            raise ValueError(
                f"train.{idle[0]} would freeze the fast pathway and the laterals as well, which know nothing yet"
            )
        return self

    @model_validator(mode="after")
    def _a_uniform_clip_has_no_stride(self) -> Params:
        augment = self.augment
        for key, none in (("strides", None), ("speed", [1.0, 1.0])):
            if self.model.sampling == "uniform" and getattr(augment, key) != none:
                raise ValueError(
                    f"augment.{key} changes the stride, which model.sampling uniform has no use for: set it to "
                    f"{'null' if none is None else none}"
                )
        return self

    @model_validator(mode="after")
    def _one_start(self) -> Params:
        if self.pretrain.epochs and self.model.weights:
            raise ValueError(
                f"pretrain.epochs is {self.pretrain.epochs}, and model.weights {self.model.weights}: a network starts "
                "from one of the two; set the other to 0 or null"
            )
        return self

    @model_validator(mode="after")
    def _published_weights_see_their_own_rate(self) -> Params:
        if self.model.weights == "kinetics400" and self.extract.fps != (fps := PUBLISHED[self.model.variant].fps):
            raise ValueError(
                f"extract.fps is {self.extract.fps:g}, and model.weights kinetics400 was trained at {fps:g}: set it to "
                f"{fps:g}, or on purpose take other rates by giving the weights' address or file"
            )
        return self

    @model_validator(mode="after")
    def _crop_fits_the_frames(self) -> Params:
        if (crop := self.model.network()["crop"]) > self.extract.short_side:
            raise ValueError(
                f"model.crop {crop} is larger than extract.short_side {self.extract.short_side}: "
                "the crop would have to be enlarged"
            )
        return self
