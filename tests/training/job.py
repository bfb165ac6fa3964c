"""One process of a job: `python -m tests.training.job STATE FRAMES SETTINGS`, started by torchrun or by hand.

The first prints, as lines of JSON, what the observer was told; with `"look": true` in the settings all print the hashes
of the clips that they load instead. `"beats"` are the seconds between two heartbeats and the silence that counts as
death, `"pause"` those that a step takes longer, `"busy"` those that the first process takes longer than the job.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from src import command
from src.training import heartbeat
from src.training.distributed import joined
from src.training.fit import Observer
from src.video.manifest import Video
from tests.training.toy import fit, hashes


class Printing(Observer):
    def __init__(self, pause: float):
        self.pause = pause

    def step(self, number, values):
        print(json.dumps({"step": number} | values), flush=True)
        time.sleep(self.pause)

    def epoch(self, history, more, weights, *, kept):
        print(json.dumps(history[-1]), flush=True)


def main() -> None:
    state, frames, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(1)
    look, pause, busy = settings.pop("look", False), settings.pop("pause", 0.0), settings.pop("busy", 0.0)
    heartbeat.EVERY, heartbeat.SILENCE = settings.pop("beats", (3.0, 40.0))
    videos = [Video(f.name, f, int(f.stem) % 2, f"g{f.stem}", 12, "") for f in sorted(frames.glob("*.avi"))]
    with joined(device="cpu") as team:
        own = {"state": state, "observer": Printing(pause)} if team.first else {"state": None}
        training = fit(videos, **own, team=team, **settings)
        if look:
            print(json.dumps({"rank": team.rank, "batches": hashes(training, epoch=5)}), flush=True)
        else:
            training.run()
    time.sleep(busy * team.first)


if __name__ == "__main__":
    command.run(main)
