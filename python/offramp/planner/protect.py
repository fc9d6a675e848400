# SPDX-License-Identifier: Apache-2.0
"""What is never diverted: the packets without which a machine is lost to its operator.

Written as a match, so that it is compiled, shown and tested like any other; behind `vlan any`, so that tags make no
difference. It speaks of packets that arrive, and is made once: TCP port 22, at either end, covers SSH that begins
later, too; of other ports what was found at that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offramp.facts.ssh import Session, Ssh

__all__ = ["protection", "protection_in_words"]

_SSH = 22

_MOST_SESSIONS = 64  # the ports cover them all but the odd one; the program stays small

_ALWAYS = (
    "arp",
    # Neighbour discovery, RFC 4861 section 4: router and neighbour solicitation and advertisement, redirect.
    "icmp6 and icmp6[0] >= 133 and icmp6[0] <= 137",
    # DHCP, RFC 2131 section 4.1, and DHCPv6, RFC 8415 section 7.2: to servers and to clients.
    "udp dst port 67 or 68 or 546 or 547",
    # SSH to here and, by its answers, from here: whoever serves or began it, and when.
    f"tcp port {_SSH}",
)


def protection(ssh: Ssh) -> str:
    """The match of protected packets: ARP, ND, DHCP, SSH's own port, and SSH on others as found on this machine."""
    parts = list(_ALWAYS)
    parts += [f"tcp dst port {port}" for port in _other_ports(ssh)]
    parts += [
        f"{_family(session.remote)} src host {session.remote} and dst host {session.local}"
        f" and tcp src port {session.rport} and dst port {session.lport}"
        for session in _other_sessions(ssh)
    ]
    return f"vlan any and ({' or '.join(f'({part})' for part in parts)})"


def protection_in_words(ssh: Ssh) -> str:
    """The same for people, in half a line."""
    ports = "".join(f", TCP to port {port}" for port in _other_ports(ssh))
    count = len(_other_sessions(ssh))
    sessions = f", {count} SSH session{'s' if count > 1 else ''} on other ports" if count else ""
    return f"ARP, ND, DHCP, TCP port {_SSH} (SSH){ports}{sessions}"


def _other_ports(ssh: Ssh) -> list[int]:
    return [port for port in ssh.ports if port != _SSH]


def _other_sessions(ssh: Ssh) -> list[Session]:
    """Those that no port covers."""
    ports = {_SSH, *ssh.ports}
    return [each for each in ssh.sessions if each.lport not in ports and each.rport != _SSH][:_MOST_SESSIONS]


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"
