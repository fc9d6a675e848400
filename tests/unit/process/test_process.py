# SPDX-License-Identifier: Apache-2.0
"""One at a time, and forks: whatever place a signal's handler comes in, it is let go of exactly as it was taken."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import pytest

from offramp import process
from tests.rigs.interrupts import Interrupt, at, count
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: threads, and fork


@pytest.fixture(autouse=True)
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was raised where Python can only show it."""
    shown: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda caught: shown.append(caught.exc_type))
    return shown


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    assert is_free()


def is_free() -> bool:
    """Whether another thread could be alone."""
    got: list[bool] = []

    def take() -> None:
        got.append(process._undivided.acquire(timeout=1.0))
        if got[0]:
            process._undivided.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return got[0]


def raises(*_: object) -> None:
    raise Interrupt


@contextmanager
def another_is_alone() -> Iterator[threading.Event]:
    """Another thread is, until the event is set."""
    inside, end = threading.Event(), threading.Event()

    def hold() -> None:
        with process.alone():
            inside.set()
            end.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    try:
        yield end
    finally:
        end.set()
        holder.join()


# -- alone -------------------------------------------------------------------------------------------------------------


def test_an_interrupt_anywhere_does_not_keep_the_lock() -> None:
    def work() -> None:
        with process.alone(), process.alone():
            pass

    for place in range(1, count(work) + 1):
        where = at(place, raises, work)
        assert is_free(), where


def test_interrupts_at_any_time_do_not_keep_the_lock() -> None:
    """By real signals: what `with` makes of a lock in C is Python's promise."""
    before = signal.signal(signal.SIGALRM, raises)
    try:
        for number in range(300):
            with suppress(Interrupt):
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + number % 20 * 1e-5)
                while True:
                    with process.alone(), process.alone():
                        pass
            assert not process._is_ours()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- when_alone --------------------------------------------------------------------------------------------------------


def test_work_is_done_at_once_if_nobody_is_alone() -> None:
    done: list[int] = []
    process.when_alone(lambda: done.append(threading.get_ident()))
    assert done == [threading.get_ident()]


def test_work_is_done_when_this_thread_has_left() -> None:
    done: list[bool] = []
    with process.alone():
        with process.alone():
            process.when_alone(lambda: done.append(process._is_ours()))
        assert not done
    assert eventually(lambda: done == [True])


def test_a_finalizer_waits_for_nobody() -> None:
    """The thread that is alone may wait for something that the one with the finalizer has."""
    done: list[int] = []
    with another_is_alone():
        process.when_alone(lambda: done.append(1))
        assert not done
    assert eventually(lambda: done == [1])


@pytest.mark.parametrize("busy", [False, True])
def test_work_is_not_lost_by_an_interrupt(busy: bool) -> None:
    done: list[bool] = []

    def work() -> None:
        process.when_alone(lambda: done.append(process._is_ours()))

    def meanwhile() -> None:
        with process.alone():
            work()

    doing = meanwhile if busy else work
    for place in range(3, count(doing) + 1):  # 1 and 2: it has not begun to ask, nor when_alone to listen
        done.clear()
        where = at(place, raises, doing)
        assert eventually(lambda: bool(done)), where
        assert all(done), where
        assert is_free(), where


def test_work_that_an_interrupt_cuts_short_is_done_again() -> None:
    done: list[str] = []

    def work() -> None:
        done.append("begun")
        if len(done) == 1:
            raise Interrupt
        done.append("ended")

    with suppress(Interrupt):
        process.when_alone(work)
    assert eventually(lambda: done == ["begun", "begun", "ended"])


def test_work_that_fails_is_told() -> None:
    def work() -> None:
        raise OSError("no")

    with pytest.warns(ResourceWarning, match="forgotten failed: no"):
        process.when_alone(work)


# -- each --------------------------------------------------------------------------------------------------------------


def test_each_is_done_whatever_happens_to_another() -> None:
    done: list[int] = []

    def fails() -> None:
        done.append(0)
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        process.each([lambda: done.append(1), fails, lambda: fails(), lambda: done.append(2)])
    assert done == [2, 0, 0, 0, 0, 1]


def test_each_is_done_wherever_an_interrupt_comes() -> None:
    done: set[int] = set()

    def work() -> None:
        process.each([lambda number=number: done.add(number) for number in range(3)])  # type: ignore[misc]

    for place in range(2, count(work) + 1):  # 1: it has not begun
        done.clear()
        where = at(place, raises, work)
        assert done == {0, 1, 2}, where


# -- forks -------------------------------------------------------------------------------------------------------------


def forked(check: Callable[[], bool]) -> int:
    """The status of a child: 0 if the check says so there, 2 if an exception came. To be waited for."""
    try:
        pid = os.fork()
    except BaseException:
        os._exit(3)
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 2
    try:
        status = 0 if check() else 1
    finally:
        os._exit(status)


def test_a_fork_waits_whatever_a_handler_raises(unraisable: list[object]) -> None:
    """A thread that is alone is not cut in two, and the lock is free afterwards, in both."""
    divided = True
    before = signal.signal(signal.SIGALRM, raises)
    try:
        with another_is_alone() as end:

            def finish() -> None:
                nonlocal divided
                time.sleep(0.2)
                divided = False
                end.set()

            finisher = threading.Thread(target=finish)
            finisher.start()
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            try:
                status = forked(lambda: not divided and is_free())
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            finisher.join()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert status == 0
    assert Interrupt in unraisable


@pytest.mark.parametrize("alone", [False, True])
def test_an_interrupt_anywhere_in_a_fork(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    """In the parent or in the child: each lets go of all, and has the lock as before."""
    held = [False]

    def let_go() -> None:
        held[0] = False

    monkeypatch.setattr(process, "_holders", {name: process._Holder(let_go, None) for name in process.ORDER})
    parent, statuses = os.getpid(), [0]

    def fork() -> None:
        if os.fork():
            statuses.append(os.wait()[1])

    def forks() -> None:
        if alone:
            with process.alone():
                fork()
                assert process._is_ours()
        else:
            fork()

    where, place = "somewhere", 0
    while where:
        place, held[0] = place + 1, True
        reading, writing = os.pipe()
        status = 1
        try:
            where = at(place, raises, forks)
            if os.getpid() != parent:
                os.write(writing, where.encode())
                status = 0 if not held[0] and is_free() else 1
        finally:
            if os.getpid() != parent:
                os._exit(status)
        os.close(writing)
        where = os.read(reading, 200).decode() or where
        os.close(reading)
        assert statuses.pop() == 0, where
        assert held[0]
        assert is_free(), where
    assert place > 10


def test_the_child_is_not_locked_out(unraisable: list[object]) -> None:
    """By a thread that is not there, when so many interrupts have come that the fork went on without the lock."""

    def interrupt(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is process._have_the_lock.__code__:
            raise Interrupt

    before = signal.signal(signal.SIGALRM, raises)
    try:
        with another_is_alone():
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            sys.settrace(interrupt)
            status = forked(lambda: process._undivided.acquire(timeout=1.0))  # a new thread may be taken for the old
    finally:
        sys.settrace(None)
        signal.signal(signal.SIGALRM, before)
    assert status == 0
    assert unraisable.count(Interrupt) == 2
