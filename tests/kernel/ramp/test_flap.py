# SPDX-License-Identifier: Apache-2.0
"""How long the carrier is gone: never on a veth, and as long as somebody holds the other end down."""

from __future__ import annotations

import json
import threading
import time

import pytest

import offramp.ramp.flap as measuring
from offramp.bpf import Program, XdpLink
from offramp.errors import InterfaceBusy, InterfaceDown, InterfaceError
from offramp.ramp.flap import measure
from offramp.ramp.ramp import attach
from offramp.testing import Wire
from tests.kernel.cli.test_cli import offramp
from tests.rigs.leftovers import has_xdp


@pytest.fixture
def flapping(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> float:
    """A driver that resets its link when XDP is attached: the other end goes down, and comes back."""
    seconds = 0.8
    real = XdpLink.create

    def creating(link: XdpLink, program: Program) -> None:
        real(link, program)
        wire.a.down()
        threading.Timer(seconds, wire.a.up).start()

    monkeypatch.setattr(XdpLink, "create", creating)
    return seconds


def test_a_veth_keeps_its_carrier(wire: Wire) -> None:
    with wire.b.host:
        flap = measure("eth0")
    assert (flap.mode, flap.attach, flap.detach) == ("native", 0.0, 0.0)
    assert not has_xdp(wire.b)


def test_a_carrier_that_is_lost(wire: Wire, flapping: float) -> None:
    with wire.b.host:
        flap = measure("eth0")
    assert flapping <= flap.attach < flapping + 5
    assert flap.detach == 0.0
    assert not has_xdp(wire.b)


def test_a_carrier_that_does_not_come_back(wire: Wire, flapping: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_PATIENCE", flapping / 2)
    with wire.b.host, pytest.raises(InterfaceError, match="carrier when XDP was attached: not back after"):
        measure("eth0")
    assert not has_xdp(wire.b)
    time.sleep(flapping)  # somebody sets it up again


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_what_is_in_the_way(wire: Wire) -> None:
    with wire.b.host, attach("eth0", "udp port 9", mode="generic"), pytest.raises(InterfaceBusy):
        measure("eth0")
    wire.a.down()
    with wire.b.host, pytest.raises(InterfaceDown, match="it has no carrier"):
        measure("eth0")


def test_doctor_says_it(wire: Wire) -> None:
    text = offramp(wire.b.host, "doctor", "eth0", "--measure").stdout
    assert "native XDP on" in text
    assert "the carrier stays" in text
    found = json.loads(offramp(wire.b.host, "doctor", "eth0", "--measure", "--json").stdout)
    names = [check["name"] for check in found["interfaces"][0]["checks"]]
    assert names[-2:] == ["native XDP on", "native XDP off"]


def test_doctor_wants_to_know_which(wire: Wire) -> None:
    error = offramp(wire.b.host, "doctor", "--measure", status=2).stderr
    assert "--measure without an interface" in error
