"""A video → what the page shows of it: HTML that grows while it is watched, and ends with Grad-CAM and the time."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from src.report import gradcam, page, player
from src.serving.intake import Limits, RequestError, frames_within
from src.training import verdict
from src.training.predict import to_device
from src.training.predictor import Answer, Predictor
from src.video.decode import UnreadableVideoError, declared

EVERY = 1.0  # seconds from one state of a long video to the next
LINES = 256  # pixels of a Grad-CAM video's side, at most

HUES = 137.5  # degrees from a class's colour to the next one's: the golden angle, so that few are alike


class Show:
    """One network, which several people may ask at a time; `parts` is the section `predict`."""

    def __init__(self, predictor: Predictor, limits: Limits, parts: Mapping[str, float]):
        self.predictor, self.limits, self.parts = predictor, limits, parts
        # Grad-CAM listens to the layers, which must not meanwhile answer somebody else.
        self._listened = copy.deepcopy(predictor.network).eval()
        self._turn = threading.Lock()

    def of(self, path: Path) -> Iterator[str]:
        """The page's part about a video, again and again while it is watched; one that cannot be gets a sentence."""
        try:
            yield from self._watched(path)
        except (UnreadableVideoError, RequestError) as error:
            yield page.render("answer.html", sorry=str(error), name=path.name)

    def _watched(self, path: Path) -> Iterator[str]:
        predictor, begun = self.predictor, time.perf_counter()
        length, shown = declared(path).seconds or None, begun
        scale = {"short_side": predictor.extract["short_side"], "fps": predictor.extract["fps"]}
        frames = frames_within(path, self.limits, **scale)
        answers: list[Answer] = []
        surest: tuple[Answer, Tensor] | None = None
        for answer, clip in predictor.watch(frames, **self.parts):
            answers.append(answer)
            if surest is None or answer.probabilities.max() > surest[0].probabilities.max():
                surest = answer, clip
            if time.perf_counter() - shown > EVERY:
                yield self._state(path, answers, watching=True, length=length)
                shown = time.perf_counter()
        looked = self._looked(*surest)
        yield self._state(path, answers, looked=looked, taken=time.perf_counter() - begun)

    def _state(self, path: Path, answers: list[Answer], **of: Any) -> str:
        classes = self.predictor.classes
        whole = verdict.of(answers, classes, self.predictor.calibration)
        colours = {name: f"hsl({HUES * label % 360:.0f} 55% 50%)" for label, name in enumerate(classes)}
        return page.render(
            "answer.html",
            **{"sorry": None, "watching": False, "length": None, "taken": None, "looked": None} | of,
            name=path.name,
            whole=whole,
            colours=colours,
            timeline=timeline(whole.get("parts", [])),
        )

    def _looked(self, answer: Answer, clip: Tensor) -> dict[str, Any]:
        """What the network was shown of a part, `(3, T, H, W)` uint8, and where it looked for the part's class."""
        best = int(answer.probabilities.argmax())
        with self._turn:
            cams = gradcam.maps(self._listened, to_device(clip[None], self.predictor.device)[0], label=best)
        frames = list(clip.permute(1, 2, 3, 0).numpy())
        videos = {"what it was shown": frames}
        for pathway, cam in cams.items():
            videos[f"{pathway} pathway"] = [gradcam.overlay(*each) for each in zip(frames, cam, strict=True)]
        sampling = self.predictor.look["sampling"]
        fps = self.predictor.extract["fps"] / max(1, sampling.stride)
        if sampling.sampling == "uniform":
            fps = len(frames) / (answer.end - answer.start)
        return {
            "class": self.predictor.classes[best],
            "from": verdict.clock(answer.start),
            "to": verdict.clock(answer.end),
            "videos": {name: player.clip(video, fps=fps, short_side=LINES) for name, video in videos.items()},
        }


def timeline(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts with the same answer in a row as one, cut where two meet: in the middle of the time that both saw."""
    found = verdict.runs(parts)
    cuts = [(before["end"] + after["start"]) / 2 for before, after in pairwise(found)]
    moments = zip([0.0, *cuts], [*cuts, *(run["end"] for run in found[-1:])], strict=False)
    cut = [run | {"start": start, "end": end} for run, (start, end) in zip(found, moments, strict=False)]
    return [run | {"line": verdict.line(run)} for run in cut]
