# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment of opening, running and closing a ramp that changes the interface: as before within 1 s."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from offramp.nic.live import open_nic
from offramp.testing import Flood, Lab, Wire
from tests.rigs import cycler
from tests.rigs.leftovers import has_xdp, orphans
from tests.rigs.processes import line_of, piped
from tests.rigs.traffic import frame
from tests.rigs.waiting import eventually

KNOBS = {"feature.rx-gro": True, "feature.rx-vlan-hw-parse": True, "mtu": 1500, "up": True}


@pytest.fixture
def wire(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    wire.b.gro(True)
    return wire


def knobs(wire: Wire) -> dict[str, object]:
    with wire.b.host:
        device = open_nic("eth0")
        return {knob: device.get(knob) for knob in KNOBS}


def kill_rounds(wire: Wire, state: Path, rounds: int) -> None:
    """In each another process, in the middle of anything."""
    environment = os.environ | {"OFFRAMP_STATE_DIR": str(state)}
    server = piped(wire.b.host, cycler.__file__, env=environment)
    chance, changed = random.Random(4), 0
    try:
        assert line_of(server) == "ready"
        with Flood(wire.a, frame(wire), rate=5_000, seconds=600):
            for number in range(rounds):
                print(file=server.stdin, flush=True)
                victim = int(line_of(server))
                moment = chance.uniform(0.0, 0.8)
                time.sleep(moment)
                changed += knobs(wire) != KNOBS
                os.kill(victim, signal.SIGKILL)
                assert line_of(server) == "ended"
                told = f"round {number}, killed after {moment:.4f} s"
                assert eventually(lambda: knobs(wire) == KNOBS and not has_xdp(wire.b)), f"{told}: {knobs(wire)}"
                assert eventually(lambda: not list(state.glob("*.json"))), told
    finally:
        wire.b.host.kill(server)
    assert eventually(lambda: not orphans())
    assert changed > rounds / 10, "too few were killed while anything was changed"


@pytest.mark.speed  # within a second
@pytest.mark.timeout(300)
def test_a_hundred_kills(wire: Wire, tmp_path: Path) -> None:
    kill_rounds(wire, tmp_path, 100)


@pytest.mark.soak
def test_a_thousand_kills(wire: Wire, tmp_path: Path) -> None:
    kill_rounds(wire, tmp_path, 1000)
