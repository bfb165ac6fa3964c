"""Videos and sections of params.yaml → the clips that a network is trained and validated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.video.dataset import TestViews, TrainingClips
from src.video.manifest import Video
from src.video.playback import PlayedClips, PlayedViews
from src.video.sampling import Sampling

if TYPE_CHECKING:
    from src.video.augment import Augment

COLOURS = ("jitter", "grey")
MIXING = ("mixup", "cutmix")
TEMPORAL = ("speed", "strides")
"""Settings of `augment` that are not about places in a picture: colours and mixing (`in_batches`), frame numbers."""


def training_clips(
    videos: Sequence[Video],
    *,
    model: Mapping[str, Any],
    augment: Mapping[str, Any],
    settings: Mapping[str, Any],
    mirrored: Sequence[int] | None,
) -> TrainingClips:
    """Random clips; `model`, `augment` and `settings` (of `train`) are sections of params.yaml.

    `mirrored[label]` is what a horizontal flip makes of a label; None forbids flips.
    """
    return TrainingClips(
        videos,
        sampling=Sampling.of(model),
        augment=spatial(augment, size=model["crop"], flips=mirrored is not None),
        mirrored=mirrored,
        **{key: augment[key] for key in TEMPORAL},
        **{key: settings[key] for key in ("windows", "balanced", "seed")},
    )


def validation_views(videos: Sequence[Video], *, model: Mapping[str, Any]) -> TestViews:
    """One clip of each video, from its middle."""
    return TestViews(videos, sampling=Sampling.of(model), size=model["crop"], views=1, crops=1)


def played_clips(
    videos: Sequence[Video],
    *,
    model: Mapping[str, Any],
    augment: Mapping[str, Any],
    settings: Mapping[str, Any],
    flips: bool,
) -> PlayedClips:
    """Random clips, played in random ways, for pre-training; `settings` has its `windows` and a `seed`."""
    return PlayedClips(
        videos,
        sampling=Sampling.of(model),
        augment=spatial(augment, size=model["crop"], flips=flips),
        windows=settings["windows"],
        seed=settings["seed"],
    )


def played_views(videos: Sequence[Video], *, model: Mapping[str, Any], seed: int) -> PlayedViews:
    """One clip of each video in each way of playing, to validate pre-training on."""
    return PlayedViews(videos, sampling=Sampling.of(model), size=model["crop"], seed=seed)


def in_batches(augment: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What `augment` says of whole batches: the settings of `Colours` and of `Mix`, as `Fit` is given them."""
    return {name: {key: augment[key] for key in keys} for name, keys in (("colours", COLOURS), ("mix", MIXING))}


def spatial(augment: Mapping[str, Any], *, size: int, flips: bool) -> Augment:
    """What `augment` says of places in a picture; without `flips` nothing is mirrored."""
    from src.video.augment import Augment

    settings = {key: value for key, value in augment.items() if key not in COLOURS + MIXING + TEMPORAL}
    return Augment(size=size, **settings | ({} if flips else {"flip": 0.0}))
