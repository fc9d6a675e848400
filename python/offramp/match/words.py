# SPDX-License-Identifier: Apache-2.0
"""The words that conditions are made of: protocols, directions, kinds of values, and which of them go together."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = [
    "ALL_ONES",
    "LLC_TYPES",
    "MAX_PORT",
    "WITH_FIELDS",
    "WITH_PORTS",
    "Direction",
    "Family",
    "Protocol",
    "Qualifiers",
    "SetKind",
    "check_address_protocol",
    "check_port_protocol",
    "qualified",
]

ALL_ONES: Final = 0xFFFF_FFFF
MAX_PORT: Final = 65535
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


class SetKind(Enum):
    """What of a packet is looked up in a set."""

    HOST = "host"
    PORT = "port"


class Qualifiers(NamedTuple):
    """What stands in front of a value, or is inherited from one before it."""

    protocol: Protocol | None
    direction: Direction
    kind: str  # host, net, port, portrange, proto, or nothing, which is host


WITH_PORTS: Final = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
WITH_FIELDS: Final = frozenset(
    (
        *(Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ARP, Protocol.RARP),
        *(Protocol.ATALK, Protocol.DECNET, Protocol.LAT, Protocol.SCA, Protocol.MOPRC, Protocol.MOPDL),
        *(Protocol.TCP, Protocol.UDP, Protocol.SCTP, Protocol.ICMP, Protocol.ICMP6),
        *(Protocol.IGMP, Protocol.IGRP, Protocol.PIM, Protocol.VRRP, Protocol.CARP),
    )
)
LLC_TYPES: Final = frozenset(
    ("", "i", "s", "u", "rr", "rnr", "rej", "ui", "ua", "disc", "dm", "sabme", "test", "xid", "frmr")
)


def check_address_protocol(version: int, protocol: Protocol) -> None:
    allowed = (Protocol.IP6,) if version == 6 else (Protocol.IP, Protocol.ARP, Protocol.RARP)
    if protocol not in allowed:
        raise ValueError(f"'{protocol.value}' cannot qualify an IPv{version} address")


def check_port_protocol(protocol: Protocol | None) -> None:
    if protocol is not None and protocol not in WITH_PORTS:
        raise ValueError(f"'{protocol.value}' has no ports: they belong to tcp, udp and sctp")


@cache
def qualified(protocol: Protocol | None, direction: Direction = Direction.EITHER) -> str:
    """The words in front of the kind, and a space behind each."""
    return "".join(f"{word} " for word in (protocol.value if protocol else "", direction.value) if word)
