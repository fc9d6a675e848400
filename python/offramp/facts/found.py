# SPDX-License-Identifier: Apache-2.0
"""What is known of connections and daemons on this machine, as nic/found.py finds them. Pure values: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from offramp.immutable import immutable

__all__ = ["DAEMONS", "Found", "Session", "Sign"]


@immutable
class Sign:
    """By which sockets a daemon is recognised."""

    table: Literal["raw", "udp", "tcp"]  # of /proc/net
    numbers: tuple[int, ...]  # IP protocols of raw sockets; local ports

    def __str__(self) -> str:
        numbers = " or ".join(map(str, self.numbers))
        if self.table == "raw":
            return f"a raw socket of IP protocol {numbers}"
        if self.table == "udp":
            return f"a UDP socket on port {numbers}, of root or of a system user"
        return f"a listening TCP socket on port {numbers}, or a connection of root's to that port"


DAEMONS: Final[Mapping[str, Sign]] = {  # protocols that keep a route alive, and who speaks them
    "OSPF": Sign("raw", (89,)),
    "VRRP": Sign("raw", (112,)),
    "PIM": Sign("raw", (103,)),
    "EIGRP": Sign("raw", (88,)),
    "RIP": Sign("udp", (520, 521)),
    "BFD": Sign("udp", (3784, 4784, 6784)),
    "LDP": Sign("udp", (646,)),
    "Babel": Sign("udp", (6696,)),
    "BGP": Sign("tcp", (179,)),
}


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """A TCP connection as this machine sees it. Addresses are text; an IPv4 address in IPv6 form is given as IPv4."""

    local: str
    lport: int
    remote: str
    rport: int


@immutable
class Found:
    """What to protect besides what always is: sorted, and without duplicates."""

    ports: tuple[int, ...] = ()  # of SSH servers
    sessions: tuple[Session, ...] = ()  # of SSH, and of BGP where nobody listens
    left_out: tuple[tuple[int, int], ...] = ()  # user, and how many sessions of theirs are too many
    daemons: tuple[str, ...] = ()  # names of DAEMONS
