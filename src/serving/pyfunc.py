"""The registered model: requests with videos in, answers out. MLflow runs this file to load it: nothing is unpickled.

A request is a row with `video`, a file as base64, or `path`, below SERVE_FOLDER; the answer to it is what
`python -m src.predict --json` says. What cannot be answered is an HTTP 400 with the reason; 503 says that too
many are before it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from mlflow.pyfunc import PythonModel, PythonModelContext

logger = logging.getLogger(__name__)


class VideoModel(PythonModel):
    """A network with its calibration. As many videos are answered at a time as there are cores; others wait."""

    def load_context(self, context: PythonModelContext) -> None:
        from pathlib import Path

        from src.model.checkpoint import Checkpoint
        from src.parallel import cores
        from src.serving.intake import FOLDER, Limits
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
        self.turn = threading.BoundedSemaphore(1 if self.predictor.device.type == "cuda" else cores())
        folder = os.environ.get(FOLDER)
        if folder and not Path(folder).is_dir():
            raise MlflowException(f"{FOLDER}: {folder} is no folder", error_code=INVALID_PARAMETER_VALUE)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        from src.serving.intake import RequestError
        from src.video.decode import UnreadableVideoError

        if model_input.empty:
            raise MlflowException("there is no video in the request", error_code=INVALID_PARAMETER_VALUE)
        until, answers = time.monotonic() + self.limits.patience, []
        for number, row in enumerate(model_input.to_dict("records"), start=1):
            try:
                answers.append(self._answer(row, until))
            except (RequestError, UnreadableVideoError) as error:
                raise MlflowException(f"video {number}: {error}", error_code=INVALID_PARAMETER_VALUE) from None
            except MlflowException:
                raise
            except Exception:  # not the video's fault; MLflow would answer with a traceback, and blame the request
                logger.exception("video %d", number)
                raise MlflowException("the server failed; its log says why", error_code=INTERNAL_ERROR) from None
        return answers

    def _answer(self, row: dict[str, Any], until: float) -> dict[str, Any]:
        from src.serving.intake import frames_within, video_of
        from src.training import verdict

        predictor, extract = self.predictor, self.predictor.extract
        with video_of(row, self.limits) as path:
            if not self.turn.acquire(timeout=max(0.0, until - time.monotonic())):
                raise MlflowException("too many videos at a time: try again", error_code=TEMPORARILY_UNAVAILABLE)
            try:
                scale = {"short_side": extract["short_side"], "fps": extract["fps"]}
                answers = list(predictor.answers(frames_within(path, self.limits, until=until, **scale), **self.parts))
            finally:
                self.turn.release()
        return verdict.of(answers, predictor.classes, predictor.calibration)


set_model(VideoModel())
