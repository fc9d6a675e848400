# SPDX-License-Identifier: Apache-2.0
"""Give back what journals list: after a crash, after a reboot, or when the user asks for it.

    the journal's owner lives, or another process uses the interface      in use: not touched
    the interface is where it was, or a PCI device anywhere               its knobs are undone (undo.py)
    ... and all of them are dealt with                                    given back: the journal is removed
    ... and some failed                                                   failed: the journal keeps these
    a virtual interface is no longer there: removed, or moved away        gone: the journal is removed
    a PCI device is gone, or we may not look into every namespace         gone: kept, until it is back
    the journal is forged, cut off, of another version                    refused: not touched

The newest journal of an interface comes first, because older ones say what was there before it.
Needs CAP_NET_ADMIN; for interfaces of other network namespaces also CAP_SYS_ADMIN and CAP_SYS_PTRACE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from typing import Any, Literal

from offramp.errors import InterfaceBusy, InterfaceGone, OfframpError, PrivilegeError
from offramp.facts.identity import Identity
from offramp.facts.knobs import Nic
from offramp.immutable import immutable
from offramp.journal.lock import InterfaceLock
from offramp.journal.record import Changed, Record
from offramp.journal.store import Journal, Store
from offramp.journal.undo import Undone, undo
from offramp.nic.device import boot
from offramp.nic.live import find
from offramp.syscalls.netns import inside, namespace_cookie, other_namespaces
from offramp.text import printable

__all__ = ["Listed", "Report", "give_back", "left_behind", "leftovers", "listed", "restore"]

_AT_WORK = 5.0  # how long a guardian may need, including a driver's reset; seconds

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
    if not which and store.names():
        store.sweep()
    return reports


def leftovers(device: Identity, ours: Collection[str] = (), store: Store | None = None) -> list[Report]:
    """Give back what dead owners have left on this interface, except what was to stay. Waits for a guardian at work.

    The caller has the interface's lock, so the only living owner is the caller: `ours` are its own journals.
    Errors: as `listed`.
    """
    store = store or Store()
    return [_restore(entry, store, _AT_WORK) for entry in _left(device, store) if entry.journal not in ours]


def left_behind(device: Identity, store: Store | None = None) -> list[Listed]:
    """What `leftovers` would give back. Changes nothing. Errors: as `listed`."""
    return [entry for entry in _left(device, store or Store()) if not entry.held]


def _left(device: Identity, store: Store) -> list[Listed]:
    here = namespace_cookie()

    def is_left(entry: Listed) -> bool:
        record = entry.record
        return record is not None and not record.kept and record.is_about(device, here)

    return [entry for entry in listed(store) if is_left(entry)]


def give_back(
    journal: Journal, record: Record, nic: Nic | None = None, *, first: int | None = None, lock: bool = True
) -> Report:
    """Undo a journal that is ours, through `nic`, or by finding its interface, first in the namespace `first`.

    The file is removed, or rewritten to list what failed. Without `lock`, another process may be using the interface.
    """
    try:
        name, undone, left = _undo_at(record, nic, first, lock)
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


def _restore(entry: Listed, store: Store, patience: float = 0.2) -> Report:
    record = entry.record
    if record is None:
        return Report(entry.journal, "", "refused", entry.refused)
    try:
        claimed = store.claim(entry.journal, patience)
    except OfframpError as error:
        return Report(entry.journal, "", "refused", str(error))
    if claimed is None:
        if entry.journal not in store.names():
            return Report(entry.journal, record.device.name, "given back", "by another process, just now")
        return Report(entry.journal, record.device.name, "in use", f"by {record.command} (pid {record.pid})")
    journal, record = claimed
    try:
        return give_back(journal, record)
    finally:
        journal.release()


def _undo_at(record: Record, nic: Nic | None, first: int | None, lock: bool) -> tuple[str, list[Undone], list[Changed]]:
    """Undo it where the interface is now, under the name that it has there."""
    same_boot = record.device.boot == boot()
    if nic is not None:
        with suppress(InterfaceGone):  # it may have been moved to another namespace
            return (nic.identity.name, *undo(record.changes, nic, same_boot=same_boot))
    with ExitStack() as stack:
        found = _search(record, first, stack)
        if lock:
            stack.enter_context(InterfaceLock(found.identity))
        return (found.identity.name, *undo(record.changes, found, same_boot=same_boot))


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
    except PrivilegeError as error:
        raise InterfaceGone(record.device.name, reason=f"not found: {error}") from None
    raise InterfaceGone(record.device.name)


def _here(record: Record) -> Nic | None:
    """The interface, if it is in this thread's namespace. Errors: InterfaceGone if it can be nowhere else."""
    if record.device.bus:
        return find(record.device)
    if namespace_cookie() != record.namespace:
        return None
    if (found := find(record.device)) is None:
        raise InterfaceGone(record.device.name)
    return found


def _gone(journal: Journal, device: Identity, unseen: str) -> Report:
    """Without the interface there is nothing to undo; but hardware comes back, with some of its settings."""
    if device.bus or (unseen and device.boot == boot()):
        where = unseen or f"{device.bus} is not here"
        return Report(journal.name, device.name, "gone", f"{where}; {journal.name} is kept until it is back")
    return Report(journal.name, device.name, "gone", _remove(journal) or "it was removed, or moved away")


def _remove(journal: Journal) -> str:
    """Remove it. Returns why that failed, or "". A journal that stays will find everything as before."""
    try:
        journal.remove()
    except OfframpError as error:
        return str(error)
    return ""
