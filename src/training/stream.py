"""Which clip comes when: an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class ClipStream(Sampler):
    """Batches of `(epoch, draw)` keys, every draw once an epoch, in an order that each epoch shuffles anew.

    Set `epoch` before iterating. A last batch that is not full is left out: its batch statistics would be of fewer
    clips. With less than one batch altogether, that one is used.
    """

    def __init__(self, draws: int, *, batch: int, seed: int):
        self.draws, self.batch, self.seed, self.epoch = draws, batch, seed, 0

    def __len__(self) -> int:
        return max(1, self.draws // self.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.draws).tolist()
        for start in range(0, len(self) * self.batch, self.batch):
            yield [(self.epoch, draw) for draw in order[start : start + self.batch]]
