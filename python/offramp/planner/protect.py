# SPDX-License-Identifier: Apache-2.0
"""What is never diverted: the packets without which a machine is lost to its operator.

Written as a match, so that it is compiled, shown and tested like any other. It speaks of packets that arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offramp.nic.ssh import Ssh

__all__ = ["protection"]

_MOST_SESSIONS = 64  # the ports cover them all but the odd one; the program stays small

_ALWAYS = (
    "arp",
    # Neighbour discovery, RFC 4861 section 4: router and neighbour solicitation and advertisement, redirect.
    "icmp6 and icmp6[0] >= 133 and icmp6[0] <= 137",
    # DHCP, RFC 2131 section 4.1, and DHCPv6, RFC 8415 section 7.2: to servers and to clients.
    "udp dst port 67 or 68 or 546 or 547",
)


def protection(ssh: Ssh) -> str:
    """The match of protected packets: ARP, ND, DHCP, and SSH as found on this machine."""
    parts = list(_ALWAYS)
    parts += [f"tcp dst port {port}" for port in ssh.ports]
    elsewhere = [session for session in ssh.sessions if session.lport not in ssh.ports]
    parts += [
        f"{_family(session.remote)} src host {session.remote} and dst host {session.local}"
        f" and tcp src port {session.rport} and dst port {session.lport}"
        for session in elsewhere[:_MOST_SESSIONS]
    ]
    return " or ".join(f"({part})" for part in parts)


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"
