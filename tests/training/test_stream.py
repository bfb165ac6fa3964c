"""The order of clips: all of them, shuffled by seed and epoch alone, however the work is divided."""

import pytest

from src.command import UserError
from src.training.stream import ClipStream


def order(*, draws: int = 10, batch: int = 5, seed: int = 0, epoch: int = 0) -> list[tuple[int, int]]:
    stream = ClipStream(draws, batch=batch, seed=seed)
    stream.begin(epoch)
    return [key for keys in stream for key in keys]


def test_an_epoch_draws_every_clip_once():
    assert sorted(order()) == [(0, draw) for draw in range(10)]


def test_a_last_batch_that_is_not_full_is_left_out():
    stream = ClipStream(11, batch=4, seed=0)
    batches = list(stream)
    assert len(batches) == len(stream) == stream.steps == 2
    assert [len(batch) for batch in batches] == [4, 4]
    assert len({key for batch in batches for key in batch}) == 8


def test_fewer_clips_than_a_batch_are_one_batch():
    stream = ClipStream(3, batch=16, seed=0)
    assert (len(stream), stream.batch) == (1, 3)
    assert [sorted(batch) for batch in stream] == [[(0, 0), (0, 1), (0, 2)]]


def test_keys_carry_the_epoch():
    assert {epoch for epoch, _ in order(epoch=7)} == {7}


def test_the_order_follows_from_seed_and_epoch():
    assert order(seed=3, epoch=5) == order(seed=3, epoch=5)
    draws = [[draw for _, draw in order(draws=100, seed=seed, epoch=e)] for seed, e in ((0, 0), (0, 1), (1, 0))]
    assert draws[0] != draws[1]
    assert draws[0] != draws[2]
    assert draws[1] != draws[2]
    assert draws[0] != list(range(100))


def test_an_epoch_does_not_depend_on_those_before_it():
    stream = ClipStream(10, batch=5, seed=0)
    for epoch in range(3):
        stream.begin(epoch)
        found = [key for keys in stream for key in keys]
    assert found == order(epoch=2)


@pytest.mark.parametrize("step", range(5))
def test_what_is_left_of_an_epoch_is_its_end(step: int):
    whole, rest = (ClipStream(23, batch=5, seed=1, parts=2, mine=range(2)) for _ in range(2))
    whole.begin(3)
    rest.begin(3, step=step)
    assert list(rest) == list(whole)[2 * step :]
    assert len(rest) == 2 * (4 - step)


def test_a_beginning_can_be_asked_for():
    whole, some = ClipStream(20, batch=5, seed=1), ClipStream(20, batch=5, seed=1)
    some.begin(0, until=3)
    assert list(some) == list(whole)[:3]
    some.begin(0, until=99)
    assert list(some) == list(whole)


@pytest.mark.parametrize(
    ("batch", "processes", "accumulate"), [(16, 2, 1), (16, 1, 4), (16, 3, 2), (7, 3, 1), (6, 1, 3)]
)
def test_parts_make_up_the_batch(batch: int, processes: int, accumulate: int):
    """In order, without gap or repetition; a part has pairs, and the last one also what is left over."""
    parts = processes * accumulate
    streams = [
        ClipStream(50, batch=batch, seed=0, parts=parts, mine=range(accumulate * rank, accumulate * (rank + 1)))
        for rank in range(processes)
    ]
    keys = [list(stream) for stream in streams]
    whole = list(ClipStream(50, batch=batch, seed=0))
    for step, expected in enumerate(whole):
        found = [part for mine in keys for part in mine[step * accumulate : (step + 1) * accumulate]]
        assert [key for part in found for key in part] == expected
        assert all(len(part) % 2 == 0 for part in found[:-1])
        assert min(map(len, found)) >= 2
        assert max(map(len, found)) - min(map(len, found)) <= 3


@pytest.mark.parametrize(
    ("draws", "batch", "way"), [(16, 5, r"raise train\.batch"), (5, 16, r"an epoch has 5 clips: raise train\.windows")]
)
def test_a_batch_that_is_too_small_to_be_cut_is_refused(draws, batch, way):
    with pytest.raises(UserError, match=f"a batch of 5 clips cannot be cut into 3 parts .*: {way}, or lower"):
        ClipStream(draws, batch=batch, seed=0, parts=3)
