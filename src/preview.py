"""data/frames and the settings of `augment` → artifacts/preview.html: clips as training sees them, to check by eye.

    python -m src.preview
    python -m src.preview --set augment.randaugment=2 --set augment.magnitude=20

One training video of each class: first the clip that it is tested on, then clips of it as training draws them, each a
row of frames. With augment.mixup or augment.cutmix, pairs of clips as they are mixed, and what they are then called;
with pretrain.task playback, a clip in every way of playing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from src import command, files, paths

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from src.report.page import Picture
    from src.settings import Params
    from src.video.manifest import Video

FRAMES = 8  # of each clip, evenly spread


@dataclass(frozen=True)
class Strip:
    """Clips, a row each, and what each row is."""

    title: str
    picture: Picture
    rows: Sequence[str]


def strip(title: str, clips: Sequence[Tensor], rows: Sequence[str]) -> Strip:
    """From `(3, T, H, W)` clips with values up to 255."""
    from src.report import page

    return Strip(title, page.contact_sheet([_frames(clip) for clip in clips]), rows)


def _frames(clip: Tensor) -> np.ndarray:
    """Some frames of a `(3, T, H, W)` clip, `(t, H, W, 3)` uint8."""
    import torch

    chosen = torch.linspace(0, clip.shape[1] - 1, min(FRAMES, clip.shape[1])).round().long()
    return clip[:, chosen].permute(1, 2, 3, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def coloured(clips: Sequence[Tensor], draws: Sequence[int], *, epoch: int, sections: dict[str, Any]) -> Tensor:
    """Training clips as the network sees them, but with values from 0 to 255."""
    import torch

    from src.training.clips import in_batches
    from src.training.colours import Colours
    from src.video.transforms import MEAN, STD

    colours = Colours(**in_batches(sections["augment"])["colours"], seed=sections["settings"]["seed"])
    return (colours(torch.stack(tuple(clips)), epoch=epoch, draws=torch.tensor(draws)) * STD + MEAN) * 255


def drawn(videos: Sequence[Video], classes: Sequence[str], *, count: int, sections: dict[str, Any]) -> list[Strip]:
    """For each video the clip that it is tested on, and `count` clips of training."""
    from src.training.clips import training_clips, validation_views

    settings = sections["settings"] | {"windows": 1, "balanced": False}
    clips = training_clips(videos, **sections | {"settings": settings})
    views = validation_views(videos, model=sections["model"])
    strips = []
    for number, video in enumerate(tqdm(videos, desc="clips", unit="class", disable=None)):
        rows, shown = [f"tested on: {video.name}"], [views[number][0]]
        for epoch in range(count):
            clip, label, draw = clips[epoch, number]
            rows.append("training" if label == video.label else f"training, flipped: {classes[label]}")
            shown.extend(coloured([clip], [draw], epoch=epoch, sections=sections))
        strips.append(strip(classes[video.label], shown, rows))
    return strips


def mixed(videos: Sequence[Video], classes: Sequence[str], *, sections: dict[str, Any]) -> list[Strip]:
    """Neighbours as a batch would mix them, if it does: two clips and both mixtures."""
    import torch

    from src.training.clips import in_batches, training_clips
    from src.training.mixing import Mix

    mixing = in_batches(sections["augment"])["mix"]
    if not any(mixing.values()) or len(videos) < 2:
        return []
    settings = sections["settings"] | {"windows": 1, "balanced": False}
    clips = training_clips(videos, **sections | {"settings": settings})
    mix = Mix(**mixing, classes=len(classes), seed=settings["seed"])
    strips = []
    for first in range(0, min(len(videos) - 1, 12), 2):
        pair, labels, draws = zip(*(clips[0, first + place] for place in (0, 1)), strict=True)
        given = coloured(pair, draws, epoch=0, sections=sections)
        found, targets = mix(given, torch.tensor(labels), epoch=0, draws=torch.tensor(draws))
        names = [classes[label] for label in labels]
        called = [
            " + ".join(f"{share:.2f} {classes[label]}" for label, share in enumerate(target.tolist()) if share > 0.005)
            for target in targets
        ]
        strips.append(strip(" with ".join(names), [*given, *found], [*names, *called]))
    return strips


def playbacks(videos: Sequence[Video], classes: Sequence[str], *, model: dict[str, Any], seed: int) -> list[Strip]:
    """Some videos in every way of playing."""
    from src.training.clips import played_views
    from src.video.playback import PLAYBACKS

    views = played_views(videos, model=model, seed=seed)
    ways = len(PLAYBACKS)
    return [
        strip(classes[video.label], [views[ways * number + way][0] for way in range(ways)], PLAYBACKS)
        for number, video in enumerate(videos[:4])
    ]


def html(params: Params, videos: Sequence[Video], classes: Sequence[str], *, mirror: Any, count: int) -> str:
    """The page."""
    from src.report import page

    model, settings = params.model.network(), params.train.model_dump()
    sections = {"model": model, "augment": params.augment.model_dump(), "settings": settings, "mirrored": mirror}
    played = params.pretrain.epochs and params.pretrain.task == "playback"
    return page.render(
        "preview.html",
        settings=params.augment.model_dump(),
        frames=model["frames"],
        shown=min(FRAMES, model["frames"]),
        drawn=drawn(videos, classes, count=count, sections=sections),
        mixed=mixed(videos, classes, sections=sections),
        played=playbacks(videos, classes, model=model, seed=settings["seed"]) if played else [],
    )


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--clips", type=int, default=4, metavar="N", help="training clips of each class (default: 4)")
    arguments = parser.parse_args()
    if arguments.clips < 1:
        parser.error(f"--clips is {arguments.clips}, and must be at least 1")
    params = command.settings_of(arguments)
    from src.video import labels, manifest

    classes = labels.class_names(paths.SPLITS)
    train, _ = manifest.videos(paths.SPLITS / "train.csv", frames=paths.FRAMES, classes=classes)
    first = {video.label: video for video in reversed(train)}
    videos = [first[label] for label in sorted(first)]
    mirror = labels.mirrored_labels(classes, params.dataset.mirror)
    files.write_text(paths.PREVIEW, html(params, videos, classes, mirror=mirror, count=arguments.clips))
    print(os.path.relpath(paths.PREVIEW))


if __name__ == "__main__":
    command.run(main)
