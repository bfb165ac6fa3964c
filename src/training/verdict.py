"""Answers → what is said of a video: an answer or "uncertain", the most probable classes, and a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.training.calibration import NO_ANSWER, Calibration
from src.training.predictor import Answer

TOP = 5


def of(answers: Sequence[Answer], classes: Sequence[str], calibration: Calibration | None) -> dict[str, Any]:
    """What is said of a video by the answers to its parts; of several, the whole is their mean, and `parts` lists them.

    Probabilities are rounded to seven decimals, which is what float32 holds.
    """
    mean = np.mean([answer.probabilities for answer in answers], axis=0)
    whole = said(mean, classes, calibration) | {"seconds": round(answers[-1].end, 3)}
    return whole | ({"parts": [part(answer, classes, calibration) for answer in answers]} if len(answers) > 1 else {})


def part(answer: Answer, classes: Sequence[str], calibration: Calibration | None) -> dict[str, Any]:
    """What is said of a part of a video, from `start` to `end` in seconds."""
    moments = {"start": round(answer.start, 3), "end": round(answer.end, 3)}
    return moments | said(answer.probabilities, classes, calibration)


def said(probabilities: np.ndarray, classes: Sequence[str], calibration: Calibration | None) -> dict[str, Any]:
    """`answer`, a class or "uncertain", and `top`, the most probable classes with their probabilities."""
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    sure = calibration is None or bool(calibration.sure(float(probabilities[order[0]])))
    top = [{"class": classes[label], "probability": round(float(probabilities[label]), 7)} for label in order]
    return {"answer": classes[order[0]] if sure else NO_ANSWER, "top": top}


def table(whole: dict[str, Any]) -> str:
    """What is said of a video, for people: the most probable classes, and below them the timeline, if there is one."""
    rows = [f"  {each['class']:<{_width(whole)}}  {each['probability']:>6.1%}" for each in whole["top"]]
    lines = [f"{whole['video']}: {whole['answer']}", *rows]
    return "\n".join(lines + [f"  {line(each)}" for each in runs(whole.get("parts", []))])


def line(part: dict[str, Any]) -> str:
    """What is said of a part: from when to when, the answer, and the probability of the most probable class."""
    best = part["top"][0]
    guess = f"{best['class']} " if part["answer"] == NO_ANSWER else ""
    return f"{clock(part['start'])} – {clock(part['end'])}  {part['answer']}  ({guess}{best['probability']:.1%})"


def at(parts: Sequence[dict[str, Any]], moment: float) -> dict[str, Any]:
    """The part whose middle is nearest to a moment, in seconds."""
    return min(parts, key=lambda each: abs(each["start"] + each["end"] - 2 * moment))


def runs(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts in a row with the same answer as one, with the highest probability among them."""
    found: list[dict[str, Any]] = []
    for each in parts:
        if found and (found[-1]["answer"], found[-1]["top"][0]["class"]) == (each["answer"], each["top"][0]["class"]):
            best = max(found[-1], each, key=lambda one: one["top"][0]["probability"])
            found[-1] = best | {"start": found[-1]["start"], "end": each["end"]}
        else:
            found.append(each)
    return found


def _width(whole: dict[str, Any]) -> int:
    return max(len(each["class"]) for each in whole["top"])


def clock(seconds: float) -> str:
    """`1:02:03.5`"""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{rest:04.1f}"
