"""Evaluation of a test set with 30 views a video: each frame decoded once, beside a decoder that is asked view by view.

    python -m bench.evaluation
    python -m bench.evaluation --source /where/UCF101/is

Ten clips by three squares of each video, as the paper tests, answered by the small network. Ours is the pipeline's own
evaluation, from frame files to probabilities. The peer decodes the source video for each view, as PySlowFast and
pytorchvideo do, with the decoder that is fastest there, in as many loader processes as there are cores; its network is
ours, so that what differs is how the clips come to it. They take turns. Prints the table of docs/benchmarks.md. Needs
requirements-bench.txt and Debian's ffmpeg.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from bench import common, decoding, footage
from bench.decoding import LENGTH, LINES, Way

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from src.model.checkpoint import Checkpoint

VIEWS, CROPS = 10, 3
MODEL: dict[str, Any] = {"variant": "small", "frames": 16, "stride": 4, "crop": 112}
CLASSES = 10


class PlainViews:
    """Each of a video's views by itself: decode its frames, take its square."""

    def __init__(self, way: Way, sampling: Any):
        self.way, self.sampling = way, sampling

    def __len__(self) -> int:
        return len(self.way.files) * VIEWS * CROPS

    def __getitem__(self, index: int) -> Tensor:
        from src.video.transforms import spatial_crops

        video, view = divmod(index, VIEWS * CROPS)
        indices = self.sampling.views(VIEWS, LENGTH)[view // CROPS].tolist()
        frames = self.way.reader(self.way.files[video], indices, self.way.size)
        return spatial_crops(frames, size=MODEL["crop"], crops=CROPS)[view % CROPS].transpose(0, 1)


def plain(way: Way, checkpoint: Checkpoint, workers: int) -> Iterable[Tensor]:
    """All views of one video after the other, `(V, 3, T, H, W)`."""
    from torch.utils.data import DataLoader

    from src.video.sampling import Sampling

    views = PlainViews(way, Sampling.of(checkpoint.model))
    return DataLoader(views, batch_size=VIEWS * CROPS, num_workers=workers, worker_init_fn=common.one_thread)


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
    """Seconds, medians of the rounds."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in taken.items()}


def main() -> None:
    parser = common.parser(__doc__)
    footage.source_option(parser)
    common.count_option(parser, "--videos", 4)
    common.count_option(parser, "--rounds", 2)
    arguments = parser.parse_args()
    common.needs("cv2", "decord", "torchcodec")
    cores = os.cpu_count() or 1
    checkpoint = checkpoint_of()
    rows = []
    with common.workplace(arguments.folder) as folder:
        for form in (footage.UCF101, footage.H264):
            ways = decoding.ways_to_read(folder, form, videos=arguments.videos, source=arguments.source)
            with decoding.one_core():
                clips = decoding.random_clips(arguments.videos)
                alone = decoding.milliseconds({way.name: way.read for way in ways[:4]}, clips, rounds=1)
            peer = min(ways[:4], key=lambda way: alone[way.name])
            readers = {
                peer.name: lambda peer=peer: plain(peer, checkpoint, cores),
                "ours": lambda ways=ways: ours(ways[-1], checkpoint, cores),
            }
            alone_too = {name: lambda read=read: list(read()) for name, read in readers.items()}
            answered = {name: lambda read=read: answers(read(), checkpoint) for name, read in readers.items()}
            for what, works in (("the views alone", alone_too), ("and their answers", answered)):
                taken = timed(works, rounds=arguments.rounds)
                rows += [
                    [form.name, what, name, f"{each / arguments.videos:.2f}", f"{each / taken['ours']:.2f}"]
                    for name, each in taken.items()
                ]
    print(
        f"{common.machine()}\n{arguments.videos} videos of {LENGTH} frames at {LINES} lines, {VIEWS} × {CROPS} views "
        f"of {MODEL['frames']} frames of {MODEL['crop']}², network {MODEL['variant']}; medians of {arguments.rounds}.\n"
    )
    print(common.table(["videos", "", "read by", "seconds a video", "over ours"], rows))


if __name__ == "__main__":
    common.run(main)
