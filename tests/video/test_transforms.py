"""Crops, flips and colours on images whose pixels say where they come from."""

import pytest
import torch
from torch import Tensor

from src.video.transforms import Augment, normalise, spatial_crops

PLAIN = {"size": 32, "crop": "random", "scale": [1.0, 1.0], "flip": 0.0, "jitter": 0.0, "grey": 0.0}


def chart(height: int = 40, width: int = 48, *, frames: int = 3) -> Tensor:
    """`(T, 3, H, W)`: red is the row, green the column, blue the frame."""
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    numbers = torch.arange(frames).view(-1, 1, 1)
    return torch.stack(torch.broadcast_tensors(rows, columns, numbers), dim=1).to(torch.uint8)


def corner(clip: Tensor) -> tuple[int, int]:
    """Row and column that a crop of the chart begins at."""
    top, left = clip[0, :2, 0, 0].tolist()
    height, width = clip.shape[-2:]
    assert clip.equal(chart(frames=len(clip))[..., top : top + height, left : left + width])
    return top, left


def test_a_corner_crop_is_one_of_five():
    augment = Augment(**PLAIN | {"crop": "corner"})
    torch.manual_seed(0)
    found = {corner(augment(chart())[0]) for _ in range(100)}
    assert found == {(0, 0), (0, 16), (8, 0), (8, 16), (4, 8)}


def test_a_random_crop_may_be_anywhere():
    augment = Augment(**PLAIN)
    torch.manual_seed(0)
    found = {corner(augment(chart())[0]) for _ in range(800)}
    assert {top for top, _ in found} == set(range(9))
    assert {left for _, left in found} == set(range(17))


def test_a_resized_crop_covers_its_share_of_the_frame():
    augment = Augment(**PLAIN | {"crop": "resized", "scale": [0.25, 0.5]})
    torch.manual_seed(0)
    for _ in range(50):
        clip, _ = augment(chart())
        assert clip.shape == (3, 3, 32, 32)
        low, high = clip[0].flatten(1).min(1).values.int(), clip[0].flatten(1).max(1).values.int()
        height, width, _ = (high - low + 1).tolist()
        assert 0.2 <= height * width / (40 * 48) <= 0.55  # up to the rounding of both sides
        assert 0.65 <= width / height <= 1.5


@pytest.mark.parametrize(("flip", "expected"), [(0.0, {False}), (0.5, {False, True}), (1.0, {True})])
def test_a_flip_is_told(flip, expected):
    augment = Augment(**PLAIN | {"size": 40, "crop": "corner", "flip": flip})
    torch.manual_seed(0)
    square = chart(40, 40)
    found = set()
    for _ in range(30):
        clip, flipped = augment(square)
        assert clip.equal(square.flip(-1) if flipped else square)
        found.add(flipped)
    assert found == expected


def test_grey_has_equal_channels():
    augment = Augment(**PLAIN | {"grey": 1.0})
    clip, _ = augment(chart())
    assert clip.shape == (3, 3, 32, 32)
    assert (clip == clip[:, :1]).all()


def test_jitter_changes_brightness_alike_in_all_frames():
    augment = Augment(**PLAIN | {"jitter": 0.4})
    even = torch.full((4, 3, 40, 48), 100, dtype=torch.uint8)
    torch.manual_seed(0)
    values = []
    for _ in range(20):
        clip, _ = augment(even)
        assert (clip == clip[0, 0, 0, 0]).all()  # an even grey has neither contrast nor saturation to change
        values.append(clip[0, 0, 0, 0].item())
    assert 59 <= min(values) < 85
    assert 115 < max(values) <= 140


def test_the_callers_clip_stays_as_it_is():
    clip = chart()
    Augment(size=32, crop="corner", scale=[0.4, 1.0], flip=1.0, jitter=0.4, grey=1.0)(clip)
    assert clip.equal(chart())


def test_the_same_seed_makes_the_same_choices():
    augment = Augment(size=32, crop="resized", scale=[0.4, 1.0], flip=0.5, jitter=0.4, grey=0.2)
    torch.manual_seed(7)
    first, first_flipped = augment(chart())
    torch.manual_seed(7)
    second, second_flipped = augment(chart())
    assert first.equal(second)
    assert first_flipped == second_flipped


def test_one_crop_is_the_centre():
    crops = spatial_crops(chart(), size=32, crops=1)
    assert crops.shape == (1, 3, 3, 32, 32)
    assert corner(crops[0]) == (4, 8)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (40, 48, [(4, 0), (4, 8), (4, 16)]),
        (48, 40, [(0, 4), (8, 4), (16, 4)]),
        (40, 40, [(4, 0), (4, 4), (4, 8)]),
        (32, 32, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_three_crops_lie_along_the_longer_side(height, width, expected):
    clip = chart(height, width)
    crops = spatial_crops(clip, size=32, crops=3)
    assert crops.shape == (3, 3, 3, 32, 32)
    assert [tuple(crop[0, :2, 0, 0].tolist()) for crop in crops] == expected
    for crop, (top, left) in zip(crops, expected, strict=True):
        assert crop.equal(clip[..., top : top + 32, left : left + 32])


def test_normalise_by_hand():
    clips = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert normalise(clips).dtype == torch.float32
    # (0 − 0.45) / 0.225, (0.2 − 0.45) / 0.225, (1 − 0.45) / 0.225
    torch.testing.assert_close(normalise(clips), torch.tensor([-2.0, -10 / 9, 22 / 9]))
