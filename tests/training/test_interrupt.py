"""Signals are noted, and the second one is obeyed at once."""

import os
import signal
import threading

import pytest

from src.training import interrupt
from src.training.interrupt import held_back


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted(number):
    before = signal.getsignal(number)
    with held_back() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) is before


def test_the_same_signal_passed_on_by_a_launcher_is_still_the_first(monkeypatch):
    monkeypatch.setattr(interrupt, "AT_ONCE", 60.0)  # on a slow machine a second may pass between the two
    with held_back() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()


def test_a_second_one_later_interrupts_at_once(monkeypatch):
    monkeypatch.setattr(interrupt, "AT_ONCE", 0.0)
    with held_back() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_nothing_is_held_back():
    found = []

    def work():
        with held_back() as stop:
            found.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
