"""Figures of two, ten and a hundred and one classes: files that open, and nothing that overlaps or is cut off."""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from src.report import figures
from src.report.breakdown import Bin

SIZES = [2, 10, 101]


def names(count: int) -> list[str]:
    """Class names as long as the longest of UCF101."""
    return [f"RockClimbingInd{number:03}" for number in range(count)]


def counts(classes: int) -> np.ndarray:
    """Twenty videos a class, of which three are taken for the next one, and one for the first."""
    result = np.eye(classes, dtype=int) * 16
    for label in range(classes):
        result[label, (label + 1) % classes] += 3
        result[label, 0] += 1
    return result


def rows(classes: int) -> list[dict]:
    return [{"class": name, "videos": 20, "top1": n % 21 / 20} for n, name in enumerate(names(classes))]


def history(epochs: int) -> list[dict[str, float]]:
    return [
        {"epoch": e, "lr": 0.1, "train_loss": 2 / e, "train_top1": 1 - 1 / e, "val_loss": 3 / e, "val_top1": 0.5}
        for e in map(float, range(1, epochs + 1))
    ]


@pytest.fixture
def kept(monkeypatch):
    """The figures that were drawn, still open."""
    found, close = [], plt.close
    monkeypatch.setattr(plt, "close", found.append)
    yield found
    for figure in found:
        close(figure)


def pixels(path: Path) -> np.ndarray:
    """`(H, W)` grey levels of a PNG that a person could look at."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        grey = np.asarray(image.convert("L"))
    assert all(200 < side < 4000 for side in grey.shape)
    assert grey.std() > 10  # not blank
    border = np.concatenate([grey[:2].ravel(), grey[-2:].ravel(), grey[:, :2].ravel(), grey[:, -2:].ravel()])
    assert (border == 255).all()  # nothing is cut off
    return grey


def assert_apart(labels) -> None:
    """Tick labels along an axis do not overlap, for those who read the file at its own size."""
    assert all(label.get_fontsize() >= 7 for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    slanted = labels[0].get_rotation() not in (0, 90)  # then the boxes overlap, though the labels do not
    assert slanted or not any(first.overlaps(second) for first, second in pairwise(boxes))


@pytest.mark.parametrize("classes", SIZES)
def test_confusion_is_legible(tmp_path, kept, classes):
    figures.confusion(tmp_path / "a" / "confusion.png", counts(classes), names(classes), title="Test: 80.0% of videos")
    pixels(tmp_path / "a" / "confusion.png")
    axis = kept[0].axes[0]
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
        assert [label.get_text() for label in labels] == names(classes)
        assert_apart(labels)
    drawn = {tuple(map(int, text.get_position())): int(text.get_text()) for text in axis.texts}
    assert drawn == {(column, row): n for (row, column), n in np.ndenumerate(counts(classes)) if n}


def test_confusion_shows_shares_of_the_true_class(tmp_path, kept):
    figures.confusion(tmp_path / "c.png", np.array([[3, 1, 0], [0, 0, 0], [0, 8, 0]]), ["A", "B", "C"], title="")
    (image,) = kept[0].axes[0].images
    assert image.get_array().tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0, 1, 0]]
    assert image.get_clim() == (0, 1)


def test_one_video_in_forty_is_seen_in_the_confusion(tmp_path, kept):
    figures.confusion(tmp_path / "c.png", np.array([[39, 1], [0, 40]]), ["A", "B"], title="")
    (image,) = kept[0].axes[0].images
    one, none = (image.to_rgba(image.get_array())[row, column, :3] for row, column in ((0, 1), (1, 0)))
    assert np.abs(one - none).max() > 0.1


@pytest.mark.parametrize("classes", SIZES)
def test_per_class_is_legible_and_the_worst_comes_first(tmp_path, kept, classes):
    figures.per_class(tmp_path / "per_class.png", rows(classes), overall=0.9)
    pixels(tmp_path / "per_class.png")
    axis = kept[0].axes[0]
    assert_apart(axis.get_yticklabels())
    shown = sorted(axis.patches, key=lambda bar: -bar.get_y())  # from the top
    assert [bar.get_width() for bar in shown] == pytest.approx(sorted(100 * row["top1"] for row in rows(classes)))
    assert "all videos: 90.0%" in [text.get_text() for text in axis.texts]
    assert "1 of 20" in [text.get_text() for text in axis.texts]


@pytest.mark.parametrize("overall", [0.0, 1.0])
def test_the_line_for_all_videos_has_room_at_both_ends(tmp_path, overall):
    rows = [{"class": name, "videos": 4, "top1": overall} for name in ("Run", "Walk")]
    figures.per_class(tmp_path / "per_class.png", rows, overall=overall)
    pixels(tmp_path / "per_class.png")


@pytest.mark.parametrize(("epochs", "best"), [(1, 1), (2, 1), (25, 22), (150, 100)])
def test_curves_mark_the_epoch_that_was_kept(tmp_path, kept, epochs, best):
    figures.curves(tmp_path / "curves.png", history(epochs), best=best)
    pixels(tmp_path / "curves.png")
    loss, accuracy = kept[0].axes
    for axis, sides in ((loss, (2 / best, 3 / best)), (accuracy, (100 - 100 / best, 50))):
        train, val, line = axis.lines
        assert len(train.get_xdata()) == len(val.get_xdata()) == epochs
        assert list(line.get_xdata()) == [best, best]
        # Only the kept epoch has a dot, and with a single epoch there is at least this to be seen.
        assert train.get_markevery() == val.get_markevery() == [best - 1]
        assert [side.get_ydata()[best - 1] for side in (train, val)] == pytest.approx(sides)
        low, high = axis.get_xlim()
        assert low < 1
        assert high > epochs
        assert all(tick == int(tick) for tick in axis.get_xticks())


def test_the_legend_hides_no_curve(tmp_path, kept):
    figures.curves(tmp_path / "curves.png", history(25), best=3)
    (legend,) = kept[0].legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(axis.get_window_extent()) for axis in kept[0].axes)
    assert [text.get_text() for text in legend.get_texts()] == [
        "training, augmented clips",
        "validation",
        "kept: epoch 3",
    ]


@pytest.mark.parametrize(("key", "values"), [("loss", (2 / 3, 1)), ("top1", (100 - 100 / 3, 50))])
def test_one_curve_alone_is_that_of_both(tmp_path, kept, key, values):
    figures.curve(tmp_path / "curve.png", history(25), key=key, best=3)
    assert pixels(tmp_path / "curve.png").shape[1] < 700  # so that a phone need not shrink its letters to half
    train, val, _ = kept[0].axes[0].lines
    assert [side.get_ydata()[2] for side in (train, val)] == pytest.approx(values)


def test_reliability_has_a_dot_for_each_bin_and_the_diagonal(tmp_path, kept):
    calibrated = [Bin(3, 0.4, 0.0), Bin(96, 0.9, 0.75), Bin(1, 1.0, 1.0)]
    figures.reliability(tmp_path / "r.png", calibrated, [Bin(100, 0.5, 0.7)])
    pixels(tmp_path / "r.png")
    axis = kept[0].axes[0]
    assert [dots.get_offsets().tolist() for dots in axis.collections] == [[[50, 70]], [[40, 0], [90, 75], [100, 100]]]
    assert [text.get_text() for text in axis.texts] == ["3", "96", "1"]
    assert [list(data) for data in axis.lines[0].get_data()] == [[0, 100], [0, 100]]


def test_no_figure_is_left_open(tmp_path):
    before = plt.get_fignums()
    figures.curves(tmp_path / "curves.png", history(3), best=2)
    figures.confusion(tmp_path / "confusion.png", counts(2), names(2), title="")
    figures.per_class(tmp_path / "per_class.png", rows(2), overall=0.5)
    figures.curve(tmp_path / "curve.png", history(3), key="loss", best=2)
    figures.reliability(tmp_path / "reliability.png", [Bin(1, 0.5, 1.0)], [Bin(1, 0.4, 1.0)])
    assert plt.get_fignums() == before
