"""Who holds a lock, asked by another process; and that it goes with its holder."""

import os
import subprocess
import sys

from src import paths
from src.tracking.lock import Lock

ASK = "import sys; from pathlib import Path; from src.tracking.lock import Lock; lock = Lock(Path(sys.argv[1]));"


def ask(lock: Lock, what: str) -> str:
    """What another process prints of it."""
    command = [sys.executable, "-c", f"{ASK} print(({what}))", str(lock.path)]
    return subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_others_see_who_holds_it_and_cannot_take_it(tmp_path):
    lock = Lock(tmp_path / "lock")
    assert lock.holder is None
    assert lock.acquire()
    assert ask(lock, "lock.holder, lock.acquire()") == f"({os.getpid()}, False)"
    lock.release()
    assert ask(lock, "lock.holder, lock.acquire()") == "(None, True)"


def test_it_is_free_once_its_holder_is_killed(tmp_path):
    lock = Lock(tmp_path / "lock")
    hold = f"{ASK} print(lock.acquire(), flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(lock.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=paths.ROOT, **pipes) as holder:
        assert holder.stdout.readline() == "True\n"
        assert (lock.holder, lock.acquire()) == (holder.pid, False)
        holder.kill()
    assert lock.holder is None
    assert lock.acquire()
    lock.release()
