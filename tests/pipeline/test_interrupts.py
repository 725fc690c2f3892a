from __future__ import annotations

import signal
import threading

import pytest

from rung.pipeline.interrupts import catch_interrupts


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_first_is_a_request_and_the_second_leaves() -> None:
    with catch_interrupts() as interrupted:
        assert not interrupted()
        press()
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_afterwards_everything_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), catch_interrupts():
        press()
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_caught() -> None:
    found = []

    def work() -> None:
        with catch_interrupts() as interrupted:
            found.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
