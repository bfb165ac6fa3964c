"""A training clip from disk to tensor, on one core: our frame files beside decoders of the source video.

    python -m bench.decoding
    python -m bench.decoding --source /where/UCF101/is

32 frames, two apart, from a random place of a video, a random square of 112 of 128 lines. Readers take turns on the
same clips: of the source video, of the same video at 128 lines with key frames close together, of loose JPEGs, and of
our frame file; then the decoders of JPEG alone, on the packets of that file. Prints the tables of docs/benchmarks.md.
Videos are drawn, or re-encoded from those in --source. Needs requirements-bench.txt and Debian's ffmpeg.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from bench import common, footage

T = TypeVar("T")

if TYPE_CHECKING:
    import av
    import numpy as np
    from torch import Tensor

    from bench.readers import Reader, Size

FRAMES, STRIDE, LINES, CROP = 32, 2, 128, 112
LENGTH = 180  # frames of a video, as UCF101's have on average
LONG = 15_000  # ten minutes
CLIPS = 4  # of each video
SPAN = (FRAMES - 1) * STRIDE + 1
GOPS = (4, 8, 16)
QUALITY = 90  # of our JPEGs, as params.yaml has it
SOURCE, SMALL, LOOSE, OURS = "source", f"{LINES} lines", f"loose JPEGs, {LINES} lines", "ours"


@dataclass(frozen=True)
class Clip:
    """Where a clip lies: frame numbers from `start` on, and the square's upper left corner, as shares of the room."""

    video: int
    start: int
    corner: tuple[float, float]

    @property
    def indices(self) -> list[int]:
        return list(range(self.start, self.start + SPAN, STRIDE))

    def square(self, frames: Tensor) -> Tensor:
        """`(T, 3, H, W)` → `(3, T, CROP, CROP)`, a copy that has its channels where the frames have them."""
        import torch

        top, left = (round(share * (side - CROP)) for share, side in zip(self.corner, frames.shape[-2:], strict=True))
        layout = torch.channels_last if frames.stride(1) == 1 else torch.contiguous_format
        square = frames[..., top : top + CROP, left : left + CROP]
        return square.clone(memory_format=layout).transpose(0, 1)


@dataclass(frozen=True)
class Way:
    """A reader and the file that it reads of each video; `kind` of file: SOURCE, SMALL, LOOSE or OURS."""

    name: str
    kind: str
    reader: Reader
    files: Sequence[Path]
    size: Size | None = None

    def read(self, clip: Clip) -> Tensor:
        return clip.square(self.reader(self.files[clip.video], clip.indices, self.size))


def random_clips(videos: int, *, length: int = LENGTH) -> list[Clip]:
    import numpy as np

    rng = np.random.default_rng(0)
    return [
        Clip(video, int(rng.integers(length - SPAN + 1)), (float(rng.random()), float(rng.random())))
        for video in range(videos)
        for _ in range(CLIPS)
    ]


def milliseconds(works: dict[str, Callable[[T], object]], clips: Sequence[T], *, rounds: int) -> dict[str, float]:
    """Each work's mean over the clips, of each clip the median of the rounds; works take turns clip by clip."""
    spent = {name: [[] for _ in clips] for name in works}
    for _ in tqdm(range(rounds + 1), desc="rounds", disable=None):  # the first warms up, and is dropped below
        for number, clip in enumerate(clips):
            for name, work in works.items():
                began = time.perf_counter()
                work(clip)
                spent[name][number].append(1000 * (time.perf_counter() - began))
    return {
        name: statistics.fmean(statistics.median(times[1:]) for times in of_clips) for name, of_clips in spent.items()
    }


def ways_to_read(folder: Path, form: footage.Format, *, videos: int, source: Path | None) -> list[Way]:
    """Videos in that format, made in `folder`, and everything that is made of them to be read instead."""
    from bench import readers
    from src.video import decode, store

    width = round(form.width * LINES / form.height)
    size = (LINES, width)
    stem = [folder / form.codec / str(number) for number in range(videos)]
    raw = [path / f"source.{form.suffix}" for path in stem]
    small = {gop: replace(footage.H264, width=width // 2 * 2, height=LINES, gop=gop) for gop in GOPS}
    pictures = footage.frames(source, width=form.width, height=form.height)
    for path, video in zip(stem, tqdm(raw, desc=f"making {form.name}", unit="video", disable=None), strict=True):
        footage.encode(video, itertools.islice(pictures, LENGTH), form)
        scaled = list(decode.read_frames(video, short_side=LINES, fps=footage.FPS))
        store.write(path / "frames.avi", scaled, fps=footage.FPS, quality=QUALITY)
        _loose(path, scaled)
        for gop, each in small.items():
            footage.encode(path / f"gop-{gop}.mp4", _pictures(scaled, each), each)
    on_source = [Way(f"{name}, {SOURCE}", SOURCE, reader, raw, size) for name, reader in readers.DECODERS.items()]
    on_small = [
        Way(f"{name}, {SMALL}, a key frame every {gop}", SMALL, reader, [path / f"gop-{gop}.mp4" for path in stem])
        for name, reader in readers.DECODERS.items()
        for gop in GOPS
    ]
    return [
        *on_source,
        *on_small,
        Way(LOOSE, LOOSE, readers.loose_jpegs, stem, size),
        Way(OURS, OURS, readers.ours, [path / "frames.avi" for path in stem]),
    ]


def fastest(works: dict[str, Callable[[T], object]], items: Sequence[T]) -> str:
    """The work that is fastest on one core, by its name."""
    with one_core():
        taken = milliseconds(works, items, rounds=1)
    return min(taken, key=taken.get)


def _loose(folder: Path, frames: Sequence[np.ndarray]) -> None:
    from src.video import jpeg

    for number, frame in enumerate(frames):
        (folder / f"{number:06}.jpg").write_bytes(jpeg.encode(frame, quality=QUALITY))


def _pictures(frames: Sequence[np.ndarray], form: footage.Format) -> Iterator[av.VideoFrame]:
    import av

    for frame in frames:
        yield av.VideoFrame.from_ndarray(frame).reformat(form.width, form.height, "yuv420p")


def jpeg_decoders() -> dict[str, Callable[[bytes], object]]:
    """Everything that decodes a JPEG and installs with pip alone, but torchcodec, which needs FFmpeg's libraries."""
    import cv2
    import numpy as np
    import simplejpeg
    import torch
    from torchcodec import decoders
    from torchvision import io

    warnings.filterwarnings("ignore", message=".*decode_jpeg.*")  # of its removal to come

    def tensor(data: bytes) -> Tensor:
        return torch.frombuffer(bytearray(data), dtype=torch.uint8)

    return {
        "simplejpeg": lambda data: simplejpeg.decode_jpeg(data, "RGB"),
        "torchvision": lambda data: io.decode_jpeg(tensor(data)),
        "torchcodec": lambda data: decoders.decode_jpeg(tensor(data)),
        "OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
    }


def decoders_alone(ours: Way, clips: Sequence[Clip], *, rounds: int) -> dict[str, float]:
    """Milliseconds for the JPEGs of a clip, which are in memory."""
    import av

    packets = {}
    for clip in clips:
        wanted = set(clip.indices)
        with av.open(str(ours.files[clip.video])) as container:
            packets[clip] = [bytes(packet) for packet in container.demux(video=0) if packet.pts in wanted]

    def all_of(decode: Callable[[bytes], object]) -> Callable[[Clip], object]:
        return lambda clip: [decode(data) for data in packets[clip]]

    return milliseconds({name: all_of(each) for name, each in jpeg_decoders().items()}, clips, rounds=rounds)


def long_video(
    folder: Path, form: footage.Format, *, source: Path | None, rounds: int
) -> dict[str, tuple[float, float]]:
    """Milliseconds for a clip at the start and at the end of a video of ten minutes."""
    from bench import readers
    from src.video import decode, store

    raw, frames = folder / f"long.{form.suffix}", folder / "long-frames.avi"
    size = (LINES, round(form.width * LINES / form.height))
    pictures = itertools.islice(footage.frames(source, width=form.width, height=form.height), LONG)
    footage.encode(raw, tqdm(pictures, desc="making ten minutes", total=LONG, unit="frame", disable=None), form)
    store.write(frames, decode.read_frames(raw, short_side=LINES, fps=footage.FPS), fps=footage.FPS, quality=QUALITY)
    ways = [Way(f"{name}, {SOURCE}", SOURCE, reader, [raw], size) for name, reader in readers.DECODERS.items()]
    ways.append(Way(OURS, OURS, readers.ours, [frames]))
    places = {"start": Clip(0, 3, (0.5, 0.5)), "end": Clip(0, LONG - SPAN - 3, (0.5, 0.5))}
    with one_core():
        works = {way.name: way.read for way in ways}
        at = {place: milliseconds(works, [clip], rounds=rounds) for place, clip in places.items()}
    return {way.name: (at["start"][way.name], at["end"][way.name]) for way in ways}


@contextmanager
def one_core() -> Iterator[None]:
    """This process on one core, and every library on one thread."""
    import cv2
    import torch

    cores, threads = os.sched_getaffinity(0), (torch.get_num_threads(), cv2.getNumThreads())
    os.sched_setaffinity(0, {min(cores)})
    common.one_thread()
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def main() -> None:
    parser = common.parser(__doc__)
    footage.source_option(parser)
    common.count_option(parser, "--videos", 8)
    common.count_option(parser, "--rounds", 3)
    arguments = parser.parse_args()
    common.needs("cv2", "decord", "torchcodec")
    clips = random_clips(arguments.videos)
    found, alone = {}, {}
    with common.workplace(arguments.folder) as folder:
        for form in (footage.UCF101, footage.H264):
            ways = ways_to_read(folder, form, videos=arguments.videos, source=arguments.source)
            with one_core():
                found[form.name] = milliseconds({way.name: way.read for way in ways}, clips, rounds=arguments.rounds)
                alone[form.name] = decoders_alone(ways[-1], clips, rounds=arguments.rounds)
        ends = long_video(folder, footage.UCF101, source=arguments.source, rounds=arguments.rounds)
    print(f"{common.machine()}\n{len(clips)} clips, medians of {arguments.rounds} rounds.\n")
    print(times_table(found))
    print(times_table(alone, against={form: times[OURS] for form, times in found.items()}))
    rows = [[name, *(f"{each:.2f}" for each in pair)] for name, pair in ends.items()]
    print(common.table(["ten minutes of MPEG-4", "ms at the start", "ms at the end"], rows))


def times_table(found: dict[str, dict[str, float]], against: dict[str, float] | None = None) -> str:
    """Milliseconds a clip by format, and each as a multiple of ours."""
    against = against or {form: times[OURS] for form, times in found.items()}
    header = [part for form in found for part in (f"{form}: ms a clip", "over ours")]
    names = next(iter(found.values()))
    rows = [
        [
            name,
            *(
                part
                for form in found
                for part in (f"{found[form][name]:.2f}", f"{found[form][name] / against[form]:.2f}")
            ),
        ]
        for name in names
    ]
    return common.table(["", *header], rows)


if __name__ == "__main__":
    common.run(main)
