"""Two evaluations A and B → whether they differ by more than chance, where, and in which settings.

    python -m src.compare HEAD~1 workspace
    python -m src.compare RUN_ID RUN_ID                       runs in MLflow
    python -m src.compare main artifacts/evaluation-RUN_ID    a revision, and a folder with a predictions.csv

Paired: over the test clips that both have answered. The interval resamples groups, and the p-value is that of the
sign-flip test over groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from src import command
from src.command import UserError

if TYPE_CHECKING:
    from src.evaluated import Evaluated
    from src.training.comparison import Difference


def shared(a: Evaluated, b: Evaluated) -> list[str]:
    """The clips that both have answered, in order. Raises `UserError` if there is none, or its class is disputed."""
    names = [name for name in a.answers if name in b.answers]
    if not names:
        raise UserError(f"{a.name} and {b.name} have no test clip in common: they cannot be compared")
    for name in names:
        classes = [side.answers[name]["actual"] for side in (a, b)]
        if classes[0] != classes[1]:
            raise UserError(f"{name} is {classes[0]} to {a.name} and {classes[1]} to {b.name}: they were split anew")
    return names


def differences(
    a: Evaluated, b: Evaluated, names: Sequence[str], *, bootstrap: int, seed: int
) -> tuple[Difference, dict[str, Difference]]:
    """Over all of the clips `names`, and over those of each class."""
    import numpy as np

    from src.training.comparison import compare

    hits = [np.array([side.answers[n]["actual"] == side.answers[n]["predicted"] for n in names]) for side in (a, b)]
    groups = np.array([a.answers[name]["group"] for name in names])
    classes = np.array([a.answers[name]["actual"] for name in names])

    def over(chosen: np.ndarray, times: int) -> Difference:
        return compare(hits[0][chosen], hits[1][chosen], groups[chosen], bootstrap=times, seed=seed)

    whole = over(np.ones(len(names), bool), bootstrap)
    # Of a class no interval is shown: a few resamplings do.
    return whole, {str(label): over(classes == label, 1) for label in np.unique(classes)}


def other_settings(a: Evaluated, b: Evaluated) -> list[tuple[str, str, str]]:
    """Each setting in which they differ, and its two values."""
    if a.settings is None or b.settings is None:
        return []
    keys = sorted(a.settings.keys() | b.settings.keys())
    values = [(key, *(side.settings.get(key, "–") for side in (a, b))) for key in keys]
    return [row for row in values if row[1] != row[2]]


def text(a: Evaluated, b: Evaluated, *, bootstrap: int, seed: int) -> str:
    """What is printed."""
    names = shared(a, b)
    whole, by_class = differences(a, b, names, bootstrap=bootstrap, seed=seed)
    groups = {a.answers[name]["group"] for name in names}
    lines = [f"A: {a.name}", f"B: {b.name}", f"{len(names):,} clips of {len(groups):,} groups answered by both"]
    lines += [
        f"note: {len(alone):,} clips answered by {side} alone are left out, e.g. {min(alone)}"
        for side, alone in (("A", a.answers.keys() - b.answers.keys()), ("B", b.answers.keys() - a.answers.keys()))
        if alone
    ]
    interval = f"{100 * whole.low:+.1f} – {100 * whole.high:+.1f}"
    cells = [f"{whole.a:.1%}", f"{whole.b:.1%}", f"{whole.points:+.1f} points", interval, f"{whole.p:.3f}"]
    lines += ["", *_table(["A right", "B right", "difference", "95 % interval", "p"], [cells])]
    if whole.turned and whole.least_p >= 0.05:
        lines.append(f"note: with {whole.turned} groups in which they differ, no p is below {whole.least_p:.3f}")
    return "\n".join([*lines, *_classes(by_class), *_settings(a, b)])


def _classes(by_class: dict[str, Difference]) -> list[str]:
    from src.training.comparison import holm

    adjusted = holm([each.p for each in by_class.values()])
    rows = sorted(
        ((name, each, p) for (name, each), p in zip(by_class.items(), adjusted, strict=True) if each.turned),
        key=lambda row: (-abs(row[1].points), row[0]),
    )
    if not rows:
        return ["", "no class in which they differ"]
    cells = [
        [name, str(e.clips), f"{e.a:.1%}", f"{e.b:.1%}", f"{e.points:+.1f} points", f"{p:.3f}"] for name, e, p in rows
    ]
    heads = ["class", "clips", "A right", "B right", "difference", f"p, Holm over {len(by_class)}"]
    return ["", *_table(heads, cells)]


def _settings(a: Evaluated, b: Evaluated) -> list[str]:
    unknown = [side.name for side in (a, b) if side.settings is None]
    if unknown:
        return ["", f"settings: not known of {' and '.join(unknown)}"]
    rows = other_settings(a, b)
    return ["", *(_table(["setting", "A", "B"], rows) if rows else ["no setting in which they differ"])]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("a", metavar="A", help="a run in MLflow, a revision, a file, a folder, or workspace")
    parser.add_argument("b", metavar="B", help="what it is compared with")
    arguments = parser.parse_args()
    settings = command.settings_of(arguments).evaluate
    from src import evaluated

    a, b = (evaluated.find(name) for name in (arguments.a, arguments.b))
    print(text(a, b, bootstrap=settings.bootstrap, seed=settings.seed))


if __name__ == "__main__":
    command.run(main)
