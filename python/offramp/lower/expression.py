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
known. A load beyond the end of the captured packet, a division by zero, or a Chain that is too long rejects the packet
outright, even below a Negate. That is the meaning of classic BPF (McCanne & Jacobson 1993; Linux,
Documentation/networking/filter.rst), and so of every tcpdump expression. A place is a sum that does not wrap; a place
above 2**32 is beyond every packet.

evaluate.py is the reference that compiled programs are compared with.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from offramp.immutable import immutable
from offramp.lower.shapes import Shape
from offramp.match.protocols import AUTHENTICATION, IP6_EXTENSIONS, IP6_HEADER

__all__ = [
    "AUTHENTICATION",
    "IP6_EXTENSIONS",
    "IP6_HEADER",
    "All",
    "Any",
    "Calculation",
    "Chain",
    "Choice",
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
MAX_CHAIN: Final = 8  # headers that a chain of them is followed through


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


@immutable
class Choice:
    """`yes` if `asked` is `number`, else `no`. All three are read, whichever it is."""

    asked: Value
    number: int
    yes: Value
    no: Value


Value: TypeAlias = Number | Length | Load | TagBytes | Calculation | Choice


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
class Chain:
    """Whether an IP packet has a header of this number, among those that name each other: `protochain`.

    The first one is named by the IP header at `network`. An IPv6 extension header (0, 43, 44, 60) or an authentication
    header (51) names the next one in its first byte, and says its own length in its second; IPv4 has the latter only.
    The chain is followed through MAX_CHAIN headers; if it is longer, and has no such header so far, the packet is
    rejected. Where the next header begins:

        extension header at X           X + 8 * (length + 1)
        authentication header           4 * (length + 2): libpcap forgets what stands in front of it
    """

    network: Place
    version: Literal[4, 6]
    number: int


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


Expr: TypeAlias = Test | Member | Chain | All | Any | Negate | Const


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
