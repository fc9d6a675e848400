# SPDX-License-Identifier: Apache-2.0
"""The lab: virtual hosts joined by virtual wires, for testing what is attached to an interface on real packets.

    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        wire = lab.wire(a, b)                        # a's eth0 <-> b's eth0, addresses given, both ends up
        with b, offramp.open(wire.b.name, "udp dst port 4321") as ramp:
            ...
        a.run(["curl", f"http://{wire.b.ip}/"])

    host a                                  host b
    eth0  10.77.0.1/24   <── veth ──>       eth0  10.77.0.2/24
          fd77::1/64                              fd77::2/64

Nothing of it has a name outside this process, so nothing outlives it, not even after kill -9 (see `host`). The
machine's own namespace is never touched: links are made from inside a host's namespace, straight into the other's.

Sources: veth(4), Documentation/networking/ip-sysctl.rst (accept_dad), linux/if_link.h (VETH_INFO_PEER).
"""

from __future__ import annotations

import contextlib
import os
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

from offramp import nic
from offramp.errors import InterfaceGone, OptionError
from offramp.immutable import immutable
from offramp.lab.end import Interface
from offramp.lab.host import Host

__all__ = ["Lab", "Wire"]

IFA_F_NODAD = 0x02
NUD_PERMANENT = "permanent"
NIC_CARRIER_TIMEOUT = 30.0  # seconds: a real NIC negotiates
MAX_WIRES = 256  # the third byte of the addresses


@immutable
class Wire:
    """A cable: its two ends."""

    a: Interface
    b: Interface


class Lab:
    """A context manager that owns hosts and wires, and removes everything on exit, in reverse order.

    Privileges: CAP_SYS_ADMIN, CAP_NET_ADMIN (Linux 6.1 or newer, util-linux's setpriv).  Errors: PrivilegeError,
    KernelError.
    """

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._hosts: dict[str, Host] = {}
        self._wires: list[Wire] = []

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes of the hosts, removes the wires and the hosts.  Can be called again."""
        self._open.close()

    def host(self, name: str) -> Host:
        """A new host, with its loopback interface up and nothing else."""
        if name in self._hosts:
            raise OptionError(f"host {name} exists", hint="names are unique in a lab")
        host = Host(name)
        self._open.callback(host.close)
        for scope in ("all", "default"):
            host.sysctl(f"net.ipv4.conf.{scope}.rp_filter", 0)  # a flood invents its sources
            if Path("/proc/sys/net/ipv6").exists():
                host.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)  # an address works at once
                host.sysctl(f"net.ipv6.conf.{scope}.router_solicitations", 0)  # the wire is quiet
        with host.netlink() as route:
            route.link("set", index=1, state="up")
        self._hosts[name] = host
        return host

    def wire(self, a: Host, b: Host, *, queues: int = 1, mtu: int = 1500, neighbours: bool = False) -> Wire:
        """Joins two hosts by a veth pair and waits until it carries packets.

        Each host's interfaces are called eth0, eth1, ... in the order they are made.  Wire number x of the lab has the
        networks 10.77.x.0/24 and fd77:x::/64, in which `a` is 1 and `b` is 2.
        queues: receive and transmit queues at each end. neighbours: each end knows the other's MAC address for good, so
        no ARP or neighbour discovery is seen on the wire.
        """
        number = len(self._wires)
        if number == MAX_WIRES:
            raise OptionError(f"a lab has at most {MAX_WIRES} wires")
        if queues < 1:
            raise OptionError(f"queues={queues}", reason="a wire has at least one queue")
        name_a = self._next_name(a)
        name_b = self._next_name(b, taken=1 if a is b else 0)
        size = {"num_rx_queues": queues, "num_tx_queues": queues, "mtu": mtu}
        peer = {"ifname": name_b, "address": _mac(number, 2), "net_ns_fd": b.fileno(), **size}
        with a.netlink() as route:
            route.link("add", ifname=name_a, kind="veth", address=_mac(number, 1), peer=peer, **size)
        wire = Wire(_configured(a, name_a, number, 1), _configured(b, name_b, number, 2))
        self._open.callback(_remove, wire)
        self._wires.append(wire)
        for end in (wire.a, wire.b):
            end.wait_for_carrier()
            end.keep_tags_in_frames()
        if neighbours:
            _introduce(wire.a, wire.b)
            _introduce(wire.b, wire.a)
        return wire

    def cable(self, a: Host, nic_a: str, b: Host, nic_b: str) -> Wire:
        """Makes a wire of two NICs that a cable already joins: moves each into its host.

        They are interfaces of the calling thread's network namespace, and go back there, set down, when the lab closes.
        Their addresses are lost. Hosts' addresses are as for `wire`. Errors: NoSuchInterface, KernelError.
        """
        number = len(self._wires)
        if number == MAX_WIRES:
            raise OptionError(f"a lab has at most {MAX_WIRES} wires")
        macs = [self._borrow(host, name) for host, name in ((a, nic_a), (b, nic_b))]
        wire = Wire(_configured(a, nic_a, number, 1, macs[0]), _configured(b, nic_b, number, 2, macs[1]))
        self._wires.append(wire)
        for end in (wire.a, wire.b):
            end.wait_for_carrier(NIC_CARRIER_TIMEOUT)
        return wire

    def _borrow(self, host: Host, name: str) -> str:
        """Moves an interface of this namespace into a host until the lab closes; returns its MAC address."""
        from pyroute2 import IPRoute

        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._open.callback(os.close, home)
        with IPRoute() as route:
            found = nic.read(name)
            route.link("set", index=found.ifindex, net_ns_fd=host.fileno())
        self._open.callback(_give_back, host, name, home)
        return found.mac or ""

    def _next_name(self, host: Host, taken: int = 0) -> str:
        return f"eth{taken + sum(end.host is host for wire in self._wires for end in (wire.a, wire.b))}"


def _mac(wire: int, end: int) -> str:
    return f"02:00:00:77:{wire:02x}:{end:02x}"


def _configured(host: Host, name: str, wire: int, end: int, mac: str = "") -> Interface:
    """Gives one end its addresses and sets it up."""
    ip, ip6 = f"10.77.{wire}.{end}", str(ip_address(f"fd77:{wire:x}::{end}"))
    with host.netlink() as route:
        (index,) = route.link_lookup(ifname=name)
        route.addr("add", index=index, address=ip, prefixlen=24)
        if Path("/proc/sys/net/ipv6").exists():
            route.addr("add", index=index, address=ip6, prefixlen=64, flags=IFA_F_NODAD)
        route.link("set", index=index, state="up")
    return Interface(name, index, mac or _mac(wire, end), ip, ip6, host)


def _introduce(end: Interface, peer: Interface) -> None:
    with end.host.netlink() as route:
        for address in (peer.ip, peer.ip6):
            route.neigh("replace", dst=address, lladdr=peer.mac, ifindex=end.ifindex, state=NUD_PERMANENT)


def _give_back(host: Host, name: str, home: int) -> None:
    """Moves an interface back to the namespace it came from; a test may have taken it elsewhere."""
    with host.netlink() as route:
        for index in route.link_lookup(ifname=name):
            route.link("set", index=index, state="down")
            route.link("set", index=index, net_ns_fd=home)


def _remove(wire: Wire) -> None:
    """Removes what is still there: a test may have removed the wire, or moved an end elsewhere."""
    for end in (wire.a, wire.b):
        with contextlib.suppress(InterfaceGone):
            end.delete()
            return
