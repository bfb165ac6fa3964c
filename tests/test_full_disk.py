"""A disk that is full while a training saves: the last state stays, and with more room the same command goes on."""

from __future__ import annotations

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

SETTINGS = ["train.epochs=6", "model.width=16", "train.keep=last"]  # so that each epoch is the best so far


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
    """Of the size of the weights, a state is three times that (AdamW's two means), and is written beside the last one.
    Room for seven and a half: when the second epoch is done, the best so far, its weights are kept, its state not."""
    (checkout.path / ".state/train").mkdir(parents=True, exist_ok=True)
    script = SCRIPT.format(first=int(7.5 * size / 1024), settings=" ".join(options()))
    done = checkout.run(*_namespace(), "bash", "-c", script)
    first, _, second = done.stdout.partition("exit 1\n")
    assert "epoch   1/6" in first
    assert "epoch   2/6" not in first
    listing, _, rest = second.partition("resuming")
    assert listing.split()[-4:] == ["best-0001.pt", "best-0002.pt", "last.pt", "spool"]
    assert rest.startswith(" after epoch 1 of 6")
    assert rest.rstrip().endswith("exit 0")
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "last.pt: cannot be written: No space left on device" in error
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
