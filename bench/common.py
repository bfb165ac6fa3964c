"""What the benchmarks share: a command line, a folder to work in, the line that names the machine, Markdown tables."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from src import command
from src.command import UserError


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the option of every benchmark; `doc` is the module's docstring."""
    result = argparse.ArgumentParser(
        prog=f"python -m {sys.modules['__main__'].__spec__.name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="work in this new or empty folder and leave it (default: a temporary one, removed at the end)",
    )
    return result


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number, `least` or more."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return number


def count_option(parser: argparse.ArgumentParser, name: str, default: int) -> None:
    """Add an option that is a whole number, from one on."""
    parser.add_argument(name, type=at_least(1), default=default, metavar="N", help="default: %(default)s")


@contextmanager
def workplace(folder: Path | None) -> Iterator[Path]:
    """`folder`, or a temporary one that is removed however this ends. Raises `UserError` if `folder` is not empty."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
            yield Path(temporary)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"--folder: {folder} is not empty; name a new folder")
    yield folder.resolve()


def videos(folder: Path) -> list[Path]:
    """Every video below `folder`, in the order of their names. Raises `UserError` if there is none."""
    from src.datasets.folder import VIDEO

    found = sorted(path for path in folder.rglob("*") if VIDEO.fullmatch(path.name) and path.is_file())
    if not found:
        raise UserError(f"--source: there is no video below {folder}")
    return found


def needs(*modules: str) -> None:
    """Raises `UserError` if one of the peers that a benchmark measures is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not installed; `pip install -r requirements-bench.txt` brings the peers"
        )


def one_thread(worker: int = 0) -> None:
    """All libraries of this process on one thread: for a measurement, or for a loader's worker."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def machine() -> str:
    """One line for the head of a table: what a figure on it depends on besides the code."""
    import av
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    versions = f"Python {platform.python_version()}, av {av.__version__}, ffmpeg {_ffmpeg()}"
    return f"Machine: {os.cpu_count()} cores of {_processor()}, {memory:.0f} GiB of memory; {versions}."


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", listing.read_text(), re.MULTILINE) if listing.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def _ffmpeg() -> str:
    if not shutil.which("ffmpeg"):
        return "none"
    return subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def run(main: Callable[[], None]) -> None:
    """`command.run` for what keeps nothing when it is interrupted."""

    def interruptible() -> None:
        try:
            main()
        except KeyboardInterrupt:
            sys.exit("interrupted")

    command.run(interruptible)
