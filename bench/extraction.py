"""Extraction of frames: frames a second beside the `ffmpeg` command line, at the nearest size and quality.

    python -m bench.extraction --source /where/UCF101/is

Makes clips like those of UCF101 (180 frames of 320×240, 25 a second, MPEG-4 in AVI), then turns them into Motion-JPEG
of 128 lines, by turns with `src.extract_frames` and with one ffmpeg process a clip, and prints the tables of
docs/benchmarks.md. The clips are re-encoded from the videos in --source, or drawn; 32 are distinct, the others copies
of these. Needs 2 GB for 1,000 clips.
"""

from __future__ import annotations

import itertools
import math
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from bench import common, footage
from src.command import UserError

if TYPE_CHECKING:
    import numpy as np

DISTINCT = 32
FRAMES = 180

LINES, QUALITY = 128, 90
LINES_WIDTH = round(footage.UCF101.width * LINES / footage.UCF101.height)
QUANTISERS = range(1, 6)  # of ffmpeg's Motion-JPEG; larger ones are far below the quality of ours

UCF101_FRAMES = 2_480_000
"""13,320 clips of 186 frames on average."""


class Spent(NamedTuple):
    """Time: seconds on the clock, and of all cores together for this process and those that it has waited for."""

    clock: float
    cpu: float

    @classmethod
    def so_far(cls) -> Spent:
        return cls(time.perf_counter(), sum(os.times()[:4]))

    def since(self, began: Spent) -> Spent:
        return Spent(self.clock - began.clock, self.cpu - began.cpu)


@dataclass(frozen=True)
class Encoding:
    """How ffmpeg writes Motion-JPEG. Huffman tables change the size and not the pictures, threads neither."""

    quantiser: int
    huffman: str
    threads: int | None = None

    @property
    def options(self) -> list[str]:
        """After the input file."""
        return ["-q:v", str(self.quantiser), "-qmin", "1", "-huffman", self.huffman, *self.threading]

    @property
    def threading(self) -> list[str]:
        """Before the input file and after it: the first is of the decoder, the second of the encoder."""
        return [] if self.threads is None else ["-threads", str(self.threads)]


@dataclass(frozen=True)
class Bench:
    """Clips `names` in `folder`/raw, and how many of them are worked on at a time."""

    folder: Path
    names: list[str]
    processes: int

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def distinct(self) -> Bench:
        """The same without the copies."""
        return Bench(self.folder, self.names[:DISTINCT], self.processes)

    def ours(self, out: Path, *, lines: int = LINES) -> Spent:
        """The time of `src.extract_frames` for all clips, into the new folder `out`."""
        from src import extract_frames

        began = Spent.so_far()
        rows = extract_frames.extract(
            self.names,
            raw=self.raw,
            frames=out,
            short_side=lines,
            fps=footage.FPS,
            quality=QUALITY,
            limit=600,
            processes=self.processes,
        )
        spent = Spent.so_far().since(began)
        if any(int(row["frames"]) != FRAMES for row in rows):
            raise AssertionError(f"not every clip has {FRAMES} frames in {out}/manifest.csv")
        return spent

    def ffmpeg(self, out: Path, encoding: Encoding) -> Spent:
        """The time of ffmpeg for all clips, one process a clip, into the new folder `out`."""

        def transcode(name: str) -> None:
            source = ["ffmpeg", "-nostdin", "-v", "error", *encoding.threading, "-i", self.raw / name, "-an"]
            scale = f"fps={footage.FPS},scale={LINES_WIDTH}:{LINES}:flags=area"
            target = ["-vf", scale, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", *encoding.options, out / name]
            subprocess.run([*source, *target], check=True)

        for name in self.names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
        began = Spent.so_far()
        with ThreadPoolExecutor(self.processes) as pool:
            done = pool.map(transcode, self.names)
            for _ in tqdm(done, total=len(self.names), desc="ffmpeg", unit="video", disable=None):
                pass
        return Spent.so_far().since(began)

    def bytes_a_frame(self, out: Path) -> float:
        return statistics.fmean((out / name).stat().st_size for name in self.names) / FRAMES

    def psnr(self, out: Path) -> float:
        """Peak signal-to-noise ratio in dB over all pixels of all clips, of luma.

        The reference is the source's own luma, scaled by area; both go through the same swscale, to full range.
        """
        import numpy as np

        error = 0.0
        for name in tqdm(self.names, desc="PSNR", unit="video", disable=None):
            for given, made in zip(_luma(self.raw / name), _luma(out / name), strict=True):
                error += np.square(given - made).mean()
        return 10 * math.log10(255**2 * FRAMES * len(self.names) / error)


def _luma(path: Path) -> Iterator[np.ndarray]:
    """`(LINES, LINES_WIDTH)` float32, 0 to 255."""
    import av
    from av.video.reformatter import Interpolation

    with av.open(path) as container:
        container.streams.video[0].thread_type = "NONE"
        for frame in container.decode(video=0):
            grey = frame.reformat(LINES_WIDTH, LINES, "gray", interpolation=Interpolation.AREA)
            yield grey.to_ndarray().astype("float32")


def make_clips(raw: Path, *, count: int, source: Path | None) -> list[str]:
    """Write `count` clips into the new folder `raw` and return their names."""
    names = [f"Clip/clip_{number:05}.avi" for number in range(count)]
    frames = footage.frames(source, width=footage.UCF101.width, height=footage.UCF101.height)
    for number, name in enumerate(tqdm(names, desc="making clips", unit="clip", disable=None)):
        if number < DISTINCT:
            footage.encode(raw / name, itertools.islice(frames, FRAMES), footage.UCF101)
        else:
            shutil.copy(raw / names[number % DISTINCT], raw / name)
    return names


def fair_encodings(bench: Bench) -> tuple[dict[str, Encoding], str]:
    """ffmpeg's settings nearest to ours in size (and not larger) and in PSNR, each in its fastest form; and the table.

    Raises `UserError` if ffmpeg writes larger files than ours with all of them.
    """
    out = bench.folder / "trial"
    bench.ours(out)
    our_size, our_psnr = bench.bytes_a_frame(out), bench.psnr(out)
    sizes, psnr = {}, {}
    for quantiser in QUANTISERS:
        for huffman in ("default", "optimal"):
            shutil.rmtree(out)
            encoding = Encoding(quantiser, huffman)
            bench.ffmpeg(out, encoding)
            sizes[encoding] = bench.bytes_a_frame(out)
        psnr[quantiser] = bench.psnr(out)
    shutil.rmtree(out)
    rows = [["ours", f"{our_size:,.0f}", "", f"{our_psnr:.2f}"]]
    for quantiser in QUANTISERS:
        both = (f"{sizes[Encoding(quantiser, huffman)]:,.0f}" for huffman in ("default", "optimal"))
        rows.append([f"`-q:v {quantiser}`", *both, f"{psnr[quantiser]:.2f}"])
    header = ["settings", "bytes a frame, default Huffman tables", "optimal tables", "PSNR, dB"]

    not_larger = [encoding for encoding, size in sizes.items() if size <= our_size]
    if not not_larger:
        raise UserError("every quantiser of ffmpeg that was tried makes larger files than ours; try other videos")
    by_size = max(not_larger, key=sizes.get)
    quantiser = min(QUANTISERS, key=lambda quantiser: abs(psnr[quantiser] - our_psnr))
    by_psnr = [Encoding(quantiser, huffman) for huffman in ("default", "optimal")]
    chosen = {"nearest in size": _fastest(bench, [by_size]), "nearest in PSNR": _fastest(bench, by_psnr)}
    return chosen, common.table(header, rows)


def _fastest(bench: Bench, encodings: list[Encoding]) -> Encoding:
    """The encoding, with one thread or as many as ffmpeg likes, that took the least time in its better of two runs."""
    seconds = {}
    for encoding in encodings * 2:
        for threads in (1, None):
            tried = replace(encoding, threads=threads)
            out = bench.folder / "trial"
            seconds[tried] = min(bench.ffmpeg(out, tried).clock, seconds.get(tried, math.inf))
            shutil.rmtree(out)
    return min(seconds, key=seconds.get)


def compare(bench: Bench, fair: dict[str, Encoding], *, rounds: int) -> str:
    """Ours and every encoding of `fair` by turns, `rounds` times: the table, and the ratio to the fastest of them."""
    out = bench.folder / "frames"
    spent: dict[Encoding | None, list[Spent]] = {encoding: [] for encoding in (None, *fair.values())}
    size, psnr = {}, {}
    for _ in range(rounds):
        for encoding in spent:
            os.sync()  # so that nobody waits for what the one before left to be written
            spent[encoding].append(bench.ours(out) if encoding is None else bench.ffmpeg(out, encoding))
            if encoding not in size:
                size[encoding], psnr[encoding] = bench.bytes_a_frame(out), bench.distinct.psnr(out)
            shutil.rmtree(out)
    total = len(bench.names) * FRAMES
    rates = {encoding: total / statistics.median(each.clock for each in taken) for encoding, taken in spent.items()}
    rows = []
    for encoding, taken in spent.items():
        rows.append(
            [
                _described(encoding, fair),
                f"{rates[encoding]:,.0f}",
                ", ".join(f"{each.clock:.1f}" for each in taken),
                f"{1000 * statistics.median(each.cpu for each in taken) / total:.2f}",
                f"{size[encoding]:,.0f}",
                f"{psnr[encoding]:.2f}",
            ]
        )
    header = ["", "frames a second, median", "seconds of each round", "CPU ms a frame", "bytes a frame", "PSNR, dB"]
    ours = rates.pop(None)
    return (
        f"{common.table(header, rows)}\nOurs is {ours / max(rates.values()):.2f} times as fast as the faster ffmpeg.\n"
    )


def _described(encoding: Encoding | None, fair: dict[str, Encoding]) -> str:
    if encoding is None:
        return f"`src.extract_frames`, quality {QUALITY}"
    return f"`ffmpeg {' '.join(encoding.options)}`, {' and '.join(what for what in fair if fair[what] == encoding)}"


def disk_space(bench: Bench) -> str:
    """What all frames of UCF101 would take, as a table."""
    rows = []
    for lines in (LINES, 256):
        out = bench.folder / f"lines-{lines}"
        bench.ours(out, lines=lines)
        size = bench.bytes_a_frame(out)
        rows.append([lines, f"{size:,.0f}", f"{size * UCF101_FRAMES / 1e9:.1f}"])
        shutil.rmtree(out)
    return common.table(["lines", "bytes a frame", f"GB for {UCF101_FRAMES / 1e6:.2f} M frames"], rows)


def main() -> None:
    parser = common.parser(__doc__)
    footage.source_option(parser)
    common.count_option(parser, "--clips", 1000)
    common.count_option(parser, "--rounds", 3)
    parser.add_argument(
        "--processes", type=common.at_least(1), default=os.cpu_count(), metavar="N", help="default: one a core"
    )
    arguments = parser.parse_args()
    if not shutil.which("ffmpeg"):
        raise UserError("there is no ffmpeg command to compare with; install it, e.g. apt-get install ffmpeg")
    with common.workplace(arguments.folder) as folder:
        names = make_clips(folder / "raw", count=arguments.clips, source=arguments.source)
        bench = Bench(folder, names, arguments.processes)
        source_size = bench.distinct.bytes_a_frame(bench.raw)
        fair, trials = fair_encodings(bench.distinct)
        result = compare(bench, fair, rounds=arguments.rounds)
        print(common.machine())
        print(
            f"{len(names)} clips of {FRAMES} frames, {source_size:,.0f} bytes a frame; {bench.processes} at a time.\n"
        )
        print(result)
        print(trials)
        if arguments.source:
            print(disk_space(bench.distinct))


if __name__ == "__main__":
    common.run(main)
