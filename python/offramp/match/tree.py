# SPDX-License-Identifier: Apache-2.0
"""The tree of a match: frozen values that compare, hash and print.

    "ip6 or udp dst port 53 and not host 10.0.0.1"        and/or have equal precedence, from left to right

    And ─┬─ Or ─┬─ IsProtocol(ip6)
         │      └─ Port(53, 53, dst, udp)
         └─ Not ── Address(Network(4, 10.0.0.1, /32))

`str(node)` is the canonical text, which tcpdump accepts (but for the extensions) and `parse` turns into the same tree.
Constructors normalise. Order is part of the meaning: behind `vlan`, `mpls`, `pppoes`, `vxlan` or `geneve` in the text,
whatever stands between, all later primitives look behind that header (pcap-filter(7)).

The leaves are in leaves.py and values.py, the words that they are made of in words.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from offramp.immutable import immutable

from .leaves import (
    Address,
    AnyVlan,
    Broadcast,
    Carries,
    Compare,
    Geneve,
    InChain,
    InSet,
    IsProtocol,
    Llc,
    Mpls,
    Multicast,
    Port,
    Pppoed,
    Pppoes,
    Primitive,
    Station,
    Vlan,
    Vxlan,
)
from .values import Calculation, Field, Length, Negative, Number, Operator, Relation, Value
from .words import (
    ALL_ONES,
    LLC_TYPES,
    MAX_PORT,
    WITH_FIELDS,
    WITH_PORTS,
    Direction,
    Family,
    Protocol,
    SetKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ALL_ONES",
    "LLC_TYPES",
    "MAX_PORT",
    "WITH_FIELDS",
    "WITH_PORTS",
    "Address",
    "And",
    "AnyVlan",
    "Broadcast",
    "Calculation",
    "Carries",
    "Compare",
    "Direction",
    "Everything",
    "Family",
    "Field",
    "Geneve",
    "InChain",
    "InSet",
    "IsProtocol",
    "Length",
    "Llc",
    "Mpls",
    "Multicast",
    "Negative",
    "Node",
    "Not",
    "Number",
    "Operator",
    "Or",
    "Port",
    "Pppoed",
    "Pppoes",
    "Primitive",
    "Protocol",
    "Relation",
    "SetKind",
    "Station",
    "Value",
    "Vlan",
    "Vxlan",
    "primitives",
    "set_names",
    "text",
]


@immutable
class Everything:
    """Every packet: the empty match. It stands alone, as tcpdump has no word for it."""

    def __str__(self) -> str:
        return ""


@immutable
class Not:
    part: Node

    def __post_init__(self) -> None:
        _refuse_everything((self.part,))

    def __str__(self) -> str:
        return f"not {_part(self.part)}"


@immutable
class And:
    """All of two or more parts, tested from left to right. Parts that are And themselves dissolve into it."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _dissolve(And, self.parts))

    def __str__(self) -> str:
        return " and ".join(map(_part, self.parts))


@immutable
class Or:
    """Any of two or more parts, tested from left to right. Parts that are Or themselves dissolve into it."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _dissolve(Or, self.parts))

    def __str__(self) -> str:
        return " or ".join(map(_part, self.parts))


Node: TypeAlias = Everything | Primitive | Not | And | Or


def _dissolve(kind: type[And] | type[Or], parts: tuple[Node, ...]) -> tuple[Node, ...]:
    _refuse_everything(parts)
    flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))
    if len(flat) < 2:
        raise ValueError(f"{kind.__name__} needs two parts")
    return flat


def _refuse_everything(parts: tuple[Node, ...]) -> None:
    if any(isinstance(part, Everything) for part in parts):
        raise ValueError("Everything stands alone")


def text(node: Node) -> str:
    """The match as tcpdump takes it; "" for every packet."""
    return str(node)


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


def _part(node: Node) -> str:
    return f"({node})" if isinstance(node, And | Or) else str(node)
