"""A pickle of plain containers and NumPy arrays → these, and nothing else: nothing that the file names is run.

A pickle is a program that may call whatever Python can import. Here it reaches the few names that an array needs, and
each of them stands for something of this module's own; any other name is refused before it is looked up.
"""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

NUMBER = re.compile(r"[biuf]\d{1,2}")
BYTE_ORDERS = ("<", ">", "=", "|")


def read(path: Path) -> Any:
    """What is pickled in `path`, with an `Array` for each array; text and arrays of Python 2 are read as well.

    Raises `pickle.UnpicklingError` that names it for anything but containers, text, numbers and arrays of numbers,
    and whatever `pickle` raises for a file that is no pickle or is cut short.
    """
    with path.open("rb") as file:
        return _Unpickler(file, encoding="latin1").load()


class DType:
    """In the place of `numpy.dtype`: the name of a number's type and then, as state, its byte order."""

    def __init__(self, name: str, *_: Any):
        if not isinstance(name, str) or not NUMBER.fullmatch(name):
            raise pickle.UnpicklingError(f"it holds an array of {name!r}, not of numbers")
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in BYTE_ORDERS:
            raise pickle.UnpicklingError(f"it holds an array of the byte order {state[1]!r}")
        self.order = state[1]


class Array:
    """In the place of `numpy.ndarray`: `values` holds the array that its state describes."""

    values = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, by_columns, content = state
        if not isinstance(dtype, DType):
            raise pickle.UnpicklingError(f"it holds an array of {dtype!r}, not of numbers")
        kind = np.dtype(dtype.order + dtype.name)
        content = content.encode("latin1") if isinstance(content, str) else content
        if len(content) != math.prod(shape) * kind.itemsize:
            raise pickle.UnpicklingError(f"it holds an array of shape {shape} in {len(content)} bytes")
        self.values = np.frombuffer(content, kind).reshape(shape, order="F" if by_columns else "C")


class Reconstruct:
    """In the place of NumPy's own: an array whose state follows. No function, whose attributes a pickle could set."""

    __slots__ = ()

    def __call__(self, kind: type, *_: Any) -> Array:
        if kind is not Array:
            raise pickle.UnpicklingError(f"it holds an array of the type {kind!r}")
        return Array()


class Encode:
    """In the place of `_codecs.encode`: bytes, which Python 3 writes as Latin-1 text for Python 2 to read."""

    __slots__ = ()

    def __call__(self, text: str, *_: Any) -> bytes:
        return text.encode("latin1")


ADMITTED = {
    ("numpy", "dtype"): DType,
    ("numpy", "ndarray"): Array,
    ("numpy.core.multiarray", "_reconstruct"): Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): Reconstruct(),  # since NumPy 2
    ("_codecs", "encode"): Encode(),
    ("collections", "OrderedDict"): OrderedDict,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and nothing but arrays of numbers is read")
        return ADMITTED[module, name]
