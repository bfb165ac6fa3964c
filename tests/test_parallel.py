"""One function over many files: each result once, and a worker that dies takes nobody else's with it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from src import parallel, paths


def square(number: int) -> int:
    return number * number


def die_on_three(number: int) -> int:
    if number == 3:
        os._exit(1)
    return square(number)


def die_late(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(1)


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is wrong")
    return square(number)


def meet_another(folder: Path) -> int:
    """Return this process's number as soon as a second one has come to `folder` too."""
    (folder / str(os.getpid())).touch()
    until(lambda: len(list(folder.iterdir())) == 2)
    return os.getpid()


def raise_a_signal(number: signal.Signals) -> str:
    os.kill(os.getpid(), number)
    return "alive"


def test_every_item_comes_back_with_its_result():
    found = dict(parallel.each(square, list(range(10)), processes=2, title="squares"))
    assert found == {number: number * number for number in range(10)}


def test_no_items_need_no_worker():
    assert list(parallel.each(square, [], processes=None, title="squares")) == []


def test_the_work_is_divided_among_as_many_processes_as_asked_for(tmp_path):
    pids = {pid for _, pid in parallel.each(meet_another, [tmp_path] * 6, processes=2, title="pids")}
    assert pids == {int(path.name) for path in tmp_path.iterdir()}
    assert os.getpid() not in pids


def test_an_item_that_kills_its_worker_is_named_and_the_others_are_done():
    found = dict(parallel.each(die_on_three, list(range(12)), processes=2, title="squares"))
    assert isinstance(found.pop(3), parallel.Died)
    assert found == {number: number * number for number in range(12) if number != 3}


def test_after_a_death_not_every_item_gets_a_process_of_its_own(monkeypatch):
    pools = []
    run = parallel._run

    def counted(pool, function, items):
        pools.append(len(items))
        return run(pool, function, items)

    monkeypatch.setattr(parallel, "_run", counted)
    found = dict(parallel.each(die_on_three, [3, *range(100, 120)], processes=1, title="squares"))
    assert len(found) == 21
    assert pools == [21, 1, 1, 1, 18]


def test_a_death_before_all_items_are_handed_in_takes_none_of_them_with_it(monkeypatch):
    pools = []

    class Slow(ProcessPoolExecutor):
        def submit(self, *task):
            if task[1] == 3:
                pools.append(self)
            if task[1] == 5 and pools == [self]:  # it has died of 3 by then, and takes no more
                until(lambda: self._broken)
            return super().submit(*task)

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Slow)
    found = dict(parallel.each(die_on_three, [3, 4, 5, 6, 7, 8, 9, 10], processes=1, title="squares"))
    assert isinstance(found.pop(3), parallel.Died)
    assert found == {number: number * number for number in range(4, 11)}


def test_a_death_says_how_long_its_item_took_alone():
    (_, died), (_, quick) = sorted(parallel.each(die_late, [0.0, 5.0], processes=1, title="naps"), reverse=True)
    assert died.after >= 5.0
    assert quick.after < died.after  # a process's start, which it has in common with the other


def test_an_exception_of_the_function_is_raised_here():
    with pytest.raises(ValueError, match="three is wrong"):
        list(parallel.each(fail_on_three, list(range(6)), processes=2, title="squares"))


def test_ctrl_c_is_left_to_the_parent():
    results = parallel.each(raise_a_signal, [signal.SIGINT], processes=1, title="signals")
    assert list(results) == [(signal.SIGINT, "alive")]


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "napping.py").write_text(
        "import os, pathlib, sys, time\n"
        "from src import parallel\n"
        "def nap(folder):\n"
        "    pathlib.Path(folder, str(os.getpid())).touch()\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    list(parallel.each(nap, [sys.argv[1]] * 2, processes=2, title='naps'))\n"
    )
    (tmp_path / "pids").mkdir()
    env = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    command = [sys.executable, str(tmp_path / "napping.py"), str(tmp_path / "pids")]
    parent = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
    finally:
        parent.kill()
        parent.wait()
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    try:
        until(lambda: not any(is_running(pid) for pid in pids))
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until(condition, *, patience: float = 300.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
