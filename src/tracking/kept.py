"""Which of a run's checkpoints are kept in so many bytes."""

from __future__ import annotations

from collections.abc import Mapping


def kept(sizes: Mapping[int, int], *, best: int, last: int, budget: int) -> list[int]:
    """Of epochs with their bytes: the best, the last, and as many of the latest as fit beside them.

    If best and last do not fit together, the best alone; if that does not fit, none.
    """
    wanted = [best, last, *sorted(sizes.keys() - {best, last}, reverse=True)]
    chosen, free = [], budget
    for epoch in dict.fromkeys(wanted):
        if epoch not in sizes:  # the best was before checkpoints were wanted
            continue
        if sizes[epoch] > free:
            break
        chosen.append(epoch)
        free -= sizes[epoch]
    return sorted(chosen)
