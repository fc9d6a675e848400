# SPDX-License-Identifier: Apache-2.0
"""What happens to a VF's interface. Here it is a veth, which appears in another namespace."""

from __future__ import annotations

import json
import socket
import time
from contextlib import closing
from dataclasses import replace

import pytest

from offramp.errors import InterfaceGone, KernelError, OfframpError
from offramp.facts.identity import Identity
from offramp.matcher import Match
from offramp.nic import device, live
from offramp.nic.device import identify
from offramp.nic.link import silence
from offramp.planner import Options
from offramp.ramp import virtual_function
from offramp.ramp.interface import Use
from offramp.ramp.planned import plan_for, spec_for
from offramp.ramp.section import Section
from offramp.ramp.virtual_function import opened
from offramp.ramp.wanted import Wanted
from offramp.testing import Lab, Wire
from offramp.verdict import Verdict
from tests.rigs.waiting import eventually

ADDRESS = "0000:02:10.0"


@pytest.fixture
def physical(lab: Lab) -> Wire:
    """Its end b is that of the PF."""
    return lab.wire(lab.host("peer"), lab.host("dut"))


@pytest.fixture
def virtual(lab: Lab, physical: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Its end b is that of the VF, elsewhere: found by the address that a VF would have on the bus."""
    wire = lab.wire(physical.a.host, lab.host("elsewhere"))
    wire.b.down()

    def of_pci(address: str) -> Identity | None:
        assert address == ADDRESS
        found = [identify(index) for index, _ in socket.if_nameindex()]
        return next((each for each in found if each.mac == wire.b.mac), None)

    monkeypatch.setattr(virtual_function, "of_pci", of_pci)
    return wire


def brought(physical: Wire) -> Identity:
    with physical.b.host:
        return virtual_function._brought_here(ADDRESS, "VF 0 of eth0")


def test_it_is_brought_under_another_name_if_its_own_is_taken(physical: Wire, virtual: Wire) -> None:
    found = brought(physical)
    assert (found.name, found.mac) == ("vf0", virtual.b.mac)
    assert brought(physical) == found  # where it is already
    with physical.b.host:
        assert {name for _, name in socket.if_nameindex()} == {"lo", "eth0", "vf0"}
    with virtual.b.host:
        assert {name for _, name in socket.if_nameindex()} == {"lo"}


def test_it_keeps_its_name(physical: Wire, virtual: Wire) -> None:
    virtual.b.host.run(["ip", "link", "set", "eth0", "name", "eth7"])
    assert brought(physical).name == "eth7"


def test_it_is_waited_for(physical: Wire, virtual: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    late = virtual_function.of_pci  # type: ignore[attr-defined]
    began = time.monotonic()
    monkeypatch.setattr(
        virtual_function, "of_pci", lambda address: late(address) if time.monotonic() > began + 0.3 else None
    )
    assert brought(physical).name == "vf0"
    monkeypatch.setattr(virtual_function, "of_pci", lambda address: None)
    monkeypatch.setattr(virtual_function, "_PATIENCE", 0.1)
    with pytest.raises(OfframpError, match="VF 0 of eth0: its interface does not appear: not within 0 s"):
        brought(physical)


@pytest.mark.parametrize("silent", [True, False])
def test_a_silent_interface_answers_for_nobody(physical: Wire, virtual: Wire, silent: bool) -> None:
    """Without that, the kernel tells its other interfaces' addresses there, too."""
    found = brought(physical)
    with physical.b.host:
        if silent:
            silence(found.ifindex)
        physical.b.host.run(["ip", "link", "set", found.name, "up"])
        physical.b.host.sysctl(f"net.ipv4.conf.{found.name}.rp_filter", 0)
        physical.b.host.sysctl("net.ipv4.conf.all.rp_filter", 0)
    peer = virtual.a.host
    peer.run(["ip", "route", "add", physical.b.ip, "dev", virtual.a.name])
    with peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.sendto(b"who has it?", (physical.b.ip, 9))

    def told() -> bool:
        shown = json.loads(peer.run(["ip", "-j", "neigh", "show", physical.b.ip, "dev", virtual.a.name]).stdout)
        return any(each.get("lladdr") == virtual.b.mac for each in shown)

    assert eventually(told, 1.0) is not silent
    shown = json.loads(physical.b.host.run(["ip", "-j", "addr", "show", found.name]).stdout)
    assert bool(shown[0]["addr_info"]) is not silent


def test_what_is_not_there_cannot_be_silenced(physical: Wire) -> None:
    with physical.b.host, pytest.raises(KernelError, match="arp off of interface 4711"):
        silence(4711)


def test_an_interface_that_goes_while_another_is_looked_for(physical: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guardian must not take the end of one for that of the other."""

    def gone_but(which: str | int) -> Identity:
        if which != physical.b.ifindex:
            raise InterfaceGone("vf0", reason="not there any more")
        return identify(which)

    for module in (device, live):
        monkeypatch.setattr(module, "identify", gone_but)
    with physical.b.host:
        wanted = identify("eth0")
        found = live.find(wanted)
        assert found is not None
        assert found.identity == wanted
        assert device.of_pci(ADDRESS) is None


def test_a_vf_that_is_gone_again(physical: Wire) -> None:
    with physical.b.host, closing(Use()) as use:
        interface = use.of("eth0")
        plan = replace(plan_for("eth0", "udp", Verdict.CLAIM, Options()), vf=0)
        section = Section(spec_for(Wanted(Match("udp"), plan.verdict, Options()), plan), Match("udp").state, {})
        with pytest.raises(OfframpError, match="VF 0 of eth0: it is gone"):
            opened(interface, plan, section, use)
