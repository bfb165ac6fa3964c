"""A checkpoint and its calibration → the folder of an MLflow model, with all that it needs to answer anywhere.

`MLmodel` says what goes in and comes out, the labels and the preprocessing; the code travels with it, so that a model
answers as it did on the day it was made.
"""

from __future__ import annotations

import base64
import logging
import os
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from src import paths, tables
from src.evaluated import COLUMNS, answered
from src.model.checkpoint import Checkpoint
from src.serving import champion
from src.settings import Params
from src.tracking import registry
from src.tracking.recorder import Recorder
from src.training.state import fingerprint
from src.video import store
from src.video.manifest import Video
from src.video.transforms import MEAN, STD

NEEDED = ("av", "mlflow", "numpy", "pandas", "pydantic", "pyyaml", "simplejpeg", "torch", "torchvision", "tqdm")
"""What the model's code imports, pinned to what made it."""


def package(
    folder: Path, *, model: Path, calibration: Path, validation: Path, checkpoint: Checkpoint, params: Params
) -> None:
    """Write the model's folder, which must not be there yet. `checkpoint` is what the file `model` holds."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, Object, Property, Schema

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    extract = checkpoint.extract
    looks = {key: checkpoint.model[key] for key in ("frames", "stride", "sampling", "pad", "crop")}
    served = params.serve.model_dump(exclude={"name"})
    asked = Schema([ColSpec("string", name, required=False) for name in ("video", "path")])
    top = Array(Object([Property("class", "string"), Property("probability", "double")]))
    moments = [Property(name, "double") for name in ("start", "end")]
    parts = Array(Object([*moments, Property("answer", "string"), Property("top", top)]))
    whole = [ColSpec("string", "answer"), ColSpec(top, "top"), ColSpec("double", "seconds")]
    told = Schema([*whole, ColSpec(parts, "parts", required=False)])
    mlflow.pyfunc.save_model(
        path=str(folder),
        python_model=str(paths.ROOT / "src" / "serving" / "pyfunc.py"),
        code_paths=[str(paths.ROOT / "src")],
        artifacts={"model": str(model), "calibration": str(calibration), "validation": str(validation)},
        signature=ModelSignature(inputs=asked, outputs=told),
        input_example=pd.DataFrame({"video": [example(extract["fps"])]}),
        pip_requirements=[f"{name}=={metadata.version(name)}" for name in NEEDED],
        model_config={"serve": served, "predict": params.predict.model_dump()},
        metadata={"labels": checkpoint.classes, "preprocessing": extract | looks | {"mean": MEAN, "std": STD}},
    )


def example(fps: float) -> str:
    """A second of a square that crosses the picture, as base64: a request to try a server with."""
    frames = []
    for number in range(round(fps)):
        frame = np.full((72, 96, 3), 60, np.uint8)
        left = round(72 * number / fps)
        frame[24:48, left : left + 24] = 220
        frames.append(frame)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "example.avi"
        store.write(file, frames, fps=fps, quality=80)
        return base64.b64encode(file.read_bytes()).decode()


def submit(
    recorder: Recorder,
    checkpoint: Checkpoint,
    calibration: Path,
    videos: Sequence[Video],
    answers: np.ndarray,
    *,
    params: Params,
) -> None:
    """Have artifacts/model.pt, which `checkpoint` is, registered with its calibration, as `serve` says.

    `answers`, `(N, classes)`, are those to the validation `videos`: by these it is compared with the champion.
    """
    settings = {"serve": params.serve.model_dump(), "predict": params.predict.model_dump()}
    code = [path.read_text() for path in sorted((paths.ROOT / "src").rglob("*.py"))]
    content = fingerprint([checkpoint.fingerprint(), calibration.read_text(), settings, code])
    with tempfile.TemporaryDirectory() as folder:
        validation = Path(folder) / champion.FILE
        tables.write(validation, answered(videos, answers.argmax(1), checkpoint.classes), columns=COLUMNS)
        parts = {"model": paths.MODEL, "calibration": calibration, "validation": validation}
        recorder.model(
            lambda target: package(target, **parts, checkpoint=checkpoint, params=params),
            name=params.serve.name,
            tags={registry.CONTENT: content},
        )
