"""How long a user waits before anything happens: `--help`, a `dvc repro` with nothing to do, a training's first step.

    python -m bench.startup

Beside them, what cannot be avoided: Python itself, and Python that imports torch. Works in a copy of this project with
a handful of drawn videos. Prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import statistics
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from bench import common
from src import paths
from src.command import UserError

SMALL = [
    *("dataset.actors=4", "dataset.clips=1", "split.test=0.25", "split.val=0.25", "extract.short_side=36"),
    *("model.width=8", "model.frames=8", "model.crop=32", "train.epochs=1", "train.warmup=0", "runtime.workers=0"),
]
COMMANDS = ("download", "split", "extract_frames", "train", "evaluate", "tune", "predict", "compare", "ablation")


def copy_of_the_project(folder: Path) -> Path:
    """A git checkout, with settings so small that nothing takes long, in which `dvc repro` has run."""
    checkout = folder / "project"
    subprocess.run(["git", "clone", "--quiet", str(paths.ROOT), str(checkout)], check=True)
    for part in ("src", "params.yaml", "dvc.yaml"):  # as they are here, committed or not
        there = checkout / part
        shutil.rmtree(there) if there.is_dir() else there.unlink()
        here = paths.ROOT / part
        shutil.copytree(here, there) if here.is_dir() else shutil.copy(here, there)
    (checkout / "dvc.lock").unlink(missing_ok=True)
    _run(["-m", "src.params", "apply", *(part for each in SMALL for part in ("--set", each))], checkout)
    _run(["-m", "dvc", "repro"], checkout)
    return checkout


def _run(arguments: Sequence[str], folder: Path) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"python {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def until_the_end(arguments: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    _run(arguments, folder)
    return time.perf_counter() - began


def until_the_first_step(folder: Path) -> float:
    """From the start of `python -m src.train` to the first clips on its progress bar, which it shows to a terminal.

    What it trains is put back: `dvc repro` has nothing to do again.
    """
    shutil.rmtree(folder / ".state", ignore_errors=True)
    terminal, given = pty.openpty()
    termios.tcsetwinsize(given, (24, 120))  # of a terminal without a size, a progress bar shows nothing
    began = time.perf_counter()
    training = subprocess.Popen(
        [sys.executable, "-m", "src.train"], cwd=folder, stdin=given, stdout=given, stderr=given, close_fds=True
    )
    os.close(given)
    shown, taken = b"", None
    while said := _said(terminal):
        shown += said
        if taken is None and re.search(rb"[^\d][1-9]\d*/\d+ \[", shown):
            taken = time.perf_counter() - began
    os.close(terminal)
    if training.wait() or taken is None:
        raise UserError(f"python -m src.train failed, or took no step:\n{shown.decode(errors='replace')}")
    _run(["-m", "dvc", "checkout", "--force"], folder)
    return taken


def _said(terminal: int) -> bytes:
    """What comes next; nothing once nobody is at its other end any more, which a terminal calls an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=common.at_least(1), default=3, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()
    with common.workplace(arguments.folder) as folder:
        checkout = copy_of_the_project(folder)
        waits = {
            "`python -c pass`": lambda: until_the_end(["-c", "pass"], checkout),
            "`python -c 'import torch'`": lambda: until_the_end(["-c", "import torch"], checkout),
        }
        for name in COMMANDS:
            waits[f"`python -m src.{name} --help`"] = lambda name=name: until_the_end(
                ["-m", f"src.{name}", "--help"], checkout
            )
        waits["`dvc repro` with nothing to do"] = lambda: until_the_end(["-m", "dvc", "repro"], checkout)
        waits["`python -m src.train` until its first step"] = lambda: until_the_first_step(checkout)
        taken: dict[str, list[float]] = {name: [] for name in waits}
        for number in tqdm(range(arguments.rounds + 1), desc="rounds", disable=None):
            for name, wait in waits.items():
                seconds = wait()
                if number:  # the first has to fetch files from the disk
                    taken[name].append(seconds)
    torch = statistics.median(taken["`python -c 'import torch'`"])
    print(f"{common.machine()}\nMedians of {arguments.rounds} rounds.\n")
    rows = [
        [name, f"{statistics.median(each):.2f}", f"{statistics.median(each) - torch:+.2f}"]
        for name, each in taken.items()
    ]
    print(common.table(["", "seconds", "less those of importing torch"], rows))


if __name__ == "__main__":
    common.run(main)
