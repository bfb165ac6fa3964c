"""What an interrupted training leaves behind: one owner at a time, whole files, and a name for its settings."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from src.command import UserError
from src.model.checkpoint import save
from src.training.state import TrainingState, abandoned, fingerprint, locked

ROOT = Path(__file__).parents[2]

# Owns the folder, and has a child, as a training has its loader's workers: they outlive a kill -9 for a while.
HOLDER = """
import os, sys, time
from pathlib import Path
from src.training.state import locked

with locked(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(600)
"""


def test_a_fingerprint_changes_with_any_setting():
    values = {"train": {"lr": 0.1, "clip_norm": None}, "classes": ["Walk", "Run"], "mirrored": [1, 0]}
    others = [
        values | {"train": {"lr": 0.2, "clip_norm": None}},
        values | {"train": {"lr": 0.1, "clip_norm": 1.0}},
        values | {"classes": ["Run", "Walk"]},
        values | {"mirrored": None},
        values | {"more": 1},
    ]
    assert len({fingerprint(each) for each in [values, *others]}) == 6


def test_a_fingerprint_does_not_depend_on_the_order_of_keys():
    assert fingerprint({"a": {"b": 1, "c": 2}, "d": 3}) == fingerprint({"d": 3, "a": {"c": 2, "b": 1}})


def test_a_fingerprint_is_the_name_of_a_folder():
    assert len(fingerprint({})) == 16
    assert int(fingerprint({}), 16) >= 0
    # The same tomorrow and in another process, unlike Python's own hash.
    assert fingerprint({"a": 1}) == "f9d86028c6e0d64e"


def test_a_second_process_is_refused_until_the_first_is_gone_and_what_that_left_is_known(tmp_path):
    folder = tmp_path / "state"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(UserError, match=rf"process {holder.pid} is training .* stop it"), locked(folder):
            pass
        with locked(tmp_path / "other") as other:
            assert abandoned(other.folder) == []
            holder.kill()
            holder.wait()
            assert abandoned(other.folder) == [folder]
        with locked(folder) as state:
            assert state.folder == folder
    finally:
        os.kill(child, signal.SIGKILL)
        holder.kill()
        holder.communicate()


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="lost"), locked(tmp_path / "state"):
        raise RuntimeError("lost")
    with locked(tmp_path / "state") as state:
        assert state.load(torch.device("cpu")) is None


def test_what_is_saved_is_loaded_again(tmp_path):
    state = TrainingState(tmp_path / "state")
    saved = {"model": {"weight": torch.arange(3.0)}, "optimizer": {"step": 4}, "history": [{"epoch": 1, "lr": 0.1}]}
    state.save(saved)
    loaded = state.load(torch.device("cpu"))
    assert loaded["model"]["weight"].tolist() == [0, 1, 2]
    assert {key: loaded[key] for key in ("optimizer", "history")} == {
        "optimizer": {"step": 4},
        "history": [{"epoch": 1, "lr": 0.1}],
    }
    assert sorted(path.name for path in state.folder.iterdir()) == ["last.pt"]


def test_the_best_weights_stay_until_better_ones_come(tmp_path):
    state = TrainingState(tmp_path / "state")
    for value, best in ((1.0, True), (2.0, False), (3.0, True), (4.0, False)):
        weights = {"weight": torch.tensor(value)}
        if best:
            state.save_best(weights, epoch=int(value))
        state.save({"model": weights})
        state.drop_others(1 if value < 3 else 3)
    assert state.best(3)["weight"] == 3.0
    assert sorted(path.name for path in state.folder.iterdir()) == ["best-0003.pt", "last.pt"]
    assert state.load(torch.device("cpu"))["model"]["weight"] == 4.0


def test_the_tracked_run_is_remembered_and_all_is_discarded_in_the_end(tmp_path):
    with locked(tmp_path / "state") as state:
        assert state.spool is None
        state.spool = "abc"
        assert TrainingState(tmp_path / "state").spool == "abc"
        state.discard()
        assert not state.folder.exists()


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: what a full disk does to it, without filling one."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


@pytest.mark.parametrize("kilobytes", [0, 50, 399, 401])
def test_a_full_disk_leaves_the_last_state_and_one_line(tmp_path, kilobytes):
    state = TrainingState(tmp_path / "state")
    state.save_best({"weight": torch.ones(2)}, epoch=1)
    state.save({"history": [1]})
    weights = {"weight": torch.zeros(100_000)}
    for save_, name in ((lambda w: state.save_best(w, epoch=2), "best-0002.pt"), (state.save, "last.pt")):
        with no_file_above(kilobytes * 1000), pytest.raises(UserError) as error:
            save_(weights)
        message = str(error.value)
        assert "\n" not in message
        assert name in message
        assert "File too large" in message
        assert "disk is full" in message
        assert "from what was last saved" in message
    assert state.load(torch.device("cpu"))["history"] == [1]
    assert state.best(1)["weight"].tolist() == [1, 1]
    assert sorted(path.name for path in state.folder.iterdir()) == ["best-0001.pt", "last.pt"]


def test_a_state_whose_removal_was_broken_off_is_none(tmp_path, monkeypatch):
    """Without what it names it could not be gone on from, and never be begun anew."""
    state = TrainingState(tmp_path / "state")
    state.save_best({"weight": torch.ones(2)}, epoch=1)
    state.save({"history": [1]})
    monkeypatch.setattr(shutil, "rmtree", lambda folder: None)
    state.discard()
    assert state.load("cpu") is None


def test_what_a_killed_process_had_half_written_is_removed(tmp_path):
    with locked(tmp_path / "state"):
        (tmp_path / "state" / ".last.pt.123-abcd").write_text("half")
    with locked(tmp_path / "state") as state:
        assert list(state.folder.iterdir()) == []


def test_a_file_is_replaced_not_overwritten(tmp_path):
    """Who has the old one open still reads the old one, whole."""
    save(tmp_path / "last.pt", {"epoch": 1})
    with (tmp_path / "last.pt").open("rb") as old:
        save(tmp_path / "last.pt", {"epoch": 2})
        assert torch.load(old, weights_only=True) == {"epoch": 1}
    assert torch.load(tmp_path / "last.pt", weights_only=True) == {"epoch": 2}


def test_an_interruption_while_saving_leaves_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save(path, {"epoch": 1})

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, {"epoch": 2})
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_saved_is_no_full_disk(tmp_path):
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        save(tmp_path / "last.pt", {"made here": lambda: None})
    assert list(tmp_path.iterdir()) == []
