# SPDX-License-Identifier: Apache-2.0
"""Names that stand for numbers: those of the language itself, and the shape of those that the system knows.

Services and protocols (`port http`, `ip proto \\gre`) come in as `Names`; matcher/services.py makes one from the
system's files. So do hosts and networks, if they are to be looked up (matcher/hosts.py). The others are part of
pcap-filter(7), and tcpdump has them built in as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from offramp.immutable import immutable

from . import protocols
from .protocols import ETHERTYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from .network import Network


@immutable
class Names:
    """Where the numbers of services and protocols come from, as getservbyname(3) and getprotobyname(3)."""

    service: Callable[[str, Literal["tcp", "udp"]], int | None]
    protocol: Callable[[str], int | None]
    hint: str  # for the reader of an error about a name that is unknown
    host: Callable[[str], tuple[Network, ...]] | None = None  # all addresses of a host; None: no names are looked up
    net: Callable[[str], Network] | None = None


class NotFound(Exception):
    """A name of a host or of a network has no address."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def _no_service(name: str, protocol: Literal["tcp", "udp"]) -> int | None:
    return None


def _well_known_protocol(name: str) -> int | None:
    return PROTOCOLS.get(name)


def _table(text: str) -> dict[str, int]:
    """Names and their numbers, as they alternate in a text."""
    words = text.split()
    return {name: int(number, 0) for name, number in zip(words[0::2], words[1::2], strict=True)}


# IANA's numbers under the names of /etc/protocols, for systems that lack the file
PROTOCOLS: Final = _table(
    """
    ip 0   hopopt 0   icmp 1   igmp 2   ipencap 4   tcp 6   egp 8   igp 9   udp 17   dccp 33   ipv6 41
    ipv6-route 43   ipv6-frag 44   rsvp 46   gre 47   esp 50   ah 51   ipv6-icmp 58   ipv6-nonxt 59
    ipv6-opts 60   eigrp 88   ospf 89   ipip 94   etherip 97   pim 103   vrrp 112   l2tp 115   isis 124
    sctp 132   udplite 136   mpls-in-ip 137
    """
)

# Only for hints: whether `port http` is a name that this system knows is the system's affair
WELL_KNOWN_PORTS: Final = _table(
    """
    ftp 21   ssh 22   telnet 23   smtp 25   domain 53   dns 53   tftp 69   http 80   kerberos 88   ntp 123
    imap 143   snmp 161   bgp 179   ldap 389   https 443   syslog 514   imaps 993   sip 5060   mysql 3306
    postgresql 5432   vxlan 4789   rdp 3389   redis 6379
    """
)

NO_NAMES: Final = Names(_no_service, _well_known_protocol, "names of services are not known here: write the number")

# `ether proto \ip`, `iso proto \isis`
ETHER_PROTOCOLS: Final = {protocol.value: number for protocol, number in ETHERTYPES.items()} | {"loopback": 0x9000}
ISO_PROTOCOLS: Final = {protocol.value: number for protocol, number in protocols.ISO_PROTOCOLS.items()}

ISIS_PDUS: Final = {  # `l1`: the PDU types that the keyword stands for (ISO 10589, 9.5 to 9.13)
    "l1": (15, 17, 18, 24, 26),
    "l2": (16, 17, 20, 25, 27),
    "iih": (15, 16, 17),
    "lsp": (18, 20),
    "snp": (24, 25, 26, 27),
    "csnp": (24, 25),
    "psnp": (26, 27),
}

CONSTANTS: Final = _table(  # numbers that have a name, wherever a number may stand
    """
    icmptype 0   icmpcode 1   icmp6type 0   icmp6code 1   tcpflags 13   tcp-fin 1   tcp-syn 2   tcp-rst 4
    tcp-push 8   tcp-ack 16   tcp-urg 32   tcp-ece 64   tcp-cwr 128   icmp-echoreply 0   icmp-unreach 3
    icmp-sourcequench 4   icmp-redirect 5   icmp-echo 8   icmp-routeradvert 9   icmp-routersolicit 10
    icmp-timxceed 11   icmp-paramprob 12   icmp-tstamp 13   icmp-tstampreply 14   icmp-ireq 15
    icmp-ireqreply 16   icmp-maskreq 17   icmp-maskreply 18   icmp6-destinationunreach 1   icmp6-packettoobig 2
    icmp6-timeexceeded 3   icmp6-parameterproblem 4   icmp6-echo 128   icmp6-echoreply 129
    icmp6-multicastlistenerquery 130   icmp6-multicastlistenerreportv1 131   icmp6-multicastlistenerdone 132
    icmp6-routersolicit 133   icmp6-routeradvert 134   icmp6-neighborsolicit 135   icmp6-neighboradvert 136
    icmp6-redirect 137   icmp6-routerrenum 138   icmp6-nodeinformationquery 139
    icmp6-nodeinformationresponse 140   icmp6-ineighbordiscoverysolicit 141   icmp6-ineighbordiscoveryadvert 142
    icmp6-multicastlistenerreportv2 143   icmp6-homeagentdiscoveryrequest 144
    icmp6-homeagentdiscoveryreply 145   icmp6-mobileprefixsolicit 146   icmp6-mobileprefixadvert 147
    icmp6-certpathsolicit 148   icmp6-certpathadvert 149   icmp6-multicastrouteradvert 151
    icmp6-multicastroutersolicit 152   icmp6-multicastrouterterm 153
    """
)
