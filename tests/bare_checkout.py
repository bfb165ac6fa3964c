"""A copy of the code alone, without git and DVC, in which one stage runs on the test's own data."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from src import params, paths
from tests.conftest import Checkout


def bare_checkout(path: Path) -> Checkout:
    """The code, recipes and params.yaml (which holds the defaults) in the folder `path`."""
    for folder in ("src", "recipes"):
        shutil.copytree(paths.ROOT / folder, path / folder)  # with what is compiled
    shutil.copy(paths.PARAMS, path)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    params.apply([], [], target=path / paths.PARAMS.name)
    return Checkout(path, env | {"PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])})
