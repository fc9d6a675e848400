# SPDX-License-Identifier: Apache-2.0
"""Random Ethernet frames of every kind that the match language can tell apart, for comparing what matches.

    packets = Packets(seed)
    packets()          -> Packet(data, length): whole, changed, cut off (data is shorter than length) or noise
    packets.frame()    -> bytes: a well-formed frame
    packets.pool(5000) -> list[Packet]

The same seed gives the same packets. Addresses, ports and other values are drawn from few: the constants below.
tests/generators/expressions.py asks for the same values, so some packets match and some do not. About 9 µs each.

Kinds: none to three VLAN tags (0x8100, 0x88a8, 0x9100), MPLS stacks, PPPoE discovery and sessions, in each other; LLC
of all formats, SNAP, 802.3 without LLC; STP, OSI, NetBEUI, IPX, AppleTalk, DECnet and MOP; ARP and RARP; IPv4 with
options and fragments; IPv6 with extension headers and fragments, AH in front of others; VXLAN and Geneve; TCP, UDP,
SCTP, ICMP, ICMPv6, IGMP, IGRP, PIM, VRRP, ESP, AH.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NamedTuple, TypeAlias

__all__ = ["Packet", "Packets"]

V4: Final = ["10.0.0.1", "10.0.0.2", "10.1.2.3", "192.168.7.9", "224.0.0.5", "0.0.0.0", "255.255.255.255", "10.0.0.255"]
V6: Final = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fe80::1", "ff02::1:ff00:1", "::"]
STATIONS: Final = [
    "02:00:00:00:00:01",
    "02:00:00:00:00:02",
    "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:05",
    "33:33:00:00:00:01",
]
PORTS: Final = [0, 22, 53, 67, 80, 443, 4321, 4789, 65535]
TAG_TYPES: Final = [0x8100, 0x8100, 0x88A8, 0x9100]
VLANS: Final = [0, 1, 5, 6, 100, 4095]
LABELS: Final = [0, 3, 16, 1024, 0xFFFFF]
VNIS: Final = [0, 1, 5, 100, 0xFFFFFF]
SESSIONS: Final = [0, 1, 17, 0xFFFF]
IP_PROTOCOLS: Final = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "igrp": 9,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmp6": 58,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "sctp": 132,
    "other": 200,
}
ETHERTYPES: Final = [
    *(0x6001, 0x6002, 0x6003, 0x6004, 0x6007, 0x809B, 0x80F3, 0x8137, 0x8863, 0x88CC, 0x9000, 0x888E),
    *(0x0600, 0x05DD, 0x05DC),  # around the border between a type and a length
]
SAPS: Final = [0x00, 0x06, 0x42, 0xAA, 0xE0, 0xF0, 0xFE, 0xFF]
CONTROLS: Final = [0x03, 0x00, 0x01, 0x05, 0x09, 0x63, 0x43, 0x0F, 0x6F, 0xE3, 0xAF, 0x87, 0x13, 0xF3]
PPP_NUMBERS: Final = [0x0023, 0x0025, 0x0027, 0x0029, 0x002B, 0x0031, 0xC021, 0x8021]
TYPES_OF_ICMP: Final = [0, 3, 5, 8, 11, 13]
TYPES_OF_ICMP6: Final = [1, 128, 133, 134, 135, 136, 143]
CHAIN: Final = [60, 43, 0, 44, 60]  # damaged, it still has fewer headers than a chain is followed through
EXTENSIONS: Final[list[list[int]]] = [
    *([], [], [], [], [44], [0], [60, 44], [44, 44], [43], [44, 0]),
    *([51], [51, 60], CHAIN),
]
MUTATIONS: Final = bytes.fromhex("00 01 03 04 06 08 11 21 2c 3a 40 45 46 4f 60 64 81 88 dd ff")

Typed: TypeAlias = tuple[int, bytes]  # a payload, and the number by which the header in front of it says what it is

_V4 = [ip_address(address).packed for address in V4]
_V6 = [ip_address(address).packed for address in V6]
_STATIONS = [bytes.fromhex(address.replace(":", "")) for address in STATIONS]
_PPP_IP, _PPP_IP6, _PPP_MPLS = 0x0021, 0x0057, 0x0281


class Packet(NamedTuple):
    """A frame as it was captured, and its length on the wire."""

    data: bytes
    length: int


class Packets:
    """A generator; see the module."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tunnels = 0  # around what is made now

    def __call__(self) -> Packet:
        chance = self.random
        frame = self.frame()
        fate = chance.random()
        if fate < 0.12:
            frame = self.changed(frame)
        elif fate < 0.15:
            frame = chance.randbytes(chance.randrange(100))
        if chance.random() < 0.2:
            return Packet(frame[: chance.randrange(len(frame) + 1)], len(frame))
        return Packet(frame, len(frame) + (chance.choice((1, 4, 1000)) if fate > 0.95 else 0))

    def pool(self, count: int) -> list[Packet]:
        return [self() for _ in range(count)]

    def changed(self, frame: bytes) -> bytes:
        """The frame with some of its bytes changed."""
        chance = self.random
        changed = bytearray(frame)
        for _ in range(chance.choice((1, 1, 2, 5))):
            changed[chance.randrange(len(changed))] = chance.choice(MUTATIONS)
        return bytes(changed)

    def frame(self) -> bytes:
        chance = self.random
        kind, payload = self.behind_ethernet(0)
        destination, source = chance.choices(_STATIONS, (4, 4, 1, 1, 1), k=2)
        frame = destination + source + kind.to_bytes(2, "big") + payload
        return frame.ljust(60, b"\0") if chance.random() < 0.5 else frame

    def behind_ethernet(self, depth: int) -> Typed:
        """What follows a type field, which is in Ethernet's header or in a tag."""
        chance = self.random
        kind = chance.random()
        if depth < 3 and kind < 0.25:
            inner, payload = self.behind_ethernet(depth + 1)
            control = chance.choice(VLANS) | chance.choice((0, 0, 0x2000, 0xF000))
            return chance.choice(TAG_TYPES), struct.pack("!HH", control, inner) + payload
        if kind < 0.35:
            return 0x8847, self.labels()
        if kind < 0.43:
            return 0x8864, self.session()
        make: Callable[[], Typed] = chance.choice(
            (self.ip, self.ip, self.ip, self.ip6, self.ip6, self.ip6, self.arp, self.llc, self.other)
        )
        return make()

    def labels(self) -> bytes:
        """A label stack and what it carries."""
        chance = self.random
        count = chance.choice((1, 1, 2, 2, 3))
        payload = self.ip()[1] if chance.random() < 0.6 else self.ip6()[1]
        stack = b"".join(
            struct.pack("!I", chance.choice(LABELS) << 12 | (number == count - 1) << 8 | 64) for number in range(count)
        )
        return stack + payload

    def session(self) -> bytes:
        """PPPoE's header and PPP's."""
        chance = self.random
        kind = chance.random()
        if kind < 0.4:
            number, payload = _PPP_IP, self.ip()[1]
        elif kind < 0.7:
            number, payload = _PPP_IP6, self.ip6()[1]
        elif kind < 0.85:
            number, payload = _PPP_MPLS, self.labels()
        else:
            number, payload = chance.choice(PPP_NUMBERS), self.osi() if kind < 0.95 else chance.randbytes(20)
        return struct.pack("!BBHHH", 0x11, 0, chance.choice(SESSIONS), 2 + len(payload), number) + payload

    def other(self) -> Typed:
        chance = self.random
        kind = chance.choice([*ETHERTYPES, chance.randrange(0x10000)])
        return kind, chance.randbytes(chance.choice((0, 4, 30, 46)))

    def llc(self) -> Typed:
        """A length, and 802.2's header, SNAP's, OSI's, or none."""
        chance = self.random
        kind = chance.random()
        if kind < 0.3:
            number = chance.choice((0x809B, 0x80F3, 0x8137, 0x0800))
            organisation = chance.choice((b"\0\0\0", b"\x08\0\x07"))
            body = b"\xaa\xaa\x03" + organisation + number.to_bytes(2, "big") + chance.randbytes(20)
        elif kind < 0.6:
            body = b"\xfe\xfe\x03" + self.osi()
        elif kind < 0.7:
            body = b"\xff\xff" + chance.randbytes(30)
        else:
            sap = chance.choice(SAPS)
            other = sap if chance.random() < 0.8 else chance.choice(SAPS)
            body = bytes((sap, other, chance.choice(CONTROLS))) + chance.randbytes(chance.choice((0, 1, 5, 30)))
        return len(body), body

    def osi(self) -> bytes:
        chance = self.random
        kind, unit = chance.choice((0x81, 0x82, 0x83, 0x83)), chance.randrange(15, 28)
        return bytes((kind, 27, 1, 0, unit)) + chance.randbytes(9)

    def arp(self) -> Typed:
        chance = self.random
        source, destination = chance.choices(_V4, (8, 8, 4, 4, 1, 1, 1, 1), k=2)
        sender, asked = chance.choices(_STATIONS, k=2)
        header = struct.pack("!HHBBH", 1, 0x0800, 6, 4, chance.choice((1, 2, 3)))
        return chance.choice((0x0806, 0x0806, 0x8035)), header + sender + source + asked + destination

    def ip(self) -> Typed:
        chance = self.random
        protocol, segment = self.segment()
        if protocol != IP_PROTOCOLS["ah"] and chance.random() < 0.1:  # one: libpcap may look at a second one for ever
            segment, protocol = struct.pack("!BBHII", protocol, chance.choice((1, 4)), 0, 7, 1) + segment, 51
        options = chance.randbytes(4 * chance.choice((0, 0, 0, 0, 1, 3, 10)))
        fragment = chance.choice((0, 0, 0, 0, 0x4000, 0x2000, 0x2001, 0x1FFF, 1))
        source, destination = chance.choices(_V4, (8, 8, 4, 4, 1, 1, 1, 1), k=2)
        start, length = 0x45 + len(options) // 4, 20 + len(options) + len(segment)
        service, ttl = chance.choice((0, 0, 0x10, 0xB8)), chance.choice((1, 64, 64, 128, 255))
        header = struct.pack("!BBHHHBBH", start, service, length, 1, fragment, ttl, protocol, chance.randrange(65536))
        return 0x0800, header + source + destination + options + segment

    def ip6(self) -> Typed:
        chance = self.random
        protocol, segment = self.segment()
        for extension in chance.choice(
            ([], [], [], [], [44], [0], [60, 44], [44, 44], [43], [44, 0], [51], [51, 60], CHAIN)
        ):
            segment = struct.pack("!BBHI", protocol, 0, chance.choice((0, 0, 1, 8)), 7) + segment
            protocol = extension
        source, destination = chance.choices(_V6, (8, 8, 4, 4, 2, 1), k=2)
        header = struct.pack("!IHBB", 6 << 28, len(segment), protocol, chance.choice((1, 64, 255)))
        return 0x86DD, header + source + destination + segment

    def tunnel(self) -> bytes:
        """UDP, VXLAN or Geneve, and what that carries."""
        chance = self.random
        self.tunnels += 1
        carried, payload = 0x6558, self.frame()
        vni, port, start = chance.choice(VNIS) << 8, 4789, chance.choice((b"\x08", b"\x08", b"\x08", b"\x0c"))
        if chance.random() < 0.7:
            options = 4 * chance.choice((0, 0, 1, 2, 63))
            port, start = 6081, bytes([options // 4 | chance.choice((0, 0, 0, 0, 0x40))])
            if chance.random() < 0.3:
                carried, payload = self.behind_ethernet(2)
            payload = chance.randbytes(options) + payload
        self.tunnels -= 1
        header = start + struct.pack("!BHI", 0, carried if port == 6081 else 0, vni)
        return struct.pack("!HHHH", chance.choice(PORTS), port, 16 + len(payload), 0) + header + payload

    def segment(self) -> Typed:
        """The content of an IP packet."""
        chance = self.random
        protocol = chance.choice(("tcp", "tcp", "udp", "udp", "sctp", "icmp", "icmp6", *IP_PROTOCOLS))
        ports = chance.choice(PORTS) << 16 | chance.choice((*PORTS, chance.randrange(65536)))
        payload = chance.choice((b"", b"", b"GET / HTTP/1.1\r\n", b"\x45" * 8, chance.randbytes(30)))
        match protocol:
            case "tcp":
                flags = chance.choice((0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x00, 0x29, 0x3F, 0xC2))
                body = struct.pack("!IIIBBHI", ports, 1, 2, chance.choice((0x50, 0x80)), flags, 1024, 0)
            case "udp" if self.tunnels < 2 and chance.random() < 0.15:
                return IP_PROTOCOLS["udp"], self.tunnel()
            case "udp":
                body = struct.pack("!IHH", ports, 8 + len(payload), chance.choice((0, 0xBEEF)))
            case "sctp":
                body = struct.pack("!III", ports, 1, 2)
            case "icmp" | "icmp6":
                kinds = TYPES_OF_ICMP if protocol == "icmp" else TYPES_OF_ICMP6
                body = struct.pack("!BBHI", chance.choice(kinds), chance.choice((0, 1, 3, 4)), 0, 1)
            case _:
                body = struct.pack("!BBHI", chance.randrange(256), chance.choice((0, 1, 0x11)), 0, 1)
        return IP_PROTOCOLS[protocol], body + payload
