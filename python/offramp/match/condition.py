# SPDX-License-Identifier: Apache-2.0
"""The conditions that take no value of the usual kinds: `less 60`, `byte 0 = 1`, `vlan 5`, `llc u`, `ip multicast`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from typing import cast as cast_type

from .complain import VLAN_IDS, nearest, unexpected
from .scan import NAME, NUMBER, Cursor, Fault, Fix, shorten
from .tree import (
    LLC_TYPES,
    AnyVlan,
    Broadcast,
    Compare,
    Direction,
    Field,
    Geneve,
    Length,
    Llc,
    Mpls,
    Multicast,
    Number,
    Pppoed,
    Pppoes,
    Protocol,
    Vlan,
    Vxlan,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .tree import Primitive, Relation

DIRECTIONS: Final = ("src", "dst")
CASTS: Final = ("broadcast", "multicast")
BYTE_RELATIONS: Final = {"=": "==", "<": "<", ">": ">"}


def qualifier(word: str, start: int, end: int) -> Protocol:
    """The protocol that a keyword names in front of `host`, `port` or `proto`."""
    try:
        return Protocol(word)
    except ValueError:  # the PDUs of IS-IS: l1, iih
        raise Fault(f"'{word}' qualifies nothing", start, end, f"'{word}' stands alone") from None


def direction_of(cursor: Cursor) -> Direction | None:
    """`src`, `dst`, `src or dst`, `dst and src`; None if none stands at the cursor."""
    if cursor.kind not in DIRECTIONS:
        return None
    first = cursor.kind
    other = "dst" if first == "src" else "src"
    cursor.advance()
    if cursor.kind not in ("and", "or"):
        return Direction(first)
    both = cursor.kind == "and"
    cursor.advance()
    if cursor.kind != other:
        raise unexpected(cursor, other)
    cursor.advance()
    return Direction.BOTH if both else Direction.EITHER


def cast(cursor: Cursor, layer: Protocol, start: int) -> Broadcast | Multicast:
    """`broadcast` or `multicast` of a layer that has been read; it began at `start`."""
    node = Broadcast if cursor.kind == "broadcast" else Multicast
    cursor.advance()
    try:
        return node(layer)
    except ValueError as error:
        raise Fault(str(error), start, cursor.last_end) from None


def _number(cursor: Cursor) -> int:
    if cursor.kind != NUMBER:
        raise unexpected(cursor, "a number")
    number = cursor.number
    cursor.advance()
    return number


def _optional_number(cursor: Cursor) -> int | None:
    """`5`, `(5)`, or nothing."""
    opened = 0
    while cursor.kind == "(":
        opened += 1
        cursor.advance()
    if cursor.kind != NUMBER and not opened:
        return None
    number = _number(cursor)
    for _ in range(opened):
        if cursor.kind != ")":
            raise unexpected(cursor, "')'")
        cursor.advance()
    return number


def _length(relation: Relation) -> Callable[[Cursor], Compare]:
    def read(cursor: Cursor) -> Compare:
        cursor.advance()
        return Compare(Length(), relation, Number(_number(cursor)))

    return read


def _byte(cursor: Cursor) -> Compare:
    """`byte 0 = 1` is `ether[0] == 1`."""
    cursor.advance()
    offset, operator, start = _number(cursor), cursor.kind, cursor.start
    if operator in ("&", "|"):
        hint = f"write 'ether[{offset}] {operator} ... != 0'"
        raise Fault(f"'byte {offset} {operator}' does not look at the byte in tcpdump", start, cursor.end, hint)
    if operator not in BYTE_RELATIONS:
        raise unexpected(cursor, "'='", "'<'", "'>'")
    cursor.advance()
    relation = cast_type("Relation", BYTE_RELATIONS[operator])
    return Compare(Field(Protocol.ETHER, Number(offset)), relation, Number(_number(cursor)))


def _header(node: type[Vlan | Mpls | Pppoes | Vxlan | Geneve]) -> Callable[[Cursor], Primitive]:
    """`vlan`, `vlan 5`; ours: `vlan any`."""

    def read(cursor: Cursor) -> Primitive:
        cursor.advance()
        if node is Vlan and cursor.kind == NAME and cursor.word == "any":
            cursor.advance()
            return AnyVlan()
        start, end = cursor.start, cursor.end
        if cursor.kind == NAME and re.fullmatch("[0-9]+-[0-9]+", cursor.word):
            hint = VLAN_IDS if node is Vlan else ""
            raise Fault(f"'{shorten(cursor.word)}' is not one number", start, end, hint)
        number = _optional_number(cursor)
        try:
            return node(number)
        except ValueError as error:
            raise Fault(str(error), start, max(end, cursor.last_end)) from None

    return read


def _llc(cursor: Cursor) -> Llc:
    cursor.advance()
    start, end, word = cursor.start, cursor.end, cursor.word
    if cursor.kind == "rnr":
        word = "rnr"
    elif cursor.kind != NAME:
        return Llc()
    cursor.advance()
    if not word or (kind := word.lower()) not in LLC_TYPES:
        types = sorted(LLC_TYPES - {""})
        near = nearest(word, types)
        fix = Fix(start, end, near) if near else None
        raise Fault(f"'{shorten(word)}' is not an LLC type", start, end, "the types are " + ", ".join(types), fix)
    return Llc(kind)


def _discovery(cursor: Cursor) -> Pppoed:
    cursor.advance()
    return Pppoed()


SPECIAL: Final[dict[str, Callable[[Cursor], Primitive]]] = {  # keywords that begin such a condition
    "less": _length("<="),
    "greater": _length(">="),
    "byte": _byte,
    "vlan": _header(Vlan),
    "mpls": _header(Mpls),
    "pppoes": _header(Pppoes),
    "vxlan": _header(Vxlan),
    "geneve": _header(Geneve),
    "pppoed": _discovery,
    "llc": _llc,
}
