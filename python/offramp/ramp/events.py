# SPDX-License-Identifier: Apache-2.0
"""What happens to a ramp or an attachment while it is open: events, in order, until somebody takes them.

    for event in ramp.events: ...      yields the waiting events, then ends; it never waits itself
    ramp.events.wait(1.0)              waits until there is one, or the time is over
    ramp.events.listen(print)          calls it with each event, in a thread that ends with the ramp

The queue is bounded: each new event pushes out the oldest, and `dropped` counts those. An event has the time when it
was noticed. Whoever looks at the events notices it, a listener's thread within 0.1 s, the reader of a ramp at once. An
interrupt (a signal handler that raises) may lose an event that was just noticed; looking, telling and closing go on.
docs/events.md lists the kinds. Needs no privileges.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol

from offramp.arguments import number, short
from offramp.errors import OfframpError, OptionError
from offramp.immutable import field, immutable
from offramp.text import printable

__all__ = ["Event", "EventKind", "Events", "News", "Source"]

WAITING: Final = 256  # the most events that wait
_TURN = 0.1  # seconds between two looks while waiting


class EventKind(StrEnum):
    """What happened."""

    CARRIER_LOST = "carrier-lost"
    CARRIER_BACK = "carrier-back"
    DOWN = "down"
    UP = "up"
    GONE = "gone"
    MOVED = "moved"
    RENAMED = "renamed"
    MTU_CHANGED = "mtu-changed"
    QUEUES_CHANGED = "queues-changed"
    SETTING_CHANGED = "setting-changed"
    READER_STALLED = "reader-stalled"
    READER_BACK = "reader-back"
    PLAN_CHANGED = "plan-changed"
    REPLACED = "replaced"
    NOT_REPLACED = "not-replaced"
    LEFT_BEHIND = "left-behind"
    LINK_RESET = "link-reset"
    WENT_ELSEWHERE = "went-elsewhere"
    DETACHED = "detached"
    GUARDIAN_GONE = "guardian-gone"
    GIVEN_BACK = "given-back"
    NOT_GIVEN_BACK = "not-given-back"


@immutable
class News:
    """An event without its interface."""

    kind: EventKind
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    time_ns: int = 0  # when it was noticed; 0: now


@immutable
class Event:
    """What happened, to which interface, and when it was noticed (CLOCK_REALTIME)."""

    kind: EventKind
    time_ns: int
    interface: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "time_ns": self.time_ns,
            "interface": self.interface,
            "text": self.text,
            "details": dict(self.details),
        }

    def __str__(self) -> str:
        return printable(f"{self.interface}: {self.text}")


class Source(Protocol):
    """Something that can be asked for news. `close` and `abandon` (in a forked child) may be called again."""

    def look(self) -> list[News]: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


def _seconds(timeout: float) -> float:
    seconds = number("timeout", timeout)
    if seconds != seconds:
        raise OptionError(f"timeout={seconds}", reason="not a number of seconds")
    return seconds


class Events:
    """See the module. Iterating over it takes the events that it yields."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self.dropped = 0
        self.counts: Counter[EventKind] = Counter()  # since it was opened, including those dropped or taken
        self._waiting: deque[Event] = deque()
        self._sources: list[Source] = []
        self._lock = threading.RLock()
        self._looking: list[object] = []  # only the first one looks
        self._listeners: list[Callable[[Event], object]] = []
        self._unheard: deque[Event] = deque(maxlen=WAITING)
        self._told_by: dict[str, threading.Thread] = {}  # one thread, or none yet
        self._ended = False

    def __iter__(self) -> Iterator[Event]:
        """The waiting events, the oldest first."""
        self.look()
        while self._waiting:
            with self._lock:
                event = self._waiting.popleft() if self._waiting else None
            if event is not None:
                yield event

    def __len__(self) -> int:
        """How many events wait."""
        self.look()
        return len(self._waiting)

    def waiting(self) -> list[Event]:
        """The waiting events, without taking them."""
        with self._lock:
            return list(self._waiting)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether an event waits. Waits at most `timeout` seconds for one (None: until there is one, or no more will
        come).
        """
        until = None if timeout is None else time.monotonic() + _seconds(timeout)
        while not len(self) and not self._ended:
            left = _TURN if until is None else min(_TURN, until - time.monotonic())
            if left <= 0:
                break
            time.sleep(left)
        return len(self) > 0

    def listen(self, callback: Callable[[Event], object]) -> None:
        """Call `callback` with each event from now on; events still wait for others as well. One thread calls all
        callbacks. If one raises, threading.excepthook shows it, and it is still called later.
        """
        if not callable(callback):
            raise OptionError(f"callback={short(callback)}", reason="it cannot be called")
        with self._lock:
            self._listeners.append(callback)
            if not self._told_by and not self._ended:
                name = f"offramp events {self.interface}"
                thread = threading.Thread(target=self._watch, name=name, daemon=True)
                thread.start()
                self._told_by.setdefault("thread", thread)  # `_watch` does this too, but a handler may come before

    def put(self, *news: News) -> None:
        """Add events: something has happened."""
        with self._lock:
            for each in news:
                details = MappingProxyType(dict(each.details))
                event = Event(each.kind, each.time_ns or time.time_ns(), self.interface, each.text, details)
                if each.kind is EventKind.RENAMED:
                    self.interface = str(each.details["name"])
                self.counts[each.kind] += 1
                if len(self._waiting) == WAITING:
                    self._waiting.popleft()
                    self.dropped += 1
                self._waiting.append(event)
                if self._listeners:
                    self._unheard.append(event)

    def not_given_back(self, trouble: Iterable[str]) -> None:
        """Add events for what could not be given back of an interface, in words."""
        self.put(*(News(EventKind.NOT_GIVEN_BACK, text) for text in trouble))

    def watch(self, source: Source) -> None:
        """Ask this source whenever somebody looks."""
        with self._lock:
            self._sources.append(source)

    def look(self) -> None:
        """Ask the sources, unless somebody does so right now."""
        looking, this = self._looking, object()
        try:
            looking.append(this)
            if looking[0] is this:
                for source in tuple(self._sources):
                    with suppress(OfframpError):  # it is ending right now
                        self.put(*source.look())
        finally:
            looking.remove(this)

    def close(self) -> None:
        """No more will come. What waits can still be taken, and listeners are told. Doing it again does nothing."""
        self.look()
        self._ended = True
        for source in tuple(self._sources):
            source.close()
        self._sources.clear()

    def join(self) -> None:
        """Wait until listeners were told everything."""
        for thread in tuple(self._told_by.values()):
            if thread is not threading.current_thread():
                thread.join(10 * _TURN)

    def abandon(self) -> None:
        """In a forked child: a thread that the child does not have may have held the lock."""
        self._lock, self._looking, self._told_by = threading.RLock(), [], {}
        self._ended = True
        for source in tuple(self._sources):
            source.abandon()
        self._sources.clear()

    def leave(self) -> None:
        """At the end of the process: nobody is told any more."""
        self._ended = True

    def _watch(self) -> None:
        this = threading.current_thread()
        if self._told_by.setdefault("thread", this) is not this:  # a signal handler has started one meanwhile
            return
        last = False
        while not last:
            last = self._ended
            self.look()
            while self._unheard:
                event = self._unheard.popleft()
                for callback in tuple(self._listeners):
                    try:
                        callback(event)
                    except Exception:
                        thread = threading.current_thread()
                        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), thread)))
            if not last:
                time.sleep(_TURN)
