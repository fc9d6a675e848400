# SPDX-License-Identifier: Apache-2.0
"""Two NICs and the cable between them: `wire.b` is the device under test, `wire.a` the peer that it talks to.

    host "peer"                                  host "dut"
    wire.a  10.77.0.1   <── emulated wire ──>    wire.b  10.77.0.2

Both are moved into hosts of the lab once, and stay there for all tests. A test leaves them as it found them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.nic.inside import IN_GUEST
from lab.nic.machines import BARE, ROLES
from offramp.journal import guardian
from offramp.nic.live import LiveNic, open_nic
from offramp.ramp import execution, virtual_function
from offramp.testing import Lab, Wire
from tests.nic.functions import AWAY, MAC, everything
from tests.rigs.leftovers import orphans
from tests.rigs.waiting import eventually

CARRIER = 30.0  # seconds: attaching XDP resets a link


@pytest.fixture(scope="session", autouse=True)
def guest() -> tuple[str, str]:
    """The machine and the kernel, "igb" and "6.12"."""
    if IN_GUEST not in os.environ:
        pytest.skip("needs a guest with NICs: make test-nic")
    machine, kernel = os.environ[IN_GUEST].split()
    return machine, kernel


@pytest.fixture(scope="session", autouse=True)
def cabled(guest: tuple[str, str]) -> Iterator[Wire | None]:
    """Of the whole session, so that no module seems to leave it behind."""
    if guest[0] == BARE.name:
        yield None
        return
    with Lab() as lab:
        names = {role: _named(mac) for role, mac in ROLES.items()}
        yield lab.cable(lab.host("peer"), names["peer"], lab.host("dut"), names["dut"])


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a guardian that takes a second to start, instead of hundredths, and is not alone."""
    monkeypatch.setattr(guardian, "_PATIENCE", 60.0)


@pytest.fixture
def wire(cabled: Wire | None) -> Wire:
    """The cable, with carrier at both ends."""
    assert cabled is not None, "this test asks for NICs, and its mark for a machine without"
    for end in (cabled.a, cabled.b):
        end.up()
        end.wait_for_carrier(CARRIER)
    return cabled


@pytest.fixture
def state(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of journals, with patience for what is emulated."""
    monkeypatch.setattr(virtual_function, "_PATIENCE", 60.0)
    monkeypatch.setattr(execution, "_CARRIER_PATIENCE", 60.0)
    return state


@pytest.fixture
def device(wire: Wire) -> LiveNic:
    with wire.b.host:
        return open_nic(wire.b.name)


@pytest.fixture
def away(wire: Wire) -> Iterator[Wire]:
    """The wire as the flow sees it: the peer sends to the VF's address."""
    entry = [AWAY, "dev", wire.a.name]
    wire.a.host.run(["ip", "neigh", "replace", *entry, "lladdr", MAC, "nud", "permanent"])
    yield replace(wire, b=replace(wire.b, ip=AWAY, mac=MAC))
    wire.a.host.run(["ip", "neigh", "del", *entry])


@pytest.fixture
def untouched(wire: Wire, device: LiveNic, state: Path) -> Iterator[None]:
    """Whatever the test does: in the end all is as before, and no journal is left."""
    before = everything(wire, device)
    yield
    assert eventually(lambda: everything(wire, device) == before), (everything(wire, device), before)
    assert eventually(lambda: not list(state.glob("*.json")))
    assert eventually(lambda: not orphans())


def _named(mac: str) -> str:
    """The interface here with this address."""
    found = (Path("/sys/class/net", name, "address").read_text().strip() for _, name in socket.if_nameindex())
    return next(name for (_, name), address in zip(socket.if_nameindex(), found, strict=True) if address == mac)
