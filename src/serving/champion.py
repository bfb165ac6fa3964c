"""Two versions of a model, by their answers to the same validation videos → which of them is served.

A new one has to be better than chance would have it: the interval of the difference, which resamples whole groups, lies
above 0, and so few groups would not have turned its way by chance. Answers to another list of validation videos say
nothing of which is better, and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src import tables
from src.command import UserError
from src.evaluated import COLUMNS
from src.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from src.training.comparison import Difference

FILE = "validation.csv"

BOOTSTRAP, SEED = 10_000, 0
"""Of the interval: the same for all, or a model would win by the settings that it came with."""

LEVEL = 0.05

Row = dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """Whether a version is to be the champion, and why, in a few words."""

    better: bool
    why: str


def judge(champion: Sequence[Row], challenger: Sequence[Row]) -> Verdict:
    """By the answers of both, rows of `COLUMNS`."""
    lists = [{(row["video"], row["group"], row["actual"]) for row in rows} for rows in (champion, challenger)]
    if lists[0] != lists[1]:
        ours, its = (len(one - other) for one, other in (lists, lists[::-1]))
        return Verdict(
            False,
            f"its validation videos are others: {ours} that only the champion was asked, {its} that only it was; train "
            "the champion's settings on these, or decide by hand: --anyway",
        )
    found = difference(champion, challenger)
    points = f"{found.points:+.1f} points ({100 * found.low:+.1f} – {100 * found.high:+.1f}), p {found.p:.3f}"
    groups = len({row["group"] for row in champion})
    of = f"{found.b:.1%} against {found.a:.1%} of the same {found.clips} validation videos in {groups} group"
    few = f"; {found.turned} of them differ, too few to tell" if found.least_p >= LEVEL else ""
    # Of few groups, resampling sees little of what others would say; the test of whole groups knows how few they are.
    return Verdict(found.low > 0 and found.p < LEVEL, f"{of}{'s' * (groups > 1)}: {points}{few}")


def difference(champion: Sequence[Row], challenger: Sequence[Row]) -> Difference:
    """Of the same videos, in whatever order."""
    import numpy as np

    from src.training.comparison import compare

    sides = [sorted(rows, key=lambda row: row["video"]) for rows in (champion, challenger)]
    hits = [np.array([row["actual"] == row["predicted"] for row in side]) for side in sides]
    return compare(*hits, [row["group"] for row in sides[0]], bootstrap=BOOTSTRAP, seed=SEED)


def rows(client: MlflowClient, version: ModelVersion) -> list[Row]:
    """A version's answers to its validation videos. Raises `UserError` if it has none."""
    return tables.read(registry.file(client, version, FILE), columns=COLUMNS)


def consider(client: MlflowClient, version: ModelVersion, *, anyway: bool = False) -> tuple[bool, str]:
    """Make a version the champion if it is better, or there is none; whether it is now, and a line to say.

    The line is also what MLflow shows as the version's description. With `anyway` the version becomes champion whatever
    the comparison says, which is said all the same.
    """
    name, now = f"models:/{version.name}/{version.version}", registry.champion(client, version.name)
    if now is not None and int(now.version) == int(version.version):
        return True, f"{name} is the champion already"
    verdict = Verdict(True, "the first") if now is None else _compared(client, now, version)
    after = registry.champion(client, version.name)
    if after != now and (after is None or now is None or after.version != now.version):
        return consider(client, version, anyway=anyway)  # another machine has moved it meanwhile
    before = "" if now is None else f" in place of version {now.version}"
    promoted = verdict.better or anyway
    if promoted:
        client.set_registered_model_alias(version.name, registry.CHAMPION, version.version)
        though = "" if verdict.better else "though no better is shown, "
        said = f"{name} is the champion now{before}: {though}{verdict.why}"
    else:
        said = f"{name} is registered; version {now.version} stays champion: {verdict.why}"
    client.update_model_version(version.name, version.version, description=said)
    return promoted, said


def _compared(client: MlflowClient, now: ModelVersion, version: ModelVersion) -> Verdict:
    try:
        return judge(rows(client, now), rows(client, version))
    except UserError as error:  # one of them is none of this pipeline's, or its files are gone
        return Verdict(False, f"they cannot be compared: {error}; --anyway decides by hand")
