# SPDX-License-Identifier: Apache-2.0
"""A port that spanning tree has blocked stays blocked, whatever a ramp on it takes: two bridges with two wires."""

from __future__ import annotations

import json
import time
import warnings

import pytest

import offramp
from offramp.errors import OfframpWarning
from offramp.testing import Host, Lab, Wire
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # it would take long in a slow guest

BLOCKED, FORWARDING = "blocking", "forwarding"
TIMERS = ("forward_delay", "200", "hello_time", "100", "max_age", "600")  # the shortest there are, in 1/100 s


def state(end: Host, name: str) -> str:
    (port,) = json.loads(end.run(["bridge", "-j", "link", "show", "dev", name]).stdout)
    return str(port["state"])


def bridged(lab: Lab, names: tuple[str, str]) -> tuple[Wire, Wire]:
    """Two wires between two bridges; the second bridge blocks its end of one of them."""
    one, other = map(lab.host, names)
    wires = lab.wire(one, other), lab.wire(one, other)
    for host, priority in ((one, "4096"), (other, "32768")):
        host.run(["ip", "link", "add", "br0", "type", "bridge", "stp_state", "1", "priority", priority, *TIMERS])
        for wire in wires:
            end = wire.a if host is one else wire.b
            host.run(["ip", "link", "set", end.name, "master", "br0"])
        host.run(["ip", "link", "set", "br0", "up"])
    return wires


def keeps_blocked(lab: Lab, seconds: float) -> None:
    """With `''` dropped on the blocked port: it stays blocked. Without protection, the same port opens."""
    left_alone, starved = bridged(lab, ("a", "b")), bridged(lab, ("c", "d"))

    def blocked(wires: tuple[Wire, Wire]) -> list[Wire]:
        return [wire for wire in wires if state(wire.b.host, wire.b.name) == BLOCKED]

    def decided() -> bool:
        states = [[state(wire.b.host, wire.b.name) for wire in wires] for wires in (left_alone, starved)]
        return all(sorted(each) == [BLOCKED, FORWARDING] for each in states)

    assert eventually(decided, 30)
    (safe,), (lost,) = blocked(left_alone), blocked(starved)
    with safe.b.host:
        first = offramp.attach(safe.b.name, "")
    with lost.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore", OfframpWarning)
        second = offramp.attach(lost.b.name, "", protect=False)
    with first, second:
        until = time.monotonic() + seconds
        opened = False
        while time.monotonic() < until:
            assert state(safe.b.host, safe.b.name) == BLOCKED
            opened = opened or state(lost.b.host, lost.b.name) != BLOCKED
            time.sleep(0.25)
        assert opened
        assert first.ledger().protected >= seconds - 2  # a hello each second
        assert second.ledger().protected == 0


@pytest.mark.since("6.8")  # a slow guest takes longer than the timers
def test_a_blocked_port_stays_blocked(lab: Lab) -> None:
    keeps_blocked(lab, 8)  # max_age is 6


@pytest.mark.soak
def test_a_blocked_port_stays_blocked_for_long(lab: Lab) -> None:
    keeps_blocked(lab, 40)
