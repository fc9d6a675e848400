# SPDX-License-Identifier: Apache-2.0
"""A chain of headers, as a loop that is written out: each round looks at one header, and finds the next one.

The number of a header and its place are registers. The verifier has to see that all rounds are alike, so the place is
bounded anew each time, and no number that a test has found goes into the next round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from llvmlite import ir

from offramp.emit.emitter import Label
from offramp.emit.intervals import Held, Range
from offramp.emit.target import I32, const
from offramp.emit.values import Values
from offramp.lower.expression import (
    AUTHENTICATION,
    IP6_EXTENSIONS,
    IP6_HEADER,
    MAX_CHAIN,
    Calculation,
    Chain,
    Load,
    Number,
    Place,
)

if TYPE_CHECKING:
    from offramp.lower.expression import Value

__all__ = ["chain"]

_FARTHEST: Final = IP6_HEADER + 8 * 256 * MAX_CHAIN  # bytes from the IP header on


def chain(values: Values, node: Chain, yes: Label, no: Label) -> None:
    """Branch by whether the header is in the chain. Leaves the current place."""
    emit, network, ip6 = values.emit, node.network, node.version == 6
    header = values.read(Load(_after(network, 6 if ip6 else 9), 1), apart=True)
    length = Calculation("<<", Calculation("&", Load(network, 1), Number(0x0F)), Number(2))
    place = values.read(Number(IP6_HEADER) if ip6 else length, apart=True)
    for _ in range(MAX_CHAIN):
        authentication = emit.label()
        kinds, ways = [(authentication, 4, const(4, I32))], [(AUTHENTICATION, authentication)]
        if ip6:
            extension = emit.label()
            kinds.append((extension, 8, place))
            ways += [(number, extension) for number in IP6_EXTENSIONS]
        _branch(values, header, [(node.number, yes), *ways], no)
        header, place = _next(values, network, place, kinds)
    too_long = [(number, values.reject) for number in (AUTHENTICATION, *(IP6_EXTENSIONS if ip6 else ()))]
    _branch(values, header, [(node.number, yes), *too_long], no)


def _branch(values: Values, header: ir.Value, ways: Sequence[tuple[int, Label]], others: Label) -> None:
    """Branch by the number of the header."""
    emit = values.emit
    for number, way in ways:
        another = emit.label()
        emit.branch(values.builder.icmp_unsigned("==", header, const(number, I32)), way, another)
        emit.enter(another)
    emit.goto(others)


def _next(
    values: Values, network: Place, place: ir.Value, kinds: Sequence[tuple[Label, int, ir.Value]]
) -> tuple[ir.Value, ir.Value]:
    """The header that the one at `place` names, and its own place. Packets are at the labels of its possible kinds: a
    header has as many units as it says, one more, and what is added to them.
    """
    emit, builder = values.emit, values.builder
    held = cast("Value", Held(place, Range(0, _FARTHEST)))
    here = Place(network.offset, (*network.behind, held))
    following, ways = emit.label(), []
    for kind, unit, more in kinds:
        emit.enter(kind)
        units = builder.add(values.read(Load(_after(here, 1), 1), apart=True), const(1, I32))
        named = values.read(Load(here, 1), apart=True)
        ways.append((named, builder.add(builder.mul(units, const(unit, I32)), more), builder.block))
        emit.goto(following)
    named, beyond = emit.merge(following, *([(way[value], way[2]) for way in ways] for value in range(2)))
    return named, emit.target.barrier(beyond)


def _after(place: Place, offset: int) -> Place:
    return Place(place.offset + offset, place.behind)
