# SPDX-License-Identifier: Apache-2.0
"""Types of links: what the frames of an interface begin with.

offramp reads Ethernet frames. Links of other types carry bare IP packets, or have a header of their own; there the
bytes of an address would be read as an EtherType. Source: include/uapi/linux/if_arp.h, ARPHRD_*.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ETHERNET", "LOOPBACK", "has_ethernet_header", "type_name"]

ETHERNET: Final = 1
LOOPBACK: Final = 772  # its frames have an Ethernet header with zero addresses

_NAMES: Final = {
    0: "netrom",
    2: "eether",
    3: "ax25",
    4: "pronet",
    5: "chaos",
    6: "ieee802",
    7: "arcnet",
    8: "appletlk",
    15: "dlci",
    19: "atm",
    23: "metricom",
    24: "ieee1394",
    27: "eui64",
    32: "infiniband",
    256: "slip",
    257: "cslip",
    258: "slip6",
    259: "cslip6",
    260: "rsrvd",
    264: "adapt",
    270: "rose",
    271: "x25",
    272: "hwx25",
    280: "can",
    290: "mctp",
    512: "ppp",
    513: "hdlc",
    516: "lapb",
    517: "ddcmp",
    518: "rawhdlc",
    519: "rawip",
    768: "ipip",
    769: "tunnel6",
    770: "frad",
    771: "skip",
    773: "localtlk",
    774: "fddi",
    775: "bif",
    776: "sit",
    777: "ip/ddp",
    778: "gre",
    779: "pimreg",
    780: "hippi",
    781: "ash",
    782: "econet",
    783: "irda",
    801: "ieee802.11",
    802: "ieee802.11/prism",
    803: "ieee802.11/radiotap",
    804: "ieee802.15.4",
    805: "ieee802.15.4/monitor",
    820: "phonet",
    821: "phonet_pipe",
    822: "caif",
    823: "gre6",
    824: "netlink",
    825: "6lowpan",
    826: "vsockmon",
    0xFFFE: "none",
    0xFFFF: "void",
}


def has_ethernet_header(number: int) -> bool:
    return number in (ETHERNET, LOOPBACK)


def type_name(number: int) -> str:
    """Its name as `ip link` shows it, or its number."""
    if has_ethernet_header(number):
        return "ether" if number == ETHERNET else "loopback"
    return _NAMES.get(number, str(number))
