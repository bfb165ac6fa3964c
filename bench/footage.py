"""Videos to measure with: drawn, or made of a folder of videos, in the formats that people keep them in."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from bench import common

if TYPE_CHECKING:
    import av

FPS = 25


@dataclass(frozen=True)
class Format:
    """How a video is encoded; `gop` frames from one key frame to the next, `options` of the encoder."""

    name: str
    suffix: str
    codec: str
    width: int
    height: int
    gop: int = 12
    options: Mapping[str, str] = field(default_factory=dict)


# Of MPEG-4's quantisers, 1 (best) to 31: with 4, clips re-encoded from UCF101 are as large as theirs, 2.2 kB a frame.
UCF101 = Format("MPEG-4 in AVI, 320×240", "avi", "mpeg4", 320, 240, options={"qmin": "4", "qmax": "4"})
H264 = Format("H.264 in MP4, 340×256", "mp4", "libx264", 340, 256, gop=250, options={"preset": "medium", "crf": "18"})


def source_option(parser: argparse.ArgumentParser) -> None:
    """Add `--source`, the folder that `frames` takes."""
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="make the clips of these videos (default: draw)")


def encode(path: Path, frames: Iterable[av.VideoFrame], form: Format) -> None:
    """Write frames of the format's size in yuv420p, 25 a second."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream(form.codec, rate=FPS, width=form.width, height=form.height, pix_fmt="yuv420p")
        stream.codec_context.gop_size = form.gop
        options = dict(form.options)
        for key in ("qmin", "qmax"):  # FFmpeg's own encoders read them from the context
            if key in options:
                setattr(stream.codec_context, key, int(options.pop(key)))
        stream.options = options
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frames(source: Path | None, *, width: int, height: int) -> Iterator[av.VideoFrame]:
    """Frames in yuv420p without end, those of the videos in the folder `source`, or drawn ones."""
    for frame in _drawn(width, height) if source is None else _filmed(common.videos(source)):
        yield frame.reformat(width, height, "yuv420p")


def _filmed(videos: list[Path], spread: int = 32) -> Iterator[av.VideoFrame]:
    """One video after the other, from all over the list: neighbours in it look alike."""
    import av

    step = max(1, len(videos) // spread)
    for path in itertools.cycle(path for start in range(step) for path in videos[start::step]):
        with av.open(path) as container:
            yield from container.decode(video=0)


def _drawn(width: int, height: int) -> Iterator[av.VideoFrame]:
    """The embedded dataset's, as large as asked for and with the noise of a sensor."""
    import av
    import numpy as np

    from src.datasets import synthetic

    rng = np.random.default_rng(0)
    for actor in itertools.count(1):
        for label in synthetic.CLASSES:
            for frame in synthetic.clip_frames(label, actor=actor, clip=1, seed=0):
                large = av.VideoFrame.from_ndarray(frame).reformat(width, height).to_ndarray()
                noisy = (large + rng.normal(0, 4, large.shape)).clip(0, 255).astype(np.uint8)
                yield av.VideoFrame.from_ndarray(noisy)
