# SPDX-License-Identifier: Apache-2.0
"""The tree of a match: frozen values that compare, hash and print.

    "ip6 or udp dst port 53 and not host 10.0.0.1"        and/or have equal precedence, from left to right

    And ─┬─ Or ─┬─ IsProtocol(ip6)
         │      └─ Port(53, 53, dst, udp)
         └─ Not ── Address(Network(4, 10.0.0.1, /32))

A node states the meaning, not the spelling: `host A` is `net A/32`, `src or dst` is no direction at all, `less N` is
`len <= N`. Constructors normalise, and refuse (ValueError) what tcpdump refuses.
Order is part of the meaning: behind `vlan`, `mpls` or `pppoes` in the text, whatever stands between, all later
primitives look behind that header (pcap-filter(7)).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, TypeAlias

from .frozen import record
from .network import Network

ALL_ONES: Final = 0xFFFF_FFFF
MAX_PORT: Final = 65535
MAX_HELD: Final = 16  # registers of a BPF program, which tcpdump keeps values in (BPF_MEMWORDS)
Family: TypeAlias = Literal["ip", "ip6", "port", "ether"]  # what the elements of a set are


class Protocol(Enum):
    """A protocol's keyword."""

    ETHER = "ether"
    IP = "ip"
    IP6 = "ip6"
    ARP = "arp"
    RARP = "rarp"
    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    ICMP = "icmp"
    ICMP6 = "icmp6"
    IGMP = "igmp"
    IGRP = "igrp"
    PIM = "pim"
    VRRP = "vrrp"
    CARP = "carp"
    AH = "ah"
    ESP = "esp"
    ATALK = "atalk"
    AARP = "aarp"
    DECNET = "decnet"
    LAT = "lat"
    SCA = "sca"
    MOPRC = "moprc"
    MOPDL = "mopdl"
    ISO = "iso"
    ESIS = "esis"
    ISIS = "isis"
    CLNP = "clnp"
    STP = "stp"
    IPX = "ipx"
    NETBEUI = "netbeui"


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


@record
class Everything(_Printable):
    """Every packet: the empty match. It stands alone, as tcpdump has no word for it."""


@record
class IsProtocol(_Printable):
    """`tcp`: the packet is of this protocol."""

    protocol: Protocol

    def __post_init__(self) -> None:
        if self.protocol is Protocol.ETHER:
            raise ValueError("every frame is an Ethernet frame")


@record
class Carries(_Printable):
    """`[ether|ip|ip6|iso|isis] proto N`: the number that says what comes next; without a layer, of ip or ip6."""

    number: int
    layer: Protocol | None = None

    def __post_init__(self) -> None:
        if self.layer not in (None, Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ISO, Protocol.ISIS):
            raise ValueError(f"'{self.layer.value}' does not carry other protocols")
        if not 0 <= self.number <= ALL_ONES:
            raise ValueError(f"{self.number} does not fit in 32 bits")


@record
class Address(_Printable):
    """`[ip|ip6|arp|rarp] [src|dst] host A | net A/len`: an address of the packet, or one that its ARP asks or tells."""

    network: Network
    direction: Direction = Direction.EITHER
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        if self.protocol is not None:
            check_address_protocol(self.network.version, self.protocol)


@record
class Station(_Printable):
    """`ether [src|dst] host M`: an Ethernet address, a number of 48 bits."""

    address: int
    direction: Direction = Direction.EITHER

    def __post_init__(self) -> None:
        if not 0 <= self.address < 1 << 48:
            raise ValueError("an Ethernet address has 48 bits")


@record
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
        check_port_protocol(self.protocol)


class SetKind(Enum):
    """What of a packet is looked up in a set."""

    HOST = "host"
    PORT = "port"


@record
class InSet(_Printable):
    """`[protocol] [src|dst] host|port in @name`: as the union of all the set's members. An extension: tcpdump has no
    sets. `ether host in @name` is about Ethernet addresses.
    """

    name: str
    kind: SetKind
    direction: Direction = Direction.EITHER
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or not self.name.isascii():
            raise ValueError(f"'@{self.name}' is not a name")
        if self.kind is SetKind.PORT:
            check_port_protocol(self.protocol)
        elif self.protocol not in (None, Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ARP, Protocol.RARP):
            assert self.protocol is not None
            raise ValueError(f"'{self.protocol.value}' has no addresses")

    @property
    def families(self) -> tuple[Family, ...]:
        """Of the sets that can stand there."""
        if self.kind is SetKind.PORT:
            return ("port",)
        match self.protocol:
            case None:
                return ("ip", "ip6")
            case Protocol.ETHER:
                return ("ether",)
            case Protocol.IP6:
                return ("ip6",)
            case _:
                return ("ip",)


@record
class Broadcast(_Printable):
    """`[ether] broadcast`, `ip broadcast`: to all stations; IP's needs the interface's netmask when it is compiled."""

    layer: Protocol = Protocol.ETHER

    def __post_init__(self) -> None:
        if self.layer not in (Protocol.ETHER, Protocol.IP):
            raise ValueError(f"'{self.layer.value}' has no broadcast: only ether and ip have")


@record
class Multicast(_Printable):
    """`[ether] multicast`, `ip multicast`, `ip6 multicast`."""

    layer: Protocol = Protocol.ETHER

    def __post_init__(self) -> None:
        if self.layer not in (Protocol.ETHER, Protocol.IP, Protocol.IP6):
            raise ValueError(f"'{self.layer.value}' has no multicast: only ether, ip and ip6 have")


@record
class Vlan(_Printable):
    """`vlan [id]`: a VLAN tag; what follows in the text looks behind it."""

    id: int | None = None

    def __post_init__(self) -> None:
        _fits("VLAN id", self.id, 12)


@record
class AnyVlan(_Printable):
    """`vlan any`: always true; what follows looks behind up to two VLAN tags, if there are any. An extension."""


@record
class Mpls(_Printable):
    """`mpls [label]`: an MPLS label; what follows looks behind it."""

    label: int | None = None

    def __post_init__(self) -> None:
        _fits("MPLS label", self.label, 20)


@record
class Pppoed(_Printable):
    """`pppoed`: PPP over Ethernet, discovery (RFC 2516)."""


@record
class Pppoes(_Printable):
    """`pppoes [session]`: PPP over Ethernet, session; what follows looks behind the PPP header."""

    session: int | None = None

    def __post_init__(self) -> None:
        _fits("PPPoE session", self.session, 16)


@record
class Llc(_Printable):
    """`llc [type]`: an IEEE 802.2 LLC header; `type` is "", "i", "s", "u", or the name of an S or U format."""

    type: str = ""

    def __post_init__(self) -> None:
        if self.type not in LLC_TYPES:
            raise ValueError(f"'{self.type}' is not an LLC type")


LLC_TYPES: Final = frozenset(
    ("", "i", "s", "u", "rr", "rnr", "rej", "ui", "ua", "disc", "dm", "sabme", "test", "xid", "frmr")
)


@record
class Number:
    """A constant of 32 bits. Arithmetic is C's on unsigned numbers of 32 bits."""

    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value <= ALL_ONES:
            raise ValueError(f"{self.value} does not fit in 32 bits")


@record
class Length:
    """`len`: the packet's length on the wire, in bytes."""


@record
class Field:
    """`proto[offset:size]`: so many bytes of a packet of that protocol, from its header on, as a big-endian number."""

    protocol: Protocol
    offset: Value
    size: Literal[1, 2, 4] = 1

    def __post_init__(self) -> None:
        if self.size not in (1, 2, 4):
            raise ValueError(f"{self.size} bytes cannot be compared: a field has 1, 2 or 4")
        if self.protocol not in WITH_FIELDS:
            raise ValueError(f"the bytes of '{self.protocol.value}' cannot be addressed")


Operator: TypeAlias = Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]


@record
class Calculation:
    """`left operator right`. A packet for which it divides by zero does not match.

    tcpdump refuses a divisor whose leftmost number is 0, also when it is only part of it (`5 / (0 + 3)`, `5 / ip[0]`),
    and so with shifts by more than 31.
    """

    operator: Operator
    left: Value
    right: Value

    def __post_init__(self) -> None:
        if self.operator in ("/", "%", "<<", ">>") and (first := _leftmost(self.right)) is not None:
            if self.operator in ("/", "%") and first == 0:
                raise ValueError("division by zero" if self.operator == "/" else "modulus by zero")
            if self.operator in ("<<", ">>") and first > 31:
                raise ValueError("a shift by more than 31 bits")


@record
class Negative:
    """`-value`, modulo 2**32."""

    value: Value


Value: TypeAlias = Number | Length | Field | Calculation | Negative
Relation: TypeAlias = Literal["==", "!=", ">", ">=", "<", "<="]


@record
class Compare(_Printable):
    """`left relation right`; false for packets of another protocol than its fields', whatever the relation."""

    left: Value
    relation: Relation
    right: Value

    def __post_init__(self) -> None:
        if max(_held(self.left), 1 + _held(self.right)) > MAX_HELD:
            raise ValueError(f"more than {MAX_HELD} values are in hand at once")


@record
class Not(_Printable):
    part: Node

    def __post_init__(self) -> None:
        _refuse_everything((self.part,))


@record
class And(_Printable):
    """All of two or more parts, tested from left to right. Parts that are And themselves dissolve into it."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _dissolve(And, self.parts))


@record
class Or(_Printable):
    """Any of two or more parts, tested from left to right. Parts that are Or themselves dissolve into it."""

    parts: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _dissolve(Or, self.parts))


Primitive: TypeAlias = (
    IsProtocol
    | Carries
    | Address
    | Station
    | Port
    | InSet
    | Broadcast
    | Multicast
    | Vlan
    | AnyVlan
    | Mpls
    | Pppoed
    | Pppoes
    | Llc
    | Compare
)
Node: TypeAlias = Everything | Primitive | Not | And | Or

WITH_PORTS: Final = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
WITH_FIELDS: Final = frozenset(
    (
        *(Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ARP, Protocol.RARP),
        *(Protocol.ATALK, Protocol.DECNET, Protocol.LAT, Protocol.SCA, Protocol.MOPRC, Protocol.MOPDL),
        *(Protocol.TCP, Protocol.UDP, Protocol.SCTP, Protocol.ICMP, Protocol.ICMP6),
        *(Protocol.IGMP, Protocol.IGRP, Protocol.PIM, Protocol.VRRP, Protocol.CARP),
    )
)


def check_address_protocol(version: int, protocol: Protocol) -> None:
    allowed = (Protocol.IP6,) if version == 6 else (Protocol.IP, Protocol.ARP, Protocol.RARP)
    if protocol not in allowed:
        raise ValueError(f"'{protocol.value}' cannot qualify an IPv{version} address")


def check_port_protocol(protocol: Protocol | None) -> None:
    if protocol is not None and protocol not in WITH_PORTS:
        raise ValueError(f"'{protocol.value}' has no ports: they belong to tcp, udp and sctp")


def _leftmost(value: Value) -> int | None:
    """The number that the text of a value begins with, signs and `proto[` aside."""
    while not isinstance(value, Number):
        if isinstance(value, Length):
            return None
        value = (
            value.left if isinstance(value, Calculation) else value.offset if isinstance(value, Field) else value.value
        )
    return value.value


def _held(value: Value) -> int:
    """How many values are kept at once while this one is computed, operands from left to right."""
    most = 1
    while not isinstance(value, Number | Length):
        if isinstance(value, Calculation):
            most = max(most, 1 + _held(value.right))
            value = value.left
        elif isinstance(value, Field):
            most = max(most, 2)  # the offset and the bytes
            value = value.offset
        else:
            value = value.value
    return most


def _fits(what: str, value: int | None, bits: int) -> None:
    if value is not None and not 0 <= value < 1 << bits:
        raise ValueError(f"{what} {value} is greater than {(1 << bits) - 1}")


def _dissolve(kind: type[And] | type[Or], parts: tuple[Node, ...]) -> tuple[Node, ...]:
    _refuse_everything(parts)
    flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,)))
    if len(flat) < 2:
        raise ValueError(f"{kind.__name__} needs two parts")
    return flat


def _refuse_everything(parts: tuple[Node, ...]) -> None:
    if any(isinstance(part, Everything) for part in parts):
        raise ValueError("Everything stands alone")
