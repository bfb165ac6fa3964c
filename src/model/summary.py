"""The settings of `model` → what each stage of the network gives out and costs, for one clip.

Nothing is computed: the network runs on tensors that have a shape, a type and a device, and no content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from src.model.checkpoint import build

Part = tuple[str, str]
"""A stage and what of it: `("res2", "slow")`."""

HEAD: Part = ("head", "")
"""All that happens outside of pathways and laterals."""


@dataclass(frozen=True)
class Row:
    """One part of the network on one clip.

    output         its shape, channels first, without the batch
    multiply_adds  of convolutions and matrix products in the forward pass, as papers count them
    activations    bytes that automatic differentiation keeps of one clip for the backward pass. What two operations
                   keep is counted once, where it is kept first; the clip itself is included
    """

    stage: str
    part: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activations: int


def summarise(model: dict[str, Any], *, classes: int, device: torch.device) -> list[Row]:
    """A row for each pathway and lateral of each stage, in the order in which they run, and one for the head.

    `model` is the section of params.yaml. The activations are those of training on `device` in the precision that
    autocast gives when this is called: which operations it leaves in float32 depends on the device.
    """
    frames, crop = model["frames"], model["crop"]
    with FakeTensorMode(), device:
        # What a third clip adds to two: so whatever is kept once for a batch, such as weights cast to bfloat16, falls
        # out. A single clip may be too small for batch norm, which wants two values of each channel.
        def a_clip() -> list[Row]:
            two, three = (
                _measure(build(model, classes=classes), torch.empty(clips, 3, frames, crop, crop)) for clips in (2, 3)
            )
            return [
                replace(
                    more,
                    multiply_adds=more.multiply_adds - less.multiply_adds,
                    activations=more.activations - less.activations,
                )
                for more, less in zip(three, two, strict=True)
            ]

        rows = a_clip()
        # What the network multiplies and adds, not what a CPU does in its place, in bfloat16 or while it learns.
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            plain = a_clip()
    return [replace(row, multiply_adds=other.multiply_adds) for row, other in zip(rows, plain, strict=True)]


def table(rows: Sequence[Row]) -> str:
    """The rows with a total, in columns for a terminal."""
    cells = [["stage", "part", "output C × T × H × W", "parameters", "multiply-adds", "activations"]]
    cells += [[row.stage, row.part, " × ".join(map(str, row.output)), *_costs([row])] for row in rows]
    cells += [["total", "", "", *_costs(rows)]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = "<<<>>>"
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in cells
    )


def _measure(network: nn.Module, clips: Tensor) -> list[Row]:
    """One forward pass of training, channels last; the rows are in the order in which the parts run."""
    parts = {
        (stage, part): module
        for part, stages in network.named_children()
        if isinstance(stages, nn.Sequential)
        for stage, module in stages.named_children()
    }
    outputs: dict[Part, tuple[int, ...]] = {}
    operations: Counter[Part] = Counter()
    kept: dict[torch.UntypedStorage, Part] = {}
    counter, place, counted = FlopCounterMode(display=False), HEAD, 0

    def go_to(part: Part) -> None:
        nonlocal place, counted
        total = counter.get_total_flops()
        operations[place] += total - counted
        place, counted = part, total

    def leave(part: Part, output: Tensor) -> None:
        outputs[part] = tuple(output.shape[1:])
        go_to(HEAD)

    def keep(saved: Tensor) -> Tensor:
        kept.setdefault(saved.untyped_storage(), place)
        return saved

    for part, module in parts.items():
        module.register_forward_pre_hook(lambda *_, part=part: go_to(part))
        module.register_forward_hook(lambda _module, _inputs, output, part=part: leave(part, output))
    channels_last = {"memory_format": torch.channels_last_3d}
    for weight in network.parameters():
        if weight.dim() == 5:  # one by one: Module.to would swap what FakeTensorMode has references to
            weight.data = weight.data.to(**channels_last)
    with counter, saved_tensors_hooks(keep, lambda saved: saved):
        logits = network.train()(clips.contiguous(**channels_last))
    leave(HEAD, logits)

    parameters = {part: _count(parts[part]) for part in outputs if part != HEAD}
    parameters[HEAD] = _count(network) - sum(parameters.values())
    activations: Counter[Part] = Counter()
    for storage, part in kept.items():
        activations[part] += storage.nbytes()
    # The counter takes a multiplication and an addition for two operations.
    return [
        Row(*part, output, parameters[part], operations[part] // 2, activations[part])
        for part, output in outputs.items()
    ]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _costs(rows: Sequence[Row]) -> list[str]:
    parameters, multiply_adds, activations = (
        sum(getattr(row, cost) for row in rows) for cost in ("parameters", "multiply_adds", "activations")
    )
    return [f"{parameters:,}", _short(multiply_adds), f"{_short(activations)}B"]


def _short(number: int) -> str:
    """`27637976320` as `27.64 G`."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f} {prefix}"
    return f"{number} "
