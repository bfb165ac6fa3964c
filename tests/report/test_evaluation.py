"""Answers → the page on them: what it says, with few classes and with a hundred and one, and that names stay text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src.evaluate import headline
from src.report import evaluation, looks, player
from src.report.looks import Answer, Look, Thumbnail
from src.report.page import Picture
from src.training.calibration import Calibration
from src.video import store
from src.video.manifest import Video
from tests.test_data_report import checked
from tests.video import clips

EVIL = "<script>alert('1')</script>"


def video(number: int, *, label: int = 0, group: str = "g1", file: Path = Path("none.avi"), frames: int = 25) -> Video:
    return Video(f"v{number:03}.mp4", file, label, group, frames, "")


def certain(labels: list[int], *, classes: int, of: float = 0.9) -> np.ndarray:
    """`(N, 2, classes)` answers: in both views the label given, with probability `of`."""
    answers = np.full((len(labels), classes), (1 - of) / (classes - 1))
    answers[np.arange(len(labels)), labels] = of
    return np.stack([answers, answers], axis=1)


def page(folder: Path, videos: list[Video], views: np.ndarray, classes: list[str], *, listed: int = 0, **more) -> str:
    """The page on `views`, the training side being as good as the test side."""
    answers = views.mean(1)
    for name in ("confusion", "reliability"):
        (folder / f"{name}.png").write_bytes(b"a picture")
    calibration = more.pop("calibration", Calibration(0.8, 0.85, 0.95, 2, 1, 60, ""))
    sampling = {"bootstrap": 100, "seed": 0}
    side = headline(answers, videos, calibration=calibration, listed=listed or len(videos), **sampling)
    result = {"test": side, "train": side, "gap": 0.0, "gap_low": -0.1, "gap_high": 0.1}
    return evaluation.html(
        result,
        videos,
        views,
        calibration=calibration,
        net="SlowFast R18",
        origin="Epoch 3.",
        classes=classes,
        fps=12.5,
        **sampling,
        figures=evaluation.Figures.of(folder),
        **{"thumbnails": [], "looks": []} | more,
    )


def test_it_says_how_good_the_model_is_and_where_it_is_wrong(tmp_path):
    videos = [video(number, label=number // 4, group=f"g{number % 2}") for number in range(8)]
    found = checked(page(tmp_path, videos, certain([0, 0, 0, 1, 1, 1, 1, 1], classes=2), ["Run", "Walk"]))
    assert "87.5 % of 8 test videos are answered rightly: 0.0 points less than of training videos" in found.text
    assert "SlowFast R18. Epoch 3." in found.text
    assert "note only 2 groups tested: the intervals say little of another one g0, g1" in found.text
    assert "Run 3 of 4 Walk 4 of 4" in found.text  # the worst class first
    assert "Run Walk 1 of 4" in found.text  # a video of Run was taken for Walk
    assert "2.0 s 8 87.5 %" in found.text
    assert "1 87.5 % 2 87.5 %" in found.text  # with one view and with two
    assert "temperature 0.80, fitted on 60 validation videos" in found.text
    assert "From a confidence of 85.0 % on, 95 % of the answers to validation videos are right." in found.text
    assert "training 100.0 % 87.5 % test 100.0 % 87.5 %" in found.text
    assert "No test video was answered wrongly." in found.text  # as no thumbnail was handed over
    assert [each["id"] for each in found.all("section")] == [
        "classes",
        "confusion",
        "certainty",
        "parts",
        "wrong",
        "looks",
    ]


def test_what_could_not_be_read_is_a_problem(tmp_path):
    videos = [video(number, label=number % 2, group=f"g{number}") for number in range(8)]
    found = checked(page(tmp_path, videos, certain([0, 1] * 4, classes=2), ["Run", "Walk"], listed=10))
    assert "problem 2 of 10 listed test videos could not be read" in found.text
    assert "groups tested" not in found.text


def test_where_no_answer_is_certain_the_page_says_so(tmp_path):
    none = Calibration(1.0, None, 0.95, 2, 1, 60, "")
    found = checked(page(tmp_path, [video(0)], certain([0], classes=2), ["Run", "Walk"], calibration=none))
    assert "no confidence was high enough for 95 % of right answers: every answer counts as uncertain." in found.text


def test_names_are_text_and_never_markup(tmp_path):
    evil = Answer(Video(f"{EVIL}.mp4", Path(), 0, "g", 9, ""), f"A{EVIL}", f"B{EVIL}", 0.99)
    shown = {
        "thumbnails": [Thumbnail(evil, player.clip(clips.numbered(2), fps=12.5, short_side=48))],
        "looks": [Look(evil, ["slow"], Picture(b"", 10, 10))],
    }
    found = checked(page(tmp_path, [video(0)], certain([1], classes=2), [f"A{EVIL}", f"B{EVIL}"], **shown))
    assert found.text.count(EVIL) > 7


def test_a_hundred_and_one_classes_are_folded_away_behind_the_worst_ten(tmp_path):
    names = [f"RockClimbingIndoor{label:03}" for label in range(101)]
    videos = [video(number, label=number % 101, group=f"g{number % 7}") for number in range(303)]
    text = page(tmp_path, videos, certain([max(0, n % 101 - 1) for n in range(303)], classes=101), names)
    found = checked(text)
    assert "The worst 10 of 101" in found.text
    assert found.text.count(names[50]) == found.text.count(names[100]) == 1  # only in the list of all
    assert found.text.count(names[1]) == 4  # in both lists, and in two pairs
    assert len(text) < 200_000


@pytest.fixture
def stored(tmp_path) -> list[Video]:
    """Videos of 20 frames, as the frame store has them."""
    found = []
    for number in range(16):
        file = tmp_path / f"{number}.avi"
        store.write(file, clips.numbered(20), fps=12.5, quality=95)
        found.append(video(number, label=number % 2, file=file, frames=20))
    return found


def test_thumbnails_are_of_the_wrong_answers_the_surest_first(stored):
    sure = np.linspace(0.55, 0.95, 16)
    answers = [
        Answer(each, "A", "B" if number != 15 else "A", confidence)
        for number, (each, confidence) in enumerate(zip(stored, sure, strict=True))
    ]
    found = looks.thumbnails(answers, fps=12.5)
    assert [thumbnail.answer.video.name for thumbnail in found] == [f"v{n:03}.mp4" for n in range(14, 2, -1)]
    assert all((thumbnail.clip.height, thumbnail.clip.width) == (48, 64) for thumbnail in found)


def test_answers_are_the_most_probable_class(stored):
    first, second = looks.answers_of(stored[:2], np.array([[0.9, 0.1], [0.8, 0.2]]), ["Run", "Walk"])
    assert (first.predicted, first.confidence, first.right) == ("Run", 0.9, True)
    assert (second.actual, second.predicted, second.right) == ("Walk", "Run", False)
