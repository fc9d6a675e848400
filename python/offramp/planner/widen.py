# SPDX-License-Identifier: Apache-2.0
"""What a NIC has to bring so that no packet of a match is missed: a match, widened to flows that NIC rules can say.

    udp dst port 53 and not src host 10.0.0.1     ->     udp over IPv4 to port 53, udp over IPv6 to port 53

A flow is a conjunction of what NICs compare: Ethernet addresses, ethertype, VLAN, IP addresses, IP protocol, ports.
`widened` is a superset of the match. It leaves out what a NIC cannot compare (a byte of a header, a set, a `not`). The
program decides that part: it checks every packet again. If nothing of a match is left, it stands for every packet.

Strays are matching packets whose headers a NIC does not find, wherever it looks:
    fragments                          a NIC finds no ports in them, not even in the first one
    IPv6 with extension headers        the protocol comes after them
    tags other than one 802.1Q tag     two of them, or one of type 0x9100
    ARP and RARP of an address         `host A` is about them too, but NICs do not look into them
    malformed and truncated headers    the match need not look at them
The program finds strays on the queues where they arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Final

from offramp.immutable import immutable
from offramp.match.network import Network
from offramp.match.protocols import (
    ARP,
    ETHERTYPES,
    GENEVE_PORT,
    IP,
    IP6,
    IP_PROTOCOLS,
    MPLS,
    ONLY_IP,
    ONLY_IP6,
    PPPOE_DISCOVERY,
    PPPOE_SESSION,
    RARP,
    VXLAN_PORT,
)
from offramp.match.tree import (
    MAX_PORT,
    WITH_PORTS,
    Address,
    And,
    AnyVlan,
    Broadcast,
    Calculation,
    Carries,
    Compare,
    Direction,
    Field,
    Geneve,
    InChain,
    InSet,
    IsProtocol,
    Mpls,
    Multicast,
    Negative,
    Node,
    Not,
    Or,
    Port,
    Pppoed,
    Pppoes,
    Protocol,
    SetKind,
    Station,
    Value,
    Vlan,
    Vxlan,
)
from offramp.planner.flow import Bits, Flow, least

__all__ = ["Widened", "widened"]

_COMPARED: Final = (Protocol.IP, Protocol.IP6, Protocol.ARP, Protocol.RARP)  # other protocols also come behind 802.2
_EXTENSIONS: Final = (0, 43, 44, 60)  # IPv6 extension headers: NICs look for the protocol behind them
# Values of `ether proto` that also come behind an 802.2 header (AppleTalk), or that NICs look behind (tags).
_NOT_COMPARED: Final = (0x809B, 0x80F3, 0x8100, 0x88A8, 0x9100)
_LEAST_ETHERTYPE: Final = 0x600  # smaller numbers are lengths
_GROUP_BIT: Final = 1 << 40  # in an Ethernet address
_ALL_STATIONS: Final = (1 << 48) - 1
_MOST_FLOWS: Final = 4096  # while they are combined; few NICs take as many rules


@immutable
class Widened:
    """`flows` hold all packets of the match except strays; None: no flows can tell them from others."""

    flows: tuple[Flow, ...] | None
    left_out: tuple[str, ...]  # parts of the match that the flows do not compare
    arp: bool  # ARP and RARP of an address match, and are in no flow


def widened(node: Node) -> Widened:
    """The flows that hold all packets of the match, in a stable order. No flow is part of another."""
    walk = _Walk()
    found = walk.flows(node, behind_tag=False)
    flows = tuple(least(found)) if found is not None and Flow() not in found else None
    return Widened(flows, tuple(dict.fromkeys(walk.left_out)), walk.arp)


_Flows = list[Flow] | None  # None: every packet


class _Walk:
    """Walks in text order. After a `vlan`, primitives look behind a tag, whatever stands between. Only primitives that
    `and` joins to it are sure that there is a tag. NICs compare nothing behind other headers or a second tag.
    """

    def __init__(self) -> None:
        self.headers = 0  # in front of the next primitive; 2: more than a NIC looks behind
        self.left_out: list[str] = []
        self.arp = False

    def flows(self, node: Node, *, behind_tag: bool) -> _Flows:
        match node:
            case And(parts):
                return self._all(parts, behind_tag)
            case Or(parts):
                found = [self.flows(part, behind_tag=behind_tag) for part in parts]
                joined = [flow for one in found for flow in one or ()]
                return None if None in found or len(joined) > _MOST_FLOWS else joined
            case Not(part):
                left_out, arp = self.left_out, self.arp
                self.left_out = []
                self.flows(part, behind_tag=behind_tag)  # for the headers in it, which count
                self.left_out, self.arp = left_out, arp
                return None
            case AnyVlan():
                self.headers = 2 if self.headers else 0
                return None
        known = self.headers == 0 or (self.headers == 1 and behind_tag)
        tag = Bits(0, 0) if self.headers else None
        if isinstance(node, Vlan):
            self.headers += 1 if self.headers < 2 else 0
            return [Flow(vlan=Bits(node.id or 0, 0 if node.id is None else 0xFFF))] if known and not tag else None
        if isinstance(node, Mpls | Pppoes | Vxlan | Geneve):
            self.headers = 2
        if not known:
            return None
        found_here = self._primitive(node)
        return found_here and [flow._replace(vlan=tag) for flow in found_here]

    def _all(self, parts: tuple[Node, ...], behind_tag: bool) -> _Flows:
        result: _Flows = None
        before, about_arp, can_be_arp = self.arp, False, True
        for part in parts:
            self.arp = False
            found = self.flows(part, behind_tag=behind_tag)
            about_arp = about_arp or self.arp
            can_be_arp = can_be_arp and (self.arp or found is None or any(map(_may_be_arp, found)))
            behind_tag = behind_tag or isinstance(part, Vlan)
            if found is None:
                self.left_out += [] if isinstance(part, AnyVlan) else [str(part)]
            elif result is None:
                result = found
            elif len(result) * len(found) <= _MOST_FLOWS:
                both = (one.intersection(two) for one, two in product(result, found))
                result = [flow for flow in both if flow is not None]
            else:
                self.left_out.append(str(part))
        self.arp = before or (about_arp and can_be_arp)
        return result

    def _primitive(self, node: Node) -> _Flows:
        """The flows of one primitive. Notes what they do not compare."""
        match node:
            case IsProtocol(protocol):
                return _protocol(protocol)
            case Carries(number, layer):
                return _carries(number, layer)
            case Address(network, direction, protocol):
                self.arp = self.arp or (network.version == 4 and protocol is None)
                return _address(network, direction, protocol)
            case Station(address, direction):
                return _ends(Flow(), direction, Bits(address, _ALL_STATIONS), "esrc", "edst")
            case Port(first, last, direction, protocol):
                ends = _port_ends(_prefixes(first, last), direction)
                return [
                    flow._replace(sport=source, dport=target)
                    for flow in _transports(protocol)
                    for source, target in ends
                ]
            case InSet(_, kind, _, protocol):
                self.left_out.append(str(node))
                return _transports(protocol) if kind is SetKind.PORT else None
            case Broadcast(Protocol.ETHER):
                return [Flow(edst=Bits(_ALL_STATIONS, _ALL_STATIONS))]
            case Multicast(layer):
                return [_GROUPS[layer]]
            case Mpls(label) | Pppoes(label):
                self.left_out += [] if label is None else [str(node)]
                return [_of_type(MPLS if isinstance(node, Mpls) else PPPOE_SESSION)]
            case Vxlan() | Geneve():
                self.left_out.append(str(node))
                port = Bits(VXLAN_PORT if isinstance(node, Vxlan) else GENEVE_PORT, MAX_PORT)
                return [flow._replace(dport=port) for flow in _transports(Protocol.UDP)]
            case InChain(_, layer):
                self.left_out.append(str(node))
                return [_of_type(ethertype) for ethertype in _ETHERTYPES_OF[layer]]
            case Pppoed():
                return [_of_type(PPPOE_DISCOVERY)]
            case Compare(left, _, right):
                return self._compare(node, [field.protocol for field in (*_fields(left), *_fields(right))])
        return None

    def _compare(self, node: Compare, protocols: list[Protocol]) -> _Flows:
        result = [Flow()]
        for protocol in protocols:
            flows = _guard(protocol) or [Flow()]
            both = (one.intersection(two) for one, two in product(result, flows))
            result = list(dict.fromkeys(flow for flow in both if flow is not None))
        if result == [Flow()]:
            return None  # the caller notes what it leaves out
        self.left_out.append(str(node))
        return result


_GROUPS: Final = {  # as in tcpdump, `ip multicast` is all addresses from 224.0.0.0 up
    Protocol.ETHER: Flow(edst=Bits(_GROUP_BIT, _GROUP_BIT)),
    Protocol.IP: Flow(ethertype=Bits(IP, 0xFFFF), dst=Bits(0xE0 << 24, 0xE0 << 24)),
    Protocol.IP6: Flow(ethertype=Bits(IP6, 0xFFFF), dst=Bits(0xFF << 120, 0xFF << 120)),
}


def _may_be_arp(flow: Flow) -> bool:
    return flow.ethertype is None or flow.ethertype.value in (ARP, RARP)


def _of_type(ethertype: int, protocol: int | None = None) -> Flow:
    return Flow(Bits(ethertype, 0xFFFF), protocol=None if protocol is None else Bits(protocol, 0xFF))


def _protocol(protocol: Protocol) -> _Flows:
    if protocol in _COMPARED:
        return [_of_type(ETHERTYPES[protocol])]
    if protocol not in IP_PROTOCOLS:
        return None
    versions = (IP,) if protocol in ONLY_IP else (IP6,) if protocol in ONLY_IP6 else (IP, IP6)
    return [_of_type(version, IP_PROTOCOLS[protocol]) for version in versions]


_ETHERTYPES_OF: Final[Mapping[Protocol | None, tuple[int, ...]]] = {
    None: (IP, IP6),
    Protocol.IP: (IP,),
    Protocol.IP6: (IP6,),
}


def _carries(number: int, layer: Protocol | None) -> _Flows:
    if layer is Protocol.ETHER:
        known = _LEAST_ETHERTYPE <= number <= 0xFFFF and number not in _NOT_COMPARED
        return [_of_type(number)] if known else None
    ethertypes = _ETHERTYPES_OF.get(layer)
    if ethertypes is None or number > 0xFF:
        return None
    return [
        _of_type(ethertype, None if ethertype == IP6 and number in _EXTENSIONS else number) for ethertype in ethertypes
    ]


def _transports(protocol: Protocol | None) -> list[Flow]:
    """Flows of one protocol with ports, or of all of them, over IPv4 and IPv6."""
    protocols = WITH_PORTS if protocol is None else (protocol,)
    return [_of_type(ethertype, IP_PROTOCOLS[one]) for one in protocols for ethertype in (IP, IP6)]


def _address(network: Network, direction: Direction, protocol: Protocol | None) -> _Flows:
    bits = Bits(network.address, network.mask)
    if network.version == 6:
        return _ends(_of_type(IP6), direction, bits, "src", "dst")
    if protocol in (Protocol.ARP, Protocol.RARP):
        return _protocol(protocol)
    return _ends(_of_type(IP), direction, bits, "src", "dst")


def _ends(flow: Flow, direction: Direction, bits: Bits, src: str, dst: str) -> list[Flow]:
    both = {Direction.SRC: [[src]], Direction.DST: [[dst]], Direction.BOTH: [[src, dst]]}
    chosen = both.get(direction, [[src], [dst]])
    return [flow._replace(**dict.fromkeys(names, bits)) for names in chosen] if bits.mask else [flow]


def _port_ends(ranges: list[Bits], direction: Direction) -> list[tuple[Bits | None, Bits | None]]:
    """Source and destination port. Each may be in a different part of the range."""
    if direction is Direction.BOTH:
        return list(product(ranges, ranges))
    source = [] if direction is Direction.DST else [(bits, None) for bits in ranges]
    return source + ([] if direction is Direction.SRC else [(None, bits) for bits in ranges])


def _prefixes(first: int, last: int) -> list[Bits]:
    """The range of ports as the fewest masked numbers."""
    found = []
    while first <= last:
        size = first & -first or MAX_PORT + 1
        while first + size - 1 > last:
            size >>= 1
        found.append(Bits(first, MAX_PORT & ~(size - 1)))
        first += size
    return found


def _fields(value: Value) -> Iterable[Field]:
    match value:
        case Field(_, offset, _):
            yield value
            yield from _fields(offset)
        case Calculation(_, left, _):
            yield from _fields(left)  # the right side does not matter, as in tcpdump (lower/fields.py)
        case Negative(inner):
            yield from _fields(inner)


def _guard(protocol: Protocol) -> _Flows:
    """The flows that can have a field of this protocol. Fields of transport protocols are those over IPv4."""
    found = _protocol(protocol)
    if found is None or protocol is Protocol.ICMP6:
        return found
    return [flow for flow in found if flow.protocol is None or flow.version == 4]
