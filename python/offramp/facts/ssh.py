# SPDX-License-Identifier: Apache-2.0
"""What is known of SSH on this machine, as nic/ssh.py finds it. Pure values: no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from offramp.immutable import immutable

__all__ = ["Session", "Ssh"]


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """A TCP connection as this machine sees it. Addresses are text; an IPv4 address in IPv6 form is given as IPv4."""

    local: str
    lport: int
    remote: str
    rport: int


@immutable
class Ssh:
    """What to protect, sorted and without duplicates."""

    ports: tuple[int, ...]
    sessions: tuple[Session, ...]
