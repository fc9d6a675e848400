# SPDX-License-Identifier: Apache-2.0
"""What a match means for the bytes of a frame: tree to tests, with tcpdump's meaning.

The meaning is libpcap's (gencode.c), surprises included, since that is what people test with tcpdump first:
- `host A` (IPv4) is an address of the IP header or one in an ARP or RARP packet; ports need the first fragment.
- `tcp` on IPv6 is the next header, or the one after a fragment header; `port N` and `icmp6[0]` do not look behind any
  extension header; `tcp[...]` is a field of TCP over IPv4 only.
- A relation is false for packets of another protocol, whatever it relates: `not udp[0] == 1` holds for TCP.

Order matters: a load beyond the end of the packet rejects it outright, so tests stand in the order in which libpcap
makes them. libpcap's optimiser (tcpdump without -O) reorders tests, and leaves out those that cannot change the result.
Of the latter it always leaves out comparisons under an all-zero mask, which are left out here, too. So the verdict is
that of `tcpdump` for every packet that holds all bytes the match looks at, and of `tcpdump -O` for one that is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import assert_never

from offramp.match.tree import Address, And, Compare, Direction, Everything, IsProtocol, Node, Not, Or, Port, Protocol

from .tests import All, Any, Base, Const, Expr, Negate, Test

ETHERTYPE = {Protocol.IP: 0x0800, Protocol.ARP: 0x0806, Protocol.RARP: 0x8035, Protocol.IP6: 0x86DD}
IP_PROTOCOL = {Protocol.ICMP: 1, Protocol.TCP: 6, Protocol.UDP: 17, Protocol.ICMP6: 58, Protocol.SCTP: 132}
WITH_PORTS = (Protocol.SCTP, Protocol.TCP, Protocol.UDP)
IP6_FRAGMENT = 44
IP6_HEADER = 40  # bytes, without extension headers

# Where source and destination are, from NET. IPv4: RFC 791; ARP for Ethernet and IPv4: RFC 826; IPv6: RFC 8200
ADDRESS_OFFSETS = {Protocol.IP: (12, 16), Protocol.ARP: (14, 24), Protocol.RARP: (14, 24), Protocol.IP6: (8, 24)}

FIRST_FRAGMENT = Test(Base.NET, 6, 2, "==", 0, mask=0x1FFF)


def lower(node: Node) -> Expr:
    """The tests that decide whether an untagged Ethernet frame matches."""
    match node:
        case Everything():
            return Const(True)
        case IsProtocol(protocol):
            return _is_protocol(protocol)
        case Address():
            return _address(node)
        case Port():
            return _port(node)
        case Compare():
            return _compare(node)
        case Not(part):
            return Negate(lower(part))
        case And(parts):
            return All(tuple(lower(part) for part in parts))
        case Or(parts):
            return Any(tuple(lower(part) for part in parts))
        case _:
            assert_never(node)


def _ethertype(protocol: Protocol) -> Test:
    return Test(Base.LINK, 12, 2, "==", ETHERTYPE[protocol])


def _ip_protocol(number: int) -> Test:
    return Test(Base.NET, 9, 1, "==", number)


def _next_header(number: int) -> Test:
    return Test(Base.NET, 6, 1, "==", number)


def _is_protocol(protocol: Protocol) -> Expr:
    if protocol in ETHERTYPE:
        return _ethertype(protocol)
    number = IP_PROTOCOL[protocol]
    behind_fragment = All((_next_header(IP6_FRAGMENT), Test(Base.NET, IP6_HEADER, 1, "==", number)))
    ip = All((_ethertype(Protocol.IP), _ip_protocol(number)))
    ip6 = All((_ethertype(Protocol.IP6), Any((_next_header(number), behind_fragment))))
    match protocol:
        case Protocol.ICMP:
            return ip
        case Protocol.ICMP6:
            return ip6
        case _:
            return Any((ip, ip6))


def _address(node: Address) -> Expr:
    is_v4 = isinstance(node.network, IPv4Network)
    by_default = (Protocol.IP, Protocol.ARP, Protocol.RARP) if is_v4 else (Protocol.IP6,)
    protocols = (node.protocol,) if node.protocol else by_default
    return Any(tuple(_address_in(protocol, node) for protocol in protocols))


def _address_in(protocol: Protocol, node: Address) -> Expr:
    source, destination = (All(tuple(_same_network(at, node))) for at in ADDRESS_OFFSETS[protocol])
    return All((_ethertype(protocol), _directed(node.direction, source, destination)))


def _same_network(offset: int, node: Address) -> Iterator[Test]:
    """The address at NET `offset`, in words of 32 bits, but for those that are no part of the prefix."""
    address, mask = node.network.network_address.packed, node.network.netmask.packed
    for at in range(0, len(address), 4):
        if any(mask[at : at + 4]):
            value, bits = (int.from_bytes(part[at : at + 4], "big") for part in (address, mask))
            yield Test(Base.NET, offset + at, 4, "==", value, bits)


def _directed(direction: Direction, source: Expr, destination: Expr) -> Expr:
    match direction:
        case Direction.SRC:
            return source
        case Direction.DST:
            return destination
        case Direction.BOTH:
            return All((source, destination))
        case Direction.EITHER:
            return Any((source, destination))
        case _:
            assert_never(direction)


def _port(node: Port) -> Expr:
    numbers = [IP_PROTOCOL[protocol] for protocol in ((node.protocol,) if node.protocol else WITH_PORTS)]
    ip6 = All(
        (
            _ethertype(Protocol.IP6),
            Any(tuple(map(_next_header, numbers))),
            _directed(node.direction, *(_in_range(Base.NET, IP6_HEADER + at, node) for at in (0, 2))),
        )
    )
    ip = All(
        (
            _ethertype(Protocol.IP),
            Any(tuple(map(_ip_protocol, numbers))),
            FIRST_FRAGMENT,
            _directed(node.direction, *(_in_range(Base.TRANSPORT, at, node) for at in (0, 2))),
        )
    )
    return Any((ip6, ip))


def _in_range(base: Base, offset: int, node: Port) -> Expr:
    if node.first == node.last:
        return Test(base, offset, 2, "==", node.first)
    return All((Test(base, offset, 2, ">=", node.first), Test(base, offset, 2, "<=", node.last)))


def _compare(node: Compare) -> Expr:
    field, number = node.field, IP_PROTOCOL.get(node.field.protocol)
    guards: tuple[Test, ...] = ()
    base, start = Base.NET, 0
    if field.protocol is Protocol.ETHER:
        base = Base.LINK
    elif field.protocol is Protocol.ICMP6:
        guards = (_ethertype(Protocol.IP6), _next_header(IP_PROTOCOL[Protocol.ICMP6]))
        start = IP6_HEADER
    elif number is None:
        guards = (_ethertype(field.protocol),)
    else:
        guards = (_ethertype(Protocol.IP), _ip_protocol(number), FIRST_FRAGMENT)
        base = Base.TRANSPORT
    test: Expr
    match node.relation:
        case "==" | ">=" | "<=" as op:
            test = Test(base, start + field.offset, field.size, op, node.value, node.mask)
        case "!=":
            test = Negate(Test(base, start + field.offset, field.size, "==", node.value, node.mask))
        case ">":
            test = Negate(Test(base, start + field.offset, field.size, "<=", node.value, node.mask))
        case "<":
            test = Negate(Test(base, start + field.offset, field.size, ">=", node.value, node.mask))
    return All((*guards, test))
