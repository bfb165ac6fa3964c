"""`tune.space` of params.yaml → what Optuna draws from; what it has drawn → settings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src import params
from src.command import UserError

if TYPE_CHECKING:
    import optuna

    from src.settings import Params

SECTIONS = ("model", "augment", "train")

DIGITS = 3
"""Kept of a number on a logarithmic scale; on any other, a thousandth of the range is told."""

MOST_TRIED = 200
"""Whole numbers of a range that are tried before the first trial."""

Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Dimension:
    """A setting that trials may change, from `low` to `high` or among `choices`, and `own`, its value in params.yaml.

    Choices are what Optuna can keep: a list is its JSON text.
    """

    key: str
    own: Any
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None

    def suggest(self, trial: optuna.Trial) -> Any:
        """Draw a value for a trial, or take the one that it was given."""
        if self.choices is not None:
            return trial.suggest_categorical(self.key, self.choices)
        draw = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return draw(self.key, self.low, self.high, log=self.log)

    def setting(self, drawn: Any) -> Any:
        """What was drawn as params.yaml has it; numbers are rounded to what a range can tell, to be read."""
        if self.choices is not None:
            return json.loads(drawn) if isinstance(drawn, str) and drawn.startswith("[") else drawn
        if not isinstance(drawn, float) or drawn in (self.own, self.low, self.high):
            return drawn
        size = 10 * drawn if self.log else self.high - self.low
        rounded = round(drawn, DIGITS - math.floor(math.log10(size)))
        return min(max(rounded, self.low), self.high)


def dimensions(settings: Params) -> list[Dimension]:
    """The space of `settings`, made wide enough to hold its own values.

    Raises `UserError` with a line for each setting that is unknown, not of a training, or refuses a value.
    """
    found, wrong = [], []
    for key, axis in settings.tune.space.items():
        section, _, name = key.partition(".")
        values = settings.model_dump().get(section, {})
        if section not in SECTIONS:
            wrong.append(f"{key}: only settings of {', '.join(SECTIONS)} can be searched")
        elif name not in values:
            wrong.append(f"{key}: there is no such setting")
        else:
            try:
                found.append(_dimension(settings, key, axis.model_dump(), own=values[name]))
            except UserError as error:
                wrong.append(str(error))
    if wrong:
        raise UserError("\n".join(f"tune.space: {line}" for line in wrong))
    return found


def _dimension(settings: Params, key: str, axis: dict[str, Any], *, own: Any) -> Dimension:
    for value in axis.get("choices", [axis.get("low"), axis.get("high")]):
        _try(settings, key, value)
    if "choices" in axis:
        kept = [json.dumps(value) if isinstance(value, list) else value for value in [*axis["choices"], own]]
        return Dimension(key, own=kept[-1], choices=tuple(dict.fromkeys(kept)))
    if not isinstance(own, (int, float)) or isinstance(own, bool):
        raise UserError(f"{key}: params.yaml has {own}, which no range holds: give choices")
    low, high, log = min(axis["low"], own), max(axis["high"], own), axis.get("log", False)
    if log and low <= 0:
        raise UserError(f"{key}: params.yaml has {own}, which no logarithmic scale holds")
    whole = all(isinstance(end, int) for end in (low, high)) and not _takes(settings, key, low + 0.5)
    for value in range(low, high + 1)[:MOST_TRIED] if whole else ():
        _try(settings, key, value)
    return Dimension(key, own=own, low=low if whole else float(low), high=high if whole else float(high), log=log)


def _try(settings: Params, key: str, value: Any) -> None:
    section, _, name = key.partition(".")
    params.check(params.lay_on(settings.model_dump(), {section: {name: value}}), source=f"{key} {value}")


def _takes(settings: Params, key: str, value: Any) -> bool:
    try:
        _try(settings, key, value)
    except UserError:
        return False
    return True


def own_values(space: list[Dimension]) -> dict[str, Any]:
    """params.yaml itself, as a trial."""
    return {dimension.key: dimension.own for dimension in space}


def overlay(space: list[Dimension], drawn: Mapping[str, Any]) -> Settings:
    """A trial's values as settings to lay over params.yaml."""
    result: Settings = {}
    for dimension in space:
        section, _, name = dimension.key.partition(".")
        result.setdefault(section, {})[name] = dimension.setting(drawn[dimension.key])
    return result


def widened(settings: Params, space: list[Dimension]) -> list[str]:
    """A line for each setting whose own value lies outside of what `tune.space` says."""
    lines = []
    for dimension in space:
        axis = settings.tune.space[dimension.key]
        if axis.choices is None and not axis.low <= dimension.own <= axis.high:
            lines.append(f"{dimension.key}: from {dimension.low:g} to {dimension.high:g}, so as to hold its own value")
        elif axis.choices is not None and len(dimension.choices) > len(axis.choices):
            lines.append(f"{dimension.key}: {dimension.own}, its own value, is searched as well")
    return lines
