# SPDX-License-Identifier: Apache-2.0
"""Frames made by scapy, whole, altered and random; and null ports on which they arrive."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from offramp.ports.batch import Batch
from offramp.ports.ledger import QueueLedger
from offramp.ports.port import Port

TAGS = (0x8100, 0x88A8)
SRC, DST = "02:00:00:00:00:01", "02:00:00:00:00:02"
A4, B4, A6, B6 = "198.18.0.1", "10.77.0.2", "2001:db8::1", "fe80::2"
ETHER = Ether(src=SRC, dst=DST)
V4, V6 = IP(src=A4, dst=B4, ttl=7, id=9), IPv6(src=A6, dst=B6, hlim=3)
TCP_, UDP_ = TCP(sport=1234, dport=80, seq=0xFEDCBA98, ack=7, flags="SAEC", window=999), UDP(sport=65535, dport=53)

WHOLE: Sequence[Packet] = [
    network / transport
    for network in (
        ETHER / V4,
        ETHER / Dot1Q(vlan=4095, prio=5) / V4,
        ETHER / Dot1AD(vlan=6, prio=7) / Dot1Q(vlan=7) / V4,
        ETHER / V6,
        ETHER / Dot1Q(vlan=1) / V6,
        ETHER / Dot1Q(vlan=2) / Dot1Q(vlan=3) / V6,
        ETHER / IP(src=A4, dst=B4, options=[IPOption(b"\x83\x03\x10")]),
        ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=[A6]),
        ETHER / V6 / IPv6ExtHdrFragment(m=1, id=5),
        ETHER / IP(src=A4, dst=B4, flags="MF"),
        ETHER / IP(src="0.0.0.0", dst="255.255.255.255", ttl=255),
    )
    for transport in (TCP_, UDP_, TCP_ / b"payload", UDP_ / bytes(1400))
] + [
    ETHER / ARP(psrc=A4, pdst=B4),
    ETHER / V4 / ICMP() / b"ping",
    ETHER / V6 / ICMPv6EchoRequest(),
    ETHER / IP(src=A4, dst=B4, frag=185, proto=17) / Raw(b"later fragment"),
    ETHER / V6 / IPv6ExtHdrFragment(offset=185, nh=6, id=5) / Raw(bytes(40)),
    ETHER / Dot1Q(vlan=9, type=0x88B5) / Raw(b"experimental"),
    Ether(src=SRC, dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / Raw(bytes(46)),
]
FRAMES = [bytes(packet) for packet in WHOLE]


def altered(chance: random.Random, frame: bytes) -> bytes:
    """The frame with some bytes replaced, most of them in the headers; now and then it is cut, or has one tag more."""
    changed = bytearray(frame[:200])
    for _ in range(chance.choice((1, 1, 2, 5))):
        changed[min(int(chance.expovariate(0.03)), len(changed) - 1)] = chance.choice(
            (0, 1, 4, 6, 17, 44, 0x45, 0x65, 255)
        )
    if chance.random() < 0.2:
        changed[12:12] = struct.pack("!HH", chance.choice(TAGS), chance.randrange(1 << 16))
    return bytes(changed[: chance.randrange(len(changed) + 1)] if chance.random() < 0.2 else changed)


def received(packets: list[bytes]) -> Iterator[Batch]:
    """The batches that a null port makes of `packets`, each packet once."""
    with Port.null(packets, frames=4096, frame_size=4096) as port:
        left = len(packets)
        while left > 0:
            batch = port.rx(timeout=1)
            assert batch is not None
            left -= len(batch)
            yield batch


def only(packets: list[bytes] | None = None, **options: Any) -> tuple[Port, Batch]:
    """A null port and its first batch."""
    port = Port.null(FRAMES if packets is None else packets, **options)
    batch = port.rx(timeout=1)
    assert batch is not None
    return port, batch


def ledger(port: Port) -> QueueLedger:
    (only,) = port.ledgers()
    return only
