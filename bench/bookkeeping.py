"""Bookkeeping at the size of UCF101: how long `dvc repro` takes around the work itself, and how much memory.

    python -m bench.bookkeeping

Makes 13,320 videos of a few tiny frames in 101 classes of 25 groups, all different, and runs download, split and
extract_frames on them in a fresh copy of this checkout: for the first time, with nothing new, and with ten videos more,
of which the frame files must be exactly ten. Prints the tables of docs/benchmarks.md. Needs 0.5 GB.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tqdm import tqdm

from bench import common

if TYPE_CHECKING:
    from tests.conftest import Checkout

CLASSES, GROUPS = 101, 25
DISTINCT = 200
MARK = b"nobody0"
"""A title of which every copy of a video has its own, as long as this one."""

ADDED = 10
INTERVAL = 0.3  # seconds between two looks at the processes
SHARES = (0.05, 0.25, 0.5, 0.75, 1.0)
REPRO = ("dvc", "repro", "extract_frames", "split")
SETTINGS = [
    *("dataset.name=folder", r"dataset.group='v_(\w+_g\d+)_'", "dataset.mirror={}"),
    *("extract.short_side=24", "extract.fps=25", "model.crop=16"),
]


def names(count: int) -> list[str]:
    """`CLASS/v_CLASS_gNN_cNN.avi`, spread evenly over the classes, and in these over the groups."""
    classes = min(CLASSES, -(-count // GROUPS))
    found = []
    for number in range(count):
        label, place = f"Class{number % classes:03}", number // classes
        found.append(f"{label}/v_{label}_g{place % GROUPS + 1:02}_c{place // GROUPS + 1:02}.avi")
    return found


def make_videos(folder: Path, names: list[str]) -> None:
    """Write a video of four frames of 32×24 for each name; no two are the same."""
    import numpy as np

    from tests.video import clips

    rng = np.random.default_rng(0)
    pattern, distinct = folder / "pattern.avi", []
    for _ in tqdm(range(min(DISTINCT, len(names))), desc="drawing", unit="video", disable=None):
        frames = list(rng.integers(0, 256, (4, 24, 32, 3), dtype=np.uint8))
        clips.write(pattern, frames, codec="mpeg4", metadata={"title": MARK.decode()})
        distinct.append(pattern.read_bytes())
    pattern.unlink()
    for number, name in enumerate(tqdm(names, desc="copying", unit="video", disable=None)):
        (folder / name).parent.mkdir(exist_ok=True)
        title = f"{number:0{len(MARK)}}".encode()
        (folder / name).write_bytes(distinct[number % len(distinct)].replace(MARK, title))


@dataclass(frozen=True)
class Sample:
    """The resident memory of a running stage, in MB of 10⁶ bytes, when `done` videos had a link or a frame file."""

    at: float  # seconds
    stage: str
    done: int
    itself: float
    worker: float  # the largest; 0 if it has none
    together: float


def watch(checkout: Checkout, *command: str, total: int) -> tuple[float, list[Sample], float]:
    """Run a command in the checkout: its seconds, samples of its stages, and the most memory of DVC itself, in MB.

    Raises `RuntimeError` with what it said if it fails.
    """
    log = checkout.path.parent / "command.log"
    samples, dvc = [], 0.0
    began = time.monotonic()
    with log.open("wb") as said, tqdm(total=total, desc=" ".join(command), unit="video", disable=None) as bar:
        running = psutil.Popen(command, cwd=checkout.path, env=checkout.env, stdout=said, stderr=subprocess.STDOUT)
        try:
            while running.poll() is None:
                dvc = max(dvc, _memory(running))
                if sample := _sample(running, checkout.path / "data"):
                    samples.append(sample)
                    bar.update(sample.done - bar.n)
                time.sleep(INTERVAL)
        finally:
            family = _family(running)
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
            psutil.wait_procs(family)
    seconds = time.monotonic() - began
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()}")
    return seconds, samples, dvc


def _sample(dvc: psutil.Process, data: Path) -> Sample | None:
    """A sample of the stage that runs below `dvc`, or None while it is at work itself."""
    for process in _family(dvc):
        line = _command_line(process)
        if line[1:2] == ["-m"] and line[2].startswith("src."):
            itself, *workers = map(_memory, _family(process))
            stage = line[2].removeprefix("src.")
            folder = data / ("frames" if stage == "extract_frames" else "raw")
            done = sum(1 for _ in _videos_in(folder))
            largest = max(workers, default=0.0)
            return Sample(time.monotonic(), stage, done, itself, largest, itself + sum(workers))
    return None


def _family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that come from it, or nobody if it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _videos_in(folder: Path) -> Iterator[str]:
    """The path of every video below `folder` that is not hidden."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (f"{root}/{name}" for name in files if name.endswith(".avi") and not name.startswith("."))


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file stands under each name below `folder`, and when it was written."""
    stats = {os.path.relpath(path, folder): Path(path).stat() for path in _videos_in(folder)}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def timing(samples: list[Sample]) -> str:
    """For how long each stage ran, in seconds, as far as the samples tell."""
    stages = dict.fromkeys(sample.stage for sample in samples)
    spans = {stage: [sample.at for sample in samples if sample.stage == stage] for stage in stages}
    return ", ".join(f"{stage} {span[-1] - span[0]:.0f}" for stage, span in spans.items())


def memory(samples: list[Sample], *, total: int) -> str:
    """Memory against the number of videos done, a table."""
    rows = []
    for stage in dict.fromkeys(sample.stage for sample in samples):
        of_stage = [sample for sample in samples if sample.stage == stage]
        at = (next((sample for sample in of_stage if sample.done >= share * total), of_stage[-1]) for share in SHARES)
        for sample in dict.fromkeys(at):
            sizes = (sample.itself, sample.worker, sample.together)
            rows.append([f"`{stage}`", f"{sample.done:,}", *(f"{size:.0f}" for size in sizes)])
    return common.table(["stage", "videos done", "the stage, MB", "its largest worker, MB", "all together, MB"], rows)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--videos", type=common.at_least(100), default=13_320, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()
    with common.workplace(arguments.folder) as folder:
        from tests.conftest import new_checkout

        everything = names(arguments.videos + ADDED)
        first, added = everything[:-ADDED], everything[-ADDED:]
        make_videos(folder / "videos", everything)
        aside = folder / "added"
        for name in added:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "videos" / name).rename(aside / name)

        checkout = new_checkout(folder / "project")
        settings = [f"dataset.path={folder / 'videos'}", *SETTINGS]
        checkout.run("python", "-m", "src.params", "apply", *(part for each in settings for part in ("--set", each)))
        frames = checkout.path / "data" / "frames"

        total = len(first)
        repro, samples, dvc = watch(checkout, *REPRO, total=total)
        before = _stamps(frames)
        status, *_ = watch(checkout, "dvc", "status", total=total)
        again, samples_again, _ = watch(checkout, *REPRO, total=total)
        if len(before) != total or _stamps(frames) != before:
            raise AssertionError(f"{len(before)} frame files for {total} videos, or some written twice")
        for name in added:
            (aside / name).rename(folder / "videos" / name)
        more, samples_more, _ = watch(checkout, *REPRO, total=total + ADDED)
        after = _stamps(frames)
        new = sorted(name for name in after if after[name] != before.get(name))
        if new != sorted(added) or not before.keys() <= after.keys():
            raise AssertionError(f"ten videos were added, and these frame files are new: {', '.join(new)}")

    print(common.machine())
    print(f"{total:,} videos of four frames of 32×24 in {len({name.split('/')[0] for name in first})} classes.\n")
    command = f"`{' '.join(REPRO)}`"
    rows = [
        [f"{command}, the first time", f"{repro:.0f}", timing(samples), total],
        ["`dvc status`", f"{status:.1f}", "", 0],
        [f"{command} again", f"{again:.1f}", timing(samples_again), 0],
        [f"{command} with ten videos more", f"{more:.1f}", timing(samples_more), len(new)],
    ]
    print(common.table(["command", "seconds", "of which in stages", "new frame files"], rows))
    print(memory(samples, total=total))
    print(f"DVC itself took {dvc:.0f} MB at most.")


if __name__ == "__main__":
    common.run(main)
