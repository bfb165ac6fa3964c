"""The order of clips: all of them, shuffled by seed and epoch alone."""

from src.training.stream import ClipStream


def order(*, draws: int = 10, batch: int = 5, seed: int = 0, epoch: int = 0) -> list[tuple[int, int]]:
    stream = ClipStream(draws, batch=batch, seed=seed)
    stream.epoch = epoch
    return [key for keys in stream for key in keys]


def test_an_epoch_draws_every_clip_once():
    assert sorted(order()) == [(0, draw) for draw in range(10)]


def test_a_last_batch_that_is_not_full_is_left_out():
    stream = ClipStream(11, batch=4, seed=0)
    batches = list(stream)
    assert len(batches) == len(stream) == 2
    assert [len(batch) for batch in batches] == [4, 4]
    assert len({key for batch in batches for key in batch}) == 8


def test_fewer_clips_than_a_batch_are_one_batch():
    stream = ClipStream(3, batch=16, seed=0)
    assert len(stream) == 1
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
        stream.epoch = epoch
        found = [key for keys in stream for key in keys]
    assert found == order(epoch=2)
