# SPDX-License-Identifier: Apache-2.0
"""A transaction, and a signal's handler that raises in the middle: when its user has closed what is known to them, all
is as before, and nothing is held.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from offramp import process
from offramp.journal import Transaction, change, lock, transaction
from offramp.journal.store import Store
from tests.rigs.interrupts import Interrupt, at, count, sample
from tests.rigs.journals import FRESH, PlainNic
from tests.rigs.waiting import eventually

STEPS = (("mtu", 3000), ("feature.rx-gro", False))


class Life:
    """Of one transaction."""

    def __init__(self, nic: PlainNic) -> None:
        self.nic = nic
        self.known: list[Transaction] = []

    def __call__(self) -> None:
        one = transaction(self.nic)
        self.known.append(one)
        one.set_all(STEPS)
        one.set("mtu", 4000)
        one.undo("mtu")
        one.close()

    def end(self) -> None:
        while self.known:
            self.known[-1].close()
            self.known.pop()


def raises() -> None:
    raise Interrupt


def descriptors() -> list[str]:
    names = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sorted(os.readlink(name) for name in names if os.path.lexists(name))


def is_free() -> bool:
    return not (lock._holders or lock._descriptors or change._open_here or change._to_undo)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("most", [150, pytest.param(1 << 30, marks=pytest.mark.soak)])
def test_an_interrupt_anywhere(store: Store, nic: PlainNic, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda caught: None)
    life = Life(nic)
    life()
    life.end()
    before = descriptors()
    for place in sample(count(life), most):
        life.end()
        where = at(place, raises, life)
        life.end()
        with process.alone():
            pass
        assert eventually(is_free), where
        assert nic.knobs == FRESH, where
        assert [path.name for path in Path(store.directory).iterdir()] == [], where
        assert descriptors() == before, where
