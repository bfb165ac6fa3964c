"""What a difference between finalists is worth, from invented answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from src.search.finals import difference
from src.video.manifest import Video

VIDEOS = [Video(f"{n}.avi", Path(f"{n}.avi"), 0, f"group {n // 2}", 10, str(n)) for n in range(60)]
HOW = {"bootstrap": 4000, "seed": 0}


def hits(*shares: float) -> np.ndarray:
    """A seed for each share, which has so many of the videos right, spread over groups."""
    order = np.random.default_rng(1).permutation(len(VIDEOS))
    return np.array([(order < share * len(VIDEOS)).astype(int) for share in shares])


def test_what_all_seeds_and_groups_say_is_shown():
    found = difference(hits(0.5, 0.52, 0.48), hits(0.8, 0.78, 0.82), VIDEOS, **HOW)
    assert abs(found.mean - 0.3) < 0.01
    assert 0 < found.low < found.mean < found.high
    assert found.shown


def test_what_one_lucky_seed_brings_is_not():
    found = difference(hits(0.5, 0.5, 0.5), hits(0.95, 0.5, 0.5), VIDEOS, **HOW)
    assert found.mean > 0.1
    assert found.low <= 0
    assert not found.shown


def test_the_same_answers_are_no_difference():
    found = difference(hits(0.5), hits(0.5), VIDEOS, **HOW)
    assert (found.mean, found.p) == (0.0, 1.0)
    assert not found.shown
