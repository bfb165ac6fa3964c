"""Bars that can be counted by hand, sheets whose frames are told by their colour, and names that are no markup."""

import jinja2
import numpy as np
import pytest

from src.report import page
from src.report.page import BUDGET, CELL, GAP, Bar
from src.video import jpeg

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def frames(*colours: tuple[int, int, int], height: int, width: int) -> np.ndarray:
    """`(T, H, W, 3)`: one frame of each colour."""
    return np.broadcast_to(np.array(colours, np.uint8)[:, None, None], (len(colours), height, width, 3))


# Words


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "video", "0 videos"), (1, "class", "1 class"), (2, "class", "2 classes"), (1000, "group", "1,000 groups")],
)
def test_nouns_follow_their_number(number, noun, text):
    assert page.count(range(number), noun) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (7.25, "7.2 s"),
        (89.9, "89.9 s"),
        (90, "1.5 minutes"),
        (5399, "90.0 minutes"),
        (5400, "1.5 hours"),
        (97200, "27.0 hours"),
        (1e7, "2,778 hours"),
    ],
)
def test_lengths_of_time_are_said_as_people_say_them(seconds, text):
    assert page.duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0001, "<1 %"), (0.01, "1 %"), (0.336, "34 %"), (0.99, "99 %"), (0.9999, ">99 %"), (1, "100 %")],
)
def test_a_share_is_nothing_or_all_only_where_it_is(share, text):
    assert page.percent(share) == text


# Histograms


def test_values_are_counted_in_steps_that_people_count_in():
    assert page.histogram([0.5, 1, 1.5, 3.9, 4], bars=4) == [Bar(0, 1, 1), Bar(1, 2, 2), Bar(2, 3, 0), Bar(3, 4, 2)]


def test_a_value_on_an_edge_is_above_it_also_where_floats_are_not_exact():
    assert [bar.count for bar in page.histogram([0.1, 0.2, 0.3, 0.6, 0.7, 1.0], bars=10)] == [
        0,
        1,
        1,
        1,
        0,
        0,
        1,
        1,
        0,
        1,
    ]


def test_few_long_ones_share_an_open_bar():
    assert page.histogram([1, 2, 2, 4, 4.1, 3600], bars=2, limit=4) == [Bar(0, 2, 1), Bar(2, 4, 3), Bar(4, None, 2)]


@pytest.mark.parametrize("values", [[0.04], [2.0] * 5, [0.3, 12.7, 88.8], [1000.0, 3.0], [59.999, 60.0]])
@pytest.mark.parametrize("bars", [1, 5, 20])
def test_bars_join_end_to_end_and_count_every_value(values, bars):
    found = page.histogram(values, bars=bars)
    assert len(found) <= bars
    assert sum(bar.count for bar in found) == len(values)
    assert found[0].low == 0
    assert [bar.low for bar in found[1:]] == [bar.high for bar in found[:-1]]
    assert found[-1].low < max(values) <= found[-1].high


# Contact sheets


def test_a_sheet_has_a_row_for_each_video_and_a_column_for_each_frame():
    picture = page.contact_sheet([frames(RED, GREEN, height=72, width=96), frames(BLUE, RED, height=144, width=192)])
    assert (picture.height, picture.width) == (2 * 72 + GAP, 2 * 96 + GAP)
    sheet = jpeg.decode(picture.jpeg)
    assert sheet.shape == (picture.height, picture.width, 3)
    centres = sheet[36 :: 72 + GAP, 48 :: 96 + GAP]
    assert np.abs(centres.astype(int) - [[RED, GREEN], [BLUE, RED]]).max() < 10


def test_tall_and_wide_frames_keep_their_shape_in_the_middle_of_a_cell():
    picture = page.contact_sheet([frames(RED, height=72, width=36), frames(GREEN, height=36, width=128)])
    assert (picture.height, picture.width) == (2 * CELL[0] + GAP, CELL[1])
    sheet = jpeg.decode(picture.jpeg).astype(int)
    red, green = sheet[..., 0] > 100, sheet[..., 1] > 100
    for found, rows, columns in ((red, (0, 72), (46, 82)), (green, (72 + GAP + 18, 72 + GAP + 54), (0, 128))):
        ys, xs = np.nonzero(found)
        assert np.abs(np.subtract((ys.min(), ys.max() + 1), rows)).max() <= 2
        assert np.abs(np.subtract((xs.min(), xs.max() + 1), columns)).max() <= 2


def test_a_sheet_of_more_than_the_budget_holds_is_as_small_as_it_gets():
    noise = np.random.default_rng(0).integers(0, 256, (16, 72, 128, 3), dtype=np.uint8)
    picture = page.contact_sheet([noise] * 32)
    assert len(picture.jpeg) > BUDGET
    assert jpeg.decode(picture.jpeg).shape[:2] == (picture.height, picture.width)


def test_no_sheet_is_larger_than_the_budget_even_of_noise():
    noise = np.random.default_rng(0).integers(0, 256, (4, 72, 128, 3), dtype=np.uint8)
    picture = page.contact_sheet([noise] * 4)
    assert 0 < len(picture.jpeg) <= BUDGET
    assert picture.uri.startswith("data:image/jpeg;base64,")


# Templates


def test_what_a_template_lacks_is_an_error_and_no_empty_place():
    with pytest.raises(jinja2.UndefinedError, match="headline"):
        page.render("data_report.html")


def test_the_style_refers_to_nothing_outside():
    style = (page.HERE / "style.css").read_text()
    assert "color-scheme" in style
    assert not any(word in style for word in ("url(", "@import", "</", "http"))
