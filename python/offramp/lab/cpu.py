# SPDX-License-Identifier: Apache-2.0
"""CPU time: how much a benchmark's actors used, and how much of the machine others used meanwhile.

    with Meter(receiver=[process.pid], softirq=wire.b.napi_threads()) as meter:
        ...
    meter.usage.cpu_ns["receiver"], meter.usage.foreign

Time on CPU is read from schedstat, in ns, for every thread of a process.  Softirq work that the kernel does inline
counts as time of the task that it interrupts: unless veth's NAPI is threaded, the sender pays for receiving.  The
foreign share comes from /proc/stat, which counts in ticks (10 ms as a rule): measure for a second or more.

Sources: Documentation/scheduler/sched-stats.rst, proc_stat(5), proc_pid_task(5), getrusage(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from offramp.immutable import immutable
from offramp.syscalls.procfs import content, processes

__all__ = ["Meter", "Usage", "cpu_ns"]

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
IDLE_COLUMNS = (3, 4)  # idle, iowait; after these irq, softirq, steal
COLUMNS = 8  # guest time, in the columns after these, is part of user time


@immutable
class Usage:
    """What was used between the start and the end of a measurement."""

    seconds: float
    cpu_ns: dict[str, int]  # by actor
    foreign: float  # share of all CPUs, 0..1: used by neither us nor the actors, or stolen by a hypervisor


class Meter:
    """Measures while it is entered; each actor is a name and pids, of processes or of kernel threads.

    Own time is that of this process, its descendants, the actors and ksoftirqd.  Needs no privileges.
    Errors: ProcessLookupError if an actor is not alive at the start or at the end.
    """

    usage: Usage

    def __init__(self, **actors: Iterable[int]) -> None:
        self._actors = {name: tuple(pids) for name, pids in actors.items()}

    def __enter__(self) -> Meter:
        self._start = self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        before, after = self._start, self._read()
        seconds = after.seconds - before.seconds
        used = {name: after.actors[name] - before.actors[name] for name in self._actors}
        foreign = (after.busy - before.busy) - (after.own - before.own)
        capacity = seconds * 1e9 * (os.cpu_count() or 1)
        self.usage = Usage(seconds, used, min(1.0, max(0.0, foreign / capacity)))

    def _read(self) -> _Reading:
        own = {os.getpid(), *_descendants(os.getpid()), *_ksoftirqd()}.union(*self._actors.values())
        return _Reading(
            time.monotonic(),
            {name: sum(map(cpu_ns, pids)) for name, pids in self._actors.items()},
            sum(map(_cpu_ns_if_alive, own)) + _reaped_ns(),
            _busy_ns(),
        )


@immutable
class _Reading:
    seconds: float
    actors: dict[str, int]
    own: int
    busy: int


def cpu_ns(pid: int) -> int:
    """Time on CPU of a process's living threads, or of a kernel thread.  Errors: ProcessLookupError."""
    times = []
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            times.append(int(content(thread).split()[0]))
    if not times:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended: its CPU time is unknown")
    return sum(times)


def _cpu_ns_if_alive(pid: int) -> int:
    try:
        return cpu_ns(pid)
    except ProcessLookupError:
        return 0


def _descendants(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, content(thread).split()):
                yield child
                yield from _descendants(child)


def _ksoftirqd() -> Iterator[int]:
    for process in processes():
        with contextlib.suppress(OSError):
            if process.name.startswith("ksoftirqd/"):
                yield process.pid


def _reaped_ns() -> int:
    """The time of children that have ended. It moves from /proc to here."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((children.ru_utime + children.ru_stime) * 1e9)


def _busy_ns() -> int:
    """Time that all CPUs were not idle."""
    columns = [int(ticks) for ticks in content("/proc/stat").split("\n", 1)[0].split()[1 : 1 + COLUMNS]]
    return TICK_NS * sum(ticks for column, ticks in enumerate(columns) if column not in IDLE_COLUMNS)
