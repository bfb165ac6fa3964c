"""A label and a bar in a video: where, how long, and when."""

import av
import numpy as np
import pytest

from src.report import annotate
from tests.video import clips


def label(moment: float) -> tuple[str, float, bool]:
    return ("Run", 0.75, True) if moment < 0.4 else ("uncertain (Walk?)", 0.5, False)


def grey(count: int, *, height: int = 120, width: int = 160) -> list[np.ndarray]:
    return [np.full((height, width, 3), 100, np.uint8)] * count


def test_the_bar_is_as_long_as_the_probability_and_has_the_colour_of_the_moment():
    frames = list(annotate.drawn(grey(10), fps=10, label=label))
    assert frames[0][-1, :120].tolist() == [list(annotate.SURE)] * 120
    assert (frames[0][-1, 122:].max(1) < 100).all()  # beyond it, the ground is darkened
    assert frames[4][-1, :80].tolist() == [list(annotate.UNSURE)] * 80
    assert (frames[0][:100] == 100).all()  # the picture is left alone
    assert frames[0][104:115].max() > 230  # letters
    assert not np.array_equal(frames[0][104:115], frames[4][104:115])


def test_the_frames_that_were_given_stay_as_they_were():
    given = grey(1)
    list(annotate.drawn(given, fps=10, label=label))
    assert (given[0] == 100).all()


@pytest.mark.parametrize(("height", "width"), [(121, 161), (10, 8), (4, 400)])
def test_the_file_plays_whatever_the_size(tmp_path, height, width):
    annotate.write(tmp_path / "out.mp4", iter(grey(10, height=height, width=width)), fps=10, label=label)
    with av.open(tmp_path / "out.mp4") as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 10
    assert (frames[0].height, frames[0].width) == (height // 2 * 2, width // 2 * 2)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_long_text_is_made_to_fit():
    picture, cover = annotate.strip("A class with a very long name indeed", 1.0, True, width=120, height=20)
    assert picture.shape == (20, 120, 3)
    assert cover.shape == (20, 120, 1)
    assert picture[:16, -3:].max() == 0  # the number stands at the margin, and nothing sticks out


def test_what_cannot_be_read_to_its_end_leaves_no_file(tmp_path):
    def broken():
        yield from clips.numbered(3)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        annotate.write(tmp_path / "out.mp4", broken(), fps=10, label=label)
    assert list(tmp_path.iterdir()) == []
