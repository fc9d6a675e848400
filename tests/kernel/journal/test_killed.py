# SPDX-License-Identifier: Apache-2.0
"""However a process that has changed an interface ends, the interface is as before."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import time

import pytest

from offramp.journal import restore, transaction
from offramp.journal.store import Store
from offramp.testing import Interface, Wire
from tests.kernel.journal.changes import (
    STEPS,
    as_before,
    changed,
    children,
    ended,
    guardian_of,
    kill,
    opened,
)
from tests.rigs.processes import fork, forked
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # what is promised is within a second; tests/nic/test_knobs.py has real drivers


def killed_at_any_moment(interface: Interface, rounds: int, seed: int) -> None:
    """While it opens, changes and closes, over and over: within a second everything is as before."""
    chance = random.Random(seed)

    def work() -> None:
        while True:
            with transaction(opened(interface)) as change:
                for _ in range(3):
                    change.set_all(chance.sample(STEPS, 3))
                    time.sleep(chance.uniform(0.0, 0.1))

    touched = 0
    for turn in range(rounds):
        with forked(interface.host, work) as pid:
            if late := turn % 2:
                assert eventually(lambda: not as_before(interface), 5.0)
            time.sleep(moment := chance.uniform(0.0, 0.1 if late else 0.4))
            guardians = children(pid)
            touched += not as_before(interface)
            killed = kill(pid)
            told = f"round {turn}, killed {moment:.3f} s after its {'first change' if late else 'start'}"
            assert eventually(lambda: as_before(interface)), told
            assert time.monotonic() - killed < 1.0
            assert eventually(lambda: all(map(ended, guardians)), 5.0)  # noqa: B023
        assert as_before(interface), f"round {turn}: changed again"
    assert restore() == []
    assert touched > rounds // 10  # or it would prove nothing


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment(interface: Interface, seed: int) -> None:
    killed_at_any_moment(interface, 12, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_a_thousand_times(interface: Interface) -> None:
    killed_at_any_moment(interface, 1000, 1)


def test_killed_while_its_children_live(interface: Interface) -> None:
    """Also one that Python knows nothing of: it has copies of all descriptors."""

    def work() -> None:
        with transaction(opened(interface)) as change:
            change.set("mtu", 4000)
            for call in (fork, ctypes.PyDLL(None).fork):
                if call() == 0:
                    time.sleep(30)
                    os._exit(0)
            signal.pause()

    with forked(interface.host, work) as pid:
        assert eventually(lambda: len(children(pid)) == 3, 10.0)
        orphans = set(children(pid)) - {guardian_of(pid)}
        try:
            kill(pid)
            assert eventually(lambda: as_before(interface))
            assert eventually(lambda: Store().names() == [])
            assert not any(map(ended, orphans))
        finally:
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)


def test_changes_in_several_namespaces(wire: Wire, interface: Interface) -> None:
    def work() -> None:
        for end in (wire.a, wire.b):
            with end.host:
                transaction(opened(end)).set("mtu", 4000)
        signal.pause()

    with forked(wire.a.host, work) as pid:
        assert eventually(lambda: changed(wire.a)() and changed(wire.b)(), 10.0)
        kill(pid)
        assert eventually(lambda: as_before(wire.a) and as_before(wire.b))


@pytest.mark.parametrize("end", ["sys.exit(1)", "os.abort()", "os._exit(0)", "1 / 0", "pass", "os.kill(0, 15)"])
def test_other_ends(interface: Interface, end: str) -> None:
    code = (
        "import os, sys\n"
        "from offramp.journal import transaction\n"
        "from offramp.nic.live import open_nic\n"
        "transaction(open_nic('eth0')).set('mtu', 4000)\n"
        "print(open_nic('eth0').get('mtu'), flush=True)\n"
    )
    done = interface.host.run([sys.executable, "-c", code + end], check=False)
    assert done.stdout == "4000\n"
    assert eventually(lambda: as_before(interface))
    assert eventually(lambda: Store().names() == [])
    assert "Traceback" not in done.stderr.replace("ZeroDivisionError", "") or end == "1 / 0"
