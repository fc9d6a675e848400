# SPDX-License-Identifier: Apache-2.0
"""Whether what a ramp relies on is still set as it was: the receive queues, and what was changed for it.

The kernel tells nobody about most of this, so it is read: at most once a second, when somebody looks at the events,
and not while a ramp opens or closes. Somebody else may set what they like. The flow goes on as far as the NIC brings
it, the ledger counts the rest by its cause, and closing leaves alone what others have set.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from offramp import process
from offramp.journal import short
from offramp.ramp.events import EventKind, News

if TYPE_CHECKING:
    from offramp.facts.knobs import Value
    from offramp.ramp.execution import Execution

__all__ = ["SettingsSource"]

_EVERY = 1.0  # seconds


class SettingsSource:
    """A source of events: see the module."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._off: dict[str, Value] = {}  # what was told to be otherwise
        self._due = time.monotonic() + _EVERY

    def look(self) -> list[News]:
        if time.monotonic() < self._due:
            return []
        self._due = time.monotonic() + _EVERY
        return process.if_alone(self._look, [])

    def _look(self) -> list[News]:
        execution = self._execution
        if execution.state != "open":
            return []
        found = execution.interface.changes.wanted_and_found(execution.section)
        news = [
            News(EventKind.SETTING_CHANGED, _words(knob, *values), {"knob": knob, "value": values[1]})
            for knob, values in found.items()
            if self._is_news(knob, *values)
        ]
        if execution.live is execution and (now := execution.interface.queues()):
            planned = execution.plan.all_queues
            if self._is_news("queues", planned, now):
                text = _of_queues(planned, now, claims=bool(execution.plan.queues))
                news.append(News(EventKind.QUEUES_CHANGED, text, {"queues": now}))
        return news

    def _is_news(self, what: str, wanted: Value, found: Value) -> bool:
        """Whether it was not told yet. That it is as it should be is news only after it was not."""
        before = self._off.pop(what, wanted)
        if found != wanted:
            self._off[what] = found
        return bool(found != before)

    def close(self) -> None:
        """Nothing to do: nothing is open."""

    abandon = close


def _words(knob: str, wanted: Value, found: Value) -> str:
    if found == wanted:
        return f"{knob} is {short(found)} again"
    return f"{knob} is {short(found)} now: somebody has changed it from {short(wanted)}"


def _of_queues(planned: int, now: int, *, claims: bool) -> str:
    said = f"it has {now} receive queue{'s' * (now != 1)} now, and had {planned} when this was opened"
    if now > planned and claims:
        more = f"queue {planned}" if now == planned + 1 else f"queues {planned} to {now - 1}"
        return f"{said}: matching packets on {more} stay with the kernel, as redirect_failed"
    return said
