# SPDX-License-Identifier: Apache-2.0
"""Give back what journals list: after a crash, after a reboot, or when the user asks for it.

    the journal's owner lives, or another process uses the interface      in use: not touched
    the interface is here or in another namespace, under any name         its knobs are undone (undo.py)
    ... and all of them are dealt with                                    given back: the journal is removed
    ... and some failed                                                   failed: the journal keeps these
    a virtual interface is in no namespace that we may look into          gone: the journal is removed
    a PCI device is gone, or we may not look into every namespace         gone: kept, until it is back
    the journal is forged, cut off, of another version                    refused: not touched

A virtual interface is the one that bears the journal's mark (nic/mark.py). Everything here is done by whoever holds the
interface's lock, and by nobody else. The newest journal of an interface comes first, because older ones say what was
there before it.
Needs CAP_NET_ADMIN; for interfaces of other network namespaces also CAP_SYS_ADMIN and CAP_SYS_PTRACE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from typing import Any, Literal

from offramp.errors import InterfaceBusy, InterfaceGone, KernelError, OfframpError
from offramp.facts.identity import Identity
from offramp.facts.knobs import Nic, Value
from offramp.immutable import immutable
from offramp.journal import lock
from offramp.journal.lock import InterfaceLock, path_of
from offramp.journal.record import Changed, Record
from offramp.journal.store import Journal, Store
from offramp.journal.undo import Undone, undo
from offramp.nic import mark as marks
from offramp.nic.device import boot
from offramp.nic.live import find
from offramp.syscalls.netns import inside, namespace_cookie, other_namespaces
from offramp.text import printable

__all__ = [
    "Listed",
    "Report",
    "give_back",
    "give_back_for",
    "left_behind",
    "leftovers",
    "listed",
    "restore",
    "sweep",
]

State = Literal["given back", "kept", "failed", "in use", "gone", "refused"]


@immutable
class Report:
    """The result for one journal. `str()`: a line for it, and one for each knob."""

    journal: str
    interface: str  # its name now, or the last one known; "" if the journal could not be read
    state: State
    reason: str = ""
    knobs: tuple[Undone, ...] = ()

    @property
    def dealt_with(self) -> bool:
        """Whether everything is done that can be done now."""
        return self.state not in ("failed", "refused")

    @property
    def is_trouble(self) -> bool:
        """Whether something is not as it was before, so the user should hear of it."""
        return self.state in ("failed", "gone") or any(knob.outcome == "left alone" for knob in self.knobs)

    def to_dict(self) -> dict[str, Any]:
        knobs = [knob.to_dict() for knob in self.knobs]
        return {
            "journal": self.journal,
            "interface": self.interface,
            "state": self.state,
            "reason": self.reason,
            "knobs": knobs,
        }

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        lines = [printable(f"{self.interface or self.journal}: {self.state}{reason}")]
        return "\n".join([*lines, *(f"  {knob}" for knob in self.knobs)])


@immutable
class Listed:
    """A journal that exists, unchanged. `refused`: why it could not be read."""

    journal: str
    record: Record | None
    held: bool = False  # its owner lives, or it is being given back
    refused: str = ""

    @property
    def state(self) -> str:
        if self.record is None:
            return "refused"
        return "in use" if self.held else "kept" if self.record.kept else "left behind"

    @property
    def order(self) -> tuple[bool, int]:
        """Newest first: journals of this boot, then those of earlier boots, which have no order among each other."""
        record = self.record
        return (record is None or record.device.boot != boot(), -record.moment if record else 0)

    def is_one_of(self, which: Collection[str]) -> bool:
        """Whether `which` names the journal or its interface."""
        return self.journal in which or (self.record is not None and self.record.device.name in which)

    def to_dict(self) -> dict[str, Any]:
        record = self.record
        return {
            "journal": self.journal,
            "state": self.state,
            "interface": record.device.name if record else "",
            "device": asdict(record.device) if record else None,
            "pid": record.pid if record else None,
            "command": record.command if record else None,
            "changes": [asdict(change) for change in record.changes] if record else [],
            "reason": self.refused,
        }

    def __str__(self) -> str:
        record = self.record
        if record is None:
            return printable(f"{self.journal}: refused: {self.refused}")
        head = f"{record.device.name}: {self.state}: by {record.command} (pid {record.pid}), {self.journal}"
        return "\n".join([printable(head), *(f"  {change}" for change in record.changes)])


def listed(store: Store | None = None) -> list[Listed]:
    """All journals, the newest first. Changes nothing. Errors: PrivilegeError, JournalError about the directory."""
    store, found = store or Store(), []
    for name in sorted(store.names()):
        try:
            content = store.read(name)
        except OfframpError as error:
            found.append(Listed(name, None, refused=str(error)))
        else:
            if content is not None:
                found.append(Listed(name, *content))
    return sorted(found, key=lambda entry: entry.order)


def restore(which: Sequence[str] = (), store: Store | None = None) -> list[Report]:
    """Give back what journals list: of all interfaces, or only of those (or the journals) named in `which`.

    Every journal is tried, whatever happens to the others. Errors: as `listed`.
    """
    store = store or Store()
    chosen = [entry for entry in listed(store) if not which or entry.is_one_of(which)]
    reports = [_restore(entry, store) for entry in chosen]
    if not which:
        sweep(store)
    return reports


def sweep(store: Store) -> None:
    """Remove what killed processes have left: files that were never finished, and locks."""
    with suppress(OfframpError):
        store.sweep()
    lock.sweep()


def leftovers(device: Identity, ours: Collection[str] = (), store: Store | None = None) -> list[Report]:
    """Give back what dead owners have left on this interface, except what was to stay.

    The caller has the interface's lock, so the only living owner is the caller: `ours` are its own journals.
    Errors: as `listed`; InterfaceBusy if another process has changed it in another namespace, where it was before.
    """
    store = store or Store()
    reports = []
    for entry in _left(device, store):
        if entry.journal not in ours and entry.record is not None:
            elsewhere = path_of(entry.record.device, entry.record.namespace) != path_of(device)
            report = _restore(entry, store) if elsewhere else _taken_over(entry.journal, store)
            if report is not None and elsewhere and report.state == "in use":
                raise InterfaceBusy(device.name, reason=f"in use {report.reason}", hint="it was in another namespace")
            reports += [report] if report is not None else []
    return reports


def left_behind(device: Identity, store: Store | None = None) -> list[Listed]:
    """What `leftovers` would give back. Changes nothing. Errors: as `listed`."""
    return [entry for entry in _left(device, store or Store()) if not entry.held]


def _left(device: Identity, store: Store) -> list[Listed]:
    here = namespace_cookie()

    def is_left(entry: Listed) -> bool:
        record = entry.record
        if record is None or record.kept:
            return False
        if record.device.mark and not record.device.bus:
            found = find(record.device)
            return found is not None and found.identity.ifindex == device.ifindex
        return record.is_about(device, here)

    return [entry for entry in listed(store) if is_left(entry)]


def give_back_for(owner: int, name: str, first: int, store: Store) -> Report | None:
    """What a guardian does: give back one journal whose interface was in the namespace `first` (a descriptor). None: it
    is given back already. Errors: JournalError, KernelError.

    `owner`: its process, if that still lives because it was the guardian that was told to end; else -1. The owner holds
    the lock then, and the guardian acts for it.
    """
    with inside(first):
        found = store.read(name)
        if found is None:
            marks.take(store.journal(name).mark)  # it ended between the two
            return None
        report = _restore(Listed(name, *found), store, first)
        if report.state == "in use" and lock.holder(found[0].device, found[0].namespace) == owner:
            nic = find(found[0].device)
            return give_back(store.journal(name), found[0], nic and _ForItsOwner(nic, found[0], owner), first=first)
        return report


class _ForItsOwner:
    """An interface whose lock another process has, for which we act: nothing is changed when it has it no longer."""

    def __init__(self, nic: Nic, record: Record, owner: int) -> None:
        self._nic, self._record, self._owner = nic, record, owner
        self.identity, self.get, self.mark, self.capabilities = nic.identity, nic.get, nic.mark, nic.capabilities

    def set(self, knob: str, value: Value) -> None:
        if lock.holder(self._record.device, self._record.namespace) != self._owner:
            raise InterfaceBusy(self.identity.name, reason="its owner has ended")
        self._nic.set(knob, value)

    def unmark(self) -> None:
        """The owner finds it by its mark, and takes that away itself."""


def give_back(journal: Journal, record: Record, nic: Nic | None = None, *, first: int | None = None) -> Report:
    """Undo a journal that is ours, through `nic`, or by finding its interface, first in the namespace `first`.

    The caller has the lock of the interface, where it was when it was changed. If it is elsewhere now, it is locked
    there, too. The file is removed, or rewritten to list what failed.
    """
    try:
        name, undone, left = _undo_at(record, nic, first, journal)
    except InterfaceGone as error:
        return _gone(journal, record.device, error.reason)
    except InterfaceBusy as error:
        return Report(journal.name, record.device.name, "in use", error.reason)
    except OfframpError as error:
        return Report(journal.name, record.device.name, "failed", str(error))
    if not left:
        return Report(journal.name, name, "given back", _remove(journal), tuple(undone))
    with suppress(OfframpError):  # a full disk: everything is still listed, and will be found as before
        journal.write(replace(record, changes=tuple(left)))
    return Report(journal.name, name, "failed", f"still listed in {journal.name}", tuple(undone))


def _restore(entry: Listed, store: Store, first: int | None = None) -> Report:
    """Whoever holds the interface's lock gives back what its dead owner has left; nobody else does."""
    record = entry.record
    if record is None:
        return Report(entry.journal, "", "refused", entry.refused)
    try:
        with InterfaceLock(record.device, namespace=record.namespace, briefly=True):
            report = _taken_over(entry.journal, store, first)
    except InterfaceBusy:
        return Report(entry.journal, record.device.name, "in use", f"by {record.command} (pid {record.pid})")
    except OfframpError as error:
        return Report(entry.journal, record.device.name, "failed", str(error))
    if report is None:
        return Report(entry.journal, record.device.name, "given back", "by another process, just now")
    return report


def _taken_over(name: str, store: Store, first: int | None = None) -> Report | None:
    """The caller has the lock of its interface. None: the journal is gone."""
    try:
        taken = store.claim(name) or store.seize(name)
    except OfframpError as error:
        return Report(name, "", "refused", str(error))
    if taken is None:
        return None
    journal, record = taken
    try:
        return give_back(journal, record, first=first)
    finally:
        journal.release()


def _undo_at(
    record: Record, nic: Nic | None, first: int | None, journal: Journal
) -> tuple[str, list[Undone], list[Changed]]:
    """Undo it where the interface is now, under the name that it has there. Then it needs its mark no longer."""
    same_boot = record.device.boot == boot()
    if nic is not None:
        with suppress(InterfaceGone):  # it may have been moved to another namespace
            return _undone(record, nic, same_boot=same_boot)
    with ExitStack() as stack:
        found = _search(record, first, stack)
        if path_of(found.identity) != path_of(record.device, record.namespace):
            stack.enter_context(InterfaceLock(found.identity, briefly=True))
        return _undone(record, found, same_boot=same_boot)


def _undone(record: Record, nic: Nic, *, same_boot: bool) -> tuple[str, list[Undone], list[Changed]]:
    undone, left = undo(record.changes, nic, same_boot=same_boot)
    name = nic.identity.name
    if not left:
        nic.unmark()
    return name, undone, left


def _search(record: Record, first: int | None, stack: ExitStack) -> Nic:
    """Find the interface and enter its namespace. Errors: InterfaceGone; with a reason if we may
    not look everywhere.
    """
    if first is not None:
        stack.enter_context(inside(first))
    if (found := _here(record)) is not None:
        return found
    try:
        for namespace in other_namespaces():
            entered = stack.enter_context(ExitStack())
            entered.enter_context(inside(namespace))
            if (found := _here(record)) is not None:
                return found
            entered.close()
    except KernelError as error:
        raise InterfaceGone(record.device.name, reason=f"not found: {error}") from None
    raise InterfaceGone(record.device.name)


def _here(record: Record) -> Nic | None:
    """The interface, if it is in this thread's namespace. Errors: InterfaceGone if it can be nowhere else."""
    if record.device.bus or record.device.mark:
        return find(record.device) if record.device.boot == boot() or record.device.bus else None
    if namespace_cookie() != record.namespace:
        return None
    if (found := find(record.device)) is None:
        raise InterfaceGone(record.device.name)
    return found


def _gone(journal: Journal, device: Identity, unseen: str) -> Report:
    """Without the interface there is nothing to undo; but hardware comes back, with some of its settings."""
    if device.bus or (unseen and not device.mark and device.boot == boot()):
        where = unseen or f"{device.bus} is not here"
        return Report(journal.name, device.name, "gone", f"{where}; {journal.name} is kept until it is back")
    said = "it was removed, or moved away" if unseen or not device.mark else "it was removed"
    return Report(journal.name, device.name, "gone", _remove(journal) or said)


def _remove(journal: Journal) -> str:
    """Remove it. Returns why that failed, or "". A journal that stays will find everything as before."""
    try:
        journal.remove()
    except OfframpError as error:
        return str(error)
    return ""
