# SPDX-License-Identifier: Apache-2.0
"""A process is killed at any moment while a queue is hidden on a real driver: everything is as before."""

from __future__ import annotations

import os
import random
import signal
import time
import warnings
from pathlib import Path

import pytest

import offramp
from offramp.llvm import child as llvm
from offramp.nic.live import open_nic
from offramp.testing import Wire
from tests.rigs.leftovers import has_xdp
from tests.rigs.processes import forked
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.nic("igb")

KNOBS = ("rss.table", "channels", "mtu", "up", "feature.rx-vlan-hw-parse", "feature.rx-gro", "vf.count")


def as_it_is(wire: Wire) -> dict[str, object]:
    with wire.b.host:
        device = open_nic(wire.b.name)
        rules = device.capabilities().ntuple.rules
        return {knob: device.get(knob) for knob in KNOBS} | {"xdp": has_xdp(wire.b), "rules": rules}


def kill_rounds(wire: Wire, state: Path, rounds: int) -> None:
    match = f"udp and src host {wire.a.ip} and dst host {wire.b.ip} and src port 1024 and dst port 4321"

    def cycle() -> None:
        warnings.simplefilter("ignore")
        llvm.start = lambda: None  # for what is compiled already
        while True:
            with offramp.open(wire.b.name, match, layout="hidden-queue", observe=0.05) as ramp:
                ramp.rx(0.5)

    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with offramp.open(wire.b.name, match):  # compiled now, for all of them
            pass
    llvm.stop()
    wire.b.wait_for_carrier(30)
    before, chance, changed, slowest = as_it_is(wire), random.Random(5), 0, 0.0
    with forked(wire.b.host, cycle) as victim:
        began = time.monotonic()
        assert eventually(lambda: as_it_is(wire) != before, 5)
        start = time.monotonic() - began  # of Python, LLVM and the guardian
        os.kill(victim, signal.SIGKILL)
    assert eventually(lambda: as_it_is(wire) == before)
    for number in range(rounds):
        with forked(wire.b.host, cycle) as victim:
            if late := number % 2:
                assert eventually(lambda: as_it_is(wire) != before, 5)
            time.sleep(moment := chance.uniform(0, start))
            changed += as_it_is(wire) != before
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
        told = f"round {number}, killed {moment:.3f} s after its {'first change' if late else 'start'}"
        assert eventually(lambda: as_it_is(wire) == before), f"{told}: {as_it_is(wire)}, and it was {before}"
        slowest = max(slowest, time.monotonic() - killed)
        assert eventually(lambda: not list(state.glob("*.json"))), told
    print(f"{changed} of {rounds} were killed while something was changed; all was back after {slowest:.2f} s at most")
    assert changed > rounds / 10  # or it would prove nothing


@pytest.mark.timeout(900)
@pytest.mark.nic("igb", kernels=">=6.14")
def test_thirty_kills(wire: Wire, state: Path) -> None:
    kill_rounds(wire, state, 30)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_three_hundred_kills(wire: Wire, state: Path) -> None:
    kill_rounds(wire, state, 300)
