# SPDX-License-Identifier: Apache-2.0
"""Conditions that are no combination of others: the leaves of a tree, which say what a packet has to be.

A node states the meaning, not the spelling: `host A` is `net A/32`, `src or dst` is no direction at all, `less N` is
`len <= N`. Constructors refuse (ValueError) what tcpdump refuses. As text all names are numbers, and each has all its
qualifiers.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from offramp.immutable import immutable

from .network import Network
from .values import MAX_HELD, Relation, Value, held
from .words import (
    ALL_ONES,
    LLC_TYPES,
    MAX_PORT,
    Direction,
    Family,
    Protocol,
    SetKind,
    check_address_protocol,
    check_port_protocol,
    qualified,
)

__all__ = [
    "Address",
    "AnyVlan",
    "Broadcast",
    "Carries",
    "Compare",
    "Geneve",
    "InChain",
    "InSet",
    "IsProtocol",
    "Llc",
    "Mpls",
    "Multicast",
    "Port",
    "Pppoed",
    "Pppoes",
    "Primitive",
    "Station",
    "Vlan",
    "Vxlan",
]

_WHOLE: Final = {4: (1 << 32) - 1, 6: (1 << 128) - 1}  # the mask of a single address


@immutable
class IsProtocol:
    """`tcp`: the packet is of this protocol."""

    protocol: Protocol

    def __post_init__(self) -> None:
        if self.protocol is Protocol.ETHER:
            raise ValueError("every frame is an Ethernet frame")

    def __str__(self) -> str:
        return self.protocol.value


@immutable
class Carries:
    """`[ether|ip|ip6|iso|isis] proto N`: the number that says what comes next; without a layer, of ip or ip6."""

    number: int
    layer: Protocol | None = None

    def __post_init__(self) -> None:
        if self.layer not in (None, Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ISO, Protocol.ISIS):
            raise ValueError(f"'{self.layer.value}' does not carry other protocols")
        if not 0 <= self.number <= ALL_ONES:
            raise ValueError(f"{self.number} does not fit in 32 bits")

    def __str__(self) -> str:
        number = f"{self.number:#x}" if self.layer is Protocol.ETHER else self.number
        return f"{qualified(self.layer)}proto {number}"


@immutable
class InChain:
    """`[ip|ip6] protochain N`: one of the headers that name each other has this number; without a layer, of ip or ip6.

    In front of it are IPv6 extension headers or authentication headers, MAX_CHAIN (lower/expression.py) at most.
    """

    number: int
    layer: Protocol | None = None

    def __post_init__(self) -> None:
        if self.layer not in (None, Protocol.IP, Protocol.IP6):
            raise ValueError(f"'{self.layer.value}' has no chain of headers: only ip and ip6 have")
        if not 0 <= self.number <= ALL_ONES:
            raise ValueError(f"{self.number} does not fit in 32 bits")

    def __str__(self) -> str:
        return f"{qualified(self.layer)}protochain {self.number}"


@immutable
class Address:
    """`[ip|ip6|arp|rarp] [src|dst] host A | net A/len`: an address of the packet, or one that its ARP asks or tells."""

    network: Network
    direction: Direction = Direction.EITHER
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        if self.protocol is not None:
            check_address_protocol(self.network.version, self.protocol)

    def __str__(self) -> str:
        kind = "host" if self.network.mask == _WHOLE[self.network.version] else "net"
        return f"{qualified(self.protocol, self.direction)}{kind} {self.network}"


@immutable
class Station:
    """`ether [src|dst] host M`: an Ethernet address, a number of 48 bits."""

    address: int
    direction: Direction = Direction.EITHER

    def __post_init__(self) -> None:
        if not 0 <= self.address < 1 << 48:
            raise ValueError("an Ethernet address has 48 bits")

    def __str__(self) -> str:
        return f"{qualified(Protocol.ETHER, self.direction)}host {self.address.to_bytes(6, 'big').hex(':')}"


@immutable
class Port:
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

    def __str__(self) -> str:
        ports = f"port {self.first}" if self.first == self.last else f"portrange {self.first}-{self.last}"
        return qualified(self.protocol, self.direction) + ports


@immutable
class InSet:
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

    def __str__(self) -> str:
        return f"{qualified(self.protocol, self.direction)}{self.kind.value} in @{self.name}"


@immutable
class Broadcast:
    """`[ether] broadcast`, `ip broadcast`: to all stations; IP's needs the interface's netmask when it is compiled."""

    layer: Protocol = Protocol.ETHER

    def __post_init__(self) -> None:
        if self.layer not in (Protocol.ETHER, Protocol.IP):
            raise ValueError(f"'{self.layer.value}' has no broadcast: only ether and ip have")

    def __str__(self) -> str:
        return f"{self.layer.value} broadcast"


@immutable
class Multicast:
    """`[ether] multicast`, `ip multicast`, `ip6 multicast`."""

    layer: Protocol = Protocol.ETHER

    def __post_init__(self) -> None:
        if self.layer not in (Protocol.ETHER, Protocol.IP, Protocol.IP6):
            raise ValueError(f"'{self.layer.value}' has no multicast: only ether, ip and ip6 have")

    def __str__(self) -> str:
        return f"{self.layer.value} multicast"


@immutable
class Vlan:
    """`vlan [id]`: a VLAN tag; what follows in the text looks behind it."""

    id: int | None = None

    def __post_init__(self) -> None:
        _fits("VLAN id", self.id, 12)

    def __str__(self) -> str:
        return _numbered("vlan", self.id)


@immutable
class AnyVlan:
    """`vlan any`: always true; what follows looks behind up to two VLAN tags, if there are any. An extension."""

    def __str__(self) -> str:
        return "vlan any"


@immutable
class Mpls:
    """`mpls [label]`: an MPLS label; what follows looks behind it."""

    label: int | None = None

    def __post_init__(self) -> None:
        _fits("MPLS label", self.label, 20)

    def __str__(self) -> str:
        return _numbered("mpls", self.label)


@immutable
class Pppoed:
    """`pppoed`: PPP over Ethernet, discovery (RFC 2516)."""

    def __str__(self) -> str:
        return "pppoed"


@immutable
class Pppoes:
    """`pppoes [session]`: PPP over Ethernet, session; what follows looks behind the PPP header."""

    session: int | None = None

    def __post_init__(self) -> None:
        _fits("PPPoE session", self.session, 16)

    def __str__(self) -> str:
        return _numbered("pppoes", self.session)


@immutable
class Vxlan:
    """`vxlan [vni]`: VXLAN over UDP; what follows looks into the frame that it carries (RFC 7348)."""

    vni: int | None = None

    def __post_init__(self) -> None:
        _fits("VXLAN VNI", self.vni, 24)

    def __str__(self) -> str:
        return _numbered("vxlan", self.vni)


@immutable
class Geneve:
    """`geneve [vni]`: Geneve over UDP; what follows looks into what it carries (RFC 8926)."""

    vni: int | None = None

    def __post_init__(self) -> None:
        _fits("Geneve VNI", self.vni, 24)

    def __str__(self) -> str:
        return _numbered("geneve", self.vni)


@immutable
class Llc:
    """`llc [type]`: an IEEE 802.2 LLC header; `type` is "", "i", "s", "u", or the name of an S or U format."""

    type: str = ""

    def __post_init__(self) -> None:
        if self.type not in LLC_TYPES:
            raise ValueError(f"'{self.type}' is not an LLC type")

    def __str__(self) -> str:
        return f"llc {self.type}".rstrip()


@immutable
class Compare:
    """`left relation right`; false for packets of another protocol than its fields', whatever the relation."""

    left: Value
    relation: Relation
    right: Value

    def __post_init__(self) -> None:
        if max(held(self.left), 1 + held(self.right)) > MAX_HELD:
            raise ValueError(f"more than {MAX_HELD} values are in hand at once")

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


Primitive: TypeAlias = (
    IsProtocol
    | Carries
    | InChain
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
    | Vxlan
    | Geneve
    | Llc
    | Compare
)


def _numbered(word: str, number: int | None) -> str:
    return word if number is None else f"{word} {number}"


def _fits(what: str, value: int | None, bits: int) -> None:
    if value is not None and not 0 <= value < 1 << bits:
        raise ValueError(f"{what} {value} is greater than {(1 << bits) - 1}")
