"""What names an evaluation → its answers to test clips, and the settings behind them.

RUN or mlflow:RUN    a run in MLflow that was evaluated, or an evaluation's own run
FILE or FOLDER       a predictions.csv, or the folder that it is in
workspace            what is in artifacts/ now
REVISION             a git commit, branch or tag, or a `dvc exp`, whose results DVC's cache holds
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from src import params, paths, tables
from src.command import UserError

if TYPE_CHECKING:
    from src.video.manifest import Video

COLUMNS = ["video", "group", "actual", "predicted"]
TABLE = "predictions.csv"
IDLE = ("runtime.", "predict.", "serve.", "tune.")
"""Settings that no evaluation depends on."""


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: its answers by the video's name, and its settings as text, None where they are not known."""

    name: str
    answers: Mapping[str, dict[str, str]]
    settings: Mapping[str, str] | None


def answered(videos: Iterable[Video], guesses: Iterable[int], classes: Sequence[str]) -> list[dict[str, str]]:
    """Rows of `COLUMNS`: what was answered to each video."""
    return [
        dict(zip(COLUMNS, (video.name, video.group, classes[video.label], classes[guess]), strict=True))
        for video, guess in zip(videos, guesses, strict=True)
    ]


def find(name: str) -> Evaluated:
    """The evaluation. Raises `UserError` if there is none of that name."""
    path = Path(name).expanduser()
    if name == "workspace":
        settings = _settings(yaml.safe_load(paths.PARAMS.read_text()))
        return Evaluated(name, _answers(paths.EVALUATION / TABLE), settings)
    if path.exists():
        return Evaluated(name, _answers(path / TABLE if path.is_dir() else path), None)
    if name.startswith("mlflow:") or re.fullmatch("[0-9a-f]{16}|[0-9a-f]{32}", name):
        return _of_run(name)
    return _of_revision(name)


def _of_run(name: str) -> Evaluated:
    from src.tracking import store

    run = name.removeprefix("mlflow:")
    file = store.artifact(run, f"evaluation/{TABLE}")
    if file is None:
        raise UserError(f"{name}: this run has no evaluation/{TABLE}; `python -m src.evaluate --run {run}` makes one")
    settings = store.settings(run)
    return Evaluated(name, _answers(file), {key: value for key, value in settings.items() if _matters(key)})


def _of_revision(name: str) -> Evaluated:
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    def read(path: Path) -> str:
        return dvc.api.read(path.relative_to(paths.ROOT).as_posix(), repo=str(paths.MAIN), rev=name)

    try:
        table, settings = read(paths.EVALUATION / TABLE), read(paths.PARAMS)
    except (DvcException, SCMError, OSError) as error:
        raise UserError(
            f"{name}: no file, no run's id, and no revision whose results DVC has: {error}\n"
            "`dvc repro` there and commit, or `dvc pull`; mlflow:RUN names a run"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / TABLE
        copy.write_text(table, encoding="utf-8")
        return Evaluated(name, _answers(copy), _settings(yaml.safe_load(settings)))


def _answers(file: Path) -> dict[str, dict[str, str]]:
    return {row["video"]: row for row in tables.read(file, columns=COLUMNS)}


def _settings(values: dict[str, dict[str, Any]]) -> dict[str, str]:
    """As MLflow has them: a variant's numbers in place of null. Those of another version's file stay as they are."""
    try:
        values = params.check(values, source="params.yaml").in_force()
    except UserError:
        values = {name: section for name, section in values.items() if isinstance(section, dict)}
    flat = {f"{section}.{key}": str(value) for section, keys in values.items() for key, value in keys.items()}
    return {key: value for key, value in flat.items() if _matters(key)}


def _matters(key: str) -> bool:
    return not key.startswith(IDLE)
