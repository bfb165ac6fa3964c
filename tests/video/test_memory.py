"""The frame store in memory against the one on disk."""

import numpy as np
import pytest

from src.video import store
from src.video.memory import MemoryStore
from tests.video import clips


def test_its_frames_are_those_of_a_frame_file(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    store.write(tmp_path / "a.avi", noise, fps=12.5, quality=80)
    held = MemoryStore(quality=80)
    for frame in noise:
        held.append(frame)
    wanted = [5, 0, 0, 3]
    assert np.array_equal(held.read(wanted), store.read(tmp_path / "a.avi", wanted))


def test_the_oldest_are_let_go_and_the_others_are_counted_from_there():
    held = MemoryStore(quality=95)
    for frame in clips.numbered(10):
        held.append(frame)
    held.drop(4)
    assert (held.first, len(held)) == (4, 6)
    assert clips.numbers(held.read([0, 5])) == [4, 9]
    with pytest.raises(IndexError):
        held.read([6])
