"""The registered model: requests with videos in, answers out. MLflow runs this file to load it: nothing is unpickled.

A request is a row with `video`, a file as base64, or `path`, below SERVE_FOLDER; the answer to it is what
`python -m src.predict --json` says. What cannot be answered is an HTTP 400 with the reason.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext


class VideoModel(PythonModel):
    """A network with its calibration. As many videos are answered at a time as there are cores; others wait."""

    def load_context(self, context: PythonModelContext) -> None:
        from pathlib import Path

        from src.model.checkpoint import Checkpoint
        from src.serving.intake import Limits
        from src.training.calibration import Calibration
        from src.training.predictor import Predictor

        config = context.model_config
        self.limits, self.parts = Limits(**config["serve"]), config["predict"]
        self.predictor = Predictor(
            Checkpoint.load(Path(context.artifacts["model"])),
            Calibration.load(Path(context.artifacts["calibration"])),
            views=1,
            crops=1,  # the calibration has its own
            device="auto",
        )
        self.turn = threading.BoundedSemaphore(os.cpu_count() or 1)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        if model_input.empty:
            raise MlflowException("there is no video in the request", error_code=INVALID_PARAMETER_VALUE)
        return [self._answer(row, number) for number, row in enumerate(model_input.to_dict("records"))]

    def _answer(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        from src.serving.intake import RequestError, frames_within, video_of
        from src.training import verdict
        from src.video.decode import UnreadableVideoError

        predictor, extract = self.predictor, self.predictor.extract
        try:
            with video_of(row, self.limits) as path, self.turn:
                frames = frames_within(path, self.limits, short_side=extract["short_side"], fps=extract["fps"])
                answers = list(predictor.answers(frames, **self.parts))
        except (RequestError, UnreadableVideoError) as error:
            raise MlflowException(f"video {number + 1}: {error}", error_code=INVALID_PARAMETER_VALUE) from None
        return verdict.of(answers, predictor.classes, predictor.calibration)


set_model(VideoModel())
