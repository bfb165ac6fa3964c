"""Clips from frame files whose frame number is their brightness, so that exact frames can be asserted."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from src.video import jpeg, store
from src.video.augment import Augment
from src.video.dataset import BrokenFramesError, TestViews, TrainingClips
from src.video.manifest import Video
from src.video.sampling import Sampling

PLAIN = {"size": 32, "crop": "random", "scale": [1.0, 1.0], "aspect": [0.75, 1.333], "flip": 0.0}
PLAIN |= {"randaugment": 0, "magnitude": 9, "erase": 0.0}
LIVELY = PLAIN | {"crop": "resized", "scale": [0.4, 1.0], "flip": 0.5, "randaugment": 1, "erase": 0.5}


def film(folder: Path, frames: Iterable[np.ndarray], *, label: int = 0) -> Video:
    """A frame file of `(H, W)` grey or `(H, W, 3)` frames, at a quality that keeps even grey exact."""
    frames = [np.broadcast_to(f[..., None] if f.ndim == 2 else f, (*f.shape[:2], 3)).astype(np.uint8) for f in frames]
    name = f"video{label}"
    count, _, _ = store.write(folder / f"{name}.avi", frames, fps=25, quality=100)
    return Video(name, folder / f"{name}.avi", label, "g01", count, "")


def counting(folder: Path, frames: int, *, label: int = 0) -> Video:
    """A video whose frame number is its brightness."""
    return film(folder, [np.full((40, 48), number) for number in range(frames)], label=label)


def half_bright(folder: Path, *, label: int = 0) -> Video:
    """A video that is dark on the left and bright on the right."""
    return film(folder, [np.repeat([[20] * 24 + [220] * 24], 40, axis=0)] * 10, label=label)


def noise(folder: Path) -> Video:
    """A still video in which every pixel of the one image is another."""
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3))
    return film(folder, [image] * 12)


def training_clips(videos: list[Video], *, augment: dict = PLAIN, **changes) -> TrainingClips:
    sampling = Sampling(**{key: changes.pop(key, default) for key, default in SHAPE.items()})
    settings = {"windows": 1, "mirrored": [0], "seed": 0} | changes
    return TrainingClips(videos, sampling=sampling, augment=Augment(**augment), **settings)


SHAPE = {"frames": 8, "stride": 2, "sampling": "window", "pad": "repeat"}


def views_of(videos: list[Video], *, views: int, crops: int, **changes) -> TestViews:
    return TestViews(videos, sampling=Sampling(**SHAPE | changes), size=32, views=views, crops=crops)


def numbers(clip: torch.Tensor) -> list[int]:
    """The frame numbers of a `(3, T, H, W)` clip of a counting video."""
    assert (clip == clip[:, :, :1, :1]).all()
    return clip[0, :, 0, 0].tolist()


def test_a_clip_has_frames_a_stride_apart_from_a_random_start(tmp_path):
    clips = training_clips([counting(tmp_path, 18)])
    starts = set()
    for epoch in range(60):
        clip, label, _ = clips[epoch, 0]
        assert clip.shape == (3, 8, 32, 32)
        assert clip.dtype == torch.uint8
        assert label == 0
        start, *_ = found = numbers(clip)
        assert found == list(range(start, start + 15, 2))
        starts.add(start)
    assert starts == {0, 1, 2, 3}  # all that leave room for 15 frames of 18


def test_a_draw_is_a_window_of_a_video(tmp_path):
    clips = training_clips([counting(tmp_path, 18, label=label) for label in (0, 1)], windows=3)
    assert len(clips) == 6
    assert [clips[0, draw][1] for draw in range(6)] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("available", "expected"), [(1, [0] * 8), (5, [0, 2, 4, 4, 4, 4, 4, 4]), (15, list(range(0, 15, 2)))]
)
def test_a_short_video_repeats_its_last_frame(tmp_path, available, expected):
    video = counting(tmp_path, available)
    assert numbers(training_clips([video])[0, 0][0]) == expected
    views = views_of([video], views=2, crops=1)[0]
    assert [numbers(view) for view in views] == [expected, expected]


def test_a_short_video_loops_on_request_also_when_tested(tmp_path):
    video, expected = counting(tmp_path, 5), [0, 2, 4, 1, 3, 0, 2, 4]
    assert numbers(training_clips([video], pad="loop")[0, 0][0]) == expected
    assert [numbers(view) for view in views_of([video], views=1, crops=1, pad="loop")[0]] == [expected]


def test_a_uniform_clip_has_a_frame_of_each_part_of_the_video(tmp_path):
    video = counting(tmp_path, 80)
    clips = training_clips([video], sampling="uniform")
    found = np.array([numbers(clips[epoch, 0][0]) for epoch in range(300)])
    assert (found // 10 == range(8)).all()
    assert [set(column % 10) for column in found.T] == [set(range(10))] * 8
    views = views_of([video], views=2, crops=1, sampling="uniform")[0]
    assert [numbers(view) for view in views] == [list(range(2, 80, 10)), list(range(7, 80, 10))]


def test_a_speed_stretches_a_clip(tmp_path):
    video = counting(tmp_path, 80)
    clips = training_clips([video], speed=(0.5, 2.0))
    spans = np.array([np.ptp(numbers(clips[epoch, 0][0])) for epoch in range(400)])
    assert 7 <= spans.min() <= 8
    assert 26 <= spans.max() <= 28
    assert np.mean(spans < 14) == pytest.approx(0.5, abs=0.08)  # as often slower as faster than 7 strides of 2
    assert numbers(training_clips([counting(tmp_path, 15)], speed=(2.0, 2.0))[0, 0][0]) == [0, 4, 8, 12, *[14] * 4]


def test_a_stride_may_be_drawn(tmp_path):
    clips = training_clips([counting(tmp_path, 80)], strides=[1, 5])
    spans = [int(np.ptp(numbers(clips[epoch, 0][0]))) for epoch in range(100)]
    assert set(spans) == {7, 35}
    assert 30 < spans.count(7) < 70


def test_balanced_draws_have_as_many_clips_of_each_class(tmp_path):
    """Six videos of a class, two of another: in an epoch of sixteen clips eight of each, no video left out."""
    folders = [tmp_path / str(number) for number in range(8)]
    many = [counting(folder, 9, label=0) for folder in folders[:6]]
    few = [counting(folder, 9, label=1) for folder in folders[6:]]
    clips = training_clips(many + few, balanced=True, windows=2, mirrored=[0, 1])
    assert len(clips) == 16
    drawn = {}
    for epoch in range(2):
        assert [clips[epoch, draw][1] for draw in range(16)] == [0, 1] * 8
        drawn[epoch] = [clips._video(epoch, draw).file.parent.name for draw in range(16)]
        counts = {name: drawn[epoch].count(name) for name in map(str, range(8))}
        assert sorted(counts.values()) == [1, 1, 1, 1, 2, 2, 4, 4]
        assert counts["6"] == counts["7"] == 4
    assert drawn[0] != drawn[1]
    again = training_clips(many + few, balanced=True, windows=2, mirrored=[0, 1])
    assert [again._video(1, draw).file.parent.name for draw in range(16)] == drawn[1]


def test_a_stride_of_zero_repeats_one_frame(tmp_path):
    clips = training_clips([counting(tmp_path, 4)], stride=0)
    found = [numbers(clips[epoch, 0][0]) for epoch in range(40)]
    assert all(len(set(clip)) == 1 for clip in found)
    assert {clip[0] for clip in found} == {0, 1, 2, 3}


def test_a_clip_depends_on_seed_epoch_and_draw(tmp_path):
    video = noise(tmp_path)

    def clip(*, seed: int = 0, epoch: int = 0, draw: int = 0) -> torch.Tensor:
        return training_clips([video], augment=LIVELY, windows=2, seed=seed)[epoch, draw][0]

    assert clip().equal(clip())
    assert not clip().equal(clip(seed=1))
    assert not clip().equal(clip(epoch=1))
    assert not clip().equal(clip(draw=1))


def test_a_clip_is_the_same_in_any_worker_and_order(tmp_path):
    clips = training_clips([noise(tmp_path)], augment=LIVELY, windows=3)
    keys = [(epoch, draw) for epoch in range(2) for draw in range(3)]
    expected = {key: clips[key] for key in keys}
    for workers, order in ((0, keys[::-1]), (2, keys), (2, keys[3:] + keys[:3])):
        loaded = DataLoader(clips, batch_size=None, sampler=order, num_workers=workers)
        for key, (clip, label, draw) in zip(order, loaded, strict=True):
            assert clip.equal(expected[key][0])
            assert label == expected[key][1]
            assert draw == key[1]


def test_torchs_own_generator_neither_matters_nor_moves(tmp_path):
    clips = training_clips([noise(tmp_path)], augment=LIVELY)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    clip, *_ = clips[0, 0]
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    assert clips[0, 0][0].equal(clip)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_flip_and_nothing_else_turns_the_label_over(tmp_path, label):
    clips = training_clips(
        [half_bright(tmp_path, label=label)], augment=LIVELY | {"crop": "corner"}, mirrored=[1, 0, 2]
    )
    seen = set()
    for epoch in range(40):
        clip, found, _ = clips[epoch, 0]
        left, right = clip[..., 0].float().mean(), clip[..., -1].float().mean()
        flipped = bool(left > right)
        assert found == ([1, 0, 2][label] if flipped else label)
        seen.add(flipped)
    assert seen == {True, False}


def test_without_a_flip_the_label_stays(tmp_path):
    clips = training_clips([half_bright(tmp_path, label=1)], augment=LIVELY | {"flip": 0.0}, mirrored=None)
    assert {clips[epoch, 0][1] for epoch in range(10)} == {1}


@pytest.mark.parametrize("crop", ["resized", "random", "corner"])
def test_all_frames_of_a_clip_are_augmented_alike(tmp_path, crop):
    clips = training_clips([noise(tmp_path)], augment=LIVELY | {"crop": crop})
    first_frames = []
    for epoch in range(8):
        clip, *_ = clips[epoch, 0]
        assert (clip == clip[:, :1]).all()
        first_frames.append(clip[:, 0])
    assert len({frame.numpy().tobytes() for frame in first_frames}) == 8


def test_views_are_spread_evenly_over_the_video(tmp_path):
    views = views_of([counting(tmp_path, 30)], views=4, crops=1)
    assert len(views) == 1
    assert views[0].shape == (4, 3, 8, 32, 32)
    assert views[0].dtype == torch.uint8
    assert [numbers(view) for view in views[0]] == [list(range(start, start + 15, 2)) for start in (0, 5, 10, 15)]


def test_a_single_view_is_in_the_middle(tmp_path):
    (view,) = views_of([counting(tmp_path, 30)], views=1, crops=1)[0]
    assert numbers(view) == list(range(7, 22, 2))


@pytest.mark.parametrize("portrait", [False, True])
def test_three_crops_lie_along_the_longer_side(tmp_path, portrait):
    """The brightness counts along the longer side, in steps that outweigh the JPEG's rounding."""
    image = np.repeat(np.arange(48)[None] * 5, 40, axis=0)
    video = film(tmp_path, [image.T if portrait else image] * 10)
    views = views_of([video], views=2, crops=3, stride=1)[0]
    assert views.shape == (6, 3, 8, 32, 32)
    along = views.transpose(-1, -2) if portrait else views
    places = (along[:, 0, 0].float().mean(1) / 5).round().int().tolist()  # (view, place along the longer side)
    # left, centre, right; or top, middle, bottom: each for both clips
    assert sorted(places) == [list(range(start, start + 32)) for start in (0, 0, 8, 8, 16, 16)]


def test_each_frame_is_decoded_once(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        jpeg, "decode", lambda data, decode=jpeg.decode, **to: decoded.append(data) or decode(data, **to)
    )
    _ = views_of([counting(tmp_path, 30)], views=4, crops=3)[0]
    # Even frames from 0 to 24 and odd ones from 5 to 29: 26, of 4 views × 8 frames × 3 crops.
    assert len(decoded) == len(set(decoded)) == 26
    decoded.clear()
    _ = training_clips([counting(tmp_path, 3)])[0, 0]
    assert len(decoded) == 2  # frames 0 and 2, the latter seven times


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"no video", "cut", "garbled"])
def test_a_frame_file_that_cannot_be_read_any_more_is_named(tmp_path, content, workers):
    video = counting(tmp_path, 18)
    if content == "cut":
        video.file.write_bytes(video.file.read_bytes()[: video.file.stat().st_size // 3])
    elif content == "garbled":
        video.file.write_bytes(video.file.read_bytes().replace(b"\xff\xd8\xff", b"abc"))
    else:
        video.file.write_bytes(content)
    whole = {"frames": 18, "stride": 1}
    for clips, keys in ((training_clips([video], **whole), (0, 0)), (views_of([video], views=1, crops=1, **whole), 0)):
        with pytest.raises(BrokenFramesError) as raised:
            list(DataLoader(clips, batch_sampler=[[keys]], num_workers=workers))
        assert "video0.avi cannot be read: remove it and run `dvc repro extract_frames` (" in str(raised.value)
        assert "\n" not in str(raised.value)
        assert str(raised.value).endswith(")")
