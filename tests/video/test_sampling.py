"""Which frames make a clip, counted by hand."""

import numpy as np
import pytest

from src.video.sampling import even_starts, random_start, span, window


@pytest.mark.parametrize(("frames", "stride", "expected"), [(8, 2, 15), (32, 2, 63), (4, 1, 4), (1, 9, 1), (16, 0, 1)])
def test_span(frames, stride, expected):
    assert span(frames=frames, stride=stride) == expected


@pytest.mark.parametrize(
    ("start", "stride", "available", "expected"),
    [
        (0, 1, 100, [0, 1, 2, 3]),
        (5, 3, 100, [5, 8, 11, 14]),
        (5, 0, 100, [5, 5, 5, 5]),
        (0, 2, 7, [0, 2, 4, 6]),
        (0, 2, 4, [0, 2, 3, 3]),  # too short: the last frame stays
        (0, 8, 1, [0, 0, 0, 0]),
    ],
)
def test_window(start, stride, available, expected):
    assert window(start, frames=4, stride=stride, available=available).tolist() == expected


def test_a_random_start_is_any_that_fits_and_all_alike():
    rng = np.random.default_rng(0)
    starts = [random_start(rng, frames=4, stride=2, available=10) for _ in range(4000)]
    # Seven frames are covered, so that a clip starts at 0, 1, 2 or 3.
    assert np.bincount(starts).size == 4
    np.testing.assert_allclose(np.bincount(starts), 1000, rtol=0.1)
    assert all(window(start, frames=4, stride=2, available=10).max() < 10 for start in set(starts))


@pytest.mark.parametrize("available", [1, 6, 7])
def test_a_short_video_starts_at_its_beginning(available):
    rng = np.random.default_rng(0)
    assert {random_start(rng, frames=4, stride=2, available=available) for _ in range(50)} == {0}


def test_a_still_clip_may_be_any_frame():
    rng = np.random.default_rng(0)
    assert {random_start(rng, frames=16, stride=0, available=5) for _ in range(200)} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("views", "available", "expected"),
    [
        (1, 27, [10]),  # seven frames covered: starts 0 to 20
        (2, 27, [0, 20]),
        (3, 27, [0, 10, 20]),
        (5, 27, [0, 5, 10, 15, 20]),
        (4, 8, [0, 0, 1, 1]),
        (3, 7, [0, 0, 0]),
        (3, 2, [0, 0, 0]),
        (1, 1, [0]),
    ],
)
def test_even_starts(views, available, expected):
    assert even_starts(views, frames=4, stride=2, available=available).tolist() == expected


def test_even_starts_and_windows_cover_both_ends():
    starts = even_starts(6, frames=8, stride=3, available=100)
    assert window(starts[0], frames=8, stride=3, available=100)[0] == 0
    assert window(starts[-1], frames=8, stride=3, available=100)[-1] == 99
