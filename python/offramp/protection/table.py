# SPDX-License-Identifier: Apache-2.0
"""What keeps a link, a route or an operator's login alive: each row written once.

The program, the plan's words and docs/protection.md are made from these rows. A row's match is in the language of all
matches, so it is compiled, shown and tested like any other. It stands behind `vlan any`, so up to two tags make no
difference. It is about arriving packets.

What is cheap to recognise and comes from the segment alone is always protected: routers do not forward it, so no flood
from elsewhere hides behind it. What anybody can send is always protected only if losing it cuts off the machine.
Routing protocols that anybody can send are protected where a daemon speaks them (facts/found.py).
"""

from __future__ import annotations

from typing import Final

from offramp.facts.found import DAEMONS
from offramp.immutable import immutable

__all__ = ["KEPT", "PROTECTED", "ROWS", "SSH_PORT", "Row"]

SSH_PORT: Final = 22
KEPT: Final = "what keeps a link, a route or a login alive"  # in words, for sentences


@immutable
class Row:
    """One kind of protected packets. `str(row)` is its line in a plan."""

    name: str
    why: str  # what happens without it: the rest of a sentence that begins with "without it,"
    match: str
    source: str = ""
    remote: bool = True  # whether it comes through routers: a flood from anywhere can hide behind it

    def __str__(self) -> str:
        return f"{self.name}: without it, {self.why}"

    @property
    def recognised(self) -> str:
        """When it is protected, in words."""
        return f"where there is {DAEMONS[self.name]}" if self.name in DAEMONS else "always"


_GROUP: Final = "ether[0:4] == 0x0180c200 and ether[4:2] & 0xfff0 == "
_NO_IP: Final = " and not ip and not ip6 and not arp"  # nothing else hides there, and matches of IP need not look

ROWS: Final = (
    Row("ARP", "neighbours forget where this machine is", "arp", "RFC 826", remote=False),
    Row(
        "STP",
        "a blocked port starts to forward, and frames go round in circles (all groups 01:80:c2:00:00:00 to 0f, which "
        "no bridge forwards)",
        f"{_GROUP}0{_NO_IP}",
        "IEEE 802.1Q-2018, 8.6.3, table 8-1",
        remote=False,
    ),
    Row(
        "MVRP",
        "the switch takes a VLAN from this port (all groups 01:80:c2:00:00:20 to 2f)",
        f"{_GROUP}0x20{_NO_IP}",
        "IEEE 802.1Q-2018, 10.5, table 10-1",
        remote=False,
    ),
    Row(
        "PVST+",
        "a switch unblocks a port of a VLAN, or takes the link for broken (UDLD, CDP)",
        "ether[0:4] == 0x01000ccc and ether[4:2] & 0xfffe == 0xcccc" + _NO_IP,
        "Cisco, Configuring Rapid PVST+; its groups 01:00:0c:cc:cc:cc and cd",
        remote=False,
    ),
    Row("LACP", "a bond loses this link", "ether proto 0x8809", "IEEE 802.1AX-2020, 6.4; 802.3, annex 57A", False),
    Row(
        "EAPOL",
        "the switch closes the port (802.1X), and MACsec has no keys",
        "ether proto 0x888e",
        "IEEE 802.1X",
        False,
    ),
    Row(
        "LLDP",
        "the switch forgets who is here, and what was agreed with it",
        "ether proto 0x88cc",
        "IEEE 802.1AB",
        False,
    ),
    Row(
        "CFM",
        "a bridge or a ring protection (ERPS) takes the link for broken",
        "ether proto 0x8902",
        "IEEE 802.1Q-2018, 21; ITU-T G.8032",
        False,
    ),
    Row(
        "MRP", "a ring that was opened is closed, and frames go round in it", "ether proto 0x88e3", "IEC 62439-2", False
    ),
    Row("IS-IS", "the routers next to this one drop their routes through it", "isis", "ISO/IEC 10589; RFC 1195", False),
    Row("PPPoE", "no session begins or ends", "pppoed", "RFC 2516, 5", False),
    Row(
        "ND",
        "neighbours and routers of IPv6 are forgotten",
        "icmp6 and icmp6[0] >= 133 and icmp6[0] <= 137",
        "RFC 4861, 4",
    ),
    Row(
        "MLD",
        "a switch that snoops no longer brings multicast, ND's included",
        "icmp6 and (icmp6[0] >= 130 and icmp6[0] <= 132 or icmp6[0] == 143)"
        " or (ip6[6] == 0 and ip6[40:2] == 0x3a00 and (ip6[48] >= 130 and ip6[48] <= 132 or ip6[48] == 143))",
        "RFC 2710, 3; RFC 3810, 5: behind a hop-by-hop header of 8 bytes, with the router alert",
    ),
    Row("IGMP", "a switch that snoops no longer brings multicast", "igmp", "RFC 2236, 2; RFC 3376, 4"),
    Row("DHCP", "the lease of an address ends", "udp dst port 67 or 68 or 546 or 547", "RFC 2131, 4.1; RFC 8415, 7.2"),
    Row(
        "ICMP errors",
        "connections hang in a path with a smaller MTU, and wait for those who are not there",
        "icmp[0] == 3 or icmp[0] == 11 or icmp[0] == 12 or (icmp6 and icmp6[0] >= 1 and icmp6[0] <= 4)",
        "RFC 792; RFC 1191, 4; RFC 4443, 3; RFC 8201",
    ),
    Row(
        "OSPF", "the routers next to this one drop their routes through it", "proto 89", "RFC 2328, A.1; RFC 5340, A.1"
    ),
    Row("VRRP", "another router takes the address over (CARP, too)", "proto 112", "RFC 5798, 5.1; RFC 9568, 5.1"),
    Row("PIM", "multicast is no longer routed to here", "proto 103", "RFC 7761, 4.9"),
    Row("EIGRP", "the routers next to this one drop their routes through it", "proto 88", "RFC 7868, 6"),
    Row("RIP", "routes time out", "udp dst port 520 or 521", "RFC 2453, 3.6; RFC 2080, 2.1"),
    Row(
        "BFD",
        "a neighbour takes the path for broken within a second",
        "udp dst port 3784 or 4784 or 6784",
        "RFC 5881, 4; RFC 5883; RFC 7130, 2",
    ),
    Row("LDP", "label paths are torn down", "udp dst port 646 or tcp port 646", "RFC 5036, 3.10"),
    Row("Babel", "the routers next to this one drop their routes through it", "udp dst port 6696", "RFC 8966, 4"),
    Row("BGP", "the peer withdraws all routes to here", "tcp port 179", "RFC 4271, 8.2.1"),
    Row(
        f"TCP port {SSH_PORT} (SSH)",
        "an operator who works over the network is locked out",
        f"tcp port {SSH_PORT}",
        "RFC 4253, 4",
    ),
    Row(  # the last one: what stands behind `pppoes` is about PPP
        "PPP",
        "the peer ends the PPPoE session (LCP, authentication, IPCP, IPV6CP)",
        "pppoes and ether[0:2] >= 0x8000",
        "RFC 1661, 2; RFC 2516, 7: protocols from 0x8000 on carry no data",
        remote=False,
    ),
)

PROTECTED: Final = ", ".join(row.name for row in ROWS if row.name not in DAEMONS)  # always, in words
