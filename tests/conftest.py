"""What many tests share: a copy of the checkout, with tiny settings, to run real commands in; a tiny network."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the tests are divided among processes, which share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent

TINY = [
    *("dataset.actors=4", "dataset.clips=1", "split.test=0.25", "split.val=0.25"),
    *("extract.short_side=36", "extract.fps=8", "model.width=8", "model.frames=8", "model.crop=32"),
    *(
        "train.epochs=2",
        "train.windows=1",
        "train.warmup=0",
        "train.precision=fp32",
        "evaluate.views=2",
        "evaluate.bootstrap=200",
    ),
    *("runtime.workers=0", "runtime.cores=2"),
]

PATIENCE = {"SPOOL_WAIT": "300", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""Seconds before MLflow is given up: on a slow machine what is to arrive takes long. A test in which it never arrives
sets less."""

TINY_MODEL = {
    "depth": 18,
    "width": 8,
    "alpha": 4,
    "beta_inv": 4,
    "fusion_kernel": 5,
    "dropout": 0.5,
    "zero_init": False,
    "frames": 8,
    "stride": 1,
    "crop": 32,
}


@dataclass(frozen=True)
class Checkout:
    """A git checkout of this project in a folder of its own."""

    path: Path
    env: dict[str, str]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command there as a user with an activated environment would; `python` is this Python."""
        done = subprocess.run(command, cwd=self.path, env=self.env, capture_output=True, text=True, timeout=1200)
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command there and return at once; its output is a pipe of lines."""
        # A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that.
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.env | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def new_checkout(path: Path) -> Checkout:
    """Copy what git tracks (as it is in the working tree) to `path` and commit it there with tiny settings."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists() and name not in ("dvc.lock", "artifacts/metrics.json"):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_"))}
    env |= {
        "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]]),
        "DVC_SITE_CACHE_DIR": str(path.parent / "dvc-site-cache"),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",  # networks so small only wait for each other's threads
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # of a server: half a dozen processes for what is not used
        "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "1",
        **PATIENCE,
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    checkout = Checkout(path, env)
    checkout.run("python", "-m", "src.params", "apply", *(part for setting in TINY for part in ("--set", setting)))
    checkout.run("git", "init", "-q")
    checkout.run("git", "add", "-A")
    checkout.run("git", "commit", "-qm", "tiny")
    return checkout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the files whose tests run whole pipelines: begun late, one of them keeps a process busy on its own."""
    long = {item.path for item in items if {"reproduced", "checkout"} & set(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db without runs, to copy: to make one takes seconds."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which `dvc repro` has run once, and whose results are committed; tests leave it so.

    The processes that divide the tests among them have it made once, and a copy each.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    note = shared / "reproduced.json"
    with (shared / "reproduced.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            made = new_checkout(tmp_path_factory.mktemp("made") / "project")
            made.run("dvc", "repro")
            made.run("git", "add", "-A")
            made.run("git", "commit", "-qm", "results")
            note.write_text(json.dumps([str(made.path), made.env]))
    source, env = json.loads(note.read_text())
    path = tmp_path_factory.mktemp("reproduced") / "project"
    subprocess.run(["cp", "-a", source, path], check=True)
    return Checkout(path, env | {"DVC_SITE_CACHE_DIR": str(path.parent / "dvc-site-cache")})


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks so small that threads only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
