# SPDX-License-Identifier: Apache-2.0
"""What is changed of an interface for the ramps of this process: it is written down before, and given back.

rules, VFs       given back with the ramp that needed them
the RSS table    the table from before, minus the entries of all hidden queues: computed anew, never patched
offloads         given back with the last ramp, because all of them may need them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from offramp import journal, nic
from offramp.errors import InterfaceBusy, InterfaceGone, OfframpError
from offramp.facts.capabilities import NTUPLE
from offramp.facts.knobs import personal
from offramp.facts.offloads import OFFLOADS
from offramp.steering import hiding

if TYPE_CHECKING:
    from collections.abc import Callable

    from offramp.facts.knobs import Nic, Value
    from offramp.planner import Change
    from offramp.ramp.section import Section

__all__ = ["Changes", "hidden_queues"]

_TABLE = "rss.table"
_RULE = "rule."
_NTUPLE = f"feature.{NTUPLE}"
_VF_COUNT = "vf.count"
_MOVED_BY_VFS = (_TABLE, "channels")  # in the order that allows undoing in reverse


class Changes:
    """The lock of the interface, and the journal of what is changed, once it has begun. Needs `process.alone`."""

    def __init__(self, device: Nic, here: Callable[[], AbstractContextManager[None]]) -> None:
        self.found: tuple[str, ...] = ()  # left by earlier processes, and now given back
        self._nic = device
        self._here = here
        self._table_before: tuple[int, ...] = ()  # () while no queue is hidden
        self._table_written: list[int] = []
        self._transaction: journal.Transaction | None = None
        self._no_journal: OfframpError | None = None

    def begin(self) -> None:
        """Errors: InterfaceBusy if another process has it. If there can be no journal, `change` says why."""
        try:
            self._transaction = journal.transaction(self._nic)
            self.found = tuple(f"left by an earlier process: {report}" for report in self._transaction.found)
        except InterfaceBusy:
            raise
        except OfframpError as error:  # it only matters to those who change something
            self._no_journal = error

    def as_found(self, link: nic.Link) -> nic.Link:
        """The link, with the offloads that are off for our ramps: each plan says so, and they stay off for it."""
        changed = {change.knob: change.before for change in self._transaction.changes} if self._transaction else {}
        return replace(link, **{each.field: changed[each.knob] for each in OFFLOADS if each.knob in changed})

    @property
    def table_before(self) -> tuple[int, ...]:
        """The RSS table without any hidden queue; () if none is hidden, or if somebody has chosen
        another table since.
        """
        return self._table_before if self._table_before and self.table_is_ours else ()

    @property
    def table_is_ours(self) -> bool:
        """Whether the table is still the one that was written last."""
        return bool(self._nic.get(_TABLE) == self._table_written)

    def change(self, changes: Iterable[Change], section: Section) -> None:
        """Change knobs for this section. Errors: as journal.Transaction.set; then none of them is changed."""
        if self._transaction is None:
            raise self._no_journal or OfframpError("an interface without a journal")
        wanted = {change.knob: change.value for change in changes}
        section.knobs += filter(personal, wanted)  # before the change, which may be interrupted when it is done
        noted = self._table_before, self._table_written
        if _TABLE in wanted:
            if not self.table_before:
                self._table_before = tuple(self._nic.get(_TABLE))
            self._table_written = wanted[_TABLE]
        try:
            self._transaction.set_all(wanted.items(), moves=_MOVED_BY_VFS if _VF_COUNT in wanted else ())
        except BaseException:
            if not self.table_is_ours:
                self._table_before, self._table_written = noted
            raise

    def give_back(self, section: Section, others: Sequence[Section], *, last: bool) -> list[str]:
        """Give back what is changed for this section alone. Returns what could not be given back, in words. Doing it
        again does nothing.

        `last`: nobody else uses the interface.
        """
        transaction = self._transaction
        if transaction is None or transaction.closed:
            return []
        with self._here():
            try:
                return self._undo(transaction, section, others, last=last)
            except InterfaceGone:  # closing the journal says what this means
                return []

    def remove(self, knobs: Sequence[str], section: Section) -> list[str]:
        """Give back some of what is changed for this section: rules that it no longer needs. Returns what failed, in
        words.
        """
        if not knobs or self._transaction is None:
            return []
        with self._here():
            undone = self._transaction.undo(*knobs)
        section.knobs[:] = [knob for knob in section.knobs if knob not in knobs]
        return self._in_words(undone)

    def wanted_and_found(self, section: Section) -> dict[str, tuple[Value, Value]]:
        """What is changed now for this section, and for all: each knob as it was set, and as it is.

        Errors: KernelError, InterfaceGone.
        """
        changes = self._transaction.changes if self._transaction is not None else ()
        wanted = {change.knob: change.after for change in changes}
        ours = [knob for knob in wanted if not personal(knob) or knob in section.knobs]
        with self._here():
            return {knob: (wanted[knob], self._nic.get(knob)) for knob in ours}

    def close(self) -> list[str]:
        """Give back all the rest. Returns what could not be given back, in words; the same if called again."""
        report = self._transaction.close() if self._transaction is not None else None
        return [str(report)] if report is not None and report.is_trouble else []

    def _undo(
        self, transaction: journal.Transaction, section: Section, others: Sequence[Section], *, last: bool
    ) -> list[str]:
        knobs = list(section.knobs)
        hidden = hidden_queues(others)
        if section.hidden is not None and not hidden:
            knobs.append(_TABLE)
        if not any(knob.startswith(_RULE) for other in others for knob in other.knobs):
            knobs.append(_NTUPLE)
        with_all = last and _VF_COUNT in knobs  # a VF takes along what the driver has moved for it
        trouble = self._in_words(transaction.undo(*(() if with_all else knobs)) if knobs else [])
        section.knobs.clear()
        if not hidden:
            self._table_before = ()
        elif section.hidden is not None and self.table_is_ours:
            trouble += self._hide_only(hidden, transaction)
        return trouble

    def _hide_only(self, hidden: Mapping[int, Sequence[int]], transaction: journal.Transaction) -> list[str]:
        """The RSS table without the queue that is given back. Returns what failed, in words."""
        table = hiding(self._table_before, hidden)
        try:
            transaction.set(_TABLE, table)
        except OfframpError as error:
            return [str(error)]
        self._table_written = table
        return []

    def _in_words(self, undone: Iterable[journal.Undone]) -> list[str]:
        name = self._nic.identity.name
        return [f"{name}: {knob}" for knob in undone if knob.outcome in ("failed", "left alone")]


def hidden_queues(sections: Iterable[Section]) -> dict[int, tuple[int, ...]]:
    """Hidden queues, and the entries of the RSS table that lead there."""
    return {section.hidden: section.entries for section in sections if section.hidden is not None}
