# SPDX-License-Identifier: Apache-2.0
"""The numbers by which headers name protocols, and the places of addresses."""

from __future__ import annotations

from typing import Final

from .words import Protocol

# Ethertypes (IEEE 802 numbers, IANA), and service access points of IEEE 802.2, which are 1500 at most
IP, ARP, RARP, IP6 = 0x0800, 0x0806, 0x8035, 0x86DD
MPLS, PPPOE_DISCOVERY, PPPOE_SESSION = 0x8847, 0x8863, 0x8864
BRIDGED = 0x6558  # an Ethernet frame in a tunnel ("transparent Ethernet bridging")
XNS, MOPDL, MOPRC, DECNET, LAT, SCA = 0x0600, 0x6001, 0x6002, 0x6003, 0x6004, 0x6007
ATALK, AARP, IPX_ETHERTYPE = 0x809B, 0x80F3, 0x8137
SAP_IP, SAP_STP, SAP_IPX, SAP_NETBEUI, SAP_ISO = 0x06, 0x42, 0xE0, 0xF0, 0xFE

ETHERTYPES: Final = {
    Protocol.IP: IP,
    Protocol.IP6: IP6,
    Protocol.ARP: ARP,
    Protocol.RARP: RARP,
    Protocol.ATALK: ATALK,
    Protocol.AARP: AARP,
    Protocol.DECNET: DECNET,
    Protocol.LAT: LAT,
    Protocol.SCA: SCA,
    Protocol.MOPRC: MOPRC,
    Protocol.MOPDL: MOPDL,
    Protocol.ISO: SAP_ISO,
    Protocol.STP: SAP_STP,
    Protocol.IPX: SAP_IPX,
    Protocol.NETBEUI: SAP_NETBEUI,
}

# IANA protocol-numbers
IP_PROTOCOLS: Final = {
    Protocol.ICMP: 1,
    Protocol.IGMP: 2,
    Protocol.TCP: 6,
    Protocol.IGRP: 9,
    Protocol.UDP: 17,
    Protocol.ESP: 50,
    Protocol.AH: 51,
    Protocol.ICMP6: 58,
    Protocol.PIM: 103,
    Protocol.VRRP: 112,
    Protocol.CARP: 112,
    Protocol.SCTP: 132,
}
ONLY_IP: Final = {Protocol.ICMP, Protocol.IGMP, Protocol.IGRP, Protocol.VRRP, Protocol.CARP}
ONLY_IP6: Final = {Protocol.ICMP6}

# The first byte of OSI's network layer (ISO/IEC TR 9577)
ISO_PROTOCOLS: Final = {Protocol.CLNP: 0x81, Protocol.ESIS: 0x82, Protocol.ISIS: 0x83}

IP6_FRAGMENT = 44
IP6_EXTENSIONS: Final = (0, 60, 43, 44)  # headers that name the next one: hop-by-hop, destination, routing, fragment
AUTHENTICATION = 51  # RFC 4302: it names the next one, too
VXLAN_PORT, GENEVE_PORT = 4789, 6081  # RFC 7348, RFC 8926
IP6_HEADER = 40  # bytes, without extension headers

# Where source and destination are. IPv4: RFC 791; ARP for Ethernet and IPv4: RFC 826; IPv6: RFC 8200
ADDRESS_OFFSETS: Final = {
    Protocol.IP: (12, 16),
    Protocol.ARP: (14, 24),
    Protocol.RARP: (14, 24),
    Protocol.IP6: (8, 24),
}
