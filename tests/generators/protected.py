# SPDX-License-Identifier: Apache-2.0
"""Frames of each row of the table of protection, by the row's name, and frames that are nearly of it.

The neighbours differ from a frame of the row in one number. None of them is of any other row either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from offramp.gen.packets import Payload, arp, eth, icmp, icmp6, ip, ip6, tcp, udp

__all__ = ["NEIGHBOURS", "PROTECTED_FRAMES"]

A, B = "10.0.0.1", "10.0.0.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
SOURCE: Final = bytes.fromhex("020000000001")
GROUP: Final = bytes.fromhex("0180c2000000")
STATION: Final = bytes.fromhex("020000000002")


def raw(destination: bytes, type_: int, payload: bytes = b"") -> bytes:
    return (destination + SOURCE + type_.to_bytes(2) + payload).ljust(60, b"\0")


def group(last: int, type_: int = 0x0027, payload: bytes = b"\x42\x42\x03" + bytes(35)) -> bytes:
    """To 01:80:c2:00:00:00 + last; by itself a BPDU, behind a header of 802.2."""
    return raw((int.from_bytes(GROUP) + last).to_bytes(6), type_, payload)


def of_cisco(last: int) -> bytes:
    snap = bytes.fromhex("aaaa0300000c010b")
    return raw(bytes.fromhex("01000ccccc") + bytes([last]), 50, snap)


def isis(pdu: int) -> bytes:
    return raw(bytes.fromhex("09002b000005"), 40, b"\xfe\xfe\x03" + bytes([pdu]) + bytes(30))


def v4(payload: Payload) -> bytes:
    return eth(ip(payload, src=A, dst=B))


def v6(payload: Payload) -> bytes:
    return eth(ip6(payload, src=A6, dst=B6))


def over_ip(number: int) -> bytes:
    return v4(Payload(bytes(30), number))


def over_ip6(number: int) -> bytes:
    return v6(Payload(bytes(30), number))


def mld(type_: int, *, behind: int = 58, first: int = 0) -> bytes:
    """Behind a hop-by-hop header with the router alert (RFC 3810, 5)."""
    options = bytes([behind, 0, 5, 2, 0, 0, 1, 0])
    return v6(Payload(options + bytes([type_, 0, 0, 0]) + bytes(20), first))


def ppp(protocol: int) -> bytes:
    session = bytes.fromhex("11000005000a") + protocol.to_bytes(2)
    return raw(STATION, 0x8864, session + bytes(30))


def to_udp(*ports: int) -> Iterator[bytes]:
    for port in ports:
        yield v4(udp(sport=5000, dport=port))
        yield v6(udp(sport=5000, dport=port))


def of_tcp(*ports: int) -> Iterator[bytes]:
    for port in ports:
        yield v4(tcp(sport=5000, dport=port))
        yield v4(tcp(sport=port, dport=5000))
        yield v6(tcp(sport=5000, dport=port))
        yield v6(tcp(sport=port, dport=5000))


def of_icmp(*types: int) -> list[bytes]:
    return [v4(icmp(type=each)) for each in types]


def of_icmp6(*types: int) -> list[bytes]:
    return [v6(icmp6(type=each)) for each in types]


def _protected() -> dict[str, list[bytes]]:
    return {
        "ARP": [eth(arp(psrc=A, pdst=B, hwsrc="02:00:00:00:00:01"))],
        "STP": [*map(group, range(16)), group(0, 0x88F5), group(8)],
        "MVRP": [*map(group, range(0x20, 0x30)), group(0x21, 0x88F5)],
        "PVST+": [of_cisco(0xCC), of_cisco(0xCD)],
        "LACP": [group(2, 0x8809, b"\x01\x01" + bytes(108)), raw(STATION, 0x8809, b"\x01\x01")],
        "EAPOL": [group(3, 0x888E, b"\x02\x05"), raw(STATION, 0x888E, b"\x02\x00")],
        "LLDP": [group(14, 0x88CC), raw(STATION, 0x88CC)],
        "CFM": [group(0x32, 0x8902), raw(STATION, 0x8902)],
        "MRP": [raw(bytes.fromhex("01154e000001"), 0x88E3)],
        "IS-IS": [isis(0x83), group(0x14, 40, b"\xfe\xfe\x03\x83" + bytes(30))],
        "PPPoE": [raw(STATION, 0x8863, bytes.fromhex("1109000000040101"))],
        "ND": of_icmp6(133, 134, 135, 136, 137),
        "MLD": [*map(mld, (130, 131, 132, 143)), *of_icmp6(130, 131, 132, 143)],
        "IGMP": [over_ip(2)],
        "DHCP": [*to_udp(67, 68, 546, 547)],
        "ICMP errors": [*of_icmp(3, 11, 12), v4(icmp(type=3, code=4)), *of_icmp6(1, 2, 3, 4)],
        "OSPF": [over_ip(89), over_ip6(89)],
        "VRRP": [over_ip(112), over_ip6(112)],
        "PIM": [over_ip(103), over_ip6(103)],
        "EIGRP": [over_ip(88), over_ip6(88)],
        "RIP": [*to_udp(520, 521)],
        "BFD": [*to_udp(3784, 4784, 6784)],
        "LDP": [*to_udp(646), *of_tcp(646)],
        "Babel": [*to_udp(6696)],
        "BGP": [*of_tcp(179)],
        "TCP port 22 (SSH)": [*of_tcp(22)],
        "PPP": [ppp(each) for each in (0xC021, 0xC023, 0xC223, 0x8021, 0x8057, 0x80FD, 0x8000)],
    }


def _neighbours() -> dict[str, list[bytes]]:
    return {
        "ARP": [raw(STATION, 0x0805), raw(STATION, 0x8035)],
        "STP": [group(0x10), raw(bytes.fromhex("0180c2010000"), 39), raw(bytes.fromhex("0180c3000000"), 39)],
        "MVRP": [group(0x1F), group(0x30)],
        "PVST+": [of_cisco(0xCB), of_cisco(0xCE)],
        "LACP": [raw(STATION, 0x8808), raw(STATION, 0x880A)],
        "EAPOL": [raw(STATION, 0x888D), raw(STATION, 0x888F)],
        "LLDP": [raw(STATION, 0x88CB), raw(STATION, 0x88CD)],
        "CFM": [raw(STATION, 0x8901), raw(STATION, 0x8903)],
        "MRP": [raw(STATION, 0x88E2), raw(STATION, 0x88E4), raw(STATION, 0x88E5)],
        "IS-IS": [isis(0x82), isis(0x81)],
        "PPPoE": [raw(STATION, 0x8862)],
        "ND": of_icmp6(128, 129, 138),
        "MLD": [*map(mld, (128, 129, 138, 144)), mld(130, behind=17), mld(130, first=60), *of_icmp6(129, 142, 144)],
        "IGMP": [over_ip(1), over_ip(4), over_ip6(2)],
        "DHCP": [*to_udp(66, 69, 545, 548), v4(udp(sport=67, dport=5000)), v4(tcp(sport=5000, dport=67))],
        "ICMP errors": [*of_icmp(0, 4, 5, 8, 10, 13), *of_icmp6(0, 5)],
        "OSPF": [over_ip(90), over_ip6(90)],
        "VRRP": [over_ip(111), over_ip6(113)],
        "PIM": [over_ip(104), over_ip6(102)],
        "EIGRP": [over_ip(87), over_ip6(87)],
        "RIP": [*to_udp(519, 522)],
        "BFD": [*to_udp(3783, 3785, 4785, 6785)],
        "LDP": [*to_udp(645, 647), *of_tcp(645, 647)],
        "Babel": [*to_udp(6695, 6697)],
        "BGP": [*of_tcp(178, 180)],
        "TCP port 22 (SSH)": [*of_tcp(21, 23), *to_udp(22)],
        "PPP": [ppp(0x0021), ppp(0x0057), ppp(0x7FFF)],
    }


def _flat(frames: dict[str, list[bytes]]) -> list[tuple[str, bytes]]:
    return [(name, frame) for name, those in frames.items() for frame in those]


PROTECTED_FRAMES: Final = _flat(_protected())
NEIGHBOURS: Final = _flat(_neighbours())
