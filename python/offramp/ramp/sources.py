# SPDX-License-Identifier: Apache-2.0
"""Where events come from: a watch on the interface, the port of a ramp, the program's counters, the guardian."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from offramp.journal import guardian
from offramp.ports.events import PortEvent
from offramp.ramp.events import EventKind, News

if TYPE_CHECKING:
    from offramp import _native

__all__ = ["GuardianSource", "LinkSource", "PortSource", "StallSource"]


class LinkSource:
    """For an attachment, which has no reader that would notice anything: it has a netlink socket of its own."""

    def __init__(self, ifindex: int) -> None:
        """In this thread's network namespace. Errors: KernelError."""
        from offramp import _native

        self._watch = _native.LinkWatch(ifindex)

    def look(self) -> list[News]:
        return [_news(each) for each in self._watch.events()]

    def close(self) -> None:
        self._watch.close()

    abandon = close


class PortSource:
    """For a ramp: what its reader notices, and the watch that its port has."""

    def __init__(self, native: _native.Port) -> None:
        self._native = native

    def look(self) -> list[News]:
        return [_news(each) for each in self._native.events()]

    def close(self) -> None:
        """Nothing to do: whoever has the port closes it."""

    abandon = close


class StallSource:
    """Packets that went to the kernel because the reader was asleep. The program counts them."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts
        self._before = counts()
        self._stalled = False

    def look(self) -> list[News]:
        now = self._counts()
        passed = now["stalled"] - self._before["stalled"]
        claimed = now["claimed"] - self._before["claimed"]
        self._before = now
        if passed and not self._stalled:
            self._stalled = True
            return [
                News(EventKind.READER_STALLED, "its reader is asleep: the kernel has the flow", {"packets": passed})
            ]
        if claimed and not passed:
            self._stalled = False
        return []

    def close(self) -> None:
        """Nothing to do: whoever has the map closes it."""

    abandon = close


class GuardianSource:
    """Whether the guardian lives, which gives back what was changed if this process is killed."""

    def __init__(self) -> None:
        self._lost = False

    def look(self) -> list[News]:
        before, self._lost = self._lost, guardian.is_lost()
        if before or not self._lost:
            return []
        text = "its guardian has ended: if this process is killed, what was changed stays until `offramp restore`"
        return [News(EventKind.GUARDIAN_GONE, text)]

    def close(self) -> None:
        """Nothing to do: the journal ends it."""

    abandon = close


def _news(event: _native._Event) -> News:
    told = PortEvent.of(event)
    return News(EventKind(told.kind), told.text, told.details, told.time_ns)
