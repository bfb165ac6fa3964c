"""Any videos → what happens in them: the five most probable classes of each, or a timeline.

    python -m src.predict clip.mp4 'holiday/*.mov' folder/
    find / -name '*.mp4' | python -m src.predict --json -
    python -m src.predict match.mp4 --annotate labelled.mp4
    python -m src.predict --camera 0
    python -m src.predict clip.mp4 --model mlflow:RUN_ID        or models:/slowfast@champion

A video is answered as evaluation answers it, with calibrated probabilities; below the confidence that was
chosen on validation videos (evaluate.certain) the answer is "uncertain". One longer than predict.long seconds is
answered in parts. What cannot be read is named on stderr with the reason, and the exit status is then 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import command, paths
from src.command import UserError

if TYPE_CHECKING:
    from src.settings import Params, Predict
    from src.training.predictor import Predictor
    from src.video.decode import Source


def one(predictor: Predictor, path: Path, settings: Predict, source: Source) -> dict[str, Any]:
    """What is said of a video; `source` is filled in.

    Raises `UnreadableVideoError` or `OSError` if it cannot be read.
    """
    from tqdm import tqdm

    from src.training import verdict
    from src.video.decode import read_frames

    extract = predictor.extract
    frames = read_frames(path, short_side=extract["short_side"], fps=extract["fps"], source=source)
    # Only of what takes long: of a short clip it would flash up and go.
    bar = tqdm(frames, desc=path.name, unit="frame", delay=2, leave=False, disable=None)
    answers = list(predictor.answers(bar, **settings.model_dump()))
    return {"video": str(path)} | verdict.of(answers, predictor.classes, predictor.calibration)


def annotate(target: Path, path: Path, whole: dict[str, Any], source: Source) -> None:
    """Write the video at `path` to `target` with what was said of each moment. `source` is what `one` has filled in."""
    from tqdm import tqdm

    from src.report import annotate as drawing
    from src.training import verdict
    from src.training.calibration import NO_ANSWER
    from src.video.decode import read_frames

    parts = whole.get("parts") or [whole | {"start": 0.0, "end": whole["seconds"]}]

    def label(moment: float) -> tuple[str, float, bool]:
        part = verdict.at(parts, moment)
        best, certain = part["top"][0], part["answer"] != NO_ANSWER
        return best["class"] if certain else f"{NO_ANSWER} ({best['class']}?)", best["probability"], certain

    fps = min(drawing.MOST_FPS, source.frames / source.seconds)
    frames = read_frames(path, short_side=min(drawing.LINES, source.width, source.height), fps=fps)
    bar = tqdm(frames, desc=target.name, unit="frame", total=round(source.seconds * fps), delay=2, disable=None)
    drawing.write(target, bar, fps=fps, label=label)


def answer_all(
    predictor: Predictor, videos: list[str], settings: Predict, *, as_json: bool, target: Path | None
) -> int:
    """Print what is said of each video, and name on stderr what cannot be read; returns how many those were."""
    from src.training import verdict
    from src.video import listing
    from src.video.decode import Source, UnreadableVideoError

    failed = 0
    for path in listing.videos(videos, stdin=sys.stdin):
        source = Source()
        try:
            whole = one(predictor, path, settings, source)
        except (UnreadableVideoError, OSError) as error:
            print(f"error: {path}: {_reason(error)}", file=sys.stderr)
            failed += 1
            continue
        print(json.dumps(whole, ensure_ascii=False) if as_json else verdict.table(whole), flush=True)
        if target:
            try:
                annotate(target, path, whole, source)
            except (UnreadableVideoError, OSError) as error:
                raise UserError(f"--annotate {target}: {_reason(error)}") from None
    return failed


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def watch(predictor: Predictor, camera: str, settings: Predict, *, as_json: bool) -> None:
    """Print what a camera sees, every `predict.hop` seconds, until it ends or Ctrl-C."""
    from src.training import verdict
    from src.video.decode import read_camera

    extract = predictor.extract
    frames = read_camera(camera, short_side=extract["short_side"], fps=extract["fps"])
    parts = settings.model_dump() | {"long": settings.window}
    for answer in predictor.answers(frames, **parts):
        said = verdict.part(answer, predictor.classes, predictor.calibration)
        print(json.dumps(said, ensure_ascii=False) if as_json else verdict.line(said), flush=True)


def load(model: str, params: Params) -> Predictor:
    """The predictor that `--model` names; a calibration's own views come before those of `evaluate`."""
    from src import trained
    from src.training.predictor import Predictor

    checkpoint, calibration = trained.find(model)
    views, crops = params.evaluate.views, params.evaluate.crops
    if calibration and (calibration.views, calibration.crops) != (views, crops):
        own = f"views {calibration.views} and crops {calibration.crops}"
        print(
            f"note: the model was calibrated with {own}, and looks so; evaluate has {views} and {crops}",
            file=sys.stderr,
        )
    return Predictor(checkpoint, calibration, views=views, crops=crops, device=params.runtime.device)


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("video", nargs="*", help="a file, a folder, a pattern in quotes, or - for a list on stdin")
    parser.add_argument(
        "--model",
        default=str(paths.MODEL),
        metavar="MODEL",
        help="a checkpoint, mlflow:RUN or models:/NAME@ALIAS (default: artifacts/model.pt)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a video, each on a line of its own")
    parser.add_argument(
        "--annotate", type=Path, metavar="OUT.mp4", help="write the video, without sound, with its label"
    )
    parser.add_argument("--camera", metavar="N", help="watch camera N, or a stream's address, instead of files")
    arguments = parser.parse_args()
    if bool(arguments.video) == (arguments.camera is not None):
        parser.error("name videos, or a camera with --camera")
    if arguments.annotate and (arguments.camera or len(arguments.video) > 1 or not Path(arguments.video[0]).is_file()):
        parser.error("--annotate is for one video file")
    if arguments.annotate and arguments.annotate.exists() and arguments.annotate.samefile(arguments.video[0]):
        parser.error("--annotate would write over the video itself; name another file")
    params = command.settings_of(arguments)
    predictor = load(arguments.model, params)
    try:
        if arguments.camera is not None:
            watch(predictor, arguments.camera, params.predict, as_json=arguments.json)
            return
        options = {"as_json": arguments.json, "target": arguments.annotate}
        if failed := answer_all(predictor, arguments.video, params.predict, **options):
            raise UserError(f"{failed} {'video' if failed == 1 else 'videos'} could not be answered")
    except KeyboardInterrupt:
        sys.exit(None if arguments.camera is not None else "interrupted: what is printed was answered")


if __name__ == "__main__":
    command.run(main)
