"""Training speed, memory, and what bounds it: the network, or the loaders that feed it.

    python -m bench.training
    python -m bench.training --set model.variant=slowfast_8x8_r50 --set model.crop=224 --set extract.short_side=256 \\
        --set train.batch=64 --set runtime.workers=16                                                      on a GPU

Writes frame files of a moving texture in the sizes that params.yaml asks for, and times the pipeline's own training
step in three ways, turn by turn: on clips that are in memory already, the loaders without the step, and both together
as in training. Prints the table of docs/benchmarks.md. Without MLflow; settings are those of params.yaml and --set.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import common

if TYPE_CHECKING:
    import torch

    from src.training.fit import Fit
    from src.training.learner import Step
    from src.video.manifest import Video

VIDEOS, CLASSES = 64, 4  # distinct videos
SECONDS = 7.2  # mean length of a UCF101 video
ROUNDS = 3


def make_videos(folder: Path, *, height: int, fps: float, quality: int, count: int = VIDEOS) -> list[Video]:
    """Frame files as `extract_frames` would leave them, four by three: soft blobs that drift, and a little noise.

    Of more than `VIDEOS` the others are copies.
    """
    import shutil

    import numpy as np

    from src.video import store
    from src.video.manifest import Video

    rng = np.random.default_rng(0)
    width, frames = round(height * 4 / 3), round(SECONDS * fps)
    coarse = rng.integers(0, 256, (-(-height // 8), 2 * width // 8, 3)).astype(np.uint8)
    wide = np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height]
    noise = rng.integers(0, 16, (height, width, 3), dtype=np.uint8)
    found = []
    for number in range(count):
        file = folder / f"{number}.avi"
        if number < VIDEOS:
            shifts = (np.arange(frames) + number) % (wide.shape[1] - width)
            pictures = (wide[:, shift : shift + width] // 2 + noise for shift in shifts)
            store.write(file, pictures, fps=fps, quality=quality)
        else:
            shutil.copy(found[number % VIDEOS].file, file)
        found.append(Video(file.name, file, number % CLASSES, str(number), frames, ""))
    return found


def per_second(work: Callable[[], int], device: torch.device) -> float:
    """Clips a second of `work`, which returns how many there were."""
    import torch

    began = time.perf_counter()
    clips = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clips / (time.perf_counter() - began)


def measure(training: Fit, *, steps: int, rounds: int = ROUNDS) -> dict[str, float]:
    """Medians over rounds, in clips a second, of the step alone, the loaders alone and both; and the peak in GB."""
    from src.training.loop import train_epoch

    stream, learner = training.stream, training.learner
    stream.begin(0, until=1)
    in_memory = [[value.to(training.device) for value in part] for part in training.batches]

    def step_alone() -> int:
        how = {"batch": stream.batch, "epoch": 0, "part": 0, "rate": training.schedule.lr / 100, "stop": False}
        return round(sum(learner.step(in_memory, step=step, **how).clips for step in range(steps)))

    def loaders_alone() -> int:
        stream.begin(1, until=steps)
        return sum(len(labels) for _, labels, _ in training.batches)

    def both() -> int:
        done: list[Step] = []
        stream.begin(2, until=steps)
        train_epoch(
            learner,
            stream,
            training.batches,
            rate=lambda step: training.schedule.lr / 100,
            stop=lambda: False,
            after_step=done.append,
        )
        return round(sum(step.clips for step in done))

    ways = {"step": step_alone, "loaders": loaders_alone, "both": both}
    for work in ways.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            rates[name].append(per_second(work, training.device))
    medians: dict[str, float] = {name: statistics.median(found) for name, found in rates.items()}
    return medians | {"memory": peak_memory(training.device)}


def peak_memory(device: torch.device) -> float:
    """GB of 10⁹ bytes: what PyTorch had allocated on a GPU at most, or else what this process had."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def prepare(params: Any, videos: list[Video]) -> Fit:
    """The training that `python -m src.train` would start with these settings, on these videos."""
    from src.training.clips import in_batches, training_clips, validation_views
    from src.training.fit import Fit, Observer

    model, augment, settings = params.model.network(), params.augment.model_dump(), params.train.model_dump()
    return Fit(
        training_clips(videos, model=model, augment=augment, settings=settings, mirrored=None),
        validation_views(videos[:1], model=model),
        [videos[0].label],
        classes=CLASSES,
        model=model,
        **in_batches(augment),
        settings=settings,
        runtime=params.runtime.model_dump(),
        state=None,
        observer=Observer(),
    )


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--params", type=Path, default=None, metavar="FILE", help="settings (default: params.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    parser.add_argument("--steps", type=common.at_least(1), default=4, metavar="N", help="steps a round; default: 4")
    arguments = parser.parse_args()
    from src import params as settings
    from src import paths

    params = settings.load(arguments.params or paths.PARAMS, overrides=arguments.set)
    clips = VIDEOS * params.train.windows
    if params.train.batch * arguments.steps > clips:
        need = -(-params.train.batch * arguments.steps // VIDEOS)
        params = settings.load(arguments.params or paths.PARAMS, overrides=[*arguments.set, f"train.windows={need}"])
    import torch

    with common.workplace(arguments.folder) as folder:
        extract = params.extract
        videos = make_videos(folder, height=extract.short_side, fps=extract.fps, quality=extract.quality)
        training = prepare(params, videos)
        found = measure(training, steps=arguments.steps)
    device = torch.cuda.get_device_name() if training.device.type == "cuda" else "CPU"
    net = params.model.network()
    print(f"{common.machine()[:-1]}, torch {torch.__version__}, {torch.get_num_threads()} threads. Device: {device}.\n")
    bound = "the loaders" if found["loaders"] < found["step"] else "the step"
    columns = {
        "network": f"{params.model.variant}, {net['frames']}×{net['crop']}²",
        "batch": f"{params.train.batch} in {params.train.accumulate}",
        "precision": params.train.precision,
        "loader processes": params.runtime.workers,
        "step alone, clips/s": f"{found['step']:.1f}",
        "loaders alone": f"{found['loaders']:.1f}",
        "both": f"{found['both']:.1f}",
        "of the step alone": f"{found['both'] / found['step']:.0%}",
        "bound by": bound,
        "peak memory, GB": f"{found['memory']:.2f}",
    }
    print(common.table(list(columns), [list(columns.values())]))


if __name__ == "__main__":
    common.run(main)
