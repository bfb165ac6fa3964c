"""Mixtures of two clips, in proportions that their targets state."""

import numpy as np
import pytest
import torch
from torch import Tensor

from src.training.mixing import Mix, rectangle


def clips(*brightness: float) -> Tensor:
    """Uniform clips `(B, 3, 2, 20, 30)`: what a mixture holds of each is seen from its values."""
    return torch.tensor(brightness).float()[:, None, None, None, None].repeat(1, 3, 2, 20, 30)


def mixed(mix: Mix, given: Tensor, labels: list[int], draws: list[int] | None = None, epoch: int = 0):
    return mix(given, torch.tensor(labels), epoch=epoch, draws=torch.tensor(draws or list(range(len(given)))))


def test_nothing_is_mixed_unless_asked_for():
    given = clips(0, 1)
    found, labels = mixed(Mix(mixup=0, cutmix=0, classes=3, seed=0), given, [2, 1])
    assert found is given
    assert labels.tolist() == [2, 1]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_target_states_what_a_clip_holds_of_each_class(kind: str):
    mix = Mix(**{"mixup": 0, "cutmix": 0} | {kind: 1.0}, classes=3, seed=0)
    given = clips(*[0, 1] * 50)
    found, targets = mixed(mix, given, [0, 2] * 50)
    share = found.mean((1, 2, 3, 4))
    torch.testing.assert_close(targets, torch.stack([1 - share, torch.zeros(100), share], 1))
    # Each took from the other what that gave away.
    torch.testing.assert_close(share[::2] + share[1::2], torch.ones(50))
    assert 0.3 < share[::2].std() / (1 / 12) ** 0.5 < 1.7  # alpha of 1 is uniform, but for what sticks out
    assert torch.equal(given, clips(*[0, 1] * 50))


def test_cutmix_puts_one_rectangle_into_all_frames():
    found, _ = mixed(Mix(mixup=0, cutmix=1.0, classes=2, seed=3), clips(0, 1), [0, 1])
    assert set(found.unique().tolist()) == {0.0, 1.0}
    first = found[0, 0, 0]
    assert torch.equal(found[0], first.expand(3, 2, 20, 30))
    assert torch.equal(found[1], 1 - found[0])
    rows, columns = first.amax(1).nonzero().flatten(), first.amax(0).nonzero().flatten()
    inside = first[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert inside.sum() == inside.numel() == first.sum() > 0


def test_mixup_blends_all_pixels_alike():
    found, targets = mixed(Mix(mixup=0.8, cutmix=0, classes=2, seed=3), clips(0, 1), [0, 1])
    assert len(found[0].unique()) == len(found[1].unique()) == 1
    assert 0 < targets[0, 1] < 1


def test_with_both_each_pair_takes_one():
    found, _ = mixed(Mix(mixup=1.0, cutmix=1.0, classes=2, seed=0), clips(*[0, 1] * 40), [0, 1] * 40)
    cut = [len(clip.unique()) > 1 for clip in found[::2]]
    assert 10 < sum(cut) < 30


def test_a_mixture_follows_from_seed_epoch_and_the_two_clips():
    given, labels = clips(0, 1, 2, 3), [0, 1, 0, 1]

    def found(*, seed=0, epoch=0, draws=(5, 6, 7, 8), part=slice(None)):
        mix = Mix(mixup=1.0, cutmix=0, classes=2, seed=seed)
        return mixed(mix, given[part], labels[part], list(draws)[part], epoch)[0]

    assert torch.equal(found(), found())
    assert torch.equal(found()[2:], found(part=slice(2, 4)))  # whatever else is in the batch
    for change in ({"seed": 1}, {"epoch": 1}, {"draws": (6, 5, 8, 7)}):
        assert not torch.equal(found(), found(**change))


def test_a_clip_without_a_neighbour_stays():
    found, targets = mixed(Mix(mixup=1.0, cutmix=1.0, classes=2, seed=0), clips(0, 1, 5), [0, 1, 1])
    assert torch.equal(found[2], clips(5)[0])
    assert targets[2].tolist() == [0, 1]


def test_a_rectangle_has_the_area_asked_for_less_what_sticks_out():
    rng, areas = np.random.default_rng(0), []
    for _ in range(200):
        rows, columns = rectangle(rng, 0.25, height=40, width=60)
        assert 0 <= rows.start <= rows.stop <= 40
        assert 0 <= columns.start <= columns.stop <= 60
        areas.append((rows.stop - rows.start) * (columns.stop - columns.start) / 2400)
    assert max(areas) == pytest.approx(0.25, rel=0.1)
    assert min(areas) >= 0.25 / 4 * 0.8  # centred in a corner
