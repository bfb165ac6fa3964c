"""A search that is over → which settings are best and by how much, recipes/tuned.yaml and artifacts/tune.html."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from src import files, params, paths
from src.command import UserError
from src.search import finals, page
from src.search.finals import Difference, Finalist
from src.search.progress import ending
from src.search.study import Slots, slots
from src.search.worker import OF, SEED

if TYPE_CHECKING:
    import numpy as np

    from src.search.worker import Search
    from src.tracking.recorder import Recorder
    from src.video.manifest import Video


NONE = Difference(0.0, 0.0, 0.0, 1.0, 0)
"""Of params.yaml to itself."""


@dataclass(frozen=True)
class Test:
    """Hits `(seeds, videos)` of the winner and of params.yaml on test videos, and by how much they differ.

    `before` is of how many trainings of others these videos had been asked.
    """

    __test__ = False  # not a test class, though pytest would think so by its name

    winner: np.ndarray
    own: np.ndarray
    difference: Difference
    videos: int
    listed: int
    before: int


def report(search: Search, arguments: argparse.Namespace, recorder: Recorder, *, began: float, workers: int) -> None:
    """Print and write all of it, also to the run of `recorder`. Raises `UserError` if params.yaml could not be trained.

    The command was started at the time `began`. What validation says is written before test videos are asked, so that
    nothing of it is lost if these cannot be.
    """
    planned = finals.plan(search, arguments.trials)
    failed = finals.failed(search)
    said = [f"{name(t.user_attrs[OF])} with seed {t.user_attrs[SEED]}: {ending(t)}" for t in failed]
    if any(trial.user_attrs[OF] == 0 for trial in failed):
        raise UserError("\n".join([*said, "mend it; the same command trains these again"]))
    for line in said:
        print(f"note: left out, {line}; the same command tries it again", file=sys.stderr)
    ranking = finals.finalists(search, planned)
    winner, own = ranking[0], next(each for each in ranking if each.slot == 0)
    better = _difference(search, search.data.val, own.hits("val"), winner.hits("val")) if winner.slot else NONE
    recipe, lines = write_recipe(search, winner, arguments.set), _lines(ranking, better, search)
    print("\n".join(["", *lines, "", f"{os.path.relpath(recipe)}: python -m src.params apply … {recipe.stem}"]))
    there = slots(search.study, range(arguments.trials))
    spent = page.time_spent(there, ranking, began=began, workers=workers)
    outcome = Outcome(search, there, ranking, better, conclusion=lines[-1], spent=spent)
    outcome.publish(recorder)
    if arguments.confirm:
        outcome = replace(outcome, test=_tested(search, winner, own))
        print("\n".join(["", *outcome.test_lines()]))
        outcome.publish(recorder)
    print(f"{os.path.relpath(paths.TUNE)}: what helped, how the search went, and where the time went")


@dataclass(frozen=True)
class Outcome:
    """What the page says: the trials, who is best and by how much, `spent` seconds by what for; the test, if asked."""

    search: Search
    there: Slots
    ranking: Sequence[Finalist]
    better: Difference
    conclusion: str
    spent: Mapping[str, float]
    test: Test | None = None

    @property
    def winner(self) -> Finalist:
        return self.ranking[0]

    @property
    def own(self) -> Finalist:
        """Of params.yaml."""
        return next(each for each in self.ranking if each.slot == 0)

    def publish(self, recorder: Recorder) -> None:
        """The page, the numbers, and both in MLflow."""
        winner, own, test = self.winner, self.own, self.test
        verdicts = {
            "conclusion": self.conclusion,
            "better": verdict(self.better, videos="validation") if winner.slot else None,
            "test": self.test_lines() if test else [],
            "name": name,
            "whole": sum(self.spent.values()),
        }
        pictures = page.write(self.search, self.there, self.ranking, verdicts=verdicts, spent=self.spent)
        numbers = {f"winner.{key}": winner.mean(key) for key in ("score", "val", "train", "gap")}
        numbers |= {f"params.{key}": own.mean(key) for key in ("score", "val", "train", "gap")}
        if test:
            numbers |= {"winner.test": float(test.winner.mean()), "params.test": float(test.own.mean())}
        result = {
            "study": self.search.study.study_name,
            "winner": winner.slot,
            **numbers,
            "difference": asdict(self.better),
            "test_difference": test and asdict(test.difference),
            "trials": len(self.there.done),
            "epochs": sum(trial.user_attrs.get("epochs", 0) for trial in self.there.done),
            "ended_early": page.saved(self.there, epochs=self.search.base.train.epochs),
            "seconds": self.spent,
        }
        files.write_text(paths.TUNE_RESULT, json.dumps(result, indent=1) + "\n")
        # A step that rises with what is known: the numbers of a search that has gone on come after those before.
        recorder.points(numbers, step=len(self.there.done) + sum(len(each.trials) for each in self.ranking))
        recorder.results({}, [paths.TUNE, paths.TUNE_RESULT, paths.TUNED, *pictures], folder="tune")

    def test_lines(self) -> list[str]:
        test, winner, own = self.test, self.winner, self.own
        unread = f", {test.listed - test.videos} more could not be read" if test.listed > test.videos else ""
        asked_of = {winner.slot: (winner, test.winner), own.slot: (own, test.own)}
        lines = [
            f"on {test.videos} test videos{unread}:",
            *(
                f"  {name(slot):12} {hits.mean():.1%}, gap {100 * (each.mean('train') - hits.mean()):.1f} points"
                for slot, (each, hits) in asked_of.items()
            ),
        ]
        if winner.slot:
            lines.append(f"  {verdict(test.difference, videos='test')}")
        if test.before:
            asked = f"these videos had been asked of {test.before} trainings of other trials before"
            lines.append(f"  {asked}: the best of several tests is partly luck too")
        return lines


def _difference(search: Search, videos: Sequence[Video], own: np.ndarray, winner: np.ndarray) -> Difference:
    how = search.base.evaluate
    return finals.difference(own, winner, videos, bootstrap=how.bootstrap, seed=how.seed)


def _tested(search: Search, winner: Finalist, own: Finalist) -> Test:
    """Once all is decided, and not before."""
    from src.video import manifest

    listing = paths.SPLITS / "test.csv"
    videos, listed = manifest.videos(listing, frames=paths.FRAMES, classes=search.data.classes)
    before = finals.tested_before(winner, search, videos)
    first = finals.answer_test(winner, search, videos)
    second = finals.answer_test(own, search, videos)
    difference = _difference(search, videos, second, first) if winner.slot else NONE
    return Test(first, second, difference, len(videos), listed, before)


def name(slot: int) -> str:
    """How a finalist is called."""
    return f"trial {slot}" if slot else "params.yaml"


def verdict(difference: Difference, *, videos: str) -> str:
    """A difference in words, with its interval."""
    interval = f"{100 * difference.low:+.1f} – {100 * difference.high:+.1f}"
    said = f"{100 * difference.mean:+.1f} points ({interval}, p {difference.p:.3f}) on the same {videos} videos"
    if difference.shown:
        return said
    few = f", nor could be: they differ in {difference.turned} groups" if difference.least_p >= 0.05 else ""
    return f"{said}: no difference is shown{few}"


def _lines(ranking: Sequence[Finalist], better: Difference, search: Search) -> list[str]:
    seeds = search.base.tune.seeds
    lines = [f"{seeds} seeds that the search did not choose by, on validation (mean ± deviation):"]
    for each in ranking:
        val, train, gap = (each.shown(key) for key in ("val", "train", "gap"))
        left = "" if len(each.trials) == seeds else f"; left there, after {len(each.trials)}"
        lines.append(f"  {name(each.slot):12} {val} %, training {train} %, gap {gap}{left}")
    if not ranking[0].slot:
        return [*lines, "no trial is better than params.yaml, which is the recipe"]
    return [*lines, f"best: {name(ranking[0].slot)}; over params.yaml {verdict(better, videos='validation')}"]


def write_recipe(search: Search, winner: Finalist, overrides: Sequence[str]) -> Path:
    """The winner's settings as recipes/tuned.yaml, with those of the `overrides` (--set) that are not of the search."""
    own = search.base.model_dump()
    given = params.lay_on({}, *map(params.parse_override, overrides))
    given = {section: values for section, values in given.items() if section not in ("tune", "runtime")}
    settings = params.lay_on(given, search.settings_of(winner.slot))
    for dimension in search.space:
        section, _, key = dimension.key.partition(".")
        settings.setdefault(section, {}).setdefault(key, own[section][key])
    found, by = (
        f"{name(winner.slot)} of {search.study.study_name}",
        f"{search.base.tune.seeds} trainings that the search did not choose by",
    )
    numbers = f"validation {winner.mean('val'):.1%}, gap {100 * winner.mean('gap'):.1f} points"
    head = f"# What `python -m src.tune` found best: {found}, by {by}:\n# {numbers}.\n"
    files.write_text(paths.TUNED, head + yaml.safe_dump(settings, default_flow_style=None))
    return paths.TUNED
