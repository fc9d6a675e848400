# SPDX-License-Identifier: Apache-2.0
"""Rows made of what was found on this machine: SSH on other ports than its own, and daemons that keep a route alive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from offramp.facts.found import DAEMONS, Found, Session
from offramp.protection.table import ROWS, SSH_PORT, Row

__all__ = ["rows"]

_BGP_PORTS: Final = DAEMONS["BGP"].numbers


def rows(found: Found) -> Iterator[Row]:
    """The rows of the table that are protected here, and those for what was found. The last one is about PPP."""
    *first, last = [row for row in ROWS if row.name not in DAEMONS or row.name in found.daemons]
    yield from first
    yield from (_port(port) for port in found.ports if port != SSH_PORT)
    yield from _sessions(found)
    yield last


def _port(port: int) -> Row:
    return Row(f"TCP to port {port}", "an operator who works over SSH is locked out", f"tcp dst port {port}")


def _sessions(found: Found) -> Iterator[Row]:
    """The sessions that no port covers."""
    everywhere = {SSH_PORT, *(_BGP_PORTS if "BGP" in found.daemons else ())}
    others = [
        each
        for each in found.sessions
        if each.lport not in everywhere | set(found.ports) and each.rport not in everywhere
    ]
    of_bgp = [each for each in others if each.lport in _BGP_PORTS or each.rport in _BGP_PORTS]
    of_ssh = [each for each in others if each not in of_bgp]
    for protocol, sessions, why in (
        ("SSH", of_ssh, "who works over them loses the connection"),
        ("BGP", of_bgp, "the peer withdraws its routes"),
    ):
        if sessions:
            many = "s" if len(sessions) > 1 else ""
            where = " on other ports" if protocol == "SSH" else ""
            match = " or ".join(f"({_of_session(each)})" for each in sessions)
            yield Row(f"{len(sessions)} {protocol} session{many}{where}", why, match)


def _of_session(session: Session) -> str:
    family = "ip6" if ":" in session.remote else "ip"
    return (
        f"{family} src host {session.remote} and dst host {session.local}"
        f" and tcp src port {session.rport} and dst port {session.lport}"
    )
