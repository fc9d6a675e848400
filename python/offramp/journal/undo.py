# SPDX-License-Identifier: Apache-2.0
"""Give back what was changed: only what is still as we set it, the last change first.

    knob says            then
    what we set          it is set to what it was before                        restored
    what it was before   nothing                                                as before
    something else       nothing: somebody else has changed it since            left alone
    anything, while the change was pending in this boot: what it was before     restored

"What we set" is followed through several changes of one knob: 1500 -> 2000 -> 3000 goes back to 1500. If somebody has
put 9000 between our two changes, it goes back to 9000. All knobs are read before the first one is turned, because
turning one may move another (the number of channels moves the RSS table). A knob that is listed only because a driver
may move it (before == after) is read again at its turn, and restored if undoing another knob has moved it.

A knob that fails does not stop the others. It is tried again when they are back: an RSS table may name queues that
exist only once the channels are back. If it fails again, it stays listed, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from offramp.errors import InterfaceGone, OfframpError
from offramp.facts.knobs import Nic, Value, removable
from offramp.immutable import immutable
from offramp.journal.record import MOST_TEXT, Changed, short
from offramp.text import printable

__all__ = ["Outcome", "Undone", "decide", "undo"]

Outcome = Literal["restored", "as before", "left alone", "failed"]


@immutable
class Undone:
    """The result for one change."""

    knob: str
    outcome: Outcome
    before: Value
    after: Value
    found: Value  # what the knob said when its turn came; None also if it could not be read
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return printable(self._sentence())

    def _sentence(self) -> str:
        match self.outcome:
            case "restored":
                return f"{self.knob}: {short(self.found)} -> {short(self.before)}"
            case "as before":
                return f"{self.knob}: {short(self.before)}, as before"
            case "left alone":
                return f"{self.knob}: left at {short(self.found)}: somebody has changed it from {short(self.after)}"
        return f"{self.knob}: not back to {short(self.before)}: {self.reason}"


def decide(changes: Sequence[Changed], now: Mapping[str, Value], *, same_boot: bool) -> list[tuple[Outcome, Value]]:
    """For each change, last first: what to do about it, and what its knob says at its turn. Pure.

    `now` is what the knobs say at the beginning.
    """
    says, decided = dict(now), list[tuple[Outcome, Value]]()
    for change in reversed(changes):
        found = says[change.knob]
        if found == change.before:
            decided.append(("as before", found))
        elif found == change.after or (change.pending and same_boot):
            decided.append(("restored", found))
            says[change.knob] = change.before
        else:
            decided.append(("left alone", found))
    return decided


def undo(changes: Sequence[Changed], nic: Nic, *, same_boot: bool = True) -> tuple[list[Undone], list[Changed]]:
    """Undo `changes`, last first. Returns the results in that order, and the changes that failed in their own order.

    Errors: InterfaceGone; nothing was turned then.
    """
    now, unread = _read({change.knob for change in changes}, nic)
    decided = iter(decide([change for change in changes if change.knob in now], now, same_boot=same_boot))
    undone = []
    outcome: Outcome
    for change in reversed(changes):
        outcome, found = next(decided) if change.knob in now else ("failed", None)
        if outcome == "as before" and change.before == change.after:
            outcome, found = _moved(change, nic)
        reason = _set_back(change, nic) if outcome == "restored" else unread.get(change.knob, "")
        undone.append(Undone(change.knob, "failed" if reason else outcome, change.before, change.after, found, reason))
    goal = {one.knob: one.before for one in undone if one.outcome != "left alone"}  # if there are several, the oldest
    for place, (change, one) in enumerate(zip(reversed(changes), undone, strict=True)):
        if one.outcome == "failed" and one.knob in now:
            reason = _set_back(replace(change, before=goal[one.knob]), nic)
            undone[place] = replace(one, outcome="failed" if reason else "restored", reason=reason)
    left = [
        replace(change, reason=printable(one.reason)[:MOST_TEXT])
        for change, one in zip(changes, reversed(undone), strict=True)
        if one.outcome == "failed"
    ]
    return undone, left


def _moved(change: Changed, nic: Nic) -> tuple[Outcome, Value]:
    """Decide about a knob that nobody has turned: its driver may have moved it."""
    try:
        found = nic.get(change.knob)
    except (OfframpError, OSError):  # if it cannot be read, perhaps it can be set; if not, setting says why
        return "restored", None
    return ("as before" if found == change.before else "restored"), found


def _read(knobs: set[str], nic: Nic) -> tuple[dict[str, Value], dict[str, str]]:
    """What the knobs say and, for those that could not be read, why."""
    now, unread = {}, {}
    for knob in knobs:
        try:
            now[knob] = nic.get(knob)
        except InterfaceGone:
            raise
        except (OfframpError, OSError) as error:
            unread[knob] = str(error)
        else:
            if now[knob] is None and not removable(knob):  # nobody can have removed it
                del now[knob]
                unread[knob] = "its driver does not say what it is now"
    return now, unread


def _set_back(change: Changed, nic: Nic) -> str:
    """Set it back. Returns why that failed; "" if the knob says again what it said before."""
    try:
        nic.set(change.knob, change.before)
        reason = ""
    except (OfframpError, OSError) as error:
        reason = str(error)
    try:
        found = nic.get(change.knob)
    except (OfframpError, OSError) as error:
        return reason or str(error)
    if found == change.before:  # perhaps somebody else did the same at this moment
        return ""
    return reason or f"accepted without effect: it is {short(found)}"
