"""Which clip comes when, and in which process: decided by seed and epoch alone.

As in MosaicML's StreamingDataset, the order is one for the whole job: processes, parts and restarts only cut it up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from src.command import UserError

Key = tuple[int, int]
"""`(epoch, draw)`: all that a clip depends on, with the seed."""


class ClipStream(Sampler):
    """Lists of `(epoch, draw)` keys, every draw once an epoch, in an order that each epoch shuffles anew.

    A batch is cut into `parts`, of which this process is given those in `mine`, one list each: with every part on its
    own process, or all on one, the batch is the same. The clips at places 2i and 2i + 1 of a batch are never cut
    apart, so that they can be mixed wherever they are. Call `begin` before iterating.

    A last batch that is not full is left out: its batch statistics would be of fewer clips. With less than one batch
    altogether, that one is used. Raises `UserError` for a batch that has fewer than two clips for each part.
    """

    def __init__(self, draws: int, *, batch: int, seed: int, parts: int = 1, mine: range = range(1)):
        self.draws, self.batch, self.seed, self.mine = draws, min(batch, draws), seed, mine
        if self.batch < 2 * parts:
            more = "raise train.batch" if batch <= draws else f"an epoch has {draws} clips: raise train.windows"
            raise UserError(
                f"a batch of {self.batch} clips cannot be cut into {parts} parts of at least two (runtime.processes × "
                f"train.accumulate): {more}, or lower the others"
            )
        pairs = self.batch // 2
        self.cuts = [2 * (pairs * part // parts) for part in range(parts)] + [self.batch]
        self.begin(0)

    def begin(self, epoch: int, *, step: int = 0, until: int | None = None) -> None:
        """The next iteration is over `epoch` from batch `step` on, to its end or to batch `until`."""
        self.epoch, self.first, self.last = epoch, step, self.steps if until is None else min(until, self.steps)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return max(1, self.draws // self.batch)

    def __len__(self) -> int:
        return (self.last - self.first) * len(self.mine)

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.draws).tolist()
        for start in range(self.first * self.batch, self.last * self.batch, self.batch):
            for part in self.mine:
                yield [(self.epoch, draw) for draw in order[start + self.cuts[part] : start + self.cuts[part + 1]]]
