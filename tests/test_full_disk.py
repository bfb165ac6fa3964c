"""A disk that is full while a training saves: the last state stays, and with more room the same command goes on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import torch

from tests.conftest import Checkout
from tests.test_train import checkout  # noqa: F401, a fixture

SCRIPT = """
set -u
mount -t tmpfs -o size={first}k none .state/train
python -m src.train {settings}; echo "exit $?"
ls -A .state/train/*/
mount -o remount,size=64m .state/train
python -m src.train {settings}; echo "exit $?"
"""
"""In a mount namespace of its own, so that the file system of no other process changes."""

SETTINGS = ["train.epochs=6", "model.width=16"]


def options() -> list[str]:
    return [part for setting in SETTINGS for part in ("--set", setting)]


@pytest.fixture
def size(checkout: Checkout) -> int:  # noqa: F811
    """Bytes of the network's weights, of which a whole training leaves artifacts/model.pt."""
    checkout.run("python", "-m", "src.train", *options())
    model = checkout.path / "artifacts/model.pt"
    model.rename(checkout.path / "whole.pt")
    return (checkout.path / "whole.pt").stat().st_size


def test_a_full_disk_while_saving_keeps_the_last_state_and_says_so(checkout: Checkout, size: int):  # noqa: F811
    """Room for the best weights, a state of three times that (AdamW's two means), and half of another: the first epoch
    is saved, and the second not."""
    (checkout.path / ".state/train").mkdir(parents=True, exist_ok=True)
    script = SCRIPT.format(first=int(4.7 * size / 1024), settings=" ".join(options()))
    done = checkout.run(*_namespace(), "bash", "-c", script)
    first, _, second = done.stdout.partition("exit 1\n")
    assert "epoch   1/6" in first
    assert "epoch   2/6" not in first
    listing, _, rest = second.partition("resuming")
    assert listing.split()[-3:] == ["best-0001.pt", "last.pt", "spool"]
    assert rest.startswith(" after epoch 1 of 6")
    assert rest.rstrip().endswith("exit 0")
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert re.search(r"(best-0002|last)\.pt: cannot be written: No space left on device", error)
    assert "make room: the same command goes on from what was last saved" in error
    assert "Traceback" not in done.stderr
    whole, resumed = (
        torch.load(checkout.path / name, weights_only=True)["weights"] for name in ("whole.pt", "artifacts/model.pt")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def _namespace() -> list[str]:
    """The way to a mount of one's own on this machine: for root, or for anybody where the kernel lets them."""
    ways = [["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]]
    for way in ways:
        probe = [*way, "mount", "-t", "tmpfs", "-o", "size=64k", "none", str(Path("/mnt"))]
        if subprocess.run(probe, capture_output=True).returncode == 0:
            return way
    raise AssertionError("this test mounts a small tmpfs: run it as root or allow user namespaces")
