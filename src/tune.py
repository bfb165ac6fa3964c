"""A search of settings that close the gap → recipes/tuned.yaml and artifacts/tune.html. Test videos are not looked at.

    python -m src.tune --trials 50               50 trials in all: interrupted, the same command goes on
    python -m src.tune --trials 50 --confirm     and then, once, the winner and params.yaml on test videos
    python -m src.tune --trials 50 --pareto      accuracy and gap as two objectives: every trial runs to its end
    python -m src.tune --storage postgresql://USER:PASSWORD@HOST/DATABASE     the same search on any number of machines

A trial's score is its validation accuracy less tune.penalty times what the gap has more than tune.tolerance; the gap is
training less validation accuracy, both answered alike. Trial 0 is params.yaml itself. Trials that fall behind are ended
early (successive halving). The best few and params.yaml are then trained again with other seeds, and one is called
best by trainings that the search did not choose by.

Needs data/frames and data/splits (`dvc repro extract_frames split`). Other data, another space or other settings are
another search. In MLflow the trials are nested in a run of the search.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from src import command

if TYPE_CHECKING:
    from src.search.worker import Search
    from src.settings import Params


def parse() -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="trials in all (default: 50)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="trials at a time (default: one a GPU, or a core, to 4)"
    )
    parser.add_argument("--storage", metavar="URL", help="where the search is kept (default: optuna.db here)")
    parser.add_argument("--confirm", action="store_true", help="in the end evaluate winner and params.yaml on test")
    parser.add_argument("--pareto", action="store_true", help="two objectives: accuracy, and the gap")
    parser.add_argument(
        "--sampler", choices=["tpe", "random"], default="tpe", help="how values are drawn (default: tpe)"
    )
    parser.add_argument(
        "--heartbeat", type=int, default=30, metavar="SECONDS", help="between signs of life of a worker"
    )
    # How a search starts its own workers.
    parser.add_argument("--work", choices=["search", "finals"], help=argparse.SUPPRESS)
    parser.add_argument("--study", help=argparse.SUPPRESS)
    parser.add_argument("--parent", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for option, least in (("trials", 2), ("workers", 1), ("heartbeat", 1)):
        if (value := getattr(arguments, option)) is not None and value < least:
            why = ": the first is params.yaml itself" if option == "trials" else ""
            parser.error(f"--{option} is {value}, and must be at least {least}{why}")
    return arguments


def open_search(arguments: argparse.Namespace, base: Params) -> Search:
    """The search of these settings and data, gone on with or begun. Raises `UserError` for what cannot be searched."""
    from optuna.pruners import NopPruner

    from src import children
    from src.search import space, storage, study
    from src.search.objective import Data
    from src.search.worker import Search

    searched = space.dimensions(base)
    data = Data.of_pipeline()
    parts = study.identify(base, data.train, data.val, data.classes, pareto=arguments.pareto, sampler=arguments.sampler)
    if arguments.work and study.name_of(parts) != arguments.study:
        raise command.UserError(children.CHANGED)
    kept = storage.connect(arguments.storage, heartbeat=arguments.heartbeat, wait=arguments.work is not None)
    pruner = study.pruner(epochs=base.train.epochs, warmup=base.train.warmup) if base.tune.prune else NopPruner()
    found = study.open_study(kept, parts, pareto=arguments.pareto, pruner=pruner)
    return Search(base, searched, data, kept, *found, sampler=arguments.sampler)


def work(search: Search, arguments: argparse.Namespace) -> None:
    """Be a worker of a search that another process has begun."""
    from src import children
    from src.search import finals
    from src.search.worker import Worker

    children.end_with_parent()
    if arguments.work == "search":
        Worker(search, arguments.parent).search_all(arguments.trials)
    else:
        Worker(search, arguments.parent).confirm_all(lambda: finals.plan(search, arguments.trials))


def main() -> None:
    arguments = parse()
    base = command.settings_of(arguments)
    search = open_search(arguments, base)
    if arguments.work:
        work(search, arguments)
        return
    from src.search import conduct

    conduct.conduct(search, arguments)


if __name__ == "__main__":
    command.run(main)
