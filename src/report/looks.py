"""Test videos and their answers → what a page shows of single ones: thumbnails that play, and where a network looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from src.model.checkpoint import Checkpoint
from src.report import gradcam, page, player
from src.report.breakdown import most_certain
from src.training.clips import validation_views
from src.training.predict import to_device
from src.video import sampling, store
from src.video.manifest import Video

THUMBNAILS = 12
SECONDS = 8.0  # that a thumbnail plays at most
LINES = 144  # of a thumbnail, at most

LOOKS = 3  # of right answers, and of wrong ones
MOMENTS = 4  # of a clip that are shown
CELL = (112, 160)  # pixels of a picture among them: height and width


@dataclass(frozen=True)
class Answer:
    """A test video, its class, what was answered, and with which confidence."""

    video: Video
    actual: str
    predicted: str
    confidence: float

    @property
    def right(self) -> bool:
        return self.actual == self.predicted


@dataclass(frozen=True)
class Thumbnail:
    """An answer, and its video to play."""

    answer: Answer
    clip: player.Clip


@dataclass(frozen=True)
class Look:
    """An answer, and a picture whose rows are the frames of a clip and what each of `pathways` looked at."""

    answer: Answer
    pathways: Sequence[str]
    picture: page.Picture


def answers_of(videos: Sequence[Video], probabilities: np.ndarray, classes: Sequence[str]) -> list[Answer]:
    """One answer a video, of `(N, classes)` probabilities."""
    return [
        Answer(video, classes[video.label], classes[row.argmax()], float(row.max()))
        for video, row in zip(videos, probabilities, strict=True)
    ]


def thumbnails(answers: Sequence[Answer], *, fps: float) -> list[Thumbnail]:
    """The answers that are wrong with the highest confidence, as videos from the frame store at its `fps`."""
    confidence = np.array([answer.confidence for answer in answers])
    chosen = most_certain(confidence, np.array([not answer.right for answer in answers]), most=THUMBNAILS)
    found = []
    for answer in tqdm([answers[index] for index in chosen], desc="thumbnails", unit="video", disable=None):
        frames = store.read(answer.video.file, range(min(answer.video.frames, max(1, round(SECONDS * fps)))))
        found.append(Thumbnail(answer, player.clip(frames, fps=fps, short_side=LINES)))
    return found


def looks(checkpoint: Checkpoint, answers: Sequence[Answer]) -> list[Look]:
    """Grad-CAM, for what was answered, of the clip in the middle of the surest right and wrong answers.

    Of one predicted class at most one of each, so that they differ. On the CPU in float32: they are few.
    """
    network = checkpoint.network().eval()
    found = []
    for answer in tqdm([*_surest(answers, right=True), *_surest(answers, right=False)], desc="Grad-CAM", disable=None):
        clip = validation_views([answer.video], model=checkpoint.model)[0][0]
        cams = gradcam.maps(network, to_device(clip[None], torch.device("cpu"))[0], label=_label(checkpoint, answer))
        moments = sampling.even_starts(MOMENTS, frames=1, stride=1, available=len(clip[0])).tolist()
        frames = [clip[:, moment].permute(1, 2, 0).numpy() for moment in moments]
        rows = [
            frames,
            *([gradcam.overlay(f, cam[m]) for f, m in zip(frames, moments, strict=True)] for cam in cams.values()),
        ]
        found.append(Look(answer, list(cams), page.contact_sheet([np.stack(row) for row in rows], cell=CELL)))
    return found


def _label(checkpoint: Checkpoint, answer: Answer) -> int:
    return checkpoint.classes.index(answer.predicted)


def _surest(answers: Sequence[Answer], *, right: bool) -> list[Answer]:
    order = sorted((each for each in answers if each.right == right), key=lambda each: -each.confidence)
    firsts = {answer.predicted: answer for answer in reversed(order)}
    return sorted(firsts.values(), key=lambda each: -each.confidence)[:LOOKS]
