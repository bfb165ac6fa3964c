"""A recipe and a fold → a network trained on it, and its answers in a file: what is there is not done again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import files, paths, pretrained

if TYPE_CHECKING:
    from src.series.folds import Fold
    from src.settings import Params
    from src.training.start import Weights

Answers = dict[str, list[dict[str, Any]]]
"""`train` and `test`: one `{video, group, label, probabilities}` a video; `history`: one row an epoch."""


@dataclass(frozen=True)
class Run:
    """One training of `recipe`, whose settings are `params`, on the fold that is called `name`.

    `tested` is the side whose videos are answered, beside as many training videos: `test`, or `val`, for choosing
    settings without a look at test videos. Its answers come to lie in `results`.
    """

    params: Params
    fold: Fold
    classes: list[str]
    recipe: str
    name: str
    results: Path
    tested: str = "test"

    @cached_property
    def weights(self) -> Weights | None:
        """What the recipe starts from."""
        model = self.params.model
        return pretrained.kept(model.weights, variant=model.variant, depth=model.network()["depth"])

    @cached_property
    def identity(self) -> dict[str, str]:
        """Fingerprints: see `run.identify`."""
        from src.training import run

        return run.identify(self.params, self.fold.values(), classes=self.classes, weights=self.weights)

    @cached_property
    def key(self) -> str:
        """A fingerprint of all that decides the answers."""
        from src.training.state import fingerprint

        how = self.params.evaluate.model_dump(include={"views", "crops", "seed"})
        return fingerprint([self.identity, how, self.tested])

    @property
    def seed(self) -> int:
        return self.params.train.seed

    @property
    def file(self) -> Path:
        return self.results / f"{self.recipe}-{self.name}-seed{self.seed}-{self.key}.json"

    @property
    def done(self) -> bool:
        return self.file.exists()

    def answers(self) -> Answers:
        """Of a run that is done."""
        return json.loads(self.file.read_text())


def carry_out(run: Run, *, parent: str | None = None) -> None:
    """Train, answer, and write the answers; goes on where it was interrupted. `parent` is the series' spool.

    Raises `UserError` while another process does the same.
    """
    from src.tracking.recorder import recording
    from src.training.run import train_network
    from src.training.state import locked

    params, fold = run.params, run.fold
    tags = {"recipe": run.recipe, "fold": run.name} | run.identity
    # Which videos stand where is the fold's tag; the settings of `split` say it of data/splits alone.
    settings = params.in_force(
        exclude={"tune", "predict", "serve", "runtime"} | ({"split"} if run.name != "split" else set())
    )
    with locked(paths.STATE / "ablation" / run.key) as state:
        if run.done:  # by another process, meanwhile
            return
        with recording(spool=state.spool, settings=settings, tags=tags, parent=parent) as recorder:
            state.spool = recorder.spool
            trained = train_network(
                params,
                fold["train"],
                fold["val"],
                classes=run.classes,
                state=state,
                recorder=recorder,
                weights=run.weights,
            )
            answers = _answers(run, trained.best) | {"history": trained.history}
            named = {"train": "train", "test": run.tested}
            recorder.results({f"{name}.top1": top1(answers[side]) for side, name in named.items()})
            # Before MLflow is waited for: Ctrl-C meanwhile would have it all recorded once more.
            files.write_text(run.file, json.dumps(answers))
        state.discard()


def _answers(run: Run, checkpoint: Any) -> Answers:
    from src.training.answers import probabilities, sample

    settings, runtime = run.params.evaluate, run.params.runtime
    tested = run.fold[run.tested]
    answers: Answers = {}
    for side, videos in {"train": sample(run.fold["train"], len(tested), seed=settings.seed), "test": tested}.items():
        rows = probabilities(
            checkpoint,
            videos,
            views=settings.views,
            crops=settings.crops,
            device=runtime.device,
            workers=runtime.workers,
            title=side,
        )
        answers[side] = [
            {"video": video.name, "group": video.group, "label": video.label, "probabilities": row.round(5).tolist()}
            for video, row in zip(videos, rows, strict=True)
        ]
    return answers


def top1(rows: Sequence[dict[str, Any]]) -> float:
    """The share of rows whose most probable class is the label."""
    return sum(map(is_right, rows)) / len(rows)


def is_right(row: dict[str, Any]) -> bool:
    """Whether the most probable class is the label."""
    return row["probabilities"].index(max(row["probabilities"])) == row["label"]
