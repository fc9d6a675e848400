# SPDX-License-Identifier: Apache-2.0
"""Guaranteed return: every change to an interface is written down before it is made, and undone whatever happens.

    change.py     Transaction: change, and undo at the end of a `with`; `apply`: change for some seconds, or to stay
    undo.py       a knob goes back if it is still as we set it; if somebody else has changed it, it is left alone
    record.py     what a journal says: fields, types, versions. Pure
    store.py      the directory of journals: atomic, locked, private
    guardian.py   the process that undoes when this one cannot; watch.py is that process
    recover.py    after a crash or a reboot, or when the user wants it
    lock.py       one process per interface

    with transaction(nic)          journal on the disk ──> guardian ──> knob turned, read back
    close() / exception            this process undoes, and removes the journal
    kill -9, abort, exit           the guardian undoes, within a second
    guardian killed as well        the next transaction on that interface undoes, or `offramp restore`
    power failure, reboot          `offramp restore` at boot undoes what is still as we set it, and removes the journal

All of it works through the protocol `Nic` (get, set, identity) and knows no driver.
"""

from __future__ import annotations

from offramp.journal.change import Transaction, apply, transaction
from offramp.journal.lock import InterfaceLock
from offramp.journal.record import short
from offramp.journal.recover import Listed, Report, left_behind, leftovers, listed, restore
from offramp.journal.undo import Undone

__all__ = [
    "InterfaceLock",
    "Listed",
    "Report",
    "Transaction",
    "Undone",
    "apply",
    "left_behind",
    "leftovers",
    "listed",
    "restore",
    "short",
    "transaction",
]
