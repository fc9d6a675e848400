# SPDX-License-Identifier: Apache-2.0
"""A contender: one way to take a flow off an interface. A new one is one function, and one line in contenders.py.

    reason = contender.missing()                  why it cannot be used here; None if it can
    with contender.start(target) as running:      it takes the flow; after that it is gone
        running.work(cue)                         until the cue; counts what it took
        running.taken()                           packets, since the start

What takes packets without this process (a rule, a program in the driver, another process) only waits for the cue. What
receives them in this process has to be called, turn by turn: see `receiving`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from offramp.immutable import field, immutable

if TYPE_CHECKING:
    from offramp.ramp.ledger import Ledger

__all__ = ["Contender", "Cue", "Missing", "Running", "Target", "Timer", "receiving"]


@immutable
class Target:
    """The flow to take: UDP to a port, on an interface of this thread's host."""

    interface: str
    address: str
    port: int

    @property
    def match(self) -> str:
        return f"udp dst port {self.port}"


@immutable
class Missing:
    """Why a contender cannot take part, and what to do about it."""

    reason: str
    remedy: str


class Cue(Protocol):
    """When to stop."""

    def wait(self) -> None:
        """Blocks until the cue comes."""

    def patience(self) -> float:
        """How many seconds one turn may take before the cue is checked again."""

    def over(self, *, idle: bool) -> bool:
        """Whether to stop now. `idle`: the last turn brought no packets."""


class Timer:
    """A cue that comes after some seconds, whether packets still come or not."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def wait(self) -> None:
        time.sleep(self.patience())

    def patience(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def over(self, *, idle: bool) -> bool:
        return time.monotonic() >= self._end


def _wait(cue: Cue) -> None:
    cue.wait()


@immutable
class Running:
    """A contender at work."""

    taken: Callable[[], int]  # packets since the start
    work: Callable[[Cue], None] = _wait  # the work that this thread has to do for it
    ledger: Callable[[], Ledger] | None = None
    pid: int = field(default_factory=os.getpid)  # the process whose CPU time it costs


@immutable
class Contender:
    """Its name, how it is started, and what it needs."""

    name: str
    start: Callable[[Target], AbstractContextManager[Running]]
    missing: Callable[[], Missing | None] = lambda: None  # called on the target's host
    xdp: bool = False  # whether it attaches an XDP program; without one, a veth takes live frames only with GRO


def receiving(turn: Callable[[float], int], ledger: Callable[[], Ledger] | None = None) -> Running:
    """A contender that receives in this thread. `turn(patience)` receives for at most that long,
    and returns how many.
    """
    taken = 0

    def work(cue: Cue) -> None:
        nonlocal taken
        received = 0
        while not cue.over(idle=received == 0):
            received = turn(cue.patience())
            taken += received

    return Running(lambda: taken, work, ledger)
