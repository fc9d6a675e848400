# SPDX-License-Identifier: Apache-2.0
"""Frames of every kind for a wire, no two alike: each has its number in the last bytes of its source address.

They are whole or cut (to at least 14 bytes), up to the MTU: IPv4 and IPv6 with options, extension headers and
fragments, behind no, one or two VLAN tags; packets that are always protected; and random bytes. There are few addresses
and ports, so a match tells the frames apart.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from offramp.gen.packets import Layers, Payload, arp, eth, icmp, icmp6, ip, ip6, layers, tcp, udp

__all__ = ["corpus"]

V4 = ["10.0.0.1", "10.0.0.2", "10.1.2.3", "192.168.7.9", "203.0.113.5"]
V6 = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fe80::1", "ff02::1"]
PORTS = [22, 53, 67, 80, 546, 4321, 4322, 65535]
MTU = 1500
SCTP, HOP_BY_HOP, FRAGMENT = 132, 0, 44
ETHERTYPES = [0x0800, 0x86DD, 0x0806, 0x8035, 0x8100, 0x88A8, 0x88B5, 0x0026]


def corpus(seed: int, count: int) -> list[bytes]:
    """`count` frames; the same for the same seed."""
    chance = random.Random(seed)
    return [_numbered(number, frame) for number, frame in zip(range(count), _frames(chance), strict=False)]


def _numbered(number: int, frame: bytes) -> bytes:
    return frame[:8] + struct.pack("!I", number) + frame[12:]


def _frames(chance: random.Random) -> Iterator[bytes]:
    while True:
        kind = chance.random()
        frame = _random(chance) if kind < 0.1 else _packet(chance)
        if kind > 0.8:
            frame = frame[: max(14, int(len(frame) * chance.random() ** 2))]
        elif kind > 0.7:
            frame = _altered(chance, frame)
        room_for_a_tag = 4 if frame[12:14] == b"\x81\x00" else 0
        yield frame[: 14 + room_for_a_tag + MTU]


def _random(chance: random.Random) -> bytes:
    start = bytes(12) + struct.pack("!H", chance.choice(ETHERTYPES))
    return start + chance.randbytes(chance.choice((0, 1, 4, 20, 28, 40, 60, 200, MTU)))


def _altered(chance: random.Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    at = 12 + min(int(chance.expovariate(0.05)), len(frame) - 13)
    changed[at] = chance.choice((0, 1, 4, 6, 17, 44, 58, 0x45, 0x4F, 0x65, 0x81, 255))
    return bytes(changed)


def _packet(chance: random.Random) -> bytes:
    tags = tuple(chance.randrange(1, 4095) for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2))))
    network = chance.choice((_ip, _ip, _ip6, _ip6, _arp))(chance)
    frame = eth(network, dst="02:00:00:77:00:02", vlan=tags)
    return _with_room_for_options(chance, frame) if chance.random() < 0.1 else frame


def _arp(chance: random.Random) -> Payload:
    psrc, pdst = chance.choices(V4, k=2)
    return arp(psrc=psrc, pdst=pdst, hwsrc="02:00:00:77:00:01", op=chance.choice((1, 2)))


def _ip(chance: random.Random) -> Payload:
    src, dst = chance.choices(V4, k=2)
    fragment = chance.choice((0, 0, 0, 0x4000, 0x2000, 0x2003, 0x0003))
    return ip(_transport(chance, 20), src=src, dst=dst, ttl=chance.randrange(256), fragment=fragment)


def _ip6(chance: random.Random) -> Payload:
    src, dst = chance.choices(V6, k=2)
    inside = _transport(chance, 48)
    if chance.random() < 0.3:
        kind, offset = chance.choice(((FRAGMENT, 0), (FRAGMENT, 8), (HOP_BY_HOP, 0)))
        inside = Payload(struct.pack("!BxHI", inside.number, offset, 0) + inside, kind)
    return ip6(inside, src=src, dst=dst)


def _transport(chance: random.Random, headers: int) -> Payload:
    sport, dport = chance.choices(PORTS, k=2)
    payload = bytes(chance.choice((0, 1, 18, 100, MTU - headers - 20)))
    match chance.choice(("tcp", "tcp", "udp", "udp", "udp", "sctp", "icmp", "icmp6")):
        case "tcp":
            return tcp(sport=sport, dport=dport, flags=chance.randrange(256), payload=payload)
        case "udp":
            return udp(sport=sport, dport=dport, payload=payload)
        case "sctp":
            return Payload(struct.pack("!HHII", sport, dport, 0, 0) + payload, SCTP)
        case "icmp":
            return icmp(type=chance.choice((0, 3, 8)), payload=payload)
        case _:
            return icmp6(type=chance.choice((1, 128, 132, 133, 135, 136, 137, 138)), payload=payload)


def _with_room_for_options(chance: random.Random, frame: bytes) -> bytes:
    """The frame with IPv4 options, four bytes for each word. Other frames, and the longest, stay as they are."""
    found: Layers | None = layers(frame)
    words = chance.randrange(1, 11)
    if found is None or found.version != 4 or len(frame) + 4 * words > MTU:
        return frame
    first = bytes([0x45 + words])
    return (
        frame[: found.net]
        + first
        + frame[found.net + 1 : found.transport]
        + bytes(4 * words)
        + frame[found.transport :]
    )
