# SPDX-License-Identifier: Apache-2.0
"""What this process must let go of when it forks or ends, and in which order.

    ORDER      in a forked child                           when the process ends
    ramps      descriptors closed: they are the parent's    left to the kernel, which detaches; a warning for each
    ports      closed, the ramps' and others                closed by Python
    changes    forgotten: the parent gives them back        given back
    guardian   its line closed: it is the parent's          it ends after the last change
    locks      descriptors closed: a child holds none       left to the kernel
    compiler   its pipes closed: it is the parent's         ended

A room that holds something registers it with `holds`. All of it is let go of in this order. If one part fails, the
others are let go of all the same. An interrupt (a signal handler that raises) ends whatever is under way, as any
exception does; then the order within a ramp counts: its program goes first.

A child has to know what there is to let go of. So nobody forks while something is opened, closed or changed: that
happens in `alone`. The garbage collector may find a forgotten ramp meanwhile; its finalizer waits (`when_alone`).
Only this module calls os.register_at_fork and atexit.register.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

__all__ = ["ORDER", "alone", "holds", "when_alone"]

ORDER: Final = ("ramps", "ports", "changes", "guardian", "locks", "compiler")


@dataclass(frozen=True, slots=True)
class _Holder:
    in_child: Callable[[], None]
    at_exit: Callable[[], None] | None


_holders: dict[str, _Holder] = {}
_undivided = threading.RLock()
_depth = 0  # how deep `alone` is nested, in the thread that has the lock
_waiting: list[Callable[[], None]] = []


def holds(name: str, *, in_child: Callable[[], None], at_exit: Callable[[], None] | None = None) -> None:
    """Say what `name`, one of ORDER, does in a forked child and when the process ends (None: nothing)."""
    assert name in ORDER, name
    assert name not in _holders, name
    _holders[name] = _Holder(in_child, at_exit)


@contextmanager
def alone() -> Iterator[None]:
    """Keep others from opening, closing, changing or forking meanwhile. A thread may enter it again."""
    global _depth
    with _undivided:
        _depth += 1
        try:
            yield
        finally:
            _depth -= 1
            _work()


def when_alone(work: Callable[[], None]) -> None:
    """Do the work now, or as soon as this thread has left `alone`. For finalizers, which may run at any moment."""
    with _undivided:
        _waiting.append(work)
        _work()


def _work() -> None:
    while _waiting and not _depth:
        work = _waiting.pop(0)
        try:
            work()
        except Exception as error:  # no caller is left to raise it to
            warnings.warn(f"cleaning up something that was forgotten failed: {error}", ResourceWarning, stacklevel=2)


def _in_child() -> None:
    with ExitStack() as stack:
        stack.callback(_undivided.release)
        for name in reversed(ORDER):
            if name in _holders:
                stack.callback(_holders[name].in_child)


def _at_exit() -> None:
    with ExitStack() as stack:
        for name in reversed(ORDER):
            if name in _holders and (end := _holders[name].at_exit) is not None:
                stack.callback(end)


atexit.register(_at_exit)
os.register_at_fork(before=_undivided.acquire, after_in_parent=_undivided.release, after_in_child=_in_child)
