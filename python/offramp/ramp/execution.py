# SPDX-License-Identifier: Apache-2.0
"""A plan carried out: one `Execution` for each attempt. It owns what the attempt has acquired.

    plan ──> Execution ──run()──┬─> None        done: it is open
      ↑                         └─> Refusal     closed; what it has taught goes into another plan
      └────────── Tried.after(refusal) ──────────┘

If a driver turns out to have no native XDP, or does not take the plan's rules or RSS table, it refuses: another attempt
is made. If it changed its channels for XDP, the attempt continues: the steps that are left are planned anew. Everything
acquired is a descriptor of this process, or is written down in a journal.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from offramp import process
from offramp.bpf import Map, MapType
from offramp.emit.program import MapSlot
from offramp.errors import InterfaceBusy, InterfaceError, InterfaceGone, KernelError, PrivilegeError
from offramp.nic import carrier
from offramp.nic.carrier_watch import CarrierWatch
from offramp.planner import is_virtual, mtu_refused, widened
from offramp.ramp import lifetime, virtual_function
from offramp.ramp.ask import ask, question
from offramp.ramp.events import EventKind, Events, News
from offramp.ramp.holdings import Holdings, Undoing
from offramp.ramp.interface import Interface, Use
from offramp.ramp.observe import watch
from offramp.ramp.planned import continued, planned, spec_for
from offramp.ramp.section import Section
from offramp.ramp.sockets import Sockets, check_memory, socket_maps, told_by_the_kernel
from offramp.ramp.wanted import NativeRefused, NotSteered, Refusal, Tried, Wanted
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.planner import Plan, Step

__all__ = ["Execution", "carried_out"]

_CARRIER_PATIENCE = 10.0  # seconds


def carried_out(interface: Interface, wanted: Wanted, events: Events) -> Execution:
    """Make a plan and carry it out, in as many attempts as its driver needs. Errors: as `open`; nothing is left of any
    attempt then. Somebody else uses the interface, too, so that it outlives a refused attempt.
    """
    tell_news(interface, events)
    tried = Tried()
    had_carrier = carrier(interface.nic.identity.ifindex)
    while True:
        plan = planned(wanted, interface.look(), tried)
        execution = Execution(interface, wanted, plan, events, had_carrier=had_carrier)
        try:
            refusal = execution.run(tried)
        except BaseException:
            execution.close()
            raise
        if refusal is None:
            return execution
        if isinstance(refusal, NotSteered):
            events.put(News(EventKind.PLAN_CHANGED, str(refusal), {"method": refusal.method}))
        carriers = CarrierWatch(plan.interface, plan.ifindex)
        execution.close()
        if had_carrier:
            carriers.gone("when what did not work was undone", patience=_CARRIER_PATIENCE)
        tried = tried.after(refusal)


def tell_news(interface: Interface, events: Events) -> None:
    """Tell what an earlier process had left on the interface."""
    events.put(*(News(EventKind.LEFT_BEHIND, report) for report in interface.news()))


class Execution:
    """One attempt. When it is done, its plan says what was really done."""

    def __init__(self, interface: Interface, wanted: Wanted, plan: Plan, events: Events, *, had_carrier: bool) -> None:
        self.interface = interface
        self.wanted = wanted
        self.plan = plan
        self.state: Literal["open", "closed", "forked", "left"] = "open"
        self.events = events
        self.reading = threading.RLock()  # held to read the counters, so that no other thread closes them meanwhile
        self.trouble: list[str] = []  # what could not be given back
        spec = spec_for(wanted.match, plan)
        self._section = Section.of(plan, spec, wanted.match.state)
        self.sockets: Sockets | None = None
        self.inner: Execution | None = None  # the one on the interface of its VF
        self._had_carrier = had_carrier
        self._holdings = Holdings()
        self._using = self._holdings.add(Use(self.worry))
        self._acts: dict[str, Callable[[Step], Refusal | None]] = {
            "change": self._change,
            "attach": self._attach,
            "bind": self._bind,
            "observe": self._observe,
            "connect": self._connect,
            "open-vf": self._open_vf,
        }
        self._begun = self._watch_carrier()

    @property
    def section(self) -> Section:
        """What the program has of it; before and after that, what it is to have or has had."""
        return self.interface.program.sections.get(self, self._section)

    @property
    def live(self) -> Execution:
        """The execution whose program decides: the one on the VF's interface, if there is one."""
        return self.inner.live if self.inner is not None else self

    # -- the steps -----------------------------------------------------------------------------------------------------

    def run(self, tried: Tried) -> Refusal | None:
        """Take the steps of the plan, in order. If one fails, `close` undoes what was done."""
        plan, alone = self.plan, not self.interface.program.attached
        lifetime.begins(self, self.events)
        self._using.share(self.interface)
        if plan.layout == "vf":
            virtual_function.check(self.interface, plan, self.wanted.needs)
        else:
            check_memory(plan)
            self.section.maps = self._make_maps()
        self._holdings.add(Undoing(self._give_back))
        first, then = plan.parted("attach")
        if (refusal := self._take(first)) is not None:
            return refusal
        return self._take(self._continuation(then, tried) if alone and then else then)

    def _take(self, steps: Iterable[Step]) -> Refusal | None:
        for step in steps:
            if (refusal := self._acts[step.act](step)) is not None:
                return refusal
        return None

    def _continuation(self, then: Sequence[Step], tried: Tried) -> Sequence[Step]:
        """The steps that are left once the program is attached. If the driver has changed its channels and RSS table
        for XDP, they are planned anew.
        """
        if is_virtual(self.interface.nic.capabilities()):
            return then
        seen = self.interface.look(but=self.section)
        before, self.plan = self.plan, continued(self.plan, planned(self.wanted, seen, tried))
        if (before.all_queues, before.changes) != (self.plan.all_queues, self.plan.changes):
            text = f"its driver has changed its channels for XDP: {self.plan.all_queues} receive queues"
            self.events.put(News(EventKind.PLAN_CHANGED, text, {"queues": self.plan.all_queues}))
        spec = spec_for(self.wanted.match, self.plan)
        if spec == self.section.spec:
            self.section.queues, self.section.entries = self.plan.queues, self.plan.buckets
        else:
            self.exchange(self.section.anew(spec, self.wanted.match.state, self.plan, self._make_maps()))
        return self.plan.parted("attach")[1]

    def exchange(self, new: Section) -> None:
        """Put another section in the place of ours, from one packet to the next. Errors: the old one stays in force."""
        try:
            self.interface.program.exchange(self, new)
        finally:
            self._section = self.section

    def _change(self, step: Step) -> Refusal | None:
        try:
            self.interface.changes.change(step.changes, self.section)
        except (InterfaceGone, InterfaceBusy, PrivilegeError):
            raise
        except (KernelError, InterfaceError) as error:
            if step.steers is None:
                raise
            return NotSteered(step.steers, f"were refused: {error}")
        return None

    def _attach(self, step: Step) -> Refusal | None:
        """Make the interface's program ask our section too; it may be the program's first one."""
        plan, carriers, alone = self.plan, self._watch_carrier(), not self.interface.program.attached
        try:
            with self.wanted.naming_privileges(plan.interface):
                self.interface.program.join(self, self.section, plan.mode)
        except KernelError as error:
            if error.errno == errno.ERANGE:
                raise mtu_refused(self.interface.look().link) from error
            if error.errno != errno.EOPNOTSUPP or plan.mode == "generic":
                raise
            return NativeRefused()
        if alone:
            self._await_carrier("when XDP was attached", carriers)
        return None

    def _bind(self, step: Step) -> Refusal | None:
        carriers, beats = self._watch_carrier(), self.section.maps[MapSlot.HEARTBEATS]
        with self.wanted.naming_privileges(self.plan.interface):
            self.sockets = Sockets.bind(self.plan, beats, self._holdings)
        self.plan = told_by_the_kernel(self.plan, zero_copy=self.sockets.zero_copy)
        if self.sockets.zero_copy:
            self._await_carrier("when zero-copy sockets were bound", carriers)
        return None

    def _observe(self, step: Step) -> Refusal | None:
        """Check whether the NIC does what its driver was told. Errors: as `ask`."""
        options = self.wanted.options
        asked = question(widened(self.wanted.match.node).flows or ()) if options.probe else None
        prompt = (lambda: None) if asked is None else lambda: ask(asked, self.plan.interface)
        seen = watch(self.counts, options.observe, prompt)
        self.plan = replace(self.plan, observed=str(seen))
        if not seen.without_effect:
            return None
        return NotSteered("rules" if self.plan.rules else "buckets", f"were taken, but {seen}")

    def _connect(self, step: Step) -> Refusal | None:
        assert self.sockets is not None
        self.sockets.connect(self.section.maps[MapSlot.SOCKETS])
        return None

    def _open_vf(self, step: Step) -> Refusal | None:
        """Give the VF its driver, and carry out another plan on its interface."""
        self._await_carrier("when a virtual function was made", self._begun)  # a new number of VFs resets some drivers
        self._change(step)
        physical, plan = self.interface, self.plan
        using = self._holdings.add(Use(self.worry))
        interface = virtual_function.opened(physical, plan, self.section, using)
        tell_news(interface, self.events)
        wanted = replace(self.wanted, options=virtual_function.options(self.wanted.options))
        self.inner = carried_out(interface, wanted, self.events)
        self._holdings.add(self.inner)
        self.plan = virtual_function.whole(plan, self.inner.plan, *virtual_function.too_small(physical, interface))
        return None

    # -- what they need ------------------------------------------------------------------------------------------------

    def _make_maps(self) -> dict[MapSlot, Map]:
        with self.wanted.naming_privileges(self.plan.interface):
            size = 8 * len(self.section.spec.counters)
            counters = self._holdings.add(Map.create(MapType.PERCPU_ARRAY, 4, size, 1, name="offramp_counts"))
            maps = {MapSlot.COUNTERS: counters}
            return maps | (socket_maps(self.plan, self._holdings) if self.wanted.verdict is Verdict.CLAIM else {})

    def _watch_carrier(self) -> CarrierWatch:
        device = self.interface.nic.identity
        return CarrierWatch(device.name, device.ifindex)

    def _await_carrier(self, when: str, watch: CarrierWatch) -> None:
        """Wait for the carrier: some drivers reset their link, as the plan has said. Errors: InterfaceError if it stays
        away.
        """
        if self._had_carrier and (seconds := watch.gone(when, patience=_CARRIER_PATIENCE)):
            warning = f"no carrier for {seconds:.1f} s {when}"
            self.plan = replace(self.plan, warnings=(*self.plan.warnings, warning))

    def counts(self) -> dict[str, int]:
        """The program's counters."""
        with self.reading:
            return dict(zip(self.section.spec.counters, self.section.maps[MapSlot.COUNTERS].sum(), strict=True))

    # -- its end -------------------------------------------------------------------------------------------------------

    def detach(self) -> None:
        """From now on the kernel gets every packet. Doing it again does nothing."""
        if self.inner is not None:
            self.inner.detach()
        elif self.state == "open":
            self.interface.program.remove(self)

    def detached(self, text: str) -> None:
        """Another ramp has closed, and there is no program for this one any more."""
        self.events.put(News(EventKind.DETACHED, text))

    def close(self, at_last: Callable[[], None] = lambda: None) -> None:
        """Close the program first, whatever else fails; then call `at_last`; then close the rest, the last first. If
        called again, close what is left.
        """
        if self.state != "open":  # perhaps in a forked child, which fails to open what is not its own
            return
        with process.alone():
            self._holdings.held += [Undoing(at_last), Undoing(self.detach)]
            try:
                self._holdings.close()
            finally:
                if not self._holdings.held:
                    self._end("closed")

    def _say_what_was_given_back(self) -> None:
        if (changes := [change.knob for change in self.plan.changes]) and not self.trouble:
            text = f"what was changed of it is as before: {', '.join(changes)}"
            self.events.put(News(EventKind.GIVEN_BACK, text, {"changes": changes}))

    def abandon(self) -> None:
        """In a forked child."""
        self._end("forked")
        self.reading = threading.RLock()  # a thread that the child does not have may have held the old one
        self._holdings.abandon()

    def leave(self) -> None:
        """At the end of the process: no daemon thread in `rx` is disturbed."""
        self._end("left")
        self._holdings.leave()

    def _end(self, state: Literal["closed", "forked", "left"]) -> None:
        lifetime.ends(self)  # before the state says so: if an interrupt comes here, closing again does it
        self.state = state

    def adopt(self, events: Events) -> None:
        """Hold the events too; they end last."""
        self._holdings.held[:0] = [events, Undoing(self._say_what_was_given_back)]

    def worry(self, trouble: Iterable[str]) -> None:
        """Note what could not be given back."""
        told = list(trouble)
        self.trouble += told
        self.events.not_given_back(told)

    def _give_back(self) -> None:
        self.worry(self.interface.give_back(self.section, self._using))
