# SPDX-License-Identifier: Apache-2.0
"""An interface that is in use here: what all ramps of this process have there in common.

    Interface ─┬─ Transaction    the lock of the interface, and the journal of what was changed
               ├─ XdpLink        one program, made of all ramps' sections; each asks its own match, in the order in
               │                 which they were opened, and the first that matches decides
               └─ hidden queues  the RSS table is what it was before, minus these: computed anew, never patched

It exists while a ramp does. A section that comes or goes is a new program, put in the place of the old one in one step:
the packets of the other ramps notice nothing. What one ramp alone has changed (rules, its entries of the RSS table) is
given back with it; what others may need as well (offloads) when the last one goes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from offramp import journal, nic
from offramp.bpf import Map, Owner, Program, XdpLink, bind
from offramp.emit.program import MapSlot, Spec
from offramp.errors import InterfaceBusy, InterfaceGone, OfframpError, OfframpWarning
from offramp.llvm.programs import xdp
from offramp.nic.live import open_nic
from offramp.planner import Beside
from offramp.steering import hiding
from offramp.syscalls.netns import inside, namespace

if TYPE_CHECKING:
    from offramp.bpf import XdpMode
    from offramp.facts.capabilities import Capabilities
    from offramp.facts.knobs import Nic
    from offramp.matcher import Match
    from offramp.planner import Change

__all__ = ["Interface", "Section", "View", "view"]

_TABLE = "rss.table"
_OWN = ("rule.", "vf.")  # knobs that one ramp alone has changed
_N_TUPLE = "feature.rx-ntuple-filter"  # that all rules need
_VF_COUNT = "vf.count"
_MOVED_BY_VFS = (_TABLE, "channels")  # in the order in which they can be undone in reverse
_OFFLOADS = {"feature.rx-gro": "gro", "feature.rx-lro": "lro", "feature.rx-vlan-hw-parse": "rx_vlan_offload"}
_in_use: list[Interface] = []


@dataclass(eq=False)
class Section:
    """One ramp's part of the program."""

    spec: Spec
    match: Match
    maps: Mapping[MapSlot, Map]
    queues: tuple[int, ...] = ()  # that it reads
    hidden: int | None = None
    entries: tuple[int, ...] = ()  # of the RSS table that lead to its hidden queue
    knobs: list[str] = field(default_factory=list)  # changed for it alone: rules, a VF

    def become(self, other: Section) -> None:
        """Made anew, before it has changed anything."""
        self.spec, self.maps = other.spec, other.maps
        self.queues, self.hidden, self.entries = other.queues, other.hidden, other.entries


@dataclass(frozen=True)
class View:
    """What a plan is made from."""

    link: nic.Link  # but for our own program
    able: Capabilities
    beside: Beside
    left: tuple[str, ...] = ()  # by earlier processes: given back before anything else


def view(name: str) -> View:
    """What a plan for a new ramp would be made from. Changes nothing. Errors: NoSuchInterface."""
    device = open_nic(name)
    if known := _known(device):
        return known.view()
    link = nic.read(name)
    left: list[journal.Listed] = []
    with suppress(OfframpError):  # who may not look will not change anything
        left = journal.left_behind(device.identity)
    return View(link, device.capabilities(), Beside(), tuple(map(str, left)))


class Interface:
    """See the module. A context manager for each ramp; `of` finds it, or takes it into use."""

    def __init__(self, device: Nic) -> None:
        """Errors: InterfaceBusy: another process has it."""
        self.nic = device
        self.link: XdpLink | None = None
        self.sections: list[Section] = []  # as they are to be
        self._running: list[Section] | None = []  # as the program has them; None: one of two, for a moment
        self._users = 0
        self._table_before: tuple[int, ...] = ()  # () while no queue is hidden
        self._table_written: list[int] = []
        self.tagless = False  # no tagged frame gets here, so that it does not matter who strips tags
        self._transaction: journal.Transaction | None = None
        self._no_journal: OfframpError | None = None
        with ExitStack() as stack:
            self._namespace = namespace()
            stack.callback(os.close, self._namespace)
            try:
                self._transaction = stack.enter_context(journal.transaction(device))
            except InterfaceBusy:
                raise
            except OfframpError as error:  # it matters to those only who change something
                self._no_journal = error
            for report in self._transaction.found if self._transaction is not None else ():
                warnings.warn(f"left by an earlier process: {report}", OfframpWarning, stacklevel=6)
            self._owned = stack.pop_all()

    @classmethod
    def of(cls, name: str) -> Interface:
        """Errors: NoSuchInterface, InterfaceBusy."""
        device = open_nic(name)
        return _known(device) or cls(device)

    def view(self, but: Section | None = None) -> View:
        """For one more ramp, or another one in the place of `but`."""
        link = self._as_found(nic.read(self.nic.identity.ifindex))
        link = replace(link, rx_vlan_offload=None) if self.tagless else link
        ours = self.link is not None and link.xdp is not None and link.xdp.program_id == self.link.info().program_id
        return View(replace(link, xdp=None) if ours else link, self.nic.capabilities(), self.beside(but))

    def _as_found(self, link: nic.Link) -> nic.Link:
        """With the offloads that are off for ramps of this process: each plan says so, and they stay off for it."""
        changed = {change.knob: change.before for change in self._transaction.changes} if self._transaction else {}
        return replace(link, **{part: changed[knob] for knob, part in _OFFLOADS.items() if knob in changed})

    def beside(self, but: Section | None = None) -> Beside:
        """What the ramps that are there have."""
        others = [section for section in self.sections if section is not but]
        queues = frozenset(queue for section in others for queue in section.queues)
        ours = self._table_before and self.nic.get(_TABLE) == self._table_written  # else somebody has chosen another
        mode = self.link.mode if self.link is not None and others else None
        return Beside(queues, self._table_before if ours else (), _hidden(others), mode)

    # -- the program ---------------------------------------------------------------------------------------------------

    def join(self, section: Section, mode: XdpMode) -> None:
        """From now on the program asks this section, too. Whatever happens: `leave` afterwards."""
        self.sections = [*self.sections, section]
        if self.link is not None:
            self.refresh()
            return
        with self._program(self.sections) as program:
            self.link = XdpLink.attach(program, self.nic.identity.ifindex, mode)
        self._running = self.sections

    def refresh(self) -> None:
        """A section has become another one, or is gone."""
        assert self.link is not None
        with self._program(self.sections) as program:
            running, self._running = self.sections, None
            self.link.update(program)
            self._running = running

    def leave(self, section: Section) -> None:
        """No packet is in this section when this returns. Leaving twice is allowed.

        Errors: KernelError: there could be no program without it, so there is none any more, for no other section.
        """
        self.sections = [each for each in self.sections if each is not section]
        if self.link is None or (self._running is not None and section not in self._running):
            return
        try:
            if self.sections and not self._is_gone():
                with inside(self._namespace):  # this thread may be elsewhere now
                    self.refresh()
                return
        except BaseException:
            self._detach()
            raise
        self._detach()

    def _detach(self) -> None:
        if self.link is not None:
            self.link.close()
        self.link, self._running = None, []

    def _is_gone(self) -> bool:
        """Removed, or moved to another namespace, where sockets are unbound and no program can be made anew."""
        try:
            with inside(self._namespace):
                nic.carrier(self.nic.identity.ifindex)
        except InterfaceGone:
            return True
        return self.link is not None and not self.link.info().ifindex

    def _program(self, sections: Sequence[Section]) -> Program:
        compiled = xdp(*(section.spec for section in sections))
        bound = self.nic.identity.ifindex if sections[0].spec.vlan_metadata else None
        verdicts = {verdict.name.lower() for section in sections for verdict in section.spec.verdicts}
        name = f"offramp_{verdicts.pop() if len(verdicts) == 1 else 'shared'}"
        with bind(compiled, *(Owner(section.maps, section.match.state) for section in sections)) as maps:
            return Program.load(compiled, name=name, maps=maps, ifindex=bound)

    # -- the knobs -----------------------------------------------------------------------------------------------------

    def change(self, changes: Iterable[Change], section: Section) -> None:
        """Change knobs, written down before. Errors: as journal.Transaction.set; none of them is changed then."""
        if self._transaction is None:
            assert self._no_journal is not None
            raise self._no_journal
        wanted = [(change.knob, change.value) for change in changes]
        table = self.nic.get(_TABLE) if any(knob == _TABLE for knob, _ in wanted) else None
        moves = _MOVED_BY_VFS if any(knob == _VF_COUNT for knob, _ in wanted) else ()
        self._transaction.set_all(wanted, moves=moves)
        section.knobs += [knob for knob, _ in wanted if knob.startswith(_OWN)]
        if table is not None:
            if not self._table_before or table != self._table_written:
                self._table_before = tuple(table)
            self._table_written = dict(wanted)[_TABLE]

    def give_back(self, section: Section) -> None:
        """What is changed for this section alone."""
        if self._transaction is None or self._transaction.closed:
            return
        with inside(self._namespace):
            self._give_back(section, self._transaction)

    def _give_back(self, section: Section, transaction: journal.Transaction) -> None:
        knobs, section.knobs = section.knobs, []
        others = _hidden(self.sections)
        if section.hidden is not None and not others:
            knobs = [*knobs, _TABLE]
        if not any(knob.startswith("rule.") for each in self.sections for knob in each.knobs):
            knobs = [*knobs, _N_TUPLE]
        try:
            alone = _VF_COUNT in knobs and self._users == 1  # then with what the driver has moved for it
            undone = transaction.undo(*(() if alone else knobs)) if knobs else []
            if section.hidden is not None and others and self.nic.get(_TABLE) == self._table_written:
                table = hiding(self._table_before, others)
                transaction.set(_TABLE, table)
                self._table_written = table
        except InterfaceGone:  # closing the journal says what that means
            return
        if not others:
            self._table_before = ()
        for knob in undone:
            if knob.outcome in ("failed", "left alone"):
                warnings.warn(f"{self.nic.identity.name}: {knob}", OfframpWarning, stacklevel=4)

    # -- its users -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._users += 1
        if self not in _in_use:
            _in_use.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._users -= 1
        if not self._users and self in _in_use:
            _in_use.remove(self)
            self._owned.close()

    def abandon(self) -> None:
        """In a forked child: drop the descriptors, which are the parent's, and touch nothing else."""
        if self in _in_use:
            _in_use.remove(self)
            self._owned.pop_all()
            os.close(self._namespace)
        if self.link is not None:
            self.link.close()

    def leave_open(self) -> None:
        """At the end of the process: the kernel closes the link."""
        if self.link is not None:
            self.link.leave()


def _known(device: Nic) -> Interface | None:
    for known in _in_use:
        same = known.nic.identity
        if same.netns == device.identity.netns and same.same_device(device.identity):
            return known
    return None


def _hidden(sections: Iterable[Section]) -> dict[int, tuple[int, ...]]:
    """Hidden queues, and the entries of the RSS table that lead there."""
    return {section.hidden: section.entries for section in sections if section.hidden is not None}
