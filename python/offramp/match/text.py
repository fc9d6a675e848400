# SPDX-License-Identifier: Apache-2.0
"""Tree to canonical text, which tcpdump accepts (but for the extensions) and `parse` turns into the same tree.

All names are numbers, each primitive has all its qualifiers, and the operands of an operator are in parentheses if they
have operators themselves: nobody has to remember how tcpdump's `%` binds.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, assert_never

from .tree import (
    Address,
    And,
    AnyVlan,
    Broadcast,
    Calculation,
    Carries,
    Compare,
    Direction,
    Everything,
    Field,
    InSet,
    IsProtocol,
    Length,
    Llc,
    Mpls,
    Multicast,
    Negative,
    Node,
    Not,
    Number,
    Or,
    Port,
    Pppoed,
    Pppoes,
    Protocol,
    Station,
    Value,
    Vlan,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BITWISE = ("&", "|", "^")
HOSTS = {4: (1 << 32) - 1, 6: (1 << 128) - 1}  # the mask of a single address
CHAINS = (And, Or)


def text(node: Node) -> str:
    """The match as tcpdump takes it; "" for every packet."""
    match node:
        case Address(network, direction, protocol):
            kind = "host" if network.mask == HOSTS[network.version] else "net"
            return f"{_qualifiers(protocol, direction)}{kind} {network}"
        case Port(first, last, direction, protocol):
            value = f"port {first}" if first == last else f"portrange {first}-{last}"
            return _qualifiers(protocol, direction) + value
        case Or(parts):
            return " or ".join(map(_part, parts))
        case And(parts):
            return " and ".join(map(_part, parts))
        case Not(part):
            return f"not {_part(part)}"
        case Compare(left, relation, right):
            return f"{_value(left)} {relation} {_value(right)}"
        case Everything():
            return ""
        case _:
            return _rare(node)


def _rare(
    node: IsProtocol
    | Carries
    | Station
    | InSet
    | Broadcast
    | Multicast
    | Vlan
    | AnyVlan
    | Mpls
    | Pppoed
    | Pppoes
    | Llc,
) -> str:
    match node:
        case IsProtocol(protocol):
            return protocol.value
        case Carries(number, layer):
            shown = f"{number:#x}" if layer is Protocol.ETHER else str(number)
            return f"{_qualifiers(layer)}proto {shown}"
        case Station(address, direction):
            return f"{_qualifiers(Protocol.ETHER, direction)}host {address.to_bytes(6, 'big').hex(':')}"
        case InSet(name, kind, direction, protocol):
            return f"{_qualifiers(protocol, direction)}{kind.value} in @{name}"
        case Broadcast(layer):
            return f"{layer.value} broadcast"
        case Multicast(layer):
            return f"{layer.value} multicast"
        case Vlan(number):
            return _numbered("vlan", number)
        case AnyVlan():
            return "vlan any"
        case Mpls(number):
            return _numbered("mpls", number)
        case Pppoed():
            return "pppoed"
        case Pppoes(number):
            return _numbered("pppoes", number)
        case Llc(type_):
            return f"llc {type_}".rstrip()
        case _:
            assert_never(node)


def set_names(node: Node) -> frozenset[str]:
    """The names of the sets that a match refers to (`in @name`), without the '@'."""
    return frozenset(primitive.name for primitive in primitives(node) if isinstance(primitive, InSet))


def primitives(node: Node) -> Iterator[Node]:
    """What a match joins with and, or and not, in no order."""
    rest = [node]
    while rest:
        match rest.pop():
            case And(parts) | Or(parts):
                rest += parts
            case Not(part):
                rest.append(part)
            case primitive:
                yield primitive


@cache
def _qualifiers(protocol: Protocol | None, direction: Direction = Direction.EITHER) -> str:
    """The words in front of the kind, and a space behind each."""
    return "".join(f"{word} " for word in (protocol.value if protocol else "", direction.value) if word)


def _numbered(word: str, number: int | None) -> str:
    return word if number is None else f"{word} {number}"


def _part(node: Node) -> str:
    return f"({text(node)})" if isinstance(node, CHAINS) else text(node)


def _value(value: Value) -> str:
    match value:
        case Number(number):
            return str(number)
        case Length():
            return "len"
        case Field(protocol, offset, size):
            return f"{protocol.value}[{_value(offset)}{'' if size == 1 else f':{size}'}]"
        case Negative(inner):
            return f"-{_operand(inner)}"
        case Calculation(operator, left, right):
            shown = _bits if operator in BITWISE else _operand
            return f"{shown(left)} {operator} {shown(right)}"
        case _:
            assert_never(value)


def _bits(value: Value) -> str:
    """An operand whose single bits matter."""
    return f"{value.value:#x}" if isinstance(value, Number) else _operand(value)


def _operand(value: Value) -> str:
    return f"({_value(value)})" if isinstance(value, Calculation | Negative) else _value(value)
