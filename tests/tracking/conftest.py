"""A checkout whose stages are a few lines of a test, and a server for all tests."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src import paths
from tests.conftest import PATIENCE, Checkout
from tests.tracking.servers import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Tests that stop it start it again."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def checkout(tmp_path: Path, empty_store: Path) -> Checkout:
    """The code alone; runs go to its own mlflow.db."""
    path = tmp_path / "project"
    shutil.copytree(paths.ROOT / "src", path / "src")  # with what is compiled
    shutil.copy(empty_store, path)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "SPOOL_", "PYTHONPATH"))}
    env |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.5",
        **PATIENCE,
        "OMP_NUM_THREADS": "1",
    }
    return Checkout(path, env)


@pytest.fixture
def remote(checkout: Checkout, server: Server) -> Checkout:
    """The same, on the server, in an experiment of its own."""
    return at(checkout, server.uri)


def at(checkout: Checkout, uri: str, **env: str) -> Checkout:
    """`checkout` with its runs at `uri`."""
    where = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": checkout.path.parent.name}
    return Checkout(checkout.path, checkout.env | where | env)
