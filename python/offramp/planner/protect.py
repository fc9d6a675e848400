# SPDX-License-Identifier: Apache-2.0
"""What is never diverted: the packets without which operators lose their machine.

It is written as a match, so it is compiled, shown and tested like any other. It begins with `vlan any`, so tags make no
difference. It is about arriving packets, and is made once. TCP port 22, at either end, also covers SSH that begins
later; for other ports it covers what was found at that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from offramp.match import Node, parse

if TYPE_CHECKING:
    from offramp.facts.ssh import Session, Ssh

__all__ = ["PROTECTED", "Protection"]

_SSH = 22

_MOST_SESSIONS = 64  # the ports cover nearly all sessions; this keeps the program small

# SSH comes last: the words for it, its port's and those of SSH on other ports, end the sentence.
_ALWAYS = {
    "ARP": "arp",
    # Neighbour discovery, RFC 4861 section 4: router and neighbour solicitation and advertisement, redirect.
    "ND": "icmp6 and icmp6[0] >= 133 and icmp6[0] <= 137",
    # DHCP, RFC 2131 section 4.1, and DHCPv6, RFC 8415 section 7.2: to servers and clients.
    "DHCP": "udp dst port 67 or 68 or 546 or 547",
    # SSH to this machine and, by the answers, from it: whoever serves or began it, and when.
    "SSH": f"tcp port {_SSH}",
}
*_BEFORE_SSH, _LAST = _ALWAYS

PROTECTED = f"{', '.join(_BEFORE_SSH)} and {_LAST}"  # in words, for messages


@dataclass(frozen=True, slots=True)
class Protection:
    """The match of protected packets: as text, for people, and as a tree, which is parsed here and nowhere else."""

    text: str
    words: str
    node: Node = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Errors: MatchError."""
        object.__setattr__(self, "node", parse(self.text))

    @classmethod
    def of(cls, ssh: Ssh) -> Self:
        """ARP, ND, DHCP, SSH's own port, and SSH on the other ports found on this machine."""
        ports = [port for port in ssh.ports if port != _SSH]
        sessions = _other_sessions(ssh)
        parts = [*_ALWAYS.values(), *(f"tcp dst port {port}" for port in ports), *map(_of_session, sessions)]
        return cls(f"vlan any and ({' or '.join(f'({part})' for part in parts)})", _in_words(ports, len(sessions)))


def _in_words(ports: list[int], sessions: int) -> str:
    """What is protected, in half a line."""
    to = "".join(f", TCP to port {port}" for port in ports)
    others = f", {sessions} SSH session{'s' if sessions > 1 else ''} on other ports" if sessions else ""
    return f"{', '.join(_BEFORE_SSH)}, TCP port {_SSH} ({_LAST}){to}{others}"


def _other_sessions(ssh: Ssh) -> list[Session]:
    """The sessions that no port covers."""
    ports = {_SSH, *ssh.ports}
    return [each for each in ssh.sessions if each.lport not in ports and each.rport != _SSH][:_MOST_SESSIONS]


def _of_session(session: Session) -> str:
    family = "ip6" if ":" in session.remote else "ip"
    return (
        f"{family} src host {session.remote} and dst host {session.local}"
        f" and tcp src port {session.rport} and dst port {session.lport}"
    )
