# SPDX-License-Identifier: Apache-2.0
"""The lowered form of a match: a boolean expression over tests of packet bytes.

    tree (match/) --lower.py--> expression (here) --emit.py--> LLVM IR --> eBPF | native

    udp dst port 53, the IPv4 half:
        All(Test(LINK, 12, 2, "==", 0x0800),                ethertype
            Test(NET, 9, 1, "==", 17),                      protocol
            Test(NET, 6, 2, "==", 0, mask=0x1fff),          the first fragment, which has the ports
            Test(TRANSPORT, 2, 2, "==", 53))

    frame   0        12   14                  34, if without options
            +--------+----+-------------------+----------------
            | MACs   |type| IPv4 | IPv6 | ... | TCP | UDP | ...
            +--------+----+-------------------+----------------
            LINK          NET                 TRANSPORT = NET + 4 * (low four bits of the byte at NET 0)

Evaluation is from left to right and stops as soon as the result is known. A load beyond the end of the packet rejects
the packet outright, even below a Negate: the meaning of classic BPF (McCanne & Jacobson 1993; Linux,
Documentation/networking/filter.rst), and so of every tcpdump expression.

`evaluate` is the reference: what the compiled programs are compared with.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

__all__ = ["All", "Any", "Base", "Const", "Expr", "Negate", "Op", "Test", "evaluate"]

Op: TypeAlias = Literal["==", ">=", "<="]

ETHERTYPE_OFFSET = 12  # LINK; 2 bytes
NET_OFFSET = 14  # the length of an untagged Ethernet header
ALL_ONES = 0xFFFF_FFFF
_OPERATORS = {"==": operator.eq, ">=": operator.ge, "<=": operator.le}


class Base(Enum):
    """Where a test's offset counts from."""

    LINK = "l2"  # the first byte of the frame
    NET = "l3"  # the end of the Ethernet header
    TRANSPORT = "l4"  # the end of the IPv4 header; IPv6 has its ports at NET 40


@dataclass(frozen=True, slots=True)
class Test:
    """(big-endian unsigned load of `size` bytes & `mask`) `op` `value`."""

    __test__ = False  # not one of pytest's

    base: Base
    offset: int
    size: Literal[1, 2, 4]
    op: Op
    value: int
    mask: int = ALL_ONES


@dataclass(frozen=True, slots=True)
class All:
    """True if no part is false; without parts true."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """True if a part is true; without parts false."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Negate:
    part: Expr


@dataclass(frozen=True, slots=True)
class Const:
    value: bool


Expr: TypeAlias = Test | All | Any | Negate | Const


class Reject(Exception):
    """A load beyond the end of the packet."""


def evaluate(expr: Expr, packet: bytes, ethertype: int | None = None) -> bool:
    """Whether `packet`, a frame from its first MAC address on, matches.

    `ethertype`: of the VLAN tag that the NIC or driver carries out of band. It stands at LINK 12 on the wire; what
    follows is not where the bytes of `packet` are, so that loads from there reject.
    """
    try:
        return decide(expr, packet, ethertype)
    except Reject:
        return False


def decide(expr: Expr, packet: bytes, ethertype: int | None) -> bool:
    """As `evaluate`, but a load from where nothing is raises Reject."""
    match expr:
        case Const(value):
            return value
        case Negate(part):
            return not decide(part, packet, ethertype)
        case All(parts):
            return all(decide(part, packet, ethertype) for part in parts)
        case Any(parts):
            return any(decide(part, packet, ethertype) for part in parts)
        case Test(base, offset, size, op, value, mask):
            loaded = _load(packet, base, offset, size, ethertype) & mask
            return bool(_OPERATORS[op](loaded, value))


def _load(packet: bytes, base: Base, offset: int, size: int, ethertype: int | None) -> int:
    if ethertype is not None and (base is not Base.LINK or offset + size > ETHERTYPE_OFFSET):
        if (base, offset, size) != (Base.LINK, ETHERTYPE_OFFSET, 2):
            raise Reject
        return ethertype
    if base is Base.NET:
        offset += NET_OFFSET
    elif base is Base.TRANSPORT:
        offset += NET_OFFSET + 4 * (_load(packet, Base.NET, 0, 1, None) & 0x0F)
    if offset + size > len(packet):
        raise Reject
    return int.from_bytes(packet[offset : offset + size], "big")
