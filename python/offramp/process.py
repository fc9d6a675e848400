# SPDX-License-Identifier: Apache-2.0
"""What this process must let go of when it forks or ends, and in which order.

    ORDER      in a forked child                           when the process ends
    ramps      descriptors closed: they are the parent's    left to the kernel, which detaches; a warning for each
    ports      closed, the ramps' and others                left to Python's own end, or to the kernel
    changes    forgotten: the parent gives them back        given back
    guardian   its line closed: it is the parent's          it ends after the last change
    locks      descriptors closed: a child holds none       left to the kernel
    compiler   its pipes closed: it is the parent's         ended

A room that holds something registers it with `holds`. All of it is let go of in this order. If one part fails, the
others are let go of all the same. An interrupt (a signal handler that raises) ends whatever is under way, as any
exception does; then the order within a ramp counts: its program goes first.

A child has to know what there is to let go of, so nobody forks while something is opened, closed or changed: that
happens in `alone`. One thread opens at a time: the next one waits while it observes its flow, and while a driver that
resets its link is without carrier. What the collector would close meanwhile waits (`when_alone`). Wherever an interrupt
comes:

    alone        is a lock made in C, entered by a bare `with`: Python runs no handler between taking it and the body,
                 nor between the body and its release. So nothing in Python may stand in between, no generator either
    when_alone   does its work, or leaves it to a thread, in which no handler runs; it never waits for the lock
    a handler    that interrupts its thread in `alone` opens and replaces nothing, which is an error; what it closes is
                 closed by a thread (`when_alone`). So nobody finds anything half done
    a fork       has the lock once more, exactly, until it is done. An interrupt is shown, and the fork goes on
    each         does again what was cut short

A process is told from its parent by its forks, not by its number: the first process of a PID namespace is 1, and so may
its child be (`generation`; native code: sys/process.rs).

Python runs handlers where a function begins, after a call returns, and where a loop goes back; nowhere else.
Only this module calls os.register_at_fork and atexit.register.
"""

from __future__ import annotations

import _thread
import atexit
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, TypeVar

from offramp.errors import OfframpError
from offramp.immutable import immutable

__all__ = [
    "ORDER",
    "alone",
    "check_not_interrupted",
    "each",
    "generation",
    "holds",
    "if_alone",
    "is_interrupted",
    "taking",
    "when_alone",
]

ORDER: Final = ("ramps", "ports", "changes", "guardian", "locks", "compiler")


@immutable
class _Holder:
    in_child: Callable[[], None]
    at_exit: Callable[[], None] | None


_Result = TypeVar("_Result")
_holders: dict[str, _Holder] = {}
_undivided = threading.RLock()
_forks: list[None] = []
_is_ours: Callable[[], bool] = _undivided._is_owned  # type: ignore[attr-defined]  # as threading.Condition asks


def holds(name: str, *, in_child: Callable[[], None], at_exit: Callable[[], None] | None = None) -> None:
    """What `name`, one of ORDER, does in a forked child, and when the process ends; None: nothing. Both may be called
    again, after an interrupt.
    """
    assert name in ORDER, name
    assert name not in _holders, name
    _holders[name] = _Holder(in_child, at_exit)


def generation() -> int:
    """How many forks lie behind this process: different in it and in all that it was forked from."""
    return len(_forks)


def alone() -> AbstractContextManager[object]:
    """Keep others from opening, closing, changing or forking meanwhile. A thread may enter it again."""
    return _undivided


def is_interrupted() -> bool:
    """Whether this thread is in `alone`: then whoever asks is a signal handler's."""
    return _is_ours()


def check_not_interrupted(what: str) -> None:
    """Errors: OfframpError, in a signal handler that has interrupted this thread in `alone`."""
    if _is_ours():
        raise OfframpError(
            what,
            reason="this signal handler interrupts its thread in opening, replacing or closing",
            hint="note it in the handler, and do it when the handler has returned",
        )


def when_alone(work: Callable[[], None]) -> None:
    """Do it now, if nobody is in `alone`; else a thread does, as soon as it may. For finalizers, which may come at any
    moment, in a thread that has locks of its own. Work that an interrupt cuts short is done again.
    """
    done = False
    try:
        if not _is_ours():
            done = taking(_undivided, 0, partial(_do, work))
    finally:
        if not done:
            _thread.start_new_thread(_in_turn, (work,))  # threading.Thread has locks that may be taken right now


def if_alone(work: Callable[[], _Result], otherwise: _Result) -> _Result:
    """Do it in `alone` now, if nobody is there, this thread included. Never waits."""
    if _is_ours():
        return otherwise
    return taking(_undivided, 0, lambda may: work() if may else otherwise)


def _in_turn(work: Callable[[], None]) -> None:
    with _undivided:
        _do(work, may=True)


def _do(work: Callable[[], None], may: bool) -> bool:
    if may:
        try:
            work()
        except Exception as error:  # no caller is left to raise it to
            warnings.warn(f"cleaning up something that was forgotten failed: {error}", ResourceWarning, stacklevel=2)
    return may


def taking(lock: threading.RLock, patience: float, work: Callable[[bool], _Result]) -> _Result:
    """Work, which is told whether the lock was free within `patience` seconds, or this thread's already.

    The lock is as before then. Not even an interrupt just after it was taken, or just before, leads to another number
    of releases: one that was not taken refuses.
    """
    try:
        result = work(lock.acquire(timeout=patience))
    finally:
        try:  # no call may come before the release, so this is not `suppress`  # noqa: SIM105
            lock.release()
        except RuntimeError:
            pass
    return result


def each(works: list[Callable[[], None]], failed: Callable[[], None] | None = None) -> None:
    """Do each of them, the last first, whatever happens to another. One that fails is done once more: perhaps it was
    cut short. Errors: the last one's.
    """
    try:
        while works:
            works[-1]()
            del works[-1]
    except BaseException:
        if works and works[-1] is failed:
            del works[-1]
        elif works:
            failed = works[-1]
        each(works, failed)
        raise


def _have_the_lock() -> None:
    """Before a fork, after an attempt that has failed only if an interrupt came while it waited."""
    try:
        if not _is_ours():
            _undivided.acquire()
    except BaseException:
        _have_the_lock()
        raise


def _in_child() -> None:
    if not _is_ours():  # interrupts have come one after another, and a thread that is not here may have it
        _undivided._at_fork_reinit()  # type: ignore[attr-defined]
    each([_holders[name].in_child for name in reversed(ORDER) if name in _holders])


def _at_exit() -> None:
    ends = (_holders[name].at_exit for name in reversed(ORDER) if name in _holders)
    each([end for end in ends if end is not None])


atexit.register(_at_exit)
os.register_at_fork(after_in_child=partial(_forks.append, None))  # before all others; made in C: no interrupt can come
os.register_at_fork(before=_have_the_lock)  # the last registered comes first
os.register_at_fork(before=_undivided.acquire, after_in_parent=_undivided.release)
os.register_at_fork(after_in_child=_in_child)
os.register_at_fork(after_in_child=_in_child)  # an interrupt may come before the first line of the first
os.register_at_fork(after_in_child=_undivided.release)
