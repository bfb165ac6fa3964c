"""Is a search by TPE with pruning better than random search of the same length? Several of both on small drawn data.

    python -m bench.search --folder WORK

Both are `python -m src.tune`; random search draws without learning and ends no trial early, and has as many trials as
take the epochs that the other one took. What counts is the score of the best trial, or of params.yaml, with three seeds
that the search did not choose by. A search's seed is its own: data and params.yaml are the same in all. Interrupted,
the same command goes on.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from bench import common
from bench.checkouts import Dataset, lay_out, run
from src import command, files
from src.training.run import version
from src.training.state import fingerprint

EPOCHS = 12

DATA = Dataset(
    "search",
    "drawn videos of ten actors",
    settings=(
        *("dataset.actors=10", "dataset.clips=2", "model.frames=8", "model.stride=4"),
        *(f"train.epochs={EPOCHS}", "runtime.workers=0"),
    ),
)


def search(checkout: Path, results: Path, name: str, *options: str) -> dict[str, Any]:
    """artifacts/tune.json of a search, carried out unless there is one of the same options and code."""
    kept = results / f"{name}-{fingerprint([options, version()])[:8]}.json"
    if not kept.exists():
        print(f"\n== {name}", file=sys.stderr, flush=True)
        run(checkout, "src.tune", *options)
        files.write_text(kept, (checkout / "artifacts/tune.json").read_text())
    return json.loads(kept.read_text())


def interval(differences: list[float]) -> tuple[float, float]:
    """Of the mean, 95 %, by Student's t."""
    half = student.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    return statistics.mean(differences) - half, statistics.mean(differences) + half


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--studies", type=common.at_least(2), default=3, help="of each kind (default: 3)")
    parser.add_argument("--trials", type=common.at_least(4), default=24, help="of a TPE search (default: 24)")
    arguments = parser.parse_args()
    if arguments.folder is None:
        parser.error("--folder: name a folder to work in, which an interrupted series goes on from")
    folder = arguments.folder.resolve()
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    checkout = lay_out(DATA, folder / DATA.name, {})
    rows, differences = [], []
    for seed in range(arguments.studies):
        fixed = ("--set", f"tune.seed={seed}")
        tpe = search(checkout, results, f"tpe-{seed}", "--trials", str(arguments.trials), *fixed)
        trials = max(2, round(tpe["epochs"] / EPOCHS))
        how = ("--sampler", "random", "--set", "tune.prune=false")
        random = search(checkout, results, f"random-{seed}", "--trials", str(trials), *how, *fixed)
        differences.append(tpe["winner.score"] - random["winner.score"])
        for name, found in (("TPE, pruned", tpe), ("random", random)):
            best = f"trial {found['winner']}" if found["winner"] else "params.yaml"
            cells = (f"{found['winner.score']:.3f}", f"{found['params.score']:.3f}", f"{found['ended_early']:.0%}")
            rows.append((f"{name}, {seed}", found["trials"], found["epochs"], best, *cells))
    low, high = interval(differences)
    print(common.machine() + "\n")
    header = ("search, seed", "trials", "epochs", "best", "its score", "of params.yaml", "epochs saved")
    print(common.table(header, rows))
    print(f"TPE less random: {statistics.mean(differences):+.3f} ({low:+.3f} – {high:+.3f}, {len(differences)} pairs).")


if __name__ == "__main__":
    command.run(main)
