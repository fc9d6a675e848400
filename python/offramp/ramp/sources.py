# SPDX-License-Identifier: Apache-2.0
"""Where events come from: a watch on the interface, the port of a ramp, the program, its counters, the guardian."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from weakref import WeakMethod

from offramp.errors import Detached, InterfaceDown, OfframpError
from offramp.journal import guardian
from offramp.planner import ETHERNET
from offramp.ports.events import PortEvent
from offramp.ramp.events import EventKind, News
from offramp.text import printable

if TYPE_CHECKING:
    from offramp import _native
    from offramp.ramp.events import Events

__all__ = ["GuardianSource", "LinkSource", "PortSource", "ProgramSource", "StallSource"]


class LinkSource:
    """For an attachment, which has no reader that would notice anything: it has a netlink socket of its own."""

    def __init__(self, name: str, ifindex: int) -> None:
        """In this thread's network namespace. Errors: KernelError."""
        from offramp import _native

        self._watch = _native.LinkWatch(printable(name), ifindex)

    def look(self) -> list[News]:
        return [_news(each) for each in self._watch.events()]

    def check_link(self) -> None:
        """Errors: InterfaceDown, InterfaceGone."""
        self._watch.check_link()

    def close(self) -> None:
        self._watch.close()

    abandon = close


class PortSource:
    """For a ramp: what its reader notices, and the watch that its port has."""

    def __init__(self, native: _native.Port, longest: int) -> None:
        """`longest`: bytes of the longest frame that it takes."""
        self._native = native
        self._longest = longest

    def look(self) -> list[News]:
        return [self._with_limit(_news(each)) for each in self._native.events()]

    def _with_limit(self, news: News) -> News:
        if news.kind is not EventKind.MTU_CHANGED or news.details["mtu"] + ETHERNET <= self._longest:
            return news
        text = f"{news.text}: frames of more than {self._longest} bytes stay with the kernel, as too_long"
        return replace(news, text=text)

    def check_link(self) -> None:
        """Errors: InterfaceDown, InterfaceGone."""
        self._native.check_link()

    def close(self) -> None:
        """Nothing to do: whoever has the port closes it."""

    abandon = close


class _Link(Protocol):
    def check_link(self) -> None: ...


class ProgramSource:
    """Whether the program still runs. Readers that wait in vain ask as well: `check`."""

    def __init__(self, events: Events, lost: Callable[[], str], link: _Link) -> None:
        """`lost`: why it does not run any more, in words. `link` knows better if the interface is gone."""
        self.reason = ""  # as of the last check
        self._events = events
        self._lost = lost
        self._link = link
        self._told = False

    def check(self) -> None:
        """Errors: Detached, InterfaceGone."""
        reason = self._lost()
        if reason:
            with suppress(InterfaceDown):
                self._link.check_link()
        self.reason = reason
        if reason:
            hint = "close it, and open again; `bpftool link` and `ip link` show what runs there"
            raise Detached(f"XDP on {self._events.interface}", reason=reason, hint=hint)

    def asked_by_port(self) -> Callable[[], None]:
        """`check`, for a port: it must not keep alive what keeps the port alive."""
        weak = WeakMethod(self.check)

        def ask() -> None:
            if (check := weak()) is not None:
                check()

        return ask

    def look(self) -> list[News]:
        with suppress(OfframpError):  # it is told in other words, or below
            self.check()
        told, self._told = self._told, bool(self.reason)
        if told or not self._told:
            return []
        return [News(EventKind.DETACHED, f"XDP is detached: {self.reason}", {"reason": self.reason})]

    def close(self) -> None:
        """Nothing to do: whoever has the program closes it."""

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
