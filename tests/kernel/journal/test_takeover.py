# SPDX-License-Identifier: Apache-2.0
"""A process is killed while its driver is slow, and the next one opens at once: nobody changes what another one has."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from offramp.journal import InterfaceLock
from offramp.journal.store import Store
from offramp.nic.live import open_nic
from offramp.testing import Lab, Wire
from tests.kernel.journal.changes import guardian_of, marks
from tests.rigs import successor
from tests.rigs.processes import line_of, piped
from tests.rigs.slow import slowed
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # it would take long in a slow guest

KNOBS = ("feature.rx-gro", "feature.rx-vlan-hw-parse")


@pytest.fixture
def wire(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    wire.b.gro(True)
    return wire


def knobs(wire: Wire) -> list[object]:
    with wire.b.host:
        device = open_nic("eth0")
        return [device.get(knob) for knob in KNOBS]


def taken_over(wire: Wire, state: Path, rounds: Iterable[tuple[int, float]]) -> None:
    """Each with the milliseconds that the driver takes for a call, and the seconds that the guardian comes late."""
    found = knobs(wire)
    assert found[0] is True
    for number, (milliseconds, late) in enumerate(rounds):
        told = f"round {number}: {milliseconds} ms, a guardian that is {late:.3f} s late"
        first = piped(wire.b.host, successor.__file__, env=slowed(milliseconds))
        assert line_of(first) == "open", told
        assert knobs(wire)[0] is False, told
        guardian = guardian_of(first.pid)
        second = piped(wire.b.host, successor.__file__, env=slowed(milliseconds))
        assert line_of(second) == "waits", told
        os.kill(guardian, signal.SIGSTOP if late else 0)
        first.kill()
        time.sleep(late)
        os.kill(guardian, signal.SIGCONT if late else 0)
        assert line_of(second) == "open", told
        held = knobs(wire)
        end = time.monotonic() + 0.3 + 12 * milliseconds / 1000
        while time.monotonic() < end:
            assert knobs(wire) == held, told
            time.sleep(0.01)
        print(file=second.stdin, flush=True)
        assert line_of(second) == "closed", told
        assert knobs(wire) == found, told
        for process in (first, second):
            wire.b.host.kill(process)
        assert eventually(lambda: not list(state.iterdir()), 10.0), f"{told}: {list(state.iterdir())}"
        assert marks(wire.b.host) == [], told
    assert knobs(wire) == found


def test_taken_over(wire: Wire, state: Path) -> None:
    taken_over(wire, state, [(20, 0.0), (50, 0.3)])


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_taken_over_a_hundred_times(wire: Wire, state: Path) -> None:
    chance = random.Random(2)
    rounds = [
        (chance.choice((0, 20, 50, 120, 300)), chance.choice((0.0, chance.uniform(0.0, 1.0)))) for _ in range(100)
    ]
    taken_over(wire, state, rounds)


@pytest.mark.parametrize("claimed", [False, True])
def test_a_guardian_without_the_lock_changes_nothing(wire: Wire, claimed: bool) -> None:
    """It waits until whoever has the interface has given it back, or lets go of it."""
    found = knobs(wire)
    first = piped(wire.b.host, successor.__file__)
    assert line_of(first) == "open"
    guardian, held = guardian_of(first.pid), knobs(wire)
    os.kill(guardian, signal.SIGSTOP)
    first.kill()
    first.wait()
    with wire.b.host:
        lock = InterfaceLock(open_nic("eth0").identity)
        journal = Store().claim(Store().names()[0]) if claimed else None
        os.kill(guardian, signal.SIGCONT)
        for _ in range(60):
            assert knobs(wire) == held
            time.sleep(0.01)
        if journal is not None:
            journal[0].release()
        lock.close()
    assert eventually(lambda: knobs(wire) == found)
    assert eventually(lambda: Store().names() == [])
    wire.b.host.kill(first)
