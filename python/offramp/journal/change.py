# SPDX-License-Identifier: Apache-2.0
"""Change an interface so that it can be given back, whatever happens.

    with transaction(nic) as change:
        change.set("rss.table", [0, 1, 0, 1])       written to the journal, then made, then checked
        ...
                                                    undone here, last change first

The order is: the guardian watches; the interface is marked (nic/mark.py), and goes by its mark; the journal says, on
the disk, what is about to be changed and what it was before; the knob is turned; it is read back; the journal says that
it was done. The process may be killed after each of these.

A transaction belongs to its process: in a forked child it is closed from the start. Interfaces are looked up in the
network namespace that the calling thread is in when it opens the transaction. After that any thread may use it.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self
from weakref import WeakSet

from offramp import process
from offramp.errors import Closed, InterfaceError, InterfaceGone, KernelError, OfframpError, OfframpWarning
from offramp.facts.knobs import Nic, Value, check, personal, removable
from offramp.journal import guardian
from offramp.journal.lock import InterfaceLock
from offramp.journal.record import Changed, Record, short
from offramp.journal.recover import Report, give_back, leftovers, sweep
from offramp.journal.store import Journal, Store
from offramp.journal.undo import Undone, undo
from offramp.syscalls.netns import inside, namespace_cookie, namespace_file
from offramp.syscalls.procfs import command
from offramp.text import printable

__all__ = ["Transaction", "apply", "transaction"]

_UNKNOWN = "the driver has no such setting, or does not say what it is now, so it could not be given back"

_open_here: WeakSet[Transaction] = WeakSet()
_to_undo: dict[Transaction, None] = {}  # those that have changed something, the oldest first: never collected


def transaction(nic: Nic) -> Transaction:
    """Open a journal for `nic`: see `Transaction`."""
    return Transaction(nic)


def apply(
    nic: Nic,
    changes: Iterable[tuple[str, Value]],
    *,
    for_: float | None = None,
    made: Callable[[], None] = lambda: None,
) -> Report | None:
    """Make changes, and undo them after `for_` seconds, or earlier if this process ends. Returns how that went.

    Without `for_` they stay after the process ends, until `offramp restore`. `made` is called once they are made.
    Errors: as `Transaction.set`.
    """
    with Transaction(nic) as change:
        change.set_all(changes)
        made()
        if for_ is None:
            change.keep()
            return None
        time.sleep(for_)
        return change.close()


class Transaction:
    """Changes to one interface, to be undone. A context manager.

    If an earlier owner died and left changes on this interface, they are undone first (`found`: how that went).
    A transaction that nobody closes is undone when the process ends.
    Needs CAP_NET_ADMIN, and write access to the directory of journals.
    Errors: InterfaceBusy if another process uses the interface; PrivilegeError, KernelError, JournalError.
    """

    def __init__(self, nic: Nic, store: Store | None = None) -> None:
        self.nic = nic
        self.device = nic.identity
        store = store or Store()
        with process.alone(), ExitStack() as stack:
            self._lock = stack.enter_context(InterfaceLock(self.device))
            self.found = leftovers(self.device, [change._journal.name for change in _open_here], store)
            sweep(store)
            self._namespace = stack.enter_context(namespace_file())
            self._journal: Journal = store.new()
            self._changes: list[Changed] = []
            self._report: Report | None = None  # how closing went
            _open_here.add(self)
            stack.pop_all()

    @property
    def changes(self) -> tuple[Changed, ...]:
        """What is changed now, in the order in which it was changed."""
        return tuple(self._changes)

    @property
    def closed(self) -> bool:
        return self._report is not None

    def set(self, knob: str, value: Value, *, moves: Iterable[str] = ()) -> None:
        """Set a knob for as long as the transaction is open.

        `moves`: other knobs that the driver may turn by itself as a result (the number of channels moves the RSS
        table). They are given back, too. Errors: OptionError for a name that is not a knob, or a value that the knob
        cannot have; InterfaceError if the driver accepts the value without effect; KernelError, InterfaceGone from the
        driver or the journal; Closed. After an error the knob is as before.
        """
        self.set_all([(knob, value)], moves=moves)

    def set_all(self, wanted: Iterable[tuple[str, Value]], *, moves: Iterable[str] = ()) -> None:
        """Set several knobs, in this order, with one entry in the journal. After an error, none of them is set."""
        with process.alone(), self._here():
            asked, moved = [(knob, check(knob, value)) for knob, value in wanted], tuple(moves)
            pending = self._intentions(asked, moved)
            if all(change.before == change.after for change in pending):
                return
            _to_undo[self] = None
            try:
                guardian.watch(self._path, self._namespace.fileno())
                if not self.device.mark:
                    self.nic.mark(self._journal.mark)
                    self.device = self.nic.identity
                    pending = self._intentions(asked, moved)  # of what bears the mark
                self._write([*self._changes, *pending])
                for change in pending:
                    self._turn(change)
                made = _merged([*self._changes, *map(self._confirmed, pending)])
                self._write(made)
            except BaseException:
                self._changes += self._not_undone(pending)
                with suppress(OfframpError):  # the journal lists more than was done, which does no harm
                    self._write(self._changes)
                raise
            self._changes = made

    def undo(self, *knobs: str) -> list[Undone]:
        """Give back these knobs, or all of them, and stay open. Returns the result of each change,
        the last one first.
        """
        with process.alone(), self._here():
            chosen = [change for change in self._changes if not knobs or change.knob in knobs]
            if not chosen:
                return []
            undone, left = undo(chosen, self.nic)
            self._changes = [change for change in self._changes if knobs and change.knob not in knobs] + left
            self._write(self._changes)
        return undone

    def keep(self) -> None:
        """Close, and leave everything as it is, even after this process ends, until `offramp restore`."""
        with process.alone(), self._here():
            if self._changes:
                self._journal.write(self._record(self._changes, kept=True))
            else:
                self._unmark()
            self._let_go(Report(self._journal.name, self.device.name, "kept"))

    def close(self) -> Report:
        """Give everything back. Returns how that went; what failed stays listed. Closing twice is allowed."""
        if self._report is not None:  # before anything else: in a forked child nobody would release the locks
            return self._report
        with process.alone(), self._here():
            report = Report(self._journal.name, self.device.name, "given back")
            if self._changes:
                report = self._given_back()
            else:
                self._unmark()
            if report.state in ("failed", "given back") and report.reason:  # once more: it may have been for a moment
                report = self._given_back()
            self._let_go(report)
        return report

    def _given_back(self) -> Report:
        return give_back(self._journal, self._record(self._changes), self.nic, first=self._namespace.fileno())

    @property
    def _path(self) -> str:
        return f"{self._journal.store.directory}/{self._journal.name}"

    def _here(self) -> AbstractContextManager[None]:
        """In it, this thread is in the interface's namespace. Errors: Closed."""
        if self._report is not None:
            raise Closed(f"the journal of {self.device.name} was closed")
        return inside(self._namespace.fileno())

    def _intentions(self, wanted: Sequence[tuple[str, Value]], moves: Iterable[str]) -> list[Changed]:
        says: dict[str, Value] = {}
        pending = []
        for knob in moves:
            says[knob] = self.nic.get(knob)
            pending.append(Changed(knob, says[knob], says[knob], pending=True))
        for knob, value in wanted:
            before = says[knob] if knob in says else self.nic.get(knob)
            of_new_vf = personal(knob) and "vf.count" in says  # it has no setting before it is made
            if before is None and not removable(knob) and not of_new_vf:
                raise KernelError(f"setting {knob} of {self.device.name}", errno.EOPNOTSUPP, hint=_UNKNOWN)
            says[knob] = value
            if before != value:
                pending.append(Changed(knob, before, value, pending=True))
        return pending

    def _turn(self, change: Changed) -> None:
        if change.before == change.after:  # listed only because the driver may move it
            return
        self.nic.set(change.knob, change.after)
        found = self.nic.get(change.knob)
        if found != change.after:
            raise InterfaceError(
                f"setting {change.knob} of {self.device.name} to {short(change.after)}",
                reason=f"accepted without effect: it is {short(found)}",
            )

    def _confirmed(self, change: Changed) -> Changed:
        after = self.nic.get(change.knob) if change.before == change.after else change.after
        return replace(change, after=after, pending=False)

    def _not_undone(self, pending: list[Changed]) -> list[Changed]:
        try:
            return undo(pending, self.nic)[1]
        except InterfaceGone:  # closing will look for it elsewhere
            return pending

    def _write(self, changes: Sequence[Changed]) -> None:
        if changes:
            self._journal.write(self._record(changes))
        else:
            self._journal.remove()

    def _record(self, changes: Sequence[Changed], *, kept: bool = False) -> Record:
        here, now = namespace_cookie(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # never set back
        return Record(self.device, here, os.getpid(), _command(), now, kept, tuple(changes))

    def _let_go(self, report: Report) -> None:
        """Release everything. Each part may be released again, in case a signal handler raises in between."""
        guardian.done(self._path)
        self._journal.release()
        self._lock.close()
        _open_here.discard(self)
        _to_undo.pop(self, None)
        self._report = report
        self._namespace.close()

    def _unmark(self) -> None:
        with suppress(OfframpError):  # it does no harm; the interface may be gone
            self.nic.unmark()

    def _abandon(self) -> None:
        """In a forked child: drop the descriptors, which belong to the parent, and touch nothing else."""
        self._report = Report(self._journal.name, self.device.name, "in use", "by the parent process")
        self._journal.release()
        self._namespace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.closed:
            _warn(self.close())

    def __repr__(self) -> str:
        knobs = ", ".join(change.knob for change in self._changes) or "nothing"
        return f"<Transaction of {printable(self.device.name)}, {'closed' if self.closed else knobs}>"


def _merged(changes: Sequence[Changed]) -> list[Changed]:
    """A knob that is turned again makes one change with its earlier turn, if only rules were changed in between."""
    merged: list[Changed] = []
    for change in changes:
        place = len(merged) - 1
        while place >= 0 and merged[place].knob != change.knob and merged[place].knob.startswith("rule."):
            place -= 1
        if place >= 0 and merged[place].knob == change.knob and merged[place].after == change.before:
            earlier = merged.pop(place)
            change = replace(change, before=earlier.before)
            if change.before != change.after or earlier.before == earlier.after:
                merged.insert(place, change)
        else:  # also knobs that the driver may move only when this is undone: before == after
            merged.append(change)
    return merged


def _command() -> str:
    return command(os.getpid()) or ""


def _warn(report: Report) -> None:
    if report.is_trouble:
        warnings.warn(str(report), OfframpWarning, stacklevel=3)


def _close_all() -> None:
    """The interpreter ends."""
    for change in [*reversed(tuple(_to_undo)), *_open_here]:  # of a virtual function before its physical one
        with suppress(OfframpError):  # the guardian tries again, and says so
            change.close()


def _in_child() -> None:
    process.each([change._abandon for change in _open_here])
    _open_here.clear()
    _to_undo.clear()


process.holds("changes", in_child=_in_child, at_exit=_close_all)
