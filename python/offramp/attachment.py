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
import time
import warnings
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self
from weakref import WeakSet, finalize

from offramp.arguments import text
from offramp.bpf import Map, MapFlag, MapType, Program, XdpLink
from offramp.bpf.privileges import FOR_BPF, Capability, hint
from offramp.compile import COUNTERS, MapSlot, Spec, llvm, xdp
from offramp.compile.lower import lower
from offramp.errors import Closed, KernelError, OfframpError, PrivilegeError
from offramp.ledger import Ledger, QueueLedger
from offramp.match import parse
from offramp.matcher import Match
from offramp.nic import Link, carrier, netmask, protected_ssh, read
from offramp.planner import Options, Plan, make_plan, mtu_refused, shortened
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Attachment", "OfframpWarning", "plan_for", "wait_for_carrier"]

_undivided = threading.RLock()  # held while opening, closing and forking
_open_here: WeakSet[Attachment] = WeakSet()

# The program's counters of matching packets that found no socket. Those counted while the sockets were put in place are
# `early` in the ledger: nobody was asleep, and no socket is missing.
_EARLY = ("stalled", "redirect_failed")

_CARRIER_PATIENCE = 10.0  # seconds


class OfframpWarning(UserWarning):
    """Something works, but not as well as the user may think."""


def plan_for(interface: str, match: str | Match, verdict: Verdict, options: Options) -> Plan:
    """What would be done, without doing it."""
    match = Match.of(match)
    plan = make_plan(match.node, verdict, read(interface), options, protected_ssh() if options.protect else None)
    xdp(_spec(match, plan))  # it is found now if the match is too large, or needs a netmask that is not there
    return plan


def _spec(match: Match, plan: Plan) -> Spec:
    """The program of a plan."""
    return Spec(
        match=match.lowered(netmask(plan.interface)),
        protect=lower(parse(plan.protect)) if plan.protect is not None else None,
        verdict=plan.verdict,
        queues=plan.all_queues,
        stall_ns=round(plan.stall * 1e9) if plan.stall is not None else None,
        vlan_metadata=plan.vlan_metadata,
    )


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
        self._reading = threading.RLock()  # the ledger: not while another thread closes what is read
        with _undivided, ExitStack() as stack:
            self._owned = stack
            self.plan = self._install(match, verdict, read(interface), options)
            self._connect()
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

    def _install(self, match: Match, verdict: Verdict, link: Link, options: Options) -> Plan:
        """Load and attach. A driver that turns out to have no native XDP gets a second plan, in generic mode."""
        ssh = protected_ssh() if options.protect else None
        plan = make_plan(match.node, verdict, link, options, ssh)
        try:
            self._load(match, plan)
        except PrivilegeError as error:
            raise self._forbidden(error, link.name) from error
        except KernelError as error:
            if error.errno == errno.ERANGE:
                raise mtu_refused(link) from error
            if error.errno != errno.EOPNOTSUPP or plan.mode == "generic":
                raise
            self._owned.close()
            plan = make_plan(match.node, verdict, link, options, ssh, native_refused=True)
            self._load(match, plan)
        if link.carrier:
            wait_for_carrier(plan, "XDP was attached")
        return plan

    def _load(self, match: Match, plan: Plan) -> None:
        own = self._owned.enter_context
        self._counters = own(Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1, name="offramp_counts"))
        maps: dict[int, Map] = {MapSlot.COUNTERS: self._counters}
        if plan.verdict is Verdict.CLAIM:
            queues = plan.all_queues
            self._sockets = maps[MapSlot.SOCKETS] = own(Map.create(MapType.XSKMAP, 4, 4, queues, name="offramp_socks"))
            self._heartbeats = maps[MapSlot.HEARTBEATS] = own(
                Map.create(MapType.ARRAY, 4, 8 * queues, 1, MapFlag.MMAPABLE, name="offramp_beats")
            )
        bound_to = plan.ifindex if plan.vlan_metadata else None
        name = f"offramp_{plan.verdict.name.lower()}"
        compiled = xdp(_spec(match, plan))
        with (
            match.tables(compiled.sets) as tables,
            Program.load(compiled, name=name, maps=maps | tables, ifindex=bound_to) as program,
        ):
            self.link = own(XdpLink.attach(program, plan.ifindex, plan.mode))

    def _forbidden(self, error: KernelError, interface: str) -> PrivilegeError:
        """What the user wanted, and all that it needs: not the first step that failed, and what that one needs."""
        return PrivilegeError(f"{self.purpose} {interface}", error.errno or errno.EPERM, hint=hint(self.needs))

    def _connect(self) -> None:
        """What comes after the program is attached."""

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
        """Detach: from now on the kernel gets every packet. Closing twice is allowed."""
        if self.closed:  # first: in a forked child nobody would let go of the locks
            return
        with self._reading, _undivided:
            if self.closed:
                return
            self._forgotten.detach()
            try:
                self.link.close()
                self._final = self._read()
            finally:
                if self._final is None:  # the last reading failed: nothing is known, and everything is closed anyhow
                    self._final = Ledger(self.plan.verdict, known=False)
                self._owned.close()
                _open_here.discard(self)

    def _abandon(self) -> None:
        """In a forked child: drop the descriptors, which are the parent's, and touch nothing else."""
        self._final = Ledger(self.plan.verdict, known=False)
        self._forked = True
        self._reading = threading.RLock()  # a thread that is not here may have held the old one
        self._owned.pop_all()
        self._forgotten.detach()
        for descriptor in self._descriptors():
            descriptor.close()

    def _leave(self) -> None:
        """At the end of the process: the kernel closes the descriptors, and no daemon thread in `rx` is disturbed."""
        warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2)
        self._final = Ledger(self.plan.verdict, known=False)
        for descriptor in self._descriptors():
            descriptor.leave()

    def _descriptors(self) -> Sequence[Map | XdpLink]:
        return self._counters, self.link

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


def wait_for_carrier(plan: Plan, when: str) -> None:
    """Some drivers reset their link. Errors: OfframpError when it stays away."""
    deadline = time.monotonic() + _CARRIER_PATIENCE
    while not carrier(plan.ifindex):
        if time.monotonic() > deadline:
            raise OfframpError(f"{plan.interface} lost its carrier when {when}", reason="it did not come back")
        time.sleep(0.01)


def _close_forgotten(owned: ExitStack, what: str) -> None:
    """Nobody refers to the attachment any more."""
    with _undivided:
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
