# SPDX-License-Identifier: Apache-2.0
"""Relations between numbers of a packet: `tcp[13] & 2 != 0`, `len - ip[2:2] > 14`.

A relation holds only for packets of the fields' protocols. Which protocols libpcap checks is peculiar: in a
calculation, only those of the left operand. So `tcp[0] + udp[0] == 5` asks for TCP, and `1 + udp[0] == 5` asks for
nothing.
"""

from __future__ import annotations

from typing import assert_never

from offramp.match import tree
from offramp.match.protocols import ETHERTYPES, IP, IP6, IP6_HEADER, IP_PROTOCOLS
from offramp.match.tree import Protocol

from .expression import ALL_ONES, All, Calculation, Expr, Length, Load, Negate, Number, Place, Test, Value
from .layers import Layers, equal, load, masked

_LONGEST_IP_HEADER = 60


def compare(node: tree.Compare, layers: Layers) -> Expr:
    test = _relation(_value(node.left, layers), node.relation, _value(node.right, layers))
    guards = [*_guards(node.left, layers), *_guards(node.right, layers)]
    return All((*guards, test)) if guards else test


def _relation(left: Value, relation: tree.Relation, right: Value) -> Expr:
    match relation:
        case "==" | ">=" | "<=":
            return Test(left, relation, right)
        case "!=":
            return Negate(Test(left, "==", right))
        case ">":
            return Negate(Test(left, "<=", right))
        case "<":
            return Negate(Test(left, ">=", right))
        case _:
            assert_never(relation)


def first_fragment(layers: Layers) -> Expr:
    """Whether it is the first fragment, which has the transport header."""
    return masked(load(layers.network, 6, 2), 0x1FFF, 0)


def _guards(value: tree.Value, layers: Layers) -> list[Expr]:
    match value:
        case tree.Number() | tree.Length():
            return []
        case tree.Negative(part):
            return _guards(part, layers)
        case tree.Calculation(_, left, right):
            _guards(right, layers)  # not checked, but refused where they would be
            return _guards(left, layers)
        case tree.Field(Protocol.ETHER, offset):
            return _guards(offset, layers)
        case tree.Field(Protocol.ICMP6, offset):
            is_icmp6 = equal(load(layers.network, 6, 1), IP_PROTOCOLS[Protocol.ICMP6])
            return [*_guards(offset, layers), layers.has(IP6), is_icmp6]
        case tree.Field(protocol, offset) if protocol in ETHERTYPES:
            return [*_guards(offset, layers), layers.has(ETHERTYPES[protocol])]
        case tree.Field(protocol, offset):
            is_protocol = equal(load(layers.network, 9, 1), IP_PROTOCOLS[protocol])
            return [layers.has(IP), *_guards(offset, layers), is_protocol, first_fragment(layers)]
        case _:
            assert_never(value)


def _value(value: tree.Value, layers: Layers) -> Value:
    match value:
        case tree.Number(number):
            return Number(number)
        case tree.Length():
            return Length()
        case tree.Negative(part):
            return Calculation("-", Number(0), _value(part, layers))
        case tree.Calculation(operator, left, right):
            return Calculation(operator, _value(left, layers), _value(right, layers))
        case tree.Field(protocol, offset, size):
            return Load(_place(protocol, _value(offset, layers), layers), size)
        case _:
            assert_never(value)


def _place(protocol: Protocol, index: Value, layers: Layers) -> Place:
    if protocol is Protocol.ETHER:
        return _behind(layers.link, index)
    if protocol is Protocol.ICMP6:
        return _behind(Place(layers.network.offset + IP6_HEADER, layers.network.behind), index)
    if protocol in ETHERTYPES:
        return _behind(layers.network, index)
    if isinstance(index, Number) and index.value <= ALL_ONES - _LONGEST_IP_HEADER:
        return _behind(layers.transport, index)
    # The length of the IPv4 header is added in a register, where the sum wraps: tcp[-4] is in front of it
    return _behind(layers.network, Calculation("+", layers.ip_header, index))


def _behind(start: Place, index: Value) -> Place:
    if isinstance(index, Number):
        return Place(start.offset + index.value, start.behind)
    return Place(start.offset, (*start.behind, index))
