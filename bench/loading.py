"""Loader clips a second, all cores, full augmentation: our loaders beside a plain `DataLoader` over decoders.

    python -m bench.loading
    python -m bench.loading --source /where/UCF101/is
    python -m bench.loading --clips 100000                                      does memory grow?

32 frames, two apart, resized crop to 112, flip, changed colours, batches of 8, normalised: what a training step takes.
The peers are written as a good engineer would, with `torchvision.transforms.v2` on uint8 in as many processes as there
are cores, over the decoders of bench.decoding that read the source fastest and the same video at 128 lines. They take
turns. Ours is also measured as far as the loaders' processes go: colours and normalisation are done where the network
runs, which may be a GPU. The limit is the number of cores by what one core reads without augmentation, as in
bench.decoding. Prints the tables of docs/benchmarks.md. Needs requirements-bench.txt and Debian's ffmpeg.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import common, decoding, footage
from bench.decoding import CROP, FRAMES, LENGTH, OURS, SPAN, STRIDE, Way

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

BATCH = 8
AUGMENT = {"scale": [0.4, 1.0], "aspect": [0.75, 1.333], "flip": 0.5}
COLOURS = {"jitter": 0.4, "grey": 0.2}
SECONDS = 6  # of each turn


class PlainClips:
    """A map-style dataset over a reader, the way tutorials have it: decode, then `transforms.v2`."""

    def __init__(self, way: Way):
        from torchvision.transforms import v2

        self.way = way
        jitter = COLOURS["jitter"]
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(CROP, scale=AUGMENT["scale"], ratio=AUGMENT["aspect"], antialias=True),
                v2.RandomHorizontalFlip(AUGMENT["flip"]),
                v2.ColorJitter(jitter, jitter, jitter),
                v2.RandomGrayscale(COLOURS["grey"]),
            ]
        )

    def __len__(self) -> int:
        return 1000 * len(self.way.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        import torch

        video = index % len(self.way.files)
        start = int(torch.randint(LENGTH - SPAN + 1, ()))
        frames = self.way.reader(self.way.files[video], list(range(start, start + SPAN, STRIDE)), self.way.size)
        return self.transform(frames), video


def plain_loader(way: Way, cores: int) -> Iterator[Tensor]:
    """Batches without end, `(B, 3, T, CROP, CROP)` normalised floats."""
    import torch
    from torch.utils.data import DataLoader

    from src.video.transforms import MEAN, STD

    loader: DataLoader = DataLoader(
        PlainClips(way),
        batch_size=BATCH,
        shuffle=True,
        num_workers=cores,
        persistent_workers=cores > 0,
        worker_init_fn=common.one_thread,
        generator=torch.Generator(),
    )
    while True:
        for clips, _ in loader:
            yield clips.transpose(1, 2).float().div_(255).sub_(MEAN).div_(STD)


def our_loader(way: Way, cores: int, *, finished: bool = True) -> Iterator[Tensor]:
    """The pipeline's own, on our frame files; not `finished`, as its processes bring them: uint8, not yet coloured."""
    import torch

    from src.training.clips import spatial
    from src.training.colours import Colours
    from src.training.loader import batched, loader
    from src.training.stream import ClipStream
    from src.video.dataset import TrainingClips
    from src.video.manifest import Video
    from src.video.sampling import Sampling

    videos = [Video(str(number), file, number, "", LENGTH, "") for number, file in enumerate(way.files)]
    rest = {"crop": "resized", "randaugment": 0, "magnitude": 9, "erase": 0.0}
    clips = TrainingClips(
        videos,
        sampling=Sampling(FRAMES, STRIDE),
        windows=1000,
        augment=spatial(AUGMENT | rest, size=CROP, flips=True),
        mirrored=list(range(len(videos))),
        seed=0,
    )
    stream = ClipStream(len(clips), batch=BATCH, seed=0)
    batches = loader(clips, workers=cores, device=torch.device("cpu"), batch_sampler=stream, collate_fn=batched)
    colours = Colours(**COLOURS, seed=0)
    while True:
        stream.begin(0)
        for parts, _, draws in batches:
            yield colours(parts, epoch=0, draws=draws) if finished else parts


def rate(batches: Iterator[Any], seconds: float) -> float:
    """Clips a second that come in so long."""
    began, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        count += len(next(batches))
    return count / spent


def rates(ways: dict[str, Callable[[], Iterator[Any]]], *, rounds: int) -> dict[str, float]:
    """Medians of the rounds; in each, every loader is started anew and warms up before its turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for name, start in ways.items():
            batches = start()
            rate(batches, 2)
            found[name].append(rate(batches, SECONDS))
            del batches  # and its processes
    return {name: statistics.median(each) for name, each in found.items()}


def memory(batches: Iterator[Any], clips: int, *, looks: int = 10) -> list[tuple[int, float]]:
    """Clips so far, and MB of 10⁶ bytes of this process and its loaders, which each have their own share of pages."""
    import psutil

    def megabytes() -> float:
        me = psutil.Process()
        return sum(each.memory_full_info().pss for each in [me, *me.children(recursive=True)]) / 1e6

    found, count = [], 0
    with tqdm(total=clips, unit="clip", disable=None) as bar:
        for look in range(1, looks + 1):
            while count < clips * look / looks:
                count += (size := len(next(batches)))
                bar.update(size)
            found.append((count, megabytes()))
    return found


def main() -> None:
    parser = common.parser(__doc__)
    footage.source_option(parser)
    common.count_option(parser, "--videos", 8)
    common.count_option(parser, "--rounds", 3)
    parser.add_argument("--clips", type=common.at_least(10), metavar="N", help="memory over so many clips instead")
    arguments = parser.parse_args()
    common.needs("cv2", "decord", "torchcodec")
    import torch

    from src.training.heap import keep_freed_memory

    cores = os.cpu_count() or 1
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does, for itself and its loaders; the peers have it too
    with common.workplace(arguments.folder) as folder:
        ways = decoding.ways_to_read(folder, footage.UCF101, videos=arguments.videos, source=arguments.source)
        ours = ways[-1]
        if arguments.clips:
            grown = memory(our_loader(ours, cores), arguments.clips)
            print(common.machine() + "\n")
            print(common.table(["clips loaded", "MB"], [[f"{count:,}", f"{used:,.0f}"] for count, used in grown]))
            return
        clips = decoding.random_clips(arguments.videos)
        loaders = {}
        for kind in (decoding.SOURCE, decoding.SMALL):
            peers = {way.name: way for way in ways if way.kind == kind}
            best = decoding.fastest({name: way.read for name, way in peers.items()}, clips)
            loaders[f"`DataLoader`, transforms.v2, {best}"] = lambda way=peers[best]: plain_loader(way, cores)
        with decoding.one_core():
            alone = decoding.milliseconds({OURS: ours.read}, clips, rounds=3)[OURS]
        loaders[f"{OURS}, without colours and normalisation"] = lambda: our_loader(ours, cores, finished=False)
        loaders[OURS] = lambda: our_loader(ours, cores)
        found = rates(loaders, rounds=arguments.rounds)
    limit = cores * 1000 / alone
    print(f"{common.machine()}\n{footage.UCF101.name}; medians of {arguments.rounds} rounds of {SECONDS} s.\n")
    rows = [[name, f"{each:.1f}", f"{found[OURS] / each:.2f}", f"{each / limit:.0%}"] for name, each in found.items()]
    rows.append([f"limit: {cores} cores by {1000 / alone:.0f} clips a second", f"{limit:.1f}", "", ""])
    print(common.table(["", "clips a second", "ours is so many times as fast", "of the limit"], rows))


if __name__ == "__main__":
    common.run(main)
