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

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from offramp import journal, nic
from offramp.bpf import Holder, Program, XdpLink, bind
from offramp.errors import InterfaceBusy, InterfaceGone, OfframpError, OfframpWarning
from offramp.facts.offloads import OFFLOADS
from offramp.llvm.programs import xdp
from offramp.nic.live import open_nic
from offramp.planner import Beside
from offramp.ramp.section import Section
from offramp.steering import hiding
from offramp.syscalls.netns import inside, namespace_file

if TYPE_CHECKING:
    from offramp.bpf import XdpMode
    from offramp.facts.capabilities import Capabilities
    from offramp.facts.knobs import Nic
    from offramp.planner import Change

__all__ = ["Interface", "View", "view"]

_TABLE = "rss.table"
_OWN = ("rule.", "vf.")  # knobs that one ramp alone has changed
_N_TUPLE = "feature.rx-ntuple-filter"  # that all rules need
_VF_COUNT = "vf.count"
_MOVED_BY_VFS = (_TABLE, "channels")  # in the order in which they can be undone in reverse
_in_use: list[Interface] = []


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
    """See the module. `of` finds it, or makes it; it ends with the last of its users."""

    def __init__(self, device: Nic) -> None:
        """Errors: InterfaceBusy: another process has it."""
        self.nic = device
        self.link: XdpLink | None = None
        self.sections: list[Section] = []  # as they are to be
        self._running: list[Section] | None = []  # as the program has them; None: one of two, for a moment
        self._users: list[object] = []
        self._table_before: tuple[int, ...] = ()  # () while no queue is hidden
        self._table_written: list[int] = []
        self.tagless = False  # no tagged frame gets here, so that it does not matter who strips tags
        self._transaction: journal.Transaction | None = None
        self._no_journal: OfframpError | None = None
        self._namespace = namespace_file()
        self._left: tuple[str, ...] = ()  # by earlier processes, and given back now: to be told once
        _in_use.append(self)
        try:
            self._transaction = journal.transaction(device)
            self._left = tuple(f"left by an earlier process: {report}" for report in self._transaction.found)
        except InterfaceBusy:
            self.done(None)
            raise
        except OfframpError as error:  # it matters to those only who change something
            self._no_journal = error

    @classmethod
    def of(cls, name: str) -> Interface:
        """Errors: NoSuchInterface, InterfaceBusy."""
        device = open_nic(name)
        return _known(device) or cls(device)

    @staticmethod
    def end_unused(user: object) -> list[str]:
        """`user` uses none any more; nor does anybody use one whose opening was interrupted. As `done`."""
        return [text for interface in tuple(_in_use) for text in interface.done(user)]

    @contextmanager
    def here(self) -> Iterator[None]:
        """This thread is where the interface was, for a while: it may be elsewhere now."""
        with inside(self._namespace.fileno()):
            yield

    def view(self, but: Section | None = None) -> View:
        """For one more ramp, or another one in the place of `but`."""
        link = self._as_found(nic.read(self.nic.identity.ifindex))
        link = replace(link, rx_vlan_offload=None) if self.tagless else link
        ours = self.link is not None and link.xdp is not None and link.xdp.program_id == self.link.info().program_id
        return View(replace(link, xdp=None) if ours else link, self.nic.capabilities(), self.beside(but))

    def _as_found(self, link: nic.Link) -> nic.Link:
        """With the offloads that are off for ramps of this process: each plan says so, and they stay off for it."""
        changed = {change.knob: change.before for change in self._transaction.changes} if self._transaction else {}
        return replace(link, **{each.field: changed[each.knob] for each in OFFLOADS if each.knob in changed})

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
        with self._program(self.sections) as program:
            if self.link is not None:
                self._put(program, self.sections)
                return
            self._running = None
            self.link = XdpLink.attach(program, self.nic.identity.ifindex, mode)
        self._running = self.sections

    def exchange(self, old: Section, new: Section) -> None:
        """The program asks `new` in the place of `old`, from one packet to the next; none is in `old` any more.

        If that fails nothing is changed; if it is interrupted, `sections` has the one that is asked.
        """
        wanted = [new if each is old else each for each in self.sections]
        with self.here(), self._program(wanted) as program:
            self._put(program, wanted)

    def _put(self, program: Program, sections: list[Section]) -> None:
        """Another program in the place of the one that runs."""
        assert self.link is not None
        running, self._running = self._running, None
        try:
            self.link.update(program)
        except BaseException:  # perhaps after it was done
            if self.link.info().program_id == program.id:
                self.sections = self._running = sections
            else:
                self._running = running
            raise
        self.sections = self._running = sections

    def leave(self, section: Section) -> None:
        """No packet is in this section when this returns. Leaving twice is allowed.

        Errors: KernelError: there could be no program without it, so there is none any more, for no other section.
        """
        self.sections = [each for each in self.sections if each is not section]
        if self.link is None or (self._running is not None and section not in self._running):
            return
        try:
            if self.sections and not self._is_gone():
                with self.here(), self._program(self.sections) as program:
                    self._put(program, self.sections)
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
            with self.here():
                nic.carrier(self.nic.identity.ifindex)
        except InterfaceGone:
            return True
        return self.link is not None and not self.link.info().ifindex

    def _program(self, sections: Sequence[Section]) -> Program:
        compiled = xdp(*(section.spec for section in sections))
        bound = self.nic.identity.ifindex if sections[0].spec.vlan_metadata else None
        verdicts = {verdict.name.lower() for section in sections for verdict in section.spec.verdicts}
        name = f"offramp_{verdicts.pop() if len(verdicts) == 1 else 'shared'}"
        with bind(compiled, *(Holder(section.maps, section.match.state) for section in sections)) as maps:
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

    def give_back(self, section: Section) -> list[str]:
        """What is changed for this section alone. What of it could not be given back, in words. Again: nothing."""
        if self._transaction is None or self._transaction.closed:
            return []
        with self.here():
            try:
                return self._give_back(section, self._transaction)
            except InterfaceGone:  # closing the journal says what that means
                return []

    def remove(self, knobs: Sequence[str], section: Section) -> list[str]:
        """Some of what is changed for this section: rules that it no longer needs. What could not be, in words."""
        if not knobs:
            return []
        assert self._transaction is not None
        with self.here():
            undone = self._transaction.undo(*knobs)
        section.knobs[:] = [knob for knob in section.knobs if knob not in knobs]
        return self._in_words(undone)

    def _give_back(self, section: Section, transaction: journal.Transaction) -> list[str]:
        knobs = list(section.knobs)
        others = _hidden(each for each in self.sections if each is not section)
        if section.hidden is not None and not others:
            knobs.append(_TABLE)
        if not any(knob.startswith("rule.") for each in self.sections if each is not section for knob in each.knobs):
            knobs.append(_N_TUPLE)
        alone = _VF_COUNT in knobs and len(self._users) == 1  # then with what the driver has moved for it
        undone = transaction.undo(*(() if alone else knobs)) if knobs else []
        section.knobs.clear()
        if section.hidden is not None and others and self.nic.get(_TABLE) == self._table_written:
            table = hiding(self._table_before, others)
            transaction.set(_TABLE, table)
            self._table_written = table
        if not others:
            self._table_before = ()
        return self._in_words(undone)

    def _in_words(self, undone: Iterable[journal.Undone]) -> list[str]:
        name = self.nic.identity.name
        return [f"{name}: {knob}" for knob in undone if knob.outcome in ("failed", "left alone")]

    # -- its users -----------------------------------------------------------------------------------------------------

    def use(self, user: object) -> tuple[str, ...]:
        """From now on it is used. What an earlier process had left on it, if that is news."""
        if user not in self._users:
            self._users.append(user)
        news, self._left = self._left, ()
        return news

    def done(self, user: object) -> list[str]:
        """Without users it ends: what could not be given back, in words. Again: nothing."""
        if user in self._users:
            self._users.remove(user)
        if self._users or self not in _in_use:
            return []
        report = self._transaction.close() if self._transaction is not None else None
        self._namespace.close()
        _in_use.remove(self)
        return [str(report)] if report is not None and report.is_trouble else []

    def __enter__(self) -> Self:
        for report in self.use(_Anonymous(self)):
            warnings.warn(report, OfframpWarning, stacklevel=3)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        anonymous = [user for user in self._users if isinstance(user, _Anonymous)]
        self.done(anonymous[-1])

    def abandon(self) -> None:
        """In a forked child: drop the descriptors, which are the parent's, and touch nothing else."""
        if self in _in_use:
            _in_use.remove(self)
            self._namespace.close()
        if self.link is not None:
            self.link.close()

    def leave_open(self) -> None:
        """At the end of the process: the kernel closes the link."""
        if self.link is not None:
            self.link.leave()
        self._namespace.close()


@dataclass(eq=False)
class _Anonymous:
    """A user by `with`."""

    interface: Interface


def _known(device: Nic) -> Interface | None:
    for known in _in_use:
        same = known.nic.identity
        if same.netns == device.identity.netns and same.same_device(device.identity):
            return known
    return None


def _hidden(sections: Iterable[Section]) -> dict[int, tuple[int, ...]]:
    """Hidden queues, and the entries of the RSS table that lead there."""
    return {section.hidden: section.entries for section in sections if section.hidden is not None}
