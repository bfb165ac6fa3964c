"""Facts and frames → one HTML page that needs nothing beside it: styles, drawings and pictures are in it.

A template lies in templates/ and is handed plain values; all that it prints of them is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

HERE = Path(__file__).resolve().parent

CELL = (72, 128)  # pixels: height of a frame in a contact sheet, and the width that it has at most
GAP = 2  # pixels between two frames
BUDGET = 30_000  # bytes of a contact sheet: 40 kB in base64, so a page of 101 classes stays near 4 MB


@dataclass(frozen=True)
class Picture:
    """A JPEG and its size in pixels."""

    jpeg: bytes
    height: int
    width: int

    @property
    def uri(self) -> str:
        """The picture itself, for where a page would name a file."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


def png(path: Path) -> str:
    """A figure itself, for where a page would name its file."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


@dataclass(frozen=True)
class Bar:
    """How many values are at least `low` and below `high`; None: there is no end."""

    low: float
    high: float | None
    count: int


def render(template: str, **values: Any) -> str:
    """The page that `templates/{template}` makes of `values`. A value that the template lacks is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([HERE / "templates", HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "percent": percent, "exact": exact, "thousands": "{:,}".format}
    return environment.get_template(template).render(values)


def count(things: Sized, noun: str) -> str:
    """How many there are, with the noun in its number: 1 class, 1,000 classes."""
    plural = noun if len(things) == 1 else noun + ("es" if noun.endswith("s") else "s")
    return f"{len(things):,} {plural}"


def duration(seconds: float) -> str:
    """A length of time as people say it, to three figures."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.{0 if seconds >= 100 * size else 1}f} {unit}"
    return f"{seconds:.1f} s"


def percent(share: float) -> str:
    """A share in whole per cent; what is there is never 0 %, and what is not all never 100 %."""
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def exact(share: float) -> str:
    """A share in per cent with one decimal."""
    return f"{100 * share:.1f} %"


def histogram(values: Sequence[float], *, bars: int = 20, limit: float = math.inf) -> list[Bar]:
    """Counts of values > 0 from 0 on, in at most `bars` steps of 1, 2 or 5 times a power of ten.

    Where some are larger than `limit`, one open bar holds all of these: a few do not squeeze the others.
    """
    top = min(max(values), limit)
    power = 10.0 ** math.floor(math.log10(top / bars))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * bars > top * (1 - 1e-9))
    counts = [0] * math.ceil(top / step - 1e-9)
    over = 0
    for value in values:
        if value > top:
            over += 1
        else:
            counts[min(int(value / step + 1e-9), len(counts) - 1)] += 1
    edges = [round(step * number, 9) for number in range(len(counts) + 1)]
    result = [Bar(edges[number], edges[number + 1], count) for number, count in enumerate(counts)]
    return [*result, Bar(edges[-1], None, over)] if over else result


def contact_sheet(rows: Sequence[np.ndarray], *, cell: tuple[int, int] = CELL) -> Picture:
    """A row of small pictures for each `(T, H, W, 3)` uint8 RGB array; at most `BUDGET` bytes of JPEG, if they suffice.

    `cell` is the height that a picture has room for, and the width, in pixels.
    """
    import numpy as np

    from src.video import jpeg

    cells = [[_fitted(frame, cell) for frame in frames] for frames in rows]
    height, width = cell[0], max(cell.shape[1] for row in cells for cell in row)
    columns = max(len(row) for row in cells)
    sheet = np.zeros((len(cells) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), np.uint8)
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            top = i * (height + GAP) + (height - cell.shape[0]) // 2
            left = j * (width + GAP) + (width - cell.shape[1]) // 2
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    for quality in (90, 80, 70, 60, 45, 30, 15, 5):
        data = jpeg.encode(sheet, quality=quality)
        if len(data) <= BUDGET:
            break
    return Picture(data, *sheet.shape[:2])


def _fitted(frame: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """The frame scaled to the largest size that a cell has room for."""
    import av
    import numpy as np

    height, width = frame.shape[:2]
    scale = min(cell[0] / height, cell[1] / width)
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    size = {"width": max(1, round(scale * width)), "height": max(1, round(scale * height))}
    return image.reformat(**size, interpolation="BICUBIC").to_ndarray()
