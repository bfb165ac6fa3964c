"""What stands in a spool after a crash, and what of it waits."""

from __future__ import annotations

import errno
import math
import resource
import signal

import pytest

from src import paths
from src.tracking import spool
from src.tracking.lock import Lock
from src.tracking.spool import Log, Spool

RUN = {"kind": "run", "uri": None, "experiment": "test", "tags": {}, "params": {}, "evaluates": None, "time": 1}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "STATE", tmp_path)


def lines(log: Log) -> list[dict]:
    return [record for _, record in log.read()]


def points(step: int, **values: float) -> dict:
    return {"kind": "points", "values": values, "step": step, "time": 2}


@pytest.mark.parametrize("holder", [-7, 0])
def test_a_sender_on_another_machine_or_in_another_container_is_left_alone(monkeypatch, holder):
    """To the system 0 is this process's own group."""
    mine = Spool.create(RUN)
    monkeypatch.setattr(Lock, "acquire", lambda _: False)
    monkeypatch.setattr(Lock, "holder", property(lambda _: holder))
    monkeypatch.setattr("os.kill", lambda *_: pytest.fail("it was killed"))
    assert mine.take_over() is False


def test_what_was_not_removed_to_its_end_is_swept_away(monkeypatch):
    mine, other = Spool.create(RUN), Spool.create(RUN)
    with monkeypatch.context() as ended:
        ended.setattr("shutil.rmtree", lambda *_, **__: None)
        mine.remove()
    assert len(list(spool.folder().iterdir())) == 2
    mine.sweep()
    assert [each.name for each in spool.folder().iterdir()] == [other.name]


@pytest.mark.parametrize(
    ("content", "last"),
    [(b"", None), (b'{"a": 1}\n{"a": 2}\n', {"a": 2}), (b'{"a": 1}\n\0\0\n{"a": 3', {"a": 1}), (b'{"a": 1', None)],
)
def test_the_last_line_is_the_last_that_is_whole(tmp_path, content, last):
    log = Log(tmp_path / "log")
    assert log.last() is None
    log.path.write_bytes(content)
    assert log.last() == last


def test_a_line_that_a_crash_has_torn_is_cut_off_and_appending_goes_on(tmp_path):
    log = Log(tmp_path / "log")
    log.path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a": ')
    assert lines(log) == [{"a": 1}, {"a": 2}]
    log.open()
    log.append({"a": 3})
    assert log.path.read_bytes() == b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'


def test_a_line_that_a_power_cut_has_emptied_is_passed_over(tmp_path):
    log = Log(tmp_path / "log")
    log.path.write_bytes(b'{"a": 1}\n\0\0\0\0\n{"a": 2}\n')
    assert lines(log) == [{"a": 1}, {"a": 2}]


def test_numbers_that_are_none_or_without_end_survive(tmp_path):
    log = Log(tmp_path / "log")
    log.open()
    log.append({"a": math.inf, "b": -math.inf, "c": math.nan})
    (read,) = lines(log)
    assert (read["a"], read["b"]) == (math.inf, -math.inf)
    assert math.isnan(read["c"])


def test_a_full_disk_tears_no_line(tmp_path):
    log = Log(tmp_path / "log")
    log.open()
    log.append({"a": 1})
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.size() + 4, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            log.append({"a": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert raised.value.errno == errno.EFBIG
    log.append({"a": 3})
    assert lines(log) == [{"a": 1}, {"a": 3}]


def test_what_waits_is_counted_behind_what_was_sent(tmp_path):
    (tmp_path / "table.csv").write_text("a")
    mine = Spool.create(RUN)
    assert mine.folder == tmp_path / "spool" / mine.name
    mine.records.append(points(1, loss=0.5, lr=0.1))
    sent = mine.records.size()
    mine.records.append(points(2, loss=0.5, lr=0.1))
    mine.records.append({"kind": "file", "file": mine.add_file(tmp_path / "table.csv"), "folder": None})
    mine.system.open()
    mine.system.append(points(0, cpu=1.0))
    assert mine.unsent() == (5, 1)
    mine.mark_sent({"records": sent, "files": 0, "system": mine.system.size()})
    assert mine.unsent() == (2, 1)
    assert mine.waits()
    mine.mark_sent(dict.fromkeys(("records", "files"), mine.records.size()) | {"system": mine.system.size()})
    assert not mine.waits()
    mine.trainer.release()


@pytest.mark.parametrize(("status", "done"), [("FINISHED", True), ("KILLED", False), ("FAILED", False)])
def test_only_what_ended_well_is_done_with(status, done):
    mine = Spool.create(RUN)
    mine.records.append({"kind": "end", "status": status, "time": 2})
    mine.mark_sent({"records": mine.records.size(), "files": mine.records.size(), "system": 0})
    mine.trainer.release()
    assert (mine.ended(), mine.done()) == (True, done)


def test_a_run_whose_trainer_is_gone_was_killed_and_one_that_has_ended_was_not():
    gone, ended = Spool.create(RUN), Spool.create(RUN | {"time": 0})
    ended.records.append({"kind": "end", "status": "FINISHED", "time": 2})
    for each in (gone, ended):
        each.trainer.release()
        each.end_if_dead()
    assert [lines(each.records)[-1]["status"] for each in spool.everyone()] == ["FINISHED", "KILLED"]
