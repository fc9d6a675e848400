# SPDX-License-Identifier: Apache-2.0
"""A verdict in force on an interface: what `Ramp` and `Attachment` have in common, including their life.

execution.py has how it is set up; lifetime.py has what happens to those that nobody closes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from offramp import process
from offramp.arguments import short, text
from offramp.errors import Closed, OfframpError, OfframpWarning, OptionError
from offramp.llvm import child as llvm
from offramp.matcher import Match
from offramp.options import Options
from offramp.planner import NO_PACKET, Plan, shortened
from offramp.public import Public
from offramp.ramp import lifetime
from offramp.ramp.events import EventKind, Events, News
from offramp.ramp.execution import carried_out
from offramp.ramp.interface import Interface, Use
from offramp.ramp.ledger import Ledger
from offramp.ramp.observe import Arrivals
from offramp.ramp.replacing import put_in_place
from offramp.ramp.sent_back import SentBack
from offramp.ramp.settings import SettingsSource
from offramp.ramp.sources import GuardianSource, LinkSource, PortSource, ProgramSource, StallSource
from offramp.ramp.wanted import Wanted, acting, read
from offramp.syscalls.failure import trying
from offramp.text import printable
from offramp.verdict import Verdict

__all__ = ["Attachment"]

# The program's counters of matching packets that found no socket. Packets counted while the sockets were put in place
# are `early` in the ledger: no reader was asleep, and no socket is missing.
_EARLY = ("stalled", "redirect_failed", "missed_by_nic")
_PATIENCE = 0.1  # seconds, for somebody who reads the ledger
_TOLD = (EventKind.LEFT_BEHIND, EventKind.PLAN_CHANGED)  # the call that opens also warns about these


class Attachment(Public):
    """A verdict in force on an interface, in its driver. Closing it gives the packets back. A context manager."""

    def __init__(self, interface: str, match: str | Match, verdict: Verdict, options: Options) -> None:
        text("interface", interface)
        llvm.start()  # it starts while the work before it is done
        wanted = Wanted(Match.of(match, resolve=options.resolve), verdict, read(options))
        self._final: Ledger | None = None
        self._sent_back: SentBack | None = None
        self.events = Events(interface)
        self._opening = Use(self.events.not_given_back)  # it outlives attempts that are refused
        process.check_not_interrupted(f"opening {interface}")
        try:
            with trying(f"opening {interface}"):
                self._open(interface, wanted)
            told = [event for event in self.events.waiting() if event.kind in _TOLD]
            _warn([*told, *(f"{interface}: {warning}" for warning in self.plan.warnings)], stacklevel=4)
        except BaseException as error:
            with trying(f"closing what was begun on {interface}"):
                lifetime.close_begun(self.events)
                with process.alone():
                    self._opening.close()
            if not isinstance(error, OfframpWarning):  # the user has made the warning an error
                _warn(self.events.waiting(), stacklevel=4)
            raise

    def _open(self, name: str, wanted: Wanted) -> None:
        with process.alone():
            interface = self._opening.of(name)
            self._count_sent_back(interface, wanted.verdict)
            self._execution = execution = carried_out(interface, wanted, self.events)
            live = execution.live
            counts = live.counts()
            self._early = {counter: counts[counter] for counter in _EARLY}
            self.events.interface = live.plan.interface
            execution.adopt(self.events)
            native = live.sockets.port._native if live.sockets is not None else None
            if native is None:
                self._link: LinkSource | PortSource = LinkSource(live.plan.interface, live.plan.ifindex)
            else:
                self._link = PortSource(native, live.plan.longest or 0)
                self.events.watch(StallSource(live.counts))
            self.events.watch(self._link)
            self._program = ProgramSource(self.events, live.lost, self._link)
            self.events.watch(self._program)
            if native is not None:
                native.guard(self._program.asked_by_port())
            for each in dict.fromkeys((execution, live)):
                self.events.watch(SettingsSource(each))
            if execution.plan.changes:
                self.events.watch(GuardianSource())
            lifetime.belongs(execution, self)
            self._opening.close()

    def _count_sent_back(self, interface: Interface, verdict: Verdict) -> None:
        """From now on, if packets will be sent back."""
        if verdict is Verdict.TX and self._sent_back is None:
            self._sent_back = SentBack(interface)

    @property
    def plan(self) -> Plan:
        """What was done, and why."""
        return self._execution.plan

    @property
    def closed(self) -> bool:
        return self._execution.state != "open"

    @property
    def mode(self) -> str:
        """Where the program runs: "native" (in the driver) or "generic"."""
        return self.plan.mode

    def check(self) -> None:
        """Raise if it is not in force: what a reader would be told, for those who have nothing to read.

        Needs no privileges. Errors: Detached (somebody took the program off, or put another one in its place),
        InterfaceDown, InterfaceGone, Closed.
        """
        self._check_open()
        self._program.check()
        self._link.check_link()

    def ledger(self) -> Ledger:
        """Every packet since the start, accounted for. After `close`, the last values."""
        if not self.closed:  # in a forked child nobody would release the lock
            with self._execution.reading:
                if self._execution.state == "open" and self._final is None:
                    return self._read(self._why_detached())
        return self._final or Ledger(self.plan.verdict, known=False)

    def _read(self, detached: str) -> Ledger:
        live = self._execution.live
        queues = live.sockets.port.ledgers() if live.sockets is not None else ()  # first: the program counts earlier
        ledger = Ledger.of(self.plan.verdict, live.counts(), self._early, queues, detached)
        if self._sent_back is None or self.plan.verdict is not Verdict.TX:
            return ledger
        return replace(ledger, tx_failed=self._sent_back.failed(self.mode))

    def _why_detached(self) -> str:
        with suppress(OfframpError):
            self._program.check()
        return self._program.reason

    def replace(self, match: str | Match, verdict: Verdict | None = None) -> None:
        """Put another match in force, and another verdict if one is given. Each packet meets the old match or the new
        one. Sockets, counters and ledger go on; other ramps on the interface notice nothing.

        The layout stays: on a hidden queue, new rules are added first and old ones removed last. A match that rules
        cannot bring there is refused. A ramp always claims. This takes as long as compiling, some ten milliseconds.

        Needs the privileges of `open` and `attach`. Errors: MatchError, OptionError (too large), NotSupported (it does
        not fit the present layout), InterfaceGone, InterfaceDown, Detached, PrivilegeError, KernelError, Closed.
        After any of these the old match is in force as before; after an interrupt one of the two is: `plan` says which.
        """
        match = Match.of(match, resolve=self._execution.wanted.options.resolve)
        process.check_not_interrupted(f"another match on {self.plan.interface}, in place")
        with process.alone(), trying(f"another match on {self.plan.interface}, in place"):
            self._check_open()
            self._program.check()
            before = self._execution.wanted
            wanted = replace(before, match=match, verdict=_successor(before.verdict, verdict))
            self._count_sent_back(self._execution.interface, wanted.verdict)
            put_in_place(self._execution, wanted)
            text = f"{wanted.verdict.name} {shortened(self.plan.match)} in the place of {shortened(str(before.match))}"
            self.events.put(News(EventKind.REPLACED, text, {"match": self.plan.match, "verdict": wanted.verdict.name}))
        if NO_PACKET in self.plan.warnings:
            _warn([f"{self.plan.interface}: {NO_PACKET}"], stacklevel=3)

    def close(self) -> None:
        """Detach: from now on the kernel gets every packet. Closing twice is allowed. If a signal handler closes, and
        has interrupted its thread in opening, replacing or closing, another thread does it once that is done.

        If other ramps of this process use the interface, their program is made anew, without this one. Errors:
        PrivilegeError, KernelError, if that fails: then there is no program any more, and those ramps get nothing.
        """
        self._close(stacklevel=4)

    def _close(self, stacklevel: int) -> None:
        if process.is_interrupted():
            process.when_alone(self._close_later)
            return
        while not self.closed:  # asked first: in a forked child nobody would release the locks
            with process.alone(), trying(f"closing {self.plan.interface}"):
                process.taking(self._execution.reading, _PATIENCE, self._closed_now)
        self.events.join()
        _warn(self._execution.trouble, stacklevel)  # last, because the user may have made it an error

    def _close_later(self) -> None:
        process.taking(self._execution.reading, _PATIENCE, self._closed_now)
        if not self.closed:
            process.when_alone(self._close_later)

    def _closed_now(self, may: bool) -> None:
        """Unless somebody reads the ledger, who may be waiting for us to leave `alone`."""
        if may and self._execution.state == "open":
            losses = 0
            with suppress(Exception):  # nothing keeps it from being detached
                losses = self._carrier_losses()
            detached = self._program.reason
            self._execution.close(lambda: self._read_at_last(losses, detached))

    def _carrier_losses(self) -> int:
        self.events.look()
        return self.events.counts[EventKind.CARRIER_LOST]

    def _read_at_last(self, losses: int, detached: str) -> None:
        """After detaching: read the counters once more, and tell what there is to tell. Doing it again does nothing."""
        if self._final is None:
            self._final = self._read(detached)
            self._say_at_last(self._final, was_reset=self._carrier_losses() > losses)

    def _say_at_last(self, last: Ledger, *, was_reset: bool) -> None:
        """Tell what the driver did when the program was detached, and whether the flow was silent while it was
        observed.
        """
        if was_reset:
            text = "its driver has reset the link as XDP was detached: the carrier is back in a moment"
            self.events.put(News(EventKind.LINK_RESET, text))
        seen = Arrivals(last.claimed + last.stalled, last.missed_by_nic)
        if self.plan.hidden_queue is not None and seen.without_effect:
            text = f"{seen} (if you open while the flow is arriving, offramp notices at once)"
            self.events.put(News(EventKind.WENT_ELSEWHERE, text, {"missed_by_nic": last.missed_by_nic}))

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def _check_open(self) -> None:
        """Errors: Closed."""
        if self.closed:
            forked = self._execution.state == "forked"
            reason = "this is a forked child, which holds no ramps" if forked else "it was closed"
            raise Closed(f"the {type(self).__name__.lower()} on {self.plan.interface}", reason=reason)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(stacklevel=4)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "detached" if self._why_detached() else self.plan.mode
        what = f"{self.plan.verdict.name} on {self.plan.interface}, {state}: {shortened(self.plan.match)}"
        return f"<{type(self).__name__} {printable(what)}>"


def _successor(before: Verdict, asked: object) -> Verdict:
    """The verdict that comes into force. Errors: OptionError."""
    if before is not Verdict.CLAIM:
        return before if asked is None else acting(asked)
    if asked is not None and (not isinstance(asked, int) or asked != Verdict.CLAIM):
        raise OptionError(f"verdict={short(asked)}", reason="a ramp always claims", hint="attach() has other verdicts")
    return before


def _warn(told: Iterable[object], stacklevel: int) -> None:
    """Warn of what the user should hear, at the line that has opened or closed."""
    for each in told:
        warnings.warn(str(each), OfframpWarning, stacklevel=stacklevel)
