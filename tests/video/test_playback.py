"""Ways of playing a video whose frame number is its brightness: frame numbers counted by hand."""

import numpy as np
import pytest

from src.video.augment import Augment
from src.video.playback import PLAYBACKS, PlayedClips, PlayedViews, played
from src.video.sampling import Sampling
from tests.video.test_dataset import LIVELY, PLAIN, counting, noise, numbers

SHAPE = {"frames": 8, "stride": 4, "available": 200}


def frames_of(name: str, seed: int = 0, **changes) -> np.ndarray:
    return played(PLAYBACKS.index(name), np.random.default_rng(seed), **SHAPE | changes)


@pytest.mark.parametrize(("name", "step"), [("slow", 2), ("normal", 4), ("fast", 8)])
def test_speeds_are_half_the_stride_the_stride_and_twice_that(name, step):
    assert set(np.diff(frames_of(name))) == {step}


def test_a_short_video_is_played_slower_rather_than_past_its_end():
    """57 frames are what the fast clip of 8 frames covers; of 29 there are half as many."""
    assert [frames_of(name, available=57).max() <= 56 for name in PLAYBACKS] == [True] * 6
    assert frames_of("fast", available=57).tolist() == list(range(0, 57, 8))
    assert frames_of("fast", available=29).tolist() == list(range(0, 29, 4))
    assert set(np.diff(frames_of("slow", available=29))) == {1}
    assert frames_of("fast", available=1).tolist() == [0] * 8


def test_shuffled_has_the_frames_of_a_normal_clip_in_another_order():
    orders = [frames_of("shuffled", seed) for seed in range(20)]
    assert all(set(np.diff(np.sort(frames))) == {4} for frames in orders)
    assert len({tuple(frames - frames.min()) for frames in orders}) > 15


@pytest.mark.parametrize("frames", [8, 7])
def test_back_and_forth_returns_on_its_own_steps(frames):
    found = frames_of("back and forth", frames=frames)
    assert (found - found[0]).tolist() == [0, 4, 8, 12, 12, 8, 4, 0][:frames]


def test_uneven_goes_forward_over_a_normal_clips_span_at_changing_speed():
    found = frames_of("uneven")
    steps = np.diff(found)
    assert found[-1] - found[0] == 28
    assert (steps >= 0).all()
    assert steps.max() >= 2 * max(1, steps.min())


def played_clips(videos, *, augment=PLAIN, windows=2, seed=0) -> PlayedClips:
    return PlayedClips(videos, sampling=Sampling(8, 4), windows=windows, augment=Augment(**augment), seed=seed)


def test_a_clip_says_how_it_is_played_and_all_ways_are_as_likely(tmp_path):
    clips = played_clips([counting(tmp_path, 200)])
    labels = []
    for epoch in range(90):
        for draw in range(len(clips)):
            clip, label, told = clips[epoch, draw]
            assert told == draw
            assert clip.shape == (3, 8, 32, 32)
            steps = set(np.diff(numbers(clip)))
            assert (label, steps) in [(0, {2}), (1, {4}), (2, {8})] or label in (3, 4, 5)
            labels.append(label)
    assert all(15 <= labels.count(label) <= 45 for label in range(6))


def test_a_clip_depends_on_seed_epoch_and_draw_alone(tmp_path):
    video = noise(tmp_path)
    first, again = (played_clips([video], augment=LIVELY)[3, 1] for _ in range(2))
    assert first[0].equal(again[0])
    assert first[1] == again[1]
    others = [played_clips([video], augment=LIVELY, seed=1)[3, 1], played_clips([video], augment=LIVELY)[4, 1]]
    assert not any(first[0].equal(other[0]) for other in others)


def test_validation_has_every_video_in_every_way_the_same_each_time(tmp_path):
    videos = [counting(tmp_path, 200, label=label) for label in (0, 1)]
    views = PlayedViews(videos, sampling=Sampling(8, 4), size=32, seed=0)
    assert views.labels == [0, 1, 2, 3, 4, 5] * 2
    assert len(views) == 12
    for index, (step, view) in enumerate(zip([2, 4, 8], views, strict=False)):
        assert view.shape == (1, 3, 8, 32, 32)
        assert set(np.diff(numbers(view[0]))) == {step}
        assert view.equal(views[index])
