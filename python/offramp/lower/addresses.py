# SPDX-License-Identifier: Apache-2.0
"""Hosts, networks, stations and ports, compared one by one or looked up in a set.

Both ways look at the same words of the packet. So both are the same expression, except for the last step: whether these
words, the key, are the ones asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, assert_never

from offramp.match.protocols import ADDRESS_OFFSETS, ETHERTYPES, IP, IP6, IP6_HEADER, IP_PROTOCOLS
from offramp.match.tree import Address, Direction, Port, Protocol, Station

from .expression import All, Any, Calculation, Expr, Member, Number, Place, Test, Value
from .fields import first_fragment
from .layers import Layers, equal, load, masked

Asked: TypeAlias = Callable[[tuple[Value, ...]], Expr]  # whether a key is asked for

ALL_BITS = 0xFFFF_FFFF
_WITH_PORTS = (Protocol.SCTP, Protocol.TCP, Protocol.UDP)  # in libpcap's order


def member(number: int) -> Asked:
    return lambda key: Member(key, number)


def address(node: Address, layers: Layers) -> Expr:
    version, value, mask = node.network

    def asked(key: tuple[Value, ...]) -> Expr:
        shifts = range(32 * (len(key) - 1), -1, -32)
        words = [
            _same(word, value >> shift & ALL_BITS, mask >> shift & ALL_BITS)
            for word, shift in zip(key, shifts, strict=True)
        ]
        return words[0] if version == 4 else All(tuple(words))

    return hosts(version, node.direction, node.protocol, layers, asked)


def _same(word: Value, value: int, mask: int) -> Test:
    return equal(word, value) if mask == ALL_BITS else masked(word, mask, value)


def hosts(version: int, direction: Direction, protocol: Protocol | None, layers: Layers, asked: Asked) -> Expr:
    """Whether a packet of this version and protocol has addresses that are asked for."""
    if protocol is not None:
        return _hosts_of(protocol, direction, layers, asked)
    if version == 6:
        return _hosts_of(Protocol.IP6, direction, layers, asked)
    if layers.labels:  # with MPLS, only IP can be told apart
        return _hosts_of(Protocol.IP, direction, layers, asked)
    kinds = (Protocol.IP, Protocol.ARP, Protocol.RARP)
    return Any(tuple(_hosts_of(kind, direction, layers, asked) for kind in kinds))


def _hosts_of(protocol: Protocol, direction: Direction, layers: Layers, asked: Asked) -> Expr:
    network, words = layers.network, 4 if protocol is Protocol.IP6 else 1
    source, destination = (
        asked(tuple(load(network, offset + 4 * word, 4) for word in range(words)))
        for offset in ADDRESS_OFFSETS[protocol]
    )
    return All((layers.has(ETHERTYPES[protocol]), directed(direction, source, destination)))


def directed(direction: Direction, source: Expr, destination: Expr) -> Expr:
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


def station(node: Station, layers: Layers) -> Expr:
    def asked(key: tuple[Value, ...]) -> Expr:
        """Compares the last four bytes first, as tcpdump does."""
        return All((equal(key[1], node.address & ALL_BITS), equal(key[0], node.address >> 32)))

    return stations(node.direction, layers, asked)


def stations(direction: Direction, layers: Layers, asked: Asked) -> Expr:
    source, destination = (asked((load(layers.link, at, 2), load(layers.link, at + 2, 4))) for at in (6, 0))
    return layers.with_link(directed(direction, source, destination))


def port(node: Port, layers: Layers) -> Expr:
    def asked(key: tuple[Value, ...]) -> Expr:
        if node.first == node.last:
            return equal(key[0], node.first)
        return All((Test(key[0], ">=", Number(node.first)), Test(key[0], "<=", Number(node.last))))

    return ports(node.direction, node.protocol, layers, asked)


def ports(direction: Direction, protocol: Protocol | None, layers: Layers, asked: Asked) -> Expr:
    """Whether the ports are asked for, over IPv6 or IPv4."""
    return Any(tuple(ports_of(version, direction, protocol, layers, asked) for version in (IP6, IP)))


def ports_of(version: int, direction: Direction, protocol: Protocol | None, layers: Layers, asked: Asked) -> Expr:
    """The ports right after IPv6's header, or in an IPv4 packet's first fragment. `version` is an ethertype."""
    numbers = [IP_PROTOCOLS[one] for one in ((protocol,) if protocol else _WITH_PORTS)]
    network = layers.network

    def at(start: Place) -> Expr:
        return directed(direction, *(asked((load(start, offset, 2),)) for offset in (0, 2)))

    def carries(offset: int) -> Expr:
        return Any(tuple(equal(load(network, offset, 1), number) for number in numbers))

    if version == IP6:
        return All((layers.has(IP6), carries(6), at(Place(network.offset + IP6_HEADER, network.behind))))
    return All((layers.has(IP), carries(9), first_fragment(layers), at(layers.transport)))


def ip_broadcast(netmask: int, layers: Layers) -> Expr:
    """Whether it is addressed to a host number of only zeros or only ones."""
    destination, hosts_mask = load(layers.network, 16, 4), ALL_BITS & ~netmask
    number = Calculation("&", destination, Number(hosts_mask))
    return All((layers.has(IP), Any((equal(number, 0), equal(number, hosts_mask)))))
