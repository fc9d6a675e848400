# SPDX-License-Identifier: Apache-2.0
"""Forks, other processes, other threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from offramp.errors import (
    Closed,
    InterfaceBusy,
)
from offramp.journal import InterfaceLock, listed, lock, transaction
from offramp.journal.store import Store
from tests.rigs.interrupts import Interrupt, at, count
from tests.rigs.journals import FRESH, PlainNic, identity
from tests.rigs.processes import in_child
from tests.rigs.waiting import eventually

DEVICE = identity()


def test_a_forked_child_has_nothing_to_do_with_it(nic: PlainNic, store: Store) -> None:
    with transaction(nic) as change:
        change.set("mtu", 3000)

        def work() -> None:
            assert change.closed
            assert change.close().state == "in use"
            with pytest.raises(Closed):
                change.set("mtu", 4000)
            with pytest.raises(InterfaceBusy, match=rf"soft0: in use by .* \(pid {os.getppid()}\)"):
                transaction(nic)
            assert nic.knobs["mtu"] == 3000

        assert in_child(work) == 0
        assert in_child(lambda: sys.exit(0)) == 1  # through `finally`, and the interpreter's own end
        assert [entry.state for entry in listed()] == ["in use"]
        change.set("mtu", 4000)
    assert nic.knobs == FRESH


def test_the_second_process_is_refused(nic: PlainNic) -> None:
    """With the pid of the first; and it may when the first has ended, however."""
    code = (
        "import sys\n"
        "from offramp.journal import InterfaceLock\n"
        "from tests.rigs.journals import identity\n"
        "lock = InterfaceLock(identity())\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    for _ in range(2):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == "locked\n"
            with pytest.raises(InterfaceBusy) as caught:
                transaction(nic)
            assert str(caught.value).startswith("soft0: in use by python")
            assert f"(pid {first.pid}) (one offramp process per interface)" in str(caught.value)
            first.kill()
            first.wait()
        transaction(nic).close()


def test_ramps_of_one_process_share_the_lock(nic: PlainNic, store: Store) -> None:
    first = InterfaceLock(identity(ifindex=7))
    with InterfaceLock(identity(ifindex=7)), InterfaceLock(identity(ifindex=8, bus="0000:02:00.0")):
        first.close()
        first.close()
        assert len(list(Path(store.directory).glob("*-7.lock"))) == 1
        assert Path(store.directory, "0000:02:00.0.lock").exists()

        def refused() -> None:
            with pytest.raises(InterfaceBusy):
                InterfaceLock(identity(ifindex=7))

        assert in_child(refused) == 0
        assert in_child(refused) == 0  # the child's end has not unlocked it
    assert list(Path(store.directory).glob("*.lock")) == []


def test_threads_that_lock_and_unlock(nic: PlainNic, store: Store) -> None:
    def work() -> None:
        for _ in range(200):
            with InterfaceLock(identity(ifindex=7)):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(Path(store.directory).glob("*.lock")) == []


# -- interrupts --------------------------------------------------------------------------------------------------------


def refused() -> None:
    with pytest.raises(InterfaceBusy):
        InterfaceLock(DEVICE)


def lock_and_unlock() -> None:
    with InterfaceLock(DEVICE):
        pass


def raises() -> None:
    raise Interrupt


def locks_and_raises() -> None:
    lock_and_unlock()
    raise Interrupt


def nothing_is_held(store: Store) -> bool:
    files = list(Path(store.directory).glob("*.lock"))
    return not (lock._holders or lock._descriptors or files or locked_files())


def locked_files() -> list[str]:
    """Open descriptors of locks, removed ones included."""
    names = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(name) for name in names if os.path.lexists(name) and ".lock" in os.readlink(name)]


@pytest.mark.parametrize("act", [raises, lock_and_unlock, locks_and_raises])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in finalizers Python can only show it
def test_an_interrupt_anywhere(store: Store, act: Callable[[], None], held: bool) -> None:
    """With another lock of the same interface, that is not lost, and without."""
    lock_and_unlock()
    for place in range(1, count(lock_and_unlock) + 1):
        other = InterfaceLock(DEVICE) if held else None
        where = at(place, act, lock_and_unlock)
        if other is not None:
            assert in_child(refused) == 0, where
            other.close()
        assert eventually(lambda: nothing_is_held(store)), where
        with InterfaceLock(DEVICE):
            assert in_child(refused) == 0, where
        assert nothing_is_held(store), where


@pytest.mark.parametrize("held", [False, True])
def test_a_handler_that_locks_anywhere(store: Store, held: bool) -> None:
    """What it has locked stays so, whatever was under way."""
    kept: list[InterfaceLock] = []
    lock_and_unlock()
    for place in range(1, count(lock_and_unlock) + 1):
        other = InterfaceLock(DEVICE) if held else None
        where = at(place, lambda: kept.append(InterfaceLock(DEVICE)), lock_and_unlock)
        if other is not None:
            other.close()
        assert in_child(refused) == 0 or not where, where
        while kept:
            kept.pop().close()
        assert nothing_is_held(store), where


def test_a_lock_that_is_forgotten_is_let_go_of(store: Store) -> None:
    InterfaceLock(DEVICE)
    assert nothing_is_held(store)
