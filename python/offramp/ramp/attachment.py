# SPDX-License-Identifier: Apache-2.0
"""A plan carried out in the kernel: maps, program, link. What `Ramp` and `Attachment` have in common.

Everything here is a file descriptor of this process. So the kernel undoes it when the process ends, however it ends;
and a forked child must not keep copies of them: it closes them first thing. For that it has to know them all, so no
fork happens while another thread is opening or closing.
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self
from weakref import WeakSet, finalize

from offramp.arguments import text
from offramp.bpf import Map, MapType
from offramp.emit.program import COUNTERS, MapSlot
from offramp.errors import (
    Closed,
    InterfaceBusy,
    InterfaceError,
    InterfaceGone,
    KernelError,
    OfframpWarning,
    PrivilegeError,
)
from offramp.llvm import child as llvm
from offramp.matcher import Match
from offramp.nic import carrier
from offramp.nic.carrier_watch import CarrierWatch
from offramp.planner import METHODS, Method, Options, Plan, Step, is_virtual, mtu_refused, shortened, widened
from offramp.ports.ledger import QueueLedger
from offramp.ramp import virtual_function
from offramp.ramp.ask import ask, question
from offramp.ramp.interface import Interface, Section, View
from offramp.ramp.ledger import Ledger
from offramp.ramp.observe import Seen, watch
from offramp.ramp.planned import continued, planned, program
from offramp.syscalls.privileges import FOR_BPF, Capability, hint
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Attachment"]

_undivided = threading.RLock()  # held while opening, closing and forking
_open_here: WeakSet[Attachment] = WeakSet()

# The program's counters of matching packets that found no socket. Those counted while the sockets were put in place are
# `early` in the ledger: nobody was asleep, and no socket is missing.
_EARLY = ("stalled", "redirect_failed", "missed_by_nic")

_CARRIER_PATIENCE = 10.0  # seconds


class _NoNativeXdp(Exception):
    """The driver refused native mode, though nothing said that it would."""


class _NotSteered(Exception):
    """The driver does not take what would bring the flow to its queue: what, and what became of it, as a predicate."""

    def __init__(self, method: Method, became: str) -> None:
        super().__init__()
        self.method: Method = method
        self.became = became


class Attachment:
    """A verdict in force on an interface, in its driver. Closing it gives the packets back. A context manager."""

    needs: tuple[Capability, ...] = FOR_BPF
    purpose = "deciding about packets on"

    def __init__(self, interface: str, match: str | Match, verdict: Verdict, options: Options) -> None:
        text("interface", interface)
        llvm.start()  # beside all that comes before it is needed
        match = Match.of(match)
        self._final: Ledger | None = None
        self._forked = False
        self._physical: Interface | None = None  # of which `_interface` is a virtual function
        self._reading = threading.RLock()  # the ledger: not while another thread closes what is read
        with _alone(), ExitStack() as stack:
            self._interface = stack.enter_context(Interface.of(interface))
            self._owned = stack.enter_context(self._install(match, verdict, options))
            counts = self._counts()
            self._early = {name: counts[name] for name in _EARLY}
            self._owned = stack.pop_all()
            self._forgotten = finalize(self, _close_forgotten, self._owned, repr(self))
            self._forgotten.atexit = False  # see `_leave`
            _open_here.add(self)
        try:
            for warning in self.plan.warnings:
                warnings.warn(f"{interface}: {warning}", OfframpWarning, stacklevel=3)
        except OfframpWarning:  # the user has made it an error
            self.close()
            raise

    def _install(self, match: Match, verdict: Verdict, options: Options) -> ExitStack:
        """Make a plan and carry it out: what is to be undone. A driver that turns out to have no native XDP, or that
        does not take the plan's rules or RSS table, gets another plan.
        """
        self._native_refused = False
        self._refused: dict[Method, str] = {}
        self._asked = question(widened(match.node).flows or ()) if options.probe else None
        self._had_carrier = carrier(self._interface.nic.identity.ifindex)
        while True:
            seen = self._interface.view()
            plan = self._planned(match, verdict, seen, options)
            try:
                return (self._open_vf if plan.layout == "vf" else self._carry_out)(match, plan, options)
            except _NoNativeXdp:
                self._native_refused = True
            except _NotSteered as error:
                self._refused[error.method] = error.became
                what = f"{METHODS[error.method]} {error.became}"
                warnings.warn(f"{plan.interface}: {what}", OfframpWarning, stacklevel=5)
            self._await_carrier("when what did not work was undone", self._watch_carrier())

    def _planned(self, match: Match, verdict: Verdict, seen: View, options: Options) -> Plan:
        """In the light of what was tried."""
        return planned(match, verdict, seen, options, native_refused=self._native_refused, refused=self._refused)

    def _carry_out(self, match: Match, plan: Plan, options: Options) -> ExitStack:
        """Take the steps of a plan, in order; undo those that were taken if one fails."""
        self._check(plan)
        with ExitStack() as stack:
            self._owned = stack
            self.plan = plan
            self._section = self._make_section(match)
            stack.callback(self._interface.give_back, self._section)
            taken = 0
            while taken < len(self.plan.steps):  # which may become another plan, with the same steps up to here
                step = self.plan.steps[taken]
                match step.act:
                    case "change":
                        self._change(step)
                    case "attach":
                        self._attach(match, options)
                    case "bind":
                        self._bind()
                    case "observe":
                        self._observe(options)
                    case "connect":
                        self._connect()
                    case "open-vf":
                        raise AssertionError(step)  # see `_open_vf`
                taken += 1
            return stack.pop_all()

    def _open_vf(self, match: Match, plan: Plan, options: Options) -> ExitStack:
        """Take the steps that make a virtual function, and those of another plan on its interface."""
        virtual_function.check(self._interface, plan, self.needs)
        with ExitStack() as stack:
            self.plan, self._section = plan, Section(program(match, plan), match, {})
            stack.callback(self._interface.give_back, self._section)
            watch = self._watch_carrier()
            for step in plan.steps:
                if step.act == "open-vf":  # a new number of them has reset the driver, perhaps
                    self._await_carrier("when a virtual function was made", watch)
                self._change(step)
            plan, physical = self.plan, self._interface
            self._interface = stack.enter_context(virtual_function.opened(physical, plan, self._section))
            self._physical = physical
            stack.enter_context(self._install(match, plan.verdict, virtual_function.options(options)))
            self.plan = virtual_function.whole(plan, self.plan, *virtual_function.too_small(physical, self._interface))
            return stack.pop_all()

    def _change(self, step: Step) -> None:
        try:
            self._interface.change(step.changes, self._section)
        except (InterfaceGone, InterfaceBusy, PrivilegeError):
            raise
        except (KernelError, InterfaceError) as error:
            if step.steers is None:
                raise
            raise _NotSteered(step.steers, f"were refused: {error}") from error

    def _observe(self, options: Options) -> None:
        """Does the NIC do what its driver was told? Errors: _NotSteered; as `ask`."""
        seen = watch(self._counts, options.observe, self._ask)
        self.plan = replace(self.plan, observed=str(seen))
        if seen.without_effect:
            raise _NotSteered("rules" if self.plan.rules else "buckets", f"were taken, but {seen}")

    def _ask(self) -> None:
        if self._asked is not None:
            ask(self._asked, self.plan.interface)

    def _check(self, plan: Plan) -> None:
        """What can be known to fail before anything is done. Errors: OptionError."""

    def _make_section(self, match: Match) -> Section:
        """Our part of the interface's program, by the plan."""
        with self._forbidding():
            self._counters = self._owned.enter_context(
                Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1, name="offramp_counts")
            )
        return Section(program(match, self.plan), match, {MapSlot.COUNTERS: self._counters})

    def _attach(self, match: Match, options: Options) -> None:
        """Have the interface's program ask ours, too, which may be its first part."""
        plan, first, watch = self.plan, self._interface.link is None, self._watch_carrier()
        self._owned.callback(self._interface.leave, self._section)  # also if we are interrupted halfway
        try:
            with self._forbidding():
                self._interface.join(self._section, plan.mode)
        except KernelError as error:
            if error.errno == errno.ERANGE:
                raise mtu_refused(self._interface.view().link) from error
            if error.errno != errno.EOPNOTSUPP or plan.mode == "generic":
                raise
            raise _NoNativeXdp from error
        if first:
            self._await_carrier("when XDP was attached", watch)
            self._look_again(match, options)

    def _look_again(self, match: Match, options: Options) -> None:
        """A driver may have changed its channels and RSS table for XDP: the steps that are left are planned anew."""
        seen = self._interface.view(but=self._section)
        if is_virtual(seen.able):
            return
        self.plan = continued(self.plan, self._planned(match, self.plan.verdict, seen, options))
        if program(match, self.plan) != self._section.spec:
            self._section.become(self._make_section(match))
            self._interface.refresh()
        self._section.queues, self._section.entries = self.plan.queues, self.plan.buckets

    def _watch_carrier(self) -> CarrierWatch:
        device = self._interface.nic.identity
        return CarrierWatch(device.name, device.ifindex)

    def _await_carrier(self, when: str, watch: CarrierWatch) -> None:
        """Some drivers reset their link, which the plan has announced. Errors: InterfaceError when it stays away."""
        if self._had_carrier and (seconds := watch.gone(when, patience=_CARRIER_PATIENCE)):
            warning = f"no carrier for {seconds:.1f} s {when}"
            self.plan = replace(self.plan, warnings=(*self.plan.warnings, warning))

    @contextmanager
    def _forbidding(self) -> Iterator[None]:
        """What the user wanted, and all that it needs: not the first step that failed, and what that one needs."""
        try:
            yield
        except PrivilegeError as error:
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise
            what = f"{self.purpose} {self.plan.interface}"
            raise PrivilegeError(what, error.errno, hint=hint(self.needs)) from error

    def _bind(self) -> None:
        """Sockets, if there are any."""

    def _connect(self) -> None:
        """From here on they get packets."""

    def _queue_ledgers(self) -> Sequence[QueueLedger]:
        return ()

    @property
    def closed(self) -> bool:
        return self._final is not None

    @property
    def mode(self) -> str:
        """Where the program runs: "native" (in the driver) or "generic"."""
        return self.plan.mode

    def ledger(self) -> Ledger:
        """Every packet since the start, accounted for. After `close`, as it was then."""
        if self._final is None:
            with self._reading:
                if self._final is None:
                    return self._read()
        return self._final

    def _read(self) -> Ledger:
        queues = tuple(self._queue_ledgers())  # first: a packet is counted by the program before it is received
        counts = self._counts()
        for name, before in self._early.items():
            counts[name] -= before
        early = sum(self._early.values())
        return Ledger(self.plan.verdict, counts.pop("seen"), **counts, early=early, queues=queues, known=True)

    def _counts(self) -> dict[str, int]:
        """The program's counters."""
        return dict(zip(COUNTERS, self._counters.sum(), strict=True))

    def close(self) -> None:
        """Detach: from now on the kernel gets every packet. Closing twice is allowed.

        With other ramps of this process on the interface their program is made anew, without this one. Errors:
        PrivilegeError, KernelError, if that fails: then there is no program any more, and those ramps get nothing.
        """
        if self.closed:  # first: in a forked child nobody would let go of the locks
            return
        with self._reading, _alone():
            if self.closed:
                return
            self._forgotten.detach()
            had_carrier, last = self._has_carrier(), Ledger(self.plan.verdict, known=False)  # if reading it fails
            try:
                self._interface.leave(self._section)
                last = self._read()
                was_reset = had_carrier and not self._has_carrier()
            finally:
                self._final = last
                _open_here.discard(self)
                self._owned.close()
        for warning in self._at_the_end(last, was_reset):  # when all is done: the user may have made it an error
            warnings.warn(f"{self.plan.interface}: {warning}", OfframpWarning, stacklevel=3)

    def _at_the_end(self, last: Ledger, was_reset: bool) -> Iterator[str]:
        """What the driver did when the program was detached, and a flow that was silent while it was observed."""
        if was_reset:
            yield "its driver has reset the link as XDP was detached: the carrier is back in a moment"
        seen = Seen(last.claimed + last.stalled, last.missed_by_nic)
        if self.plan.hidden_queue is not None and seen.without_effect:
            yield f"{seen} (opened while they arrive, offramp sees that at once, and takes another way)"

    def _has_carrier(self) -> bool:
        try:
            return carrier(self.plan.ifindex)
        except InterfaceGone:
            return False

    def _abandon(self) -> None:
        """In a forked child: drop the descriptors, which are the parent's, and touch nothing else."""
        self._final = Ledger(self.plan.verdict, known=False)
        self._forked = True
        self._reading = threading.RLock()  # a thread that is not here may have held the old one
        self._owned.pop_all()
        self._forgotten.detach()
        self._interface.abandon()
        if self._physical is not None:
            self._physical.abandon()
        for descriptor in self._descriptors():
            descriptor.close()

    def _leave(self) -> None:
        """At the end of the process: the kernel closes the descriptors, and no daemon thread in `rx` is disturbed."""
        warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2)
        self._final = Ledger(self.plan.verdict, known=False)
        self._interface.leave_open()
        for descriptor in self._descriptors():
            descriptor.leave()

    def _descriptors(self) -> Iterable[Map]:
        return self._section.maps.values()

    def __enter__(self) -> Self:
        if self.closed:
            reason = "this is a forked child, which holds none" if self._forked else "it was closed"
            raise Closed(f"the {type(self).__name__.lower()} on {self.plan.interface}", reason=reason)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.plan.mode
        what = f"{self.plan.verdict.name} on {self.plan.interface}, {state}: {shortened(self.plan.match)}"
        return f"<{type(self).__name__} {what}>"


_at_work = 0  # how deep in `_alone`
_forgotten: list[ExitStack] = []  # to be closed when that is over


@contextmanager
def _alone() -> Iterator[None]:
    """While something is opened or closed. Python may collect a forgotten attachment meanwhile: it waits until then."""
    global _at_work
    with _undivided:
        _at_work += 1
        try:
            yield
        finally:
            _at_work -= 1
            while _forgotten and not _at_work:
                _forgotten.pop().close()


def _close_forgotten(owned: ExitStack, what: str) -> None:
    """Nobody refers to the attachment any more."""
    with _undivided:
        if _at_work:
            _forgotten.append(owned)
        else:
            owned.close()
    warnings.warn(f"{what} was never closed", ResourceWarning, stacklevel=2)


@atexit.register
def _at_exit() -> None:
    for attachment in tuple(_open_here):
        attachment._leave()


def _in_child() -> None:
    with ExitStack() as stack:  # each one, whatever happens to another
        stack.callback(_undivided.release)
        for attachment in tuple(_open_here):
            stack.callback(attachment._abandon)
        _open_here.clear()


os.register_at_fork(before=_undivided.acquire, after_in_parent=_undivided.release, after_in_child=_in_child)
