"""Crops and flips on images whose pixels say where they come from."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from src import paths
from src.video.augment import Augment, RandAugment
from src.video.transforms import normalise, spatial_crops

PLAIN = {"size": 32, "crop": "random", "scale": [1.0, 1.0], "aspect": [0.75, 1.333], "flip": 0.0}
PLAIN |= {"randaugment": 0, "magnitude": 9, "erase": 0.0}
LIVELY = PLAIN | {"crop": "resized", "scale": [0.4, 1.0], "flip": 0.5, "randaugment": 2}


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


def test_who_only_answers_does_not_wait_for_torchvision():
    code = "import sys, src.model.checkpoint, src.training.answers; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


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


def test_the_callers_clip_stays_as_it_is():
    clip = chart()
    for crop in ("corner", "random", "resized"):
        Augment(**LIVELY | {"crop": crop, "flip": 1.0, "erase": 1.0})(clip)
    assert clip.equal(chart())


def test_the_same_seed_makes_the_same_choices():
    augment = Augment(**LIVELY)
    torch.manual_seed(7)
    first, first_flipped = augment(chart())
    torch.manual_seed(7)
    second, second_flipped = augment(chart())
    assert first.equal(second)
    assert first_flipped == second_flipped


CHANGES = {
    "crop": {"crop": "resized", "scale": [0.3, 1.0]},
    "aspect": {"crop": "resized", "scale": [0.5, 0.5], "aspect": [0.5, 2.0]},
    "flip": {"flip": 0.5},
    "randaugment": {"randaugment": 3, "magnitude": 15},
    "erase": {"erase": 0.7},
    "all": {"crop": "resized", "flip": 0.5, "randaugment": 2, "erase": 0.5},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_every_frame_is_changed_in_the_same_way(changes):
    """What becomes of a frame does not depend on where it stands, or on being there twice.

    Frames of another brightness are in between: whatever looked at each frame by itself would treat these otherwise.
    """
    augment = Augment(**PLAIN | changes)
    picture = chart()[:1] * 5
    clip = torch.cat([picture, picture // 3, picture, 255 - picture // 2, picture // 3])
    torch.manual_seed(0)
    other = 0
    for _ in range(40):
        changed, _ = augment(clip)
        assert changed.shape == (5, 3, 32, 32)
        assert changed.dtype == torch.uint8
        assert changed[0].equal(changed[2])
        assert changed[1].equal(changed[4])
        other += not changed.equal(changed[:1].expand_as(changed))
    assert other


@pytest.mark.parametrize("name", RandAugment._AUGMENTATION_SPACE)
def test_an_operation_on_a_clip_is_the_operation_on_each_frame(name, monkeypatch):
    """The plain reference: torchvision's, picture by picture. AutoContrast, say, would not pass."""
    monkeypatch.setattr(RandAugment, "_AUGMENTATION_SPACE", {name: RandAugment._AUGMENTATION_SPACE[name]})
    noise = torch.randint(0, 256, (3, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clip = noise // torch.tensor([1, 2, 4], dtype=torch.uint8).view(3, 1, 1, 1)
    torch.manual_seed(3)
    together = RandAugment(1, magnitude=12)(clip)
    apart = []
    for frame in clip:
        torch.manual_seed(3)
        apart.append(RandAugment(1, magnitude=12)(frame))
    assert together.equal(torch.stack(apart))
    assert name == "Identity" or not together.equal(clip)


def test_what_looks_at_a_frames_histogram_is_not_among_the_operations():
    assert set(v2.RandAugment._AUGMENTATION_SPACE) - set(RandAugment._AUGMENTATION_SPACE) == {
        "AutoContrast",
        "Equalize",
        "Contrast",
    }


def test_an_erased_rectangle_is_the_same_in_all_frames_and_grey():
    augment = Augment(**PLAIN | {"erase": 1.0})
    torch.manual_seed(0)
    clip, _ = augment(torch.full((4, 3, 40, 48), 200, dtype=torch.uint8))
    gone = clip == round(0.45 * 255)
    assert set(clip.unique().tolist()) == {115, 200}
    assert 0.02 <= gone.float().mean() <= 0.34  # torchvision's share of the area
    assert gone.equal(gone[:1, :1].expand_as(gone))
    rows, columns = gone[0, 0].any(1).nonzero(), gone[0, 0].any(0).nonzero()
    assert gone[0, 0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_a_part_of_the_frame_has_a_shape_within_aspect():
    augment = Augment(**PLAIN | {"crop": "resized", "scale": [0.25, 0.25], "aspect": [2.0, 2.0]})
    torch.manual_seed(0)
    clip, _ = augment(chart(64, 64))
    low, high = clip[0].flatten(1).min(1).values.int(), clip[0].flatten(1).max(1).values.int()
    height, width, _ = (high - low + 1).tolist()
    assert (height, width) == (pytest.approx(64 / 8**0.5, abs=2), pytest.approx(64 / 2**0.5, abs=2))


def test_a_square_that_a_frame_has_no_room_for_is_refused():
    with pytest.raises(ValueError, match="a square of 32 pixels out of frames of 40×24"):
        spatial_crops(torch.zeros(1, 3, 24, 40, dtype=torch.uint8), size=32, crops=1)


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
