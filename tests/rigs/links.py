# SPDX-License-Identifier: Apache-2.0
"""Virtual wires of every shape, links of every type, and remedies carried out as a user does: from an error's hint."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Sequence

from offramp.immutable import immutable
from offramp.testing import Host, Interface, Lab, Wire

__all__ = ["KINDS", "Kind", "carry_out", "made", "veth"]


def veth(lab: Lab, near: tuple[int, int], far: tuple[int, int] = (1, 1), *, together: bool = False) -> Wire:
    """A veth whose ends have as many receive and transmit queues as is said: far's, then near's, as `Wire.a` and `.b`.

    `together`: both ends are in one namespace, so that each can see the other.
    """
    b = lab.host("near")
    a = b if together else lab.host("far")
    sizes = [f"numrxqueues {rx} numtxqueues {tx}".split() for rx, tx in (near, far)]
    b.run(["ip", "link", "add", "near", *sizes[0], "type", "veth", "peer", "name", "far", *sizes[1]])
    ends = {}
    for number, (host, name) in enumerate(((a, "far"), (b, "near")), 1):
        if host is not b:
            with b.netlink() as route:
                route.link("set", index=route.link_lookup(ifname=name)[0], net_ns_fd=host.fileno())
        mac, ip = f"02:00:00:78:00:0{number}", f"10.78.0.{number}"
        for words in (
            f"link set {name} address {mac}",
            f"addr add {ip}/24 dev {name}",
            f"link set {name} up",
        ):
            host.run(["ip", *words.split()])
        with host:
            ends[name] = Interface(name, socket.if_nametoindex(name), mac, ip, f"fd78::{number}", host)
    wire = Wire(ends["far"], ends["near"])
    for end in (wire.a, wire.b):
        end.wait_for_carrier()
        end.keep_tags_in_frames()
        other = wire.b if end is wire.a else wire.a
        end.host.run(["ip", "neigh", "replace", other.ip, "lladdr", other.mac, "dev", end.name])
        end.host.sysctl(f"net.ipv6.conf.{end.name}.disable_ipv6", 1)  # nobody but the test sends
    return wire


@immutable
class Kind:
    """A kind of link: how it is made, as `ip` has it, and whether its frames have an Ethernet header."""

    name: str
    made_by: str
    ethernet: bool = True
    refused: str = ""  # why it is refused in generic mode, although it has Ethernet headers


_UPPER = "VLAN tags are removed"
_TUNNEL = "local 10.9.0.1 remote 10.9.0.2"

KINDS: Sequence[Kind] = (
    Kind("lo", ""),
    Kind("veth", "link add x type veth peer name y"),
    Kind("dummy", "link add x type dummy"),
    Kind("tap", "tuntap add x mode tap"),
    Kind("tap with headers", "tuntap add x mode tap vnet_hdr"),
    Kind("tun", "tuntap add x mode tun", ethernet=False),
    Kind("bridge", "link add x type bridge", refused=_UPPER),
    Kind("bond", "link add x type bond", refused=_UPPER),
    Kind("team", "link add x type team", refused=_UPPER),
    Kind("ifb", "link add x type ifb", refused=_UPPER),
    Kind("vrf", "link add x type vrf table 10", refused=_UPPER),
    Kind("macvlan", "link add x link below type macvlan", refused=_UPPER),
    Kind("macvtap", "link add x link below type macvtap", refused=_UPPER),
    Kind("ipvlan l2", "link add x link below type ipvlan mode l2", refused=_UPPER),
    Kind("ipvlan l3", "link add x link below type ipvlan mode l3", refused=_UPPER),
    Kind("vlan", "link add x link below type vlan id 5"),
    Kind("macsec", "link add x link below type macsec"),
    Kind("netkit", "link add x type netkit"),
    Kind("hsr", "link add x type hsr slave1 below slave2 below2"),
    Kind("vxlan", f"link add x type vxlan id 7 {_TUNNEL} dstport 4789 dev below"),
    Kind("vxlan-gpe", "link add x type vxlan dstport 4790 external gpe", ethernet=False),
    Kind("geneve", "link add x type geneve id 7 remote 10.9.0.2"),
    Kind("geneve without headers", "link add x type geneve id 8 remote 10.9.0.2 innerprotoinherit", ethernet=False),
    Kind("bareudp", "link add x type bareudp dstport 7777 ethertype ip", ethernet=False),
    Kind("gre", f"link add x type gre {_TUNNEL}", ethernet=False),
    Kind("gretap", f"link add x type gretap {_TUNNEL}"),
    Kind("erspan", f"link add x type erspan {_TUNNEL} seq key 1 erspan_ver 1"),
    Kind("ip6gre", "link add x type ip6gre local fd09::1 remote fd09::2", ethernet=False),
    Kind("ip6gretap", "link add x type ip6gretap local fd09::1 remote fd09::2"),
    Kind("ipip", f"link add x type ipip {_TUNNEL}", ethernet=False),
    Kind("sit", f"link add x type sit {_TUNNEL}", ethernet=False),
    Kind("ip6tnl", "link add x type ip6tnl local fd09::1 remote fd09::2", ethernet=False),
    Kind("vti", f"link add x type vti {_TUNNEL} key 7", ethernet=False),
    Kind("xfrm", "link add x type xfrm dev below if_id 42", ethernet=False),
    Kind("wireguard", "link add x type wireguard", ethernet=False),
    Kind("nlmon", "link add x type nlmon", ethernet=False),
    Kind("vcan", "link add x type vcan", ethernet=False),
)


def made(host: Host, kind: Kind) -> str | None:
    """An interface of that kind on a host of its own, up, and its name; None if this kernel has no such links."""
    host.run(["ip", "link", "add", "below", "type", "veth", "peer", "name", "below2"])
    for name, address in (("below", "10.9.0.1/24"), ("below2", "10.9.1.1/24")):
        host.run(["ip", "link", "set", name, "up"])
        host.run(["ip", "addr", "add", address, "dev", name])
    if not kind.made_by:
        return "lo"
    try:
        host.run(["ip", *kind.made_by.split()])
        host.run(["ip", "link", "set", "x", "up"])
    except subprocess.CalledProcessError:
        return None
    return "x"


def carry_out(hint: str, host: Host, peer: Host | None = None, name: str = "") -> bool:
    """Runs the first command that a text names; one about PEER on the peer's host. False if it names none."""
    found = re.search(r"(?:ip link set|ethtool -[KL]) (\S+)((?: [a-z0-9-]+)+)", hint)
    if found is None:
        return False
    words = found[0].split()
    if "PEER" in words:
        assert peer is not None
        peer.run([name if word == "PEER" else word for word in words])
    else:
        host.run(words)
    return True
