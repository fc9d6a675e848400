# SPDX-License-Identifier: Apache-2.0
"""Unions that a match spells out become sets: `host A or B or C ...` is one look-up, however long it is.

    Or: A B C tcp D E    ->    Any: (A  or  {B C})  tcp  D  E        were three many

A run is a series of neighbours that differ only in their value. Its first member stays as ordinary tests. These make
every load that could reject the packet. The look-up makes the same loads, so it rejects no packet that tcpdump would
not. IPv4 and IPv6 members go into separate sets, because one packet has only one IP version.

One thing differs from tcpdump: a packet cut off inside an IPv6 address. A look-up needs all four words of it and
rejects the packet. Comparing one by one stops at the first word that differs, and may go on with the next part of the
match.

`src and dst host A` stays as tests, because the destination is only looked at if the source is A. So do masks that are
not prefixes. A part of `and not A and not B` is the negation of such a union.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

from offramp.match.network import Network
from offramp.match.tree import Address, And, Direction, Node, Not, Or, Port, Station

from .addresses import hosts, member, ports, stations
from .expression import All, Any, Expr, Fixed, Negate
from .layers import Layers
from .shapes import Family, Shape

AT_LEAST: Final = 8  # members; a run of this many becomes a set
_BITMAP_CAPACITY: Final = 1 << 16
_IN_RUNS: Final = (Address, Port, Station)

Ranges: TypeAlias = list[tuple[int, int]]
Walk: TypeAlias = Callable[[Node], Expr]
Number: TypeAlias = Callable[[Fixed], int]  # the number of the set in Lowered.sets


def union(node: Or | And, layers: Layers, lower: Walk, number: Number) -> Expr:
    """The parts of an Or or an And, with their runs replaced."""
    is_or = isinstance(node, Or)
    exprs: list[Expr] = []
    for kind, group in groupby(node.parts, _kind if is_or else _negated_kind):
        parts = list(group)
        if kind is None or len(parts) < AT_LEAST:
            exprs += map(lower, parts)
        elif is_or:
            exprs += _run(parts, layers, lower, number)
        else:
            inner = [part.part for part in parts if isinstance(part, Not)]
            exprs.append(Negate(Any(tuple(_run(inner, layers, lower, number)))))
    return Any(tuple(exprs)) if is_or else All(tuple(exprs))


def _kind(node: Node) -> Hashable:
    """What the members of a run have in common; None for a node that cannot be in a run."""
    if isinstance(node, _IN_RUNS) and node.direction is not Direction.BOTH:
        return type(node), node.direction, None if isinstance(node, Station) else node.protocol
    return None


def _negated_kind(node: Node) -> Hashable:
    return _kind(node.part) if isinstance(node, Not) else None


def _run(parts: Sequence[Node], layers: Layers, lower: Walk, number: Number) -> Iterator[Expr]:
    first = parts[0]
    if isinstance(first, Address):
        for version in (4, 6):
            addresses = [part for part in parts if isinstance(part, Address) and part.network[0] == version]
            yield from _addresses(addresses, layers, lower, number)
    elif isinstance(first, Port):
        yield lower(first)
        ranges = [(port.first, port.last) for port in parts[1:] if isinstance(port, Port)]
        use = Fixed(Shape("bitmap", "port", _BITMAP_CAPACITY), tuple(_merged(ranges)))
        yield ports(first.direction, first.protocol, layers, member(number(use)))
    elif isinstance(first, Station):
        yield lower(first)
        use = _hash("ether", (station.address for station in parts[1:] if isinstance(station, Station)))
        yield stations(first.direction, layers, member(number(use)))


def _addresses(nodes: Sequence[Address], layers: Layers, lower: Walk, number: Number) -> Iterator[Expr]:
    """Addresses of one IP version."""
    ones = _all_ones(nodes)
    odd = {mask for mask in {node.network[2] for node in nodes} if not _is_prefix(mask, ones)}
    prefixes = [node for node in nodes if node.network[2] not in odd] if odd else nodes
    if len(prefixes) < AT_LEAST:
        yield from map(lower, nodes)
        return
    first = prefixes[0]
    yield lower(first)
    version = first.network.version
    use = _networks("ip" if version == 4 else "ip6", [node.network for node in prefixes[1:]], ones)
    yield hosts(version, first.direction, first.protocol, layers, member(number(use)))
    yield from (lower(node) for node in nodes if node.network[2] in odd)


def _all_ones(nodes: Sequence[Address]) -> int:
    return (1 << 128) - 1 if nodes and nodes[0].network.version == 6 else (1 << 32) - 1


def _is_prefix(mask: int, ones: int) -> bool:
    zeros = mask ^ ones
    return zeros & (zeros + 1) == 0


def _networks(family: Family, networks: Sequence[Network], ones: int) -> Fixed:
    """A set of prefixes; hosts alone make a hash table."""
    if all(mask == ones for _, _, mask in networks):
        return _hash(family, (address for _, address, _ in networks))
    ranges = _merged([(address, address | mask ^ ones) for _, address, mask in networks])
    return Fixed(Shape("ranges", family, len(ranges)), tuple(ranges))


def _hash(family: Family, keys: Iterable[int]) -> Fixed:
    elements = sorted(set(keys))
    return Fixed(Shape("hash", family, len(elements)), tuple((key, key) for key in elements))


def _merged(ranges: Ranges) -> Ranges:
    """The ranges sorted; those that overlap or touch become one."""
    ranges.sort(key=itemgetter(0))
    merged: Ranges = []
    end = -2
    for first, last in ranges:
        if first > end + 1:
            merged.append((first, last))
            end = last
        elif last > end:
            merged[-1] = merged[-1][0], last
            end = last
    return merged
