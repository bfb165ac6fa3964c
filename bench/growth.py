"""How cost grows: clips a second and memory, of the training step and of the loaders, as one thing after another grows.

    python -m bench.growth --plot docs/growth.png

Videos of the dataset, frames of a clip, the side of a crop and clips of a batch, each by itself, the others being those
of the small network. Each point is a process of its own, since memory is that of a process at its most. Prints the
table of docs/benchmarks.md: how a clip's time grows is an exponent, 1 where it is in proportion, to the area of a crop.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bench import common

AXES = {
    "videos": (100, 1000, 10_000),
    "frames": (8, 16, 32, 64),
    "side": (112, 160, 224, 256),
    "batch": (2, 8, 32, 64),
}
USUAL = {"videos": 100, "frames": 16, "side": 64, "batch": 16}
STEPS = 2


@dataclass(frozen=True)
class Point:
    """What was measured: clips a second of the step alone and of the loaders alone, and the most memory in GB."""

    axis: str
    size: int
    step: float
    loaders: float
    memory: float

    def milliseconds(self, of: str) -> float:
        """A clip's."""
        return 1000 / getattr(self, of)

    @property
    def amount(self) -> int:
        """What the time should be in proportion to: of a side, the area."""
        return self.size**2 if self.axis == "side" else self.size


def measured(axis: str, size: int, folder: Path) -> Point:
    """In a process of its own."""
    from bench import training
    from src import params, paths

    shape = USUAL | {axis: size}
    lines = -(-shape["side"] * 9 // 8 // 4) * 4
    chosen = params.load(
        paths.PARAMS,
        overrides=[
            f"model.frames={shape['frames']}",
            "model.stride=1",
            f"model.crop={shape['side']}",
            f"extract.short_side={lines}",
            f"train.batch={shape['batch']}",
            f"train.windows={max(1, math.ceil(shape['batch'] * STEPS / shape['videos']))}",
            "runtime.workers=2",
        ],
    )
    folder.mkdir()
    videos = training.make_videos(folder, height=lines, fps=12.5, quality=90, count=shape["videos"])
    found = training.measure(training.prepare(chosen, videos), steps=STEPS, rounds=2)
    return Point(axis, size, found["step"], found["loaders"], found["memory"])


def exponent(before: Point, after: Point, of: str) -> float:
    """Of the time that a clip takes, as a power of what has grown."""
    return math.log(after.milliseconds(of) / before.milliseconds(of)) / math.log(after.amount / before.amount)


def rows(points: Sequence[Point]) -> list[list[str]]:
    found = []
    for before, point in zip([None, *points], points, strict=False):
        grown = ["", ""]
        if before and before.axis == point.axis:
            grown = [f"{exponent(before, point, of):.2f}" for of in ("step", "loaders")]
        numbers = [f"{point.step:.1f}", grown[0], f"{point.loaders:.1f}", grown[1], f"{point.memory:.2f}"]
        found.append([f"{point.axis}: {point.size:,}", *numbers])
    return found


def plot(points: Sequence[Point], file: Path) -> None:
    """Milliseconds a clip over each axis, both logarithmic, with lines in proportion for the eye."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(AXES)), AXES, strict=True):
        line = [point for point in points if point.axis == name]
        sizes = [point.size for point in line]
        grows = name in ("frames", "side")
        for of, label in (("step", "training step"), ("loaders", "loaders")):
            times = [point.milliseconds(of) for point in line]
            (drawn,) = axis.loglog(sizes, times, "o-", label=label)
            expected = [times[0] * (point.amount / line[0].amount if grows else 1) for point in line]
            axis.loglog(sizes, expected, ":", color=drawn.get_color(), alpha=0.6)
        axis.set(xlabel=name, ylabel="ms a clip" if name == "videos" else "")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, too: a PNG")
    arguments = parser.parse_args()
    points = []
    spawn = multiprocessing.get_context("spawn")
    with (
        common.workplace(arguments.folder) as folder,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool,
    ):
        places = [(axis, size) for axis, sizes in AXES.items() for size in sizes]
        for axis, size in tqdm(places, desc="points", disable=None):
            points.append(pool.submit(measured, axis, size, folder / f"{axis}-{size}").result())
    print(f"{common.machine()}\nThe small network, but for what is named: {USUAL}.\n")
    header = ["", "step, clips/s", "exponent", "loaders, clips/s", "exponent", "memory, GB"]
    print(common.table(header, rows(points)))
    if arguments.plot:
        plot(points, arguments.plot)


if __name__ == "__main__":
    common.run(main)
