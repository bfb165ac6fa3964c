"""A training that is killed again and again, against one that is left alone: the same bits, and every point once.

    python -m bench.kills

Trains a tiny network on the embedded videos in a fresh copy of this checkout: once to the end, and once killed with
SIGKILL at random moments, every third time while a file of its state is being written, and started again each time,
with another number of loader processes. Then compares weights, history and MLflow's points. Prints the table of
docs/training.md; some minutes on two cores.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from bench import common

if TYPE_CHECKING:
    from tests.conftest import Checkout

LONGEST = 1.5  # seconds of training between the first sign of it and a kill
UNFINISHED = (".last.pt.", ".best-")
"""What names begin with under which a file of the state is written, beside its place."""


@dataclass(frozen=True)
class Kill:
    """`resumed` is what the process killed had said that it goes on from; `torn`, a file of which it left a part."""

    workers: int
    resumed: str
    torn: str


@dataclass(frozen=True)
class Outcome:
    """What the killed training had in the end, beside the one left alone."""

    kills: list[Kill]
    weights_differ: list[str]
    history_differs: bool
    points: int
    missing: int
    twice: int


def train(checkout: Checkout, *, epochs: int, workers: int) -> subprocess.Popen[str]:
    """Start the training; loader processes are all that differs from one start to the next."""
    settings = {"train.epochs": epochs, "train.batch": 4, "runtime.save_every": 2, "runtime.log_every": 1}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return checkout.start("python", "-m", "src.train", *options, "--set", f"runtime.workers={workers}")


def kill(process: subprocess.Popen[str], state: Path, *, rng: random.Random, saving: bool, workers: int) -> Kill | None:
    """Kill at a random moment, or at the first one later at which it is saving; None if it had ended before."""
    resumed = "the start"
    for line in process.stdout:
        if line.startswith("resuming"):
            resumed = line.strip().removeprefix("resuming after ")
        if line.startswith(("resuming", "epoch")):
            break
    threading.Thread(target=_read_on, args=[process], daemon=True).start()
    time.sleep(rng.uniform(0, LONGEST))
    while saving and process.poll() is None:
        if _unfinished(state):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.02)
            if _unfinished(state):  # or it was renamed just before
                break
            process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGKILL)
    if process.wait() == 0:
        return None
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the training failed by itself after {resumed}, with {process.returncode}")
    return Kill(workers, resumed, ", ".join(_unfinished(state)))


def _read_on(process: subprocess.Popen[str]) -> None:
    """Or the pipe fills up, and the training waits for somebody to read."""
    with process.stdout:
        process.stdout.read()


def _unfinished(state: Path) -> list[str]:
    """Files that are being written, or were when their process was killed."""
    with suppress(FileNotFoundError):  # it has ended, and removes its state
        found = [entry.name for folder in state.glob("*/") for entry in os.scandir(folder)]
        return [name.split(".pt.")[0].lstrip(".") + ".pt" for name in found if name.startswith(UNFINISHED)]
    return []


def survive(checkout: Checkout, *, kills: int, epochs: int, seed: int) -> Outcome:
    """Train twice in `checkout`, which has frames and splits, and compare; the second time with `kills`."""
    rng, state = random.Random(seed), checkout.path / ".state" / "train"
    kept = {}
    found: list[Kill] = []
    for name, wanted in (("alone", 0), ("killed", kills)):
        with tqdm(total=wanted, desc=name, unit="kill", disable=None) as bar:
            for number in range(wanted):
                workers = rng.randrange(4)
                process = train(checkout, epochs=epochs, workers=workers)
                done = kill(process, state, rng=rng, saving=number % 3 == 2, workers=workers)
                if done is None:
                    raise RuntimeError(f"the training ended after {number} kills: it needs more epochs for {kills}")
                found.append(done)
                bar.update()
        process = train(checkout, epochs=epochs, workers=rng.randrange(4))
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the training failed:\n{output}")
        kept[name] = checkout.path.parent / name
        shutil.move(checkout.path / "artifacts", kept[name])
        shutil.move(checkout.path / "mlflow.db", kept[name])
    return compare(kept["alone"], kept["killed"], kills=found)


def compare(alone: Path, killed: Path, *, kills: list[Kill]) -> Outcome:
    """Of two folders with model.pt, history.csv and mlflow.db."""
    import torch

    first, second = (torch.load(folder / "model.pt", weights_only=True)["weights"] for folder in (alone, killed))
    wanted, had = Counter(_points(alone)), Counter(_points(killed))
    return Outcome(
        kills=kills,
        weights_differ=[name for name in first if not torch.equal(first[name], second[name])],
        history_differs=(alone / "history.csv").read_bytes() != (killed / "history.csv").read_bytes(),
        points=sum(had.values()),
        missing=len(wanted - had),
        twice=len(had - wanted),
    )


def _points(folder: Path) -> list[tuple[str, int, float]]:
    """Every point of the only run in a folder's mlflow.db, but for those that no two trainings have in common."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return [
        (point.key, point.step, point.value)
        for key in run.data.metrics
        if not key.startswith("system/") and key != "clips_per_second"
        for point in client.get_metric_history(run.info.run_id, key)
    ]


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--kills", type=common.at_least(1), default=20, metavar="N", help="default: 20")
    parser.add_argument("--epochs", type=common.at_least(2), default=200, metavar="N", help="default: 200")
    parser.add_argument("--seed", type=common.at_least(0), default=0, metavar="N", help="of the moments; default: 0")
    arguments = parser.parse_args()
    from tests.conftest import new_checkout

    with common.workplace(arguments.folder) as folder:
        checkout = new_checkout(folder / "project")
        checkout.run("dvc", "repro", "extract_frames", "split")
        outcome = survive(checkout, kills=arguments.kills, epochs=arguments.epochs, seed=arguments.seed)
    print(common.machine() + "\n")
    rows = [(number, k.workers, k.resumed, k.torn or "–") for number, k in enumerate(outcome.kills, start=1)]
    print(common.table(["kill", "loader processes", "gone on from", "left half written"], rows))
    same = "none" if not outcome.weights_differ else ", ".join(outcome.weights_differ)
    print(
        f"After {len(outcome.kills)} kills in {arguments.epochs} epochs: weights that differ: {same}; history.csv "
        f"{'differs' if outcome.history_differs else 'is the same'}; of {outcome.points} points in MLflow "
        f"{outcome.missing} missing, {outcome.twice} too many."
    )


if __name__ == "__main__":
    common.run(main)
