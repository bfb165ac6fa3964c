"""A search that is over → artifacts/tune.html, and its figures as files."""

from __future__ import annotations

import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as drawing

from src import files, paths
from src.report import page
from src.search.progress import ending
from src.search.study import SLOT, WORKER, Slots

if TYPE_CHECKING:
    from src.search.finals import Finalist
    from src.search.worker import Search

LEAST = 4
"""Complete trials that a figure of what helped needs."""


def write(
    search: Search,
    there: Slots,
    ranking: Sequence[Finalist],
    *,
    verdicts: Mapping[str, Any],
    spent: Mapping[str, float],
) -> list[Path]:
    """Write the page; returns the figures' files.

    `verdicts` are what the page says of winner and test, `spent` seconds of all workers together by what for.
    """
    pictures = figures(search, there, paths.TUNE_FIGURES)
    best = ranking[0].slot
    html = page.render(
        "tune.html",
        study=search.study.study_name,
        trials=[_row(trial) for trial in there.done],
        counts={title: there.of(state) for title, state in _STATES.items() if there.of(state)},
        finalists=ranking,
        seeds=search.base.tune.seeds,
        changes=_changes(search, best) if best else [],
        spent=spent,
        saved=saved(there, epochs=search.base.train.epochs),
        pictures={title: page.png(path) for title, path in pictures.items()},
        space=[dimension.key for dimension in search.space],
        **verdicts,
    )
    files.write_text(paths.TUNE, html)
    return list(pictures.values())


_STATES = {"to the end": TrialState.COMPLETE, "ended early": TrialState.PRUNED, "failed": TrialState.FAIL}


def _row(trial: FrozenTrial) -> dict[str, Any]:
    values = {key: f"{value:.3g}" if isinstance(value, float) else str(value) for key, value in trial.params.items()}
    return {
        "slot": trial.user_attrs[SLOT],
        "ending": ending(trial),
        "values": values,
    }


def _changes(search: Search, slot: int) -> list[tuple[str, Any, Any]]:
    """Each setting that the winner has otherwise than params.yaml: its name, its value there, and the winner's."""
    settings = search.settings_of(slot)
    rows = []
    for dimension in search.space:
        section, _, key = dimension.key.partition(".")
        own, now = search.base.model_dump()[section][key], settings[section][key]
        if own != now:
            rows.append((dimension.key, own, now))
    return rows


def saved(there: Slots, *, epochs: int) -> float:
    """The share of all epochs that pruning did without, of trials that did not fail; `epochs` where none are drawn."""
    ran = [trial for trial in there.done if trial.state != TrialState.FAIL]
    whole = sum(trial.params.get("train.epochs", epochs) for trial in ran)
    pruned = [trial for trial in ran if trial.state == TrialState.PRUNED]
    without = sum(trial.params.get("train.epochs", epochs) - trial.user_attrs["epochs"] for trial in pruned)
    return without / whole if whole else 0.0


def time_spent(there: Slots, ranking: Sequence[Finalist], *, began: float, workers: int) -> dict[str, float]:
    """Seconds of all workers together, by what for; this command was started at the time `began`, with `workers`.

    What was done before an interruption, or on other machines, is counted with the rest, but for what was then idle.
    """
    trials = [trial.user_attrs["seconds"] for trial in there.done if "seconds" in trial.user_attrs]
    again = sum(trial.user_attrs["seconds"]["whole"] for each in ranking for trial in each.trials)
    whole = sum(each["whole"] for each in trials)
    training, judging = (sum(each[key] for each in trials) for key in ("training", "judging"))
    spent = {
        "trials: training": training,
        "trials: training videos answered, for the gap": judging,
        "trials: validation, starting and stopping": whole - training - judging,
        "the finalists, trained again": again,
    }
    finals = [trial for each in ranking for trial in each.trials]
    busy = sum(trial.user_attrs["seconds"]["whole"] for trial in [*there.done, *finals] if _here_since(began, trial))
    return spent | {"workers starting, waiting and idle": max(0.0, (time.time() - began) * workers - busy)}


def _here_since(began: float, trial: FrozenTrial) -> bool:
    """Whether a worker of this machine has begun with it after `began`, and said how long it took."""
    ours = trial.user_attrs.get(WORKER, "").startswith(f"{platform.node()}:")
    return ours and "seconds" in trial.user_attrs and trial.datetime_start.timestamp() >= began


def figures(search: Search, there: Slots, folder: Path) -> dict[str, Path]:
    """What Optuna draws of a search, as PNG files, by title. With too few trials to say anything, none."""
    study, several = search.study, len(search.study.directions) > 1
    if len(there.complete) < LEAST:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    target = (lambda trial: trial.values[0]) if several else None
    how = {"target": target, "target_name": "validation accuracy" if several else "score"}
    # Of a target, Optuna says what makes it low.
    important = how | ({"target": lambda trial: -trial.values[0]} if several else {})
    drawn: dict[str, Any] = {
        "history": lambda: drawing.plot_optimization_history(study, **how),
        "importance": lambda: drawing.plot_param_importances(study, **important),
        "slice": lambda: drawing.plot_slice(study, **how),
        "parallel": lambda: drawing.plot_parallel_coordinate(study, **how),
    }
    if several:
        drawn["front"] = lambda: drawing.plot_pareto_front(study, target_names=["validation accuracy", "gap"])
    else:
        drawn["curves"] = lambda: drawing.plot_intermediate_values(study)
    found = {}
    for title, draw in drawn.items():
        with warnings.catch_warnings(), plt.rc_context({"font.size": 8, "figure.constrained_layout.use": True}):
            warnings.simplefilter("ignore")  # that they are experimental, and of layout
            axes = draw()
            figure = axes.flat[0].figure if hasattr(axes, "flat") else axes.figure
            figure.set_size_inches(
                2.2 * len(search.space) if title == "slice" else 8.5, 3.4 if title == "slice" else 4.6
            )
            legend = figure.axes[0].get_legend()
            if title == "curves" and legend:
                legend.remove()  # of fifty trials it hides the curves
            found[title] = folder / f"{title}.png"
            found[title].parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(found[title], dpi=130)
            plt.close(figure)
    return found
