"""Evaluation of a test set with 30 views a video: from our frame files, beside decoders of the source.

    python -m bench.evaluation
    python -m bench.evaluation --source /where/UCF101/is

Ten clips by three squares of each video, as the paper tests, answered by the small network. Ours is the pipeline's own
evaluation, from frame files to probabilities. The peers decode the source video, for each view, for each clip or once,
with the decoder that is fastest there, in as many loader processes as there are cores; their network is ours, so that
what differs is how the clips come to it. They take turns. Prints the table of docs/benchmarks.md. Needs
requirements-bench.txt and Debian's ffmpeg.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import common, decoding, footage
from bench.decoding import LENGTH, LINES, OURS, SOURCE, Way

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from src.model.checkpoint import Checkpoint
    from src.video.sampling import Sampling

VIEWS, CROPS = 10, 3
MODEL: dict[str, Any] = {"variant": "small", "frames": 16, "stride": 4, "crop": 112}
CLASSES = 10


@dataclass(frozen=True)
class Plain:
    """Items that are `clips` of the ten by `crops` of the three squares, each decoded by itself."""

    name: str
    clips: int
    crops: int


PLAIN = [
    Plain("each view decoded, as PySlowFast does", 1, 1),
    Plain("each clip decoded, as pytorchvideo does", 1, CROPS),
    Plain("each video decoded, as MMAction2 does", VIEWS, CROPS),
]


class PlainViews:
    """Some of a video's views an item: decode their frames, each once, take their squares."""

    def __init__(self, way: Way, sampling: Sampling, how: Plain):
        self.way, self.sampling, self.how = way, sampling, how
        self.parts = VIEWS // how.clips, CROPS // how.crops

    def __len__(self) -> int:
        return len(self.way.files) * math.prod(self.parts)

    def __getitem__(self, index: int) -> Tensor:
        """`(clips * crops, 3, T, size, size)` uint8."""
        import numpy as np
        import torch

        from src.video.transforms import spatial_crops

        rest, square = divmod(index, self.parts[1])
        video, part = divmod(rest, self.parts[0])
        clips = self.sampling.views(VIEWS, LENGTH)[part * self.how.clips :][: self.how.clips]
        wanted = np.unique(clips)
        frames = self.way.reader(self.way.files[video], wanted.tolist(), self.way.size)
        squares = [
            spatial_crops(frames[np.searchsorted(wanted, clip)], size=MODEL["crop"], crops=CROPS) for clip in clips
        ]
        chosen = torch.stack(squares)[:, square : square + self.how.crops].flatten(0, 1).transpose(1, 2)
        return chosen.contiguous(memory_format=torch.channels_last_3d)


def plain(way: Way, checkpoint: Checkpoint, workers: int, how: Plain) -> Iterable[Tensor]:
    """All views of one video after the other, `(V, 3, T, H, W)`."""
    import torch
    from torch.utils.data import DataLoader

    from src.video.sampling import Sampling

    views = PlainViews(way, Sampling.of(checkpoint.model), how)
    options = {"num_workers": workers, "worker_init_fn": common.one_thread, "collate_fn": torch.cat}
    return DataLoader(views, batch_size=math.prod(views.parts), **options)


def fastest(ways: Sequence[Way], checkpoint: Checkpoint, how: Plain) -> Way:
    """Of those that read the source, the one with which the views of a video come soonest on one core."""
    from src.video.sampling import Sampling

    views = {way.name: PlainViews(way, Sampling.of(checkpoint.model), how) for way in ways if way.kind == SOURCE}
    works = {name: each.__getitem__ for name, each in views.items()}
    best = decoding.fastest(works, range(VIEWS // how.clips * CROPS // how.crops))
    return views[best].way


def ours(way: Way, checkpoint: Checkpoint, workers: int) -> Iterable[Tensor]:
    """The same from frame files, as `src.evaluate` has it."""
    import torch

    from src.training.loader import loader
    from src.video.dataset import TestViews
    from src.video.manifest import Video
    from src.video.sampling import Sampling

    videos = [Video(str(number), file, 0, "", LENGTH, "") for number, file in enumerate(way.files)]
    look = {"size": checkpoint.model["crop"], "views": VIEWS, "crops": CROPS}
    dataset = TestViews(videos, sampling=Sampling.of(checkpoint.model), **look)
    return loader(dataset, workers=workers, device=torch.device("cpu"))


def answers(views: Iterable[Tensor], checkpoint: Checkpoint) -> np.ndarray:
    """`(N, classes)`: the mean over all views."""
    import torch

    from src.model.folding import folded
    from src.training.predict import predict

    network = folded(checkpoint.network()).to(memory_format=torch.channels_last_3d)
    return predict(network, views, device=torch.device("cpu"), precision="auto").numpy()


def checkpoint_of() -> Checkpoint:
    """A new network: what it answers does not matter here."""
    import torch

    from src.model.checkpoint import Checkpoint, build
    from src.settings import Model

    torch.manual_seed(0)
    model = Model(**MODEL).network()
    weights = build(model, classes=CLASSES).state_dict()
    names = [str(number) for number in range(CLASSES)]
    return Checkpoint(weights, model, {}, "auto", names, epoch=1, run_id=None)


def timed(works: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Seconds, medians of the rounds, in which they take turns; one round before warms up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in tqdm(range(rounds + 1), desc="rounds", disable=None):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if number:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in taken.items()}


def main() -> None:
    parser = common.parser(__doc__)
    footage.source_option(parser)
    common.count_option(parser, "--videos", 4)
    common.count_option(parser, "--rounds", 3)
    arguments = parser.parse_args()
    common.needs("cv2", "decord", "torchcodec")
    cores = os.cpu_count() or 1
    checkpoint = checkpoint_of()
    rows = []
    with common.workplace(arguments.folder) as folder:
        for form in (footage.UCF101, footage.H264):
            ways = decoding.ways_to_read(folder, form, videos=arguments.videos, source=arguments.source)
            peers = [(fastest(ways, checkpoint, how), how) for how in PLAIN]
            readers = {
                f"{way.name}, {how.name}": lambda way=way, how=how: plain(way, checkpoint, cores, how)
                for way, how in peers
            }
            readers[OURS] = lambda ways=ways: ours(ways[-1], checkpoint, cores)
            alone_too = {name: lambda read=read: list(read()) for name, read in readers.items()}
            answered = {name: lambda read=read: answers(read(), checkpoint) for name, read in readers.items()}
            for what, works in (("the views alone", alone_too), ("and their answers", answered)):
                taken = timed(works, rounds=arguments.rounds)
                rows += [
                    [form.name, what, name, f"{each / arguments.videos:.2f}", f"{each / taken[OURS]:.2f}"]
                    for name, each in taken.items()
                ]
    print(
        f"{common.machine()}\n{arguments.videos} videos of {LENGTH} frames at {LINES} lines, {VIEWS} × {CROPS} views "
        f"of {MODEL['frames']} frames of {MODEL['crop']}², network {MODEL['variant']}; medians of {arguments.rounds}.\n"
    )
    print(common.table(["videos", "", "read by", "seconds a video", "over ours"], rows))


if __name__ == "__main__":
    common.run(main)
