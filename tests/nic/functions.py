# SPDX-License-Identifier: Apache-2.0
"""Virtual functions in tests: opened, made by somebody else, and all that opening one could have changed.

A VF is found by its address: peers send to AWAY, which they know to be at the VF's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import offramp
from offramp.facts.knobs import Value
from offramp.nic import link, pci
from offramp.nic.live import LiveNic, open_nic
from offramp.testing import Wire
from tests.rigs.traffic import MATCH, claims, datagrams

__all__ = [
    "AWAY",
    "KNOBS",
    "MAC",
    "OF_VF",
    "PATIENCE",
    "a_vf",
    "address_of",
    "assert_bypass",
    "everything",
    "opened",
    "pings",
    "pings_and_tcp",
]

PATIENCE = 20.0  # seconds, for something that takes milliseconds where nothing is emulated
AWAY = "10.77.0.99"
MAC = "06:54:00:00:00:01"  # as the plan makes it from the PF's
OURS = "02:00:00:00:00:31"
KNOBS = ("vf.autoprobe", "vf.count", "channels", "rss.table", "mtu", "up")
OF_VF = ("vf.0.driver", "vf.0.mac", "vf.0.vlan", "vf.0.spoof_check", "vf.0.trust")


def everything(wire: Wire, device: LiveNic) -> dict[str, Value]:
    """What could have been changed: the PF's settings and features, links, addresses, routes; PCI devices."""
    with wire.b.host:
        found: dict[str, Value] = {knob: device.get(knob) for knob in (*KNOBS, *OF_VF)}
        found["features"] = {name: each.on for name, each in (device.capabilities().features or {}).items()}
        found["links here"] = sorted(name for _, name in socket.if_nameindex())
    found["other links"] = sorted(name for _, name in socket.if_nameindex())
    addresses = json.loads(wire.b.host.run(["ip", "-j", "addr"]).stdout)
    found["addresses"] = [[each["local"] for each in link["addr_info"]] for link in addresses]
    found["routes"] = sorted(json.loads(wire.b.host.run(["ip", "-j", "route"]).stdout), key=str)
    found["PCI"] = {address: pci.driver(address) for address in os.listdir("/sys/bus/pci/devices")}
    return found


def opened(wire: Wire, **options: Any) -> offramp.Ramp:
    with wire.b.host:
        return offramp.open(wire.b.name, MATCH, **({"layout": "vf"} | options))


def address_of(device: LiveNic) -> str:
    found = pci.vf_address(device.identity.bus, 0)
    assert found is not None
    return found


@contextmanager
def a_vf(wire: Wire, device: LiveNic, *, bound: bool) -> Iterator[None]:
    """Made by somebody else, with an address; `bound`: its driver has it, and its interface is where the PF is."""
    with wire.b.host:
        device.set("vf.autoprobe", bound)
        device.set("vf.count", 1)
        device.set("vf.0.mac", OURS)
    try:
        if bound:
            brought(wire, device)
        wire.b.wait_for_carrier(PATIENCE)
        yield
    finally:
        with wire.b.host:
            device.set("vf.count", 0)
            device.set("vf.autoprobe", True)
        wire.b.wait_for_carrier(PATIENCE)


def brought(wire: Wire, device: LiveNic) -> str:
    """The VF's interface, moved to where the PF is: what it is called there."""
    made = open_nic(address_of(device)).identity
    subprocess.run(["ip", "link", "set", made.name, "name", "other0"], check=True)
    link.move(made.ifindex, wire.b.host.fileno())
    return "other0"


def pings(wire: Wire, count: int = 3) -> int:
    answer = wire.a.host.run(["ping", "-c", str(count), "-i", "0.2", "-W", "5", wire.b.ip], check=False).stdout
    return int(answer.partition(" received")[0].split()[-1])


def tcp_works(wire: Wire) -> bool:
    """Whether a megabyte gets to the PF's kernel, which nothing has taken the address from."""
    with wire.b.host:
        listener = socket.create_server((wire.b.ip, 8080))
    with wire.a.host:
        sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener, sender:
        for each in (listener, sender):
            each.settimeout(PATIENCE * 2)
        sender.connect((wire.b.ip, 8080))
        receiver, _ = listener.accept()
        thread = threading.Thread(target=_send, args=(sender, 1 << 20))
        thread.start()
        with receiver:
            receiver.settimeout(PATIENCE * 2)
            total = 0
            while part := receiver.recv(1 << 16):
                total += len(part)
        thread.join()
    return total == 1 << 20


def pings_and_tcp(wire: Wire) -> bool:
    return pings(wire) == 3 and tcp_works(wire)


def _send(sender: socket.socket, count: int) -> None:
    sender.sendall(bytes(count))
    sender.shutdown(socket.SHUT_WR)


def assert_bypass(flow: Wire, ramp: offramp.Ramp, kernel_works: Callable[[], bool]) -> None:
    """The flow on that wire is ours while the kernel works; every packet is accounted for."""
    with datagrams(flow):
        assert claims(ramp, PATIENCE)
        assert kernel_works()
        assert claims(ramp, PATIENCE)
    while ramp.rx(0.5) is not None:
        pass
    ledger = ramp.ledger()
    assert ledger.exact, ledger
    assert ledger.claimed > 0
