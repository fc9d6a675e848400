# SPDX-License-Identifier: Apache-2.0
"""What a match means for the bytes of a frame: tree to expression, with tcpdump's meaning.

    meaning.py    the walk, protocols and sets
    layers.py     where the headers are, and how one names the next: vlan, mpls, pppoes, 802.2
    addresses.py  hosts, networks, stations, ports
    fields.py     proto[offset:size] and arithmetic
    tunnels.py    VXLAN, Geneve
    unions.py     long unions become look-ups

The meaning is libpcap's (gencode.c), surprises included, because people test a match with tcpdump first:
- `host A` (IPv4) is an address of the IP header or one in an ARP or RARP packet; ports need the first fragment.
- On IPv6, `tcp` is the next header, or the one after a fragment header; `port N` and `icmp6[0]` do not look behind any
  extension header; `tcp[...]` is a field of TCP over IPv4 only.
- A relation is false for packets of another protocol, whatever it compares: `not udp[0] == 1` holds for TCP.
- `vlan`, `mpls` and `pppoes` shift everything after them in the text: `vlan 1 or vlan 2` looks for 2 inside any tag.
- So do `vxlan` and `geneve`. But for packets that are in no such tunnel, libpcap then looks at places that it has not
  computed; so what follows must be joined by `and`, and such a match is refused otherwise.

Order matters: a load beyond the end of the packet rejects it outright, so tests come in the order in which libpcap
makes them. libpcap's optimiser (tcpdump without -O) reorders tests, and leaves out those that cannot change the result.
So the verdict is that of `tcpdump -O` for every packet; it is that of `tcpdump` for every packet that holds all bytes
the match looks at. There are two exceptions. One is a packet that is cut off inside an IPv6 address, before a long
union (unions.py). The other is `byte 6 & 1`: libpcap forgets to load that byte, and takes whatever the test before has
left.

`vlan any`, an extension, enters up to two tags at this point of the text. A `vlan` after it looks for one more tag than
those. `vlan any` may stand only once and, like `vlan`, not after `mpls` or `pppoes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, assert_never

from offramp.errors import MatchError, OptionError
from offramp.match import tree
from offramp.match.context import Behind
from offramp.match.protocols import (
    ETHERTYPES,
    IP,
    IP6,
    IP6_FRAGMENT,
    IP6_HEADER,
    IP_PROTOCOLS,
    ISO_PROTOCOLS,
    ONLY_IP,
    ONLY_IP6,
    PPPOE_DISCOVERY,
    SAP_ISO,
)
from offramp.match.tree import Node, Primitive, Protocol

from . import addresses
from .expression import All, Any, Chain, Const, Expr, Lowered, Named, Negate, Number, SetUse, Test
from .fields import compare
from .layers import Layers, equal, load, masked
from .shapes import Shape
from .tunnels import tunnel
from .unions import union

__all__ = ["lower"]

BROADCAST: Final = (1 << 48) - 1
NO_SETS: Final[Mapping[str, Shape]] = MappingProxyType({})
NETMASK_HINT = 'Match("ip broadcast", "255.255.255.0")'
NOT_IN_TUNNEL: Final = "it would be looked for in a tunnel, also in packets that are in none"
NOT_IN_TUNNEL_HINT: Final = (
    "'and' joins a tunnel to what is in it: 'vxlan 5 and tcp'; what is not in it stands in front"
)
HOST_BITS_NEEDED = "the netmask leaves no host bits, so there is no broadcast address"


def lower(node: Node, *, netmask: int | None = None, sets: Mapping[str, Shape] = NO_SETS) -> Lowered:
    """The expression that decides whether an Ethernet frame matches, and the sets it looks into.

    `netmask`: the interface's, for `ip broadcast`. `sets`: the shapes of the sets that the match names.
    Errors: MatchError for what cannot come after `mpls` or `pppoes`, or needs the netmask; OptionError for a set that
    does not exist, or is not of the kind that is looked up.
    """
    walk = _Walk(node, netmask, sets)
    expr = walk(node)
    return Lowered(expr, tuple(walk.uses))


class _Walk:
    """Walks from left to right, as the text does: `layers` changes on the way."""

    def __init__(self, whole: Node, netmask: int | None, sets: Mapping[str, Shape]) -> None:
        self.whole = whole
        self.netmask = netmask
        self.sets = sets
        self.layers = Layers()
        self.behind = Behind()
        self.uses: dict[SetUse, int] = {}
        self.tunnels = self.certain = 0  # entered so far; those in which the next primitive's packets certainly are

    def __call__(self, node: Node) -> Expr:
        match node:
            case tree.Everything():
                return Const(True)
            case tree.Not(part):
                return Negate(self(part))
            case tree.And():
                certain = self.certain
                joined = union(node, self.layers, self._joined, self._number)
                self.certain = certain
                return joined
            case tree.Or():
                return union(node, self.layers, self, self._number)
            case _:
                if reason := self.behind.refuses(node):
                    raise self._refusal(node, reason)
                if self.tunnels > self.certain:
                    raise self._refusal(node, NOT_IN_TUNNEL, NOT_IN_TUNNEL_HINT)
                return self._primitive(node)

    def _joined(self, part: Node) -> Expr:
        """A part of an And. If it is a tunnel, all packets that the next parts are asked about are in it."""
        expr = self(part)
        if isinstance(part, tree.Vxlan | tree.Geneve):
            self.certain = self.tunnels
        return expr

    def _refusal(self, node: Primitive, what: str, hint: str = "") -> MatchError:
        text, place = str(self.whole), str(node)
        return MatchError(what, text=text, position=text.index(place), width=len(place), hint=hint)

    def _number(self, use: SetUse) -> int:
        return self.uses.setdefault(use, len(self.uses))

    def _primitive(self, node: Primitive) -> Expr:
        layers = self.layers
        match node:
            case tree.IsProtocol(protocol):
                return self._is_protocol(protocol)
            case tree.Carries(number, layer):
                return self._carries(number, layer)
            case tree.Address():
                return addresses.address(node, layers)
            case tree.Station():
                return addresses.station(node, layers)
            case tree.Port():
                return addresses.port(node, layers)
            case tree.InSet():
                return self._in_set(node)
            case tree.Broadcast(layer):
                return self._broadcast(layer)
            case tree.Multicast(layer):
                return self._multicast(layer)
            case tree.Vlan(number):
                return layers.vlan(number)
            case tree.AnyVlan():
                return layers.any_vlan()
            case tree.Mpls(number):
                return layers.mpls(number)
            case tree.Pppoed():
                return layers.has(PPPOE_DISCOVERY)
            case tree.Pppoes(number):
                return layers.pppoes(number)
            case tree.Vxlan() | tree.Geneve():
                self.tunnels += 1
                return tunnel(node, layers)
            case tree.InChain(number, layer):
                return self._in_chain(number, layer)
            case tree.Llc(kind):
                return layers.llc(kind)
            case tree.Compare():
                return compare(node, layers)
            case _:
                assert_never(node)

    def _is_protocol(self, protocol: Protocol) -> Expr:
        if protocol in ETHERTYPES:
            return self.layers.has(ETHERTYPES[protocol])
        if protocol in ISO_PROTOCOLS:
            return self._carries(ISO_PROTOCOLS[protocol], Protocol.ISO)
        layer = Protocol.IP if protocol in ONLY_IP else Protocol.IP6 if protocol in ONLY_IP6 else None
        return self._carries(IP_PROTOCOLS[protocol], layer)

    def _carries(self, number: int, layer: Protocol | None) -> Expr:
        layers = self.layers
        match layer:
            case None:
                return Any((self._carries(number, Protocol.IP), self._carries(number, Protocol.IP6)))
            case Protocol.IP:
                return All((layers.has(IP), equal(load(layers.network, 9, 1), number)))
            case Protocol.IP6:
                next_header = load(layers.network, 6, 1)
                behind_fragment = equal(load(layers.network, IP6_HEADER, 1), number)
                fragment = All((equal(next_header, IP6_FRAGMENT), behind_fragment))
                return All((layers.has(IP6), Any((equal(next_header, number), fragment))))
            case Protocol.ISO:
                return All((layers.has(SAP_ISO), equal(load(layers.iso, 0, 1), number)))
            case Protocol.ISIS:
                is_isis = self._carries(ISO_PROTOCOLS[Protocol.ISIS], Protocol.ISO)
                return All((is_isis, equal(load(layers.iso, 4, 1), number)))
            case _:
                return layers.has(number)

    def _in_chain(self, number: int, layer: Protocol | None) -> Expr:
        if layer is None:
            return Any((self._in_chain(number, Protocol.IP), self._in_chain(number, Protocol.IP6)))
        version: Literal[4, 6] = 4 if layer is Protocol.IP else 6
        return All((self.layers.has(ETHERTYPES[layer]), Chain(self.layers.network, version, number)))

    def _broadcast(self, layer: Protocol) -> Expr:
        if layer is Protocol.ETHER:
            return addresses.station(tree.Station(BROADCAST, tree.Direction.DST), self.layers)
        if self.netmask is None:
            what = "the netmask is not known, and a broadcast address depends on it"
            raise self._refusal(tree.Broadcast(layer), what, NETMASK_HINT)
        if self.netmask == tree.ALL_ONES:
            raise OptionError("ip broadcast", reason=HOST_BITS_NEEDED, hint="give the netmask of the network")
        return addresses.ip_broadcast(self.netmask, self.layers)

    def _multicast(self, layer: Protocol) -> Expr:
        layers = self.layers
        match layer:
            case Protocol.IP:
                return All((layers.has(IP), Test(load(layers.network, 16, 1), ">=", Number(224))))
            case Protocol.IP6:
                return All((layers.has(IP6), equal(load(layers.network, 24, 1), 0xFF)))
            case _:
                return layers.with_link(masked(load(layers.link, 0, 1), 0x01, 0x01))

    def _in_set(self, node: tree.InSet) -> Expr:
        shape = self.sets.get(node.name)
        if shape is None:
            raise OptionError(f"the match names a set, @{node.name}", reason="there is no set of that name")
        allowed = node.families
        if shape.family not in allowed:
            wanted = " or ".join(_HOLDS[family] for family in allowed)
            reason = f"@{node.name} holds {_HOLDS[shape.family]}, but the match looks up {wanted}"
            raise OptionError(f"'{node}'", reason=reason)
        asked = addresses.member(self._number(Named(node.name, shape)))
        match shape.family:
            case "port":
                return addresses.ports(node.direction, node.protocol, self.layers, asked)
            case "ether":
                return addresses.stations(node.direction, self.layers, asked)
            case "ip" | "ip6":
                version = 4 if shape.family == "ip" else 6
                return addresses.hosts(version, node.direction, node.protocol, self.layers, asked)
            case _:
                assert_never(shape.family)


_HOLDS: Final = {"ip": "IPv4 addresses", "ip6": "IPv6 addresses", "port": "ports", "ether": "Ethernet addresses"}
