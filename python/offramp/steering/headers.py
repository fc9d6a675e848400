# SPDX-License-Identifier: Apache-2.0
"""What a NIC's parser sees of a frame: the fields that rules compare and that RSS hashes.

    Ethernet | up to one VLAN tag | IPv4, or IPv6 with its extension headers | the first four bytes after them

A NIC looks for no ports in a fragment, not even in the first: it knows only the addresses of a fragment.
Source: RFC 791, RFC 8200, IEEE 802.1Q; Intel 82599 datasheet, section 7.1.2.8 (packet types, fragments).
"""

from __future__ import annotations

from offramp.immutable import immutable

__all__ = ["Headers", "headers"]

_VLANS = (0x8100, 0x88A8)
_IP4, _IP6 = 0x0800, 0x86DD
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
_TRANSPORTS = {6: "tcp", 17: "udp", 132: "sctp", 51: "ah", 50: "esp"}


@immutable
class Headers:
    """Bytes as they are in the frame; empty if the frame has no such field."""

    dst: bytes
    src: bytes
    ethertype: int  # behind the tag
    vlan_ethertype: int | None = None
    vlan_tci: int = 0
    version: int = 0  # 4 or 6; 0: not IP
    src_ip: bytes = b""
    dst_ip: bytes = b""
    tos: int = 0  # IPv6: the traffic class
    protocol: int | None = None
    fragment: bool = False
    first_four: bytes = b""  # of what comes after the IP headers; empty in a fragment

    @property
    def flow(self) -> str:
        """The flow type: "tcp4", "ip6", "ether"; fragments and other protocols are "ip4" or "ip6"."""
        if not self.version:
            return "ether"
        known = None if self.fragment else _TRANSPORTS.get(self.protocol if self.protocol is not None else -1)
        return f"{known if known and len(self.first_four) == 4 else 'ip'}{self.version}"


def headers(frame: bytes) -> Headers:
    """The headers of a frame without FCS. A frame that is cut off has only those that are complete."""
    frame = frame.ljust(14, b"\0")
    ethertype, at = int.from_bytes(frame[12:14]), 14
    vlan, tci = None, 0
    if ethertype in _VLANS and len(frame) >= 18:
        vlan, tci = ethertype, int.from_bytes(frame[14:16])
        ethertype, at = int.from_bytes(frame[16:18]), 18
    found = Headers(frame[:6], frame[6:12], ethertype, vlan, tci)
    packet = frame[at:]
    if ethertype == _IP4 and len(packet) >= 20 and packet[0] >> 4 == 4:
        return _ip4(found, packet)
    if ethertype == _IP6 and len(packet) >= 40 and packet[0] >> 4 == 6:
        return _ip6(found, packet)
    return found


def _ip4(found: Headers, packet: bytes) -> Headers:
    fragment = int.from_bytes(packet[6:8]) & 0x3FFF != 0  # either more fragments follow, or it has an offset
    behind = packet[4 * (packet[0] & 15) :]
    return _ip(found, 4, packet[12:16], packet[16:20], packet[1], packet[9], fragment, behind)


def _ip6(found: Headers, packet: bytes) -> Headers:
    tos = int.from_bytes(packet[:2]) >> 4 & 0xFF
    protocol, behind, fragment = packet[6], packet[40:], False
    while protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION) and len(behind) >= 8 and not fragment:
        length = 8 if protocol == _FRAGMENT else 8 + 8 * behind[1]
        fragment = protocol == _FRAGMENT and int.from_bytes(behind[2:4]) & 0xFFF9 != 0
        protocol, behind = behind[0], behind[length:]
    return _ip(found, 6, packet[8:24], packet[24:40], tos, protocol, fragment, behind)


def _ip(
    found: Headers, version: int, src: bytes, dst: bytes, tos: int, protocol: int, fragment: bool, behind: bytes
) -> Headers:
    first_four = b"" if fragment or len(behind) < 4 else behind[:4]
    link = (found.dst, found.src, found.ethertype, found.vlan_ethertype, found.vlan_tci)
    return Headers(*link, version, src, dst, tos, protocol, fragment, first_four)
