# SPDX-License-Identifier: Apache-2.0
"""The lowered form of a match: a boolean expression over numbers read from a packet.

    tree (match/) --lower--> expression (here) --emit/--> LLVM IR --> eBPF | native

    udp dst port 53, the IPv4 half:
        header = Calculation("<<", Calculation("&", Load(Place(14), 1), Number(15)), Number(2))
        All(Test(Load(Place(12), 2), "==", Number(0x0800)),                                            ethertype
            Test(Load(Place(23), 1), "==", Number(17)),                                                protocol
            Test(Calculation("&", Load(Place(20), 2), Number(0x1fff)), "==", Number(0)),               first fragment
            Test(Load(Place(16, (header,)), 2), "==", Number(53)))                                     14 + header + 2

Numbers are unsigned, have 32 bits, and wrap. Evaluation goes from left to right and stops as soon as the result is
known. A load beyond the end of the captured packet, or a division by zero, rejects the packet outright, even below a
Negate. That is the meaning of classic BPF (McCanne & Jacobson 1993; Linux, Documentation/networking/filter.rst), and so
of every tcpdump expression. A place is a sum that does not wrap; a place above 2**32 is beyond every packet.

evaluate.py is the reference that compiled programs are compared with.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from offramp.immutable import immutable
from offramp.lower.shapes import Shape

__all__ = [
    "All",
    "Any",
    "Calculation",
    "Const",
    "Expr",
    "Fixed",
    "Length",
    "Load",
    "Lowered",
    "Member",
    "Named",
    "Negate",
    "Number",
    "Op",
    "Operator",
    "Place",
    "SetUse",
    "TagBytes",
    "Test",
    "Value",
]

Op: TypeAlias = Literal["==", ">=", "<="]
Operator: TypeAlias = Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]

ALL_ONES: Final = 0xFFFF_FFFF
TAG_ETHERTYPES: Final = (
    0x8100,
    0x88A8,
    0x9100,
)  # IEEE 802.1Q customer and service tag, and the latter's earlier number
TAG_BYTES: Final = 4
MAX_TAGS: Final = 2


@immutable
class Number:
    value: int


@immutable
class Length:
    """The packet's length on the wire, captured or not."""


@immutable
class Place:
    """`offset` bytes after the frame's first byte, plus the sum of `behind`."""

    offset: int
    behind: tuple[Value, ...] = ()


@immutable
class Load:
    """A big-endian number of `size` bytes."""

    place: Place
    size: Literal[1, 2, 4]


@immutable
class TagBytes:
    """The length of the VLAN tags (at most two) whose first ethertype would be at `offset`: 0, 4 or 8."""

    offset: int


@immutable
class Calculation:
    operator: Operator
    left: Value
    right: Value


Value: TypeAlias = Number | Length | Load | TagBytes | Calculation


@immutable
class Test:
    """`left` `op` `right`. The left side is read first."""

    __test__ = False  # not a test class for pytest

    left: Value
    op: Op
    right: Value


@immutable
class Member:
    """Whether the set with this number in `Lowered.sets` contains the key, given as words of 32 bits (shapes.py)."""

    key: tuple[Value, ...]
    set: int


@immutable
class All:
    """True if no part is false; true if there are no parts."""

    parts: tuple[Expr, ...]


@immutable
class Any:
    """True if a part is true; false if there are no parts."""

    parts: tuple[Expr, ...]


@immutable
class Negate:
    part: Expr


@immutable
class Const:
    value: bool


Expr: TypeAlias = Test | Member | All | Any | Negate | Const


@immutable
class Named:
    """A set that the user has bound to a name."""

    name: str
    shape: Shape


@immutable
class Fixed:
    """A set of the values that a match spells out: inclusive ranges of keys, sorted, without overlap."""

    shape: Shape
    ranges: tuple[tuple[int, int], ...]


SetUse: TypeAlias = Named | Fixed


@immutable
class Lowered:
    """A match, ready to be compiled."""

    expr: Expr
    sets: tuple[SetUse, ...] = ()
