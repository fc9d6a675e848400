# SPDX-License-Identifier: Apache-2.0
"""The numbers by which headers name protocols, and the places of addresses."""

from __future__ import annotations

from typing import Final

from offramp.match.tree import Protocol

from . import layers

# Ethertypes and service access points
ETHERTYPES: Final = {
    Protocol.IP: layers.IP,
    Protocol.IP6: layers.IP6,
    Protocol.ARP: layers.ARP,
    Protocol.RARP: layers.RARP,
    Protocol.ATALK: layers.ATALK,
    Protocol.AARP: layers.AARP,
    Protocol.DECNET: layers.DECNET,
    Protocol.LAT: layers.LAT,
    Protocol.SCA: layers.SCA,
    Protocol.MOPRC: layers.MOPRC,
    Protocol.MOPDL: layers.MOPDL,
    Protocol.ISO: layers.SAP_ISO,
    Protocol.STP: layers.SAP_STP,
    Protocol.IPX: layers.SAP_IPX,
    Protocol.NETBEUI: layers.SAP_NETBEUI,
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
WITH_PORTS: Final = (Protocol.SCTP, Protocol.TCP, Protocol.UDP)

# The first byte of OSI's network layer (ISO/IEC TR 9577)
ISO_PROTOCOLS: Final = {Protocol.CLNP: 0x81, Protocol.ESIS: 0x82, Protocol.ISIS: 0x83}

IP6_FRAGMENT = 44
IP6_HEADER = 40  # bytes, without extension headers

# Where source and destination are. IPv4: RFC 791; ARP for Ethernet and IPv4: RFC 826; IPv6: RFC 8200
ADDRESS_OFFSETS: Final = {
    Protocol.IP: (12, 16),
    Protocol.ARP: (14, 24),
    Protocol.RARP: (14, 24),
    Protocol.IP6: (8, 24),
}
