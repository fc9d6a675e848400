# SPDX-License-Identifier: Apache-2.0
"""The tree of a match: frozen values that compare, hash and print.

    "ip6 or udp dst port 53 and not host 10.0.0.1"        and/or have equal precedence, from left to right

    And ─┬─ Or ─┬─ IsProtocol(ip6)
         │      └─ Port(53..53, dst, udp)
         └─ Not ── Address(10.0.0.1/32)

A node states the meaning, not the spelling: `host A` is `net A/32`, `port N` is `portrange N-N`, `src or dst` is no
direction at all. Constructors normalise, and refuse (ValueError) what tcpdump refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias

ALL_ONES = 0xFFFF_FFFF
MAX_PORT = 65535
MAX_OFFSET = 65535  # no packet is longer


class Protocol(Enum):
    """A protocol's keyword."""

    ETHER = "ether"  # of fields only
    IP = "ip"
    IP6 = "ip6"
    ARP = "arp"
    RARP = "rarp"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ICMP6 = "icmp6"
    SCTP = "sctp"


class Direction(Enum):
    """Whose address or port: at least one of the two (EITHER), one, or both."""

    EITHER = ""
    SRC = "src"
    DST = "dst"
    BOTH = "src and dst"


class _Printable:
    __slots__ = ()

    def __str__(self) -> str:
        from .text import text

        return text(self)  # type: ignore[arg-type]  # the nodes below are all its subclasses


@dataclass(frozen=True, slots=True)
class Everything(_Printable):
    """Every packet: the empty match. It stands alone, as tcpdump has no word for it."""


@dataclass(frozen=True, slots=True)
class IsProtocol(_Printable):
    """`tcp`: the packet is of this protocol."""

    protocol: Protocol

    def __post_init__(self) -> None:
        if self.protocol is Protocol.ETHER:
            raise ValueError("every frame is an Ethernet frame")


@dataclass(frozen=True, slots=True)
class Address(_Printable):
    """`[ip|ip6|arp|rarp] [src|dst] host A | net A/len`: an address of the packet, or one that its ARP asks or tells."""

    network: IPv4Network | IPv6Network
    direction: Direction = Direction.EITHER
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        is_v6 = isinstance(self.network, IPv6Network)
        allowed = {None, Protocol.IP6} if is_v6 else {None, Protocol.IP, Protocol.ARP, Protocol.RARP}
        if self.protocol not in allowed:
            assert self.protocol is not None
            raise ValueError(f"'{self.protocol.value}' cannot qualify an IPv{self.network.version} address")


@dataclass(frozen=True, slots=True)
class Port(_Printable):
    """`[tcp|udp|sctp] [src|dst] port N | portrange A-B`; without a protocol, of any of the three."""

    first: int
    last: int
    direction: Direction = Direction.EITHER
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        for port in (self.first, self.last):
            if not 0 <= port <= MAX_PORT:
                raise ValueError(f"port {port} is not in 0..{MAX_PORT}")
        if self.first > self.last:
            raise ValueError(f"port range {self.first}-{self.last} is reversed")
        if self.protocol not in (None, Protocol.TCP, Protocol.UDP, Protocol.SCTP):
            raise ValueError(f"'{self.protocol.value}' has no ports: they belong to tcp, udp and sctp")


@dataclass(frozen=True, slots=True)
class Field:
    """`proto[offset:size]`: so many bytes of a packet of that protocol, from its header on, as a big-endian number."""

    protocol: Protocol
    offset: int
    size: Literal[1, 2, 4] = 1

    def __post_init__(self) -> None:
        if self.size not in (1, 2, 4):
            raise ValueError(f"{self.size} bytes cannot be compared: a field has 1, 2 or 4")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise ValueError(f"offset {self.offset} is beyond every packet")


Relation: TypeAlias = Literal["==", "!=", ">", ">=", "<", "<="]


@dataclass(frozen=True, slots=True)
class Compare(_Printable):
    """`field [& mask] relation value`; false for packets of another protocol, whatever the relation."""

    field: Field
    relation: Relation
    value: int
    mask: int = ALL_ONES

    def __post_init__(self) -> None:
        if not 0 <= self.value <= ALL_ONES:
            raise ValueError(f"{self.value} does not fit in 32 bits")
        if not 0 < self.mask <= ALL_ONES:
            raise ValueError(
                "mask 0 leaves no bit to compare" if self.mask == 0 else "the mask does not fit in 32 bits"
            )


@dataclass(frozen=True, slots=True)
class Not(_Printable):
    part: Node

    def __post_init__(self) -> None:
        _refuse_everything((self.part,))


@dataclass(frozen=True, slots=True)
class And(_Printable):
    """All of two or more parts, tested from left to right. Parts that are And themselves dissolve into it."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _dissolve(And, self.parts))


@dataclass(frozen=True, slots=True)
class Or(_Printable):
    """Any of two or more parts, tested from left to right. Parts that are Or themselves dissolve into it."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _dissolve(Or, self.parts))


Node: TypeAlias = Everything | IsProtocol | Address | Port | Compare | Not | And | Or


def _dissolve(kind: type[And] | type[Or], parts: tuple[Node, ...]) -> tuple[Node, ...]:
    _refuse_everything(parts)
    flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))
    if len(flat) < 2:
        raise ValueError(f"{kind.__name__} needs two parts")
    return flat


def _refuse_everything(parts: tuple[Node, ...]) -> None:
    if any(isinstance(part, Everything) for part in parts):
        raise ValueError("Everything stands alone")
