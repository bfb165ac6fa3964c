"""One process of a job: `python -m tests.training.job STATE FRAMES SETTINGS`, started by torchrun or by hand.

The first prints, as lines of JSON, what the observer was told; with `"look"`, a list of numbers of loader processes,
all print the hashes of the clips that they load with each instead; with `"pretrain"`, a task, the weights that they are
left with. `"halt"` is a step after which the first waits for a signal, so that it comes in that step however slow the
machine is. `"beats"` are the seconds between two heartbeats and the silence that counts as death, `"busy"` those that
the first process takes longer than the job.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from src import command
from src.training import heartbeat
from src.training.distributed import joined
from src.training.fit import Observer
from src.video.manifest import Video
from tests.training.toy import fit, hashes, pretrained


def say(what: dict) -> None:
    """A line in one piece: what others print at the same time comes before or after it."""
    os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


class Printing(Observer):
    def __init__(self, halt: int | None):
        self.halt = halt

    def step(self, number, values):
        came = []
        if number == self.halt:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, _noting(came, signal.getsignal(each)))
        say({"step": number} | values)
        while number == self.halt and not came:
            time.sleep(0.01)

    def epoch(self, history, more, weights, *, kept):
        say(history[-1])


def _noting(came: list[int], handler: Callable) -> Callable:
    """`handler`, which is the training's, so that its coming is seen here too."""

    def note(number, frame):
        came.append(number)
        handler(number, frame)

    return note


def main() -> None:
    state, frames, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(1)
    task = settings.pop("pretrain", None)
    look, halt, busy = settings.pop("look", []), settings.pop("halt", None), settings.pop("busy", 0.0)
    heartbeat.EVERY, heartbeat.SILENCE = settings.pop("beats", (3.0, 40.0))
    videos = [Video(f.name, f, int(f.stem) % 2, f"g{f.stem}", 12, "") for f in sorted(frames.glob("*.avi"))]
    with joined(device="cpu") as team:
        own = {"state": state, "observer": Printing(halt)} if team.first else {"state": None}
        if task:
            network = pretrained(videos, own["state"], task=task, team=team)
            weights = {name: value.double().sum().item() for name, value in network.state_dict().items()}
            say({"rank": team.rank, "weights": weights})
            return
        for workers in look:
            training = fit(videos, **own, team=team, runtime={"workers": workers}, **settings)
            row = {"rank": team.rank, "workers": workers, "batches": hashes(training, epoch=5)}
            say(row)
        if not look:
            fit(videos, **own, team=team, **settings).run()
    time.sleep(busy * team.first)


if __name__ == "__main__":
    command.run(main)
