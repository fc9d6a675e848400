# SPDX-License-Identifier: Apache-2.0
"""The lab's frames: the same bytes as scapy's, and sums that survive what a flood varies."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from offramp.errors import OptionError
from offramp.gen.packets import arp, checksum, eth, icmp, icmp6, ip, ip6, layers, tcp, udp, with_checksums
from offramp.gen.variation import program, vary

SRC, DST = "02:00:00:00:00:01", "02:00:00:00:00:02"
A4, B4, A6, B6 = "198.18.0.1", "10.77.0.2", "fd77::1", "fd77::2"
ETHER = Ether(src=SRC, dst=DST)

FRAMES: list[tuple[bytes, Packet]] = [
    (
        eth(ip(udp(sport=4096, dport=4321, payload=b"odd"), src=A4, dst=B4), src=SRC, dst=DST),
        ETHER / IP(src=A4, dst=B4, id=0) / UDP(sport=4096, dport=4321) / b"odd",
    ),
    (
        eth(ip(tcp(sport=1, dport=80, seq=7), src=A4, dst=B4, ttl=3, id=9), src=SRC, dst=DST, vlan=5),
        ETHER / Dot1Q(vlan=5) / IP(src=A4, dst=B4, ttl=3, id=9) / TCP(sport=1, dport=80, seq=7, window=65535),
    ),
    (
        eth(ip6(tcp(sport=1, dport=80, flags=0x18, ack=5, payload=b"data"), src=A6, dst=B6), src=SRC, dst=DST),
        ETHER / IPv6(src=A6, dst=B6) / TCP(sport=1, dport=80, flags="PA", ack=5, window=65535) / b"data",
    ),
    (
        eth(ip6(udp(sport=1, dport=2), src=A6, dst=B6, hlim=1), src=SRC, dst=DST, vlan=(6, 7)),
        ETHER / Dot1AD(vlan=6) / Dot1Q(vlan=7) / IPv6(src=A6, dst=B6, hlim=1) / UDP(sport=1, dport=2),
    ),
    (
        eth(ip(icmp(id=3, seq=4, payload=b"ping"), src=A4, dst=B4), src=SRC, dst=DST),
        ETHER / IP(src=A4, dst=B4, id=0) / ICMP(id=3, seq=4) / b"ping",
    ),
    (
        eth(ip6(icmp6(id=3, seq=4, payload=b"ping"), src=A6, dst=B6), src=SRC, dst=DST),
        ETHER / IPv6(src=A6, dst=B6) / ICMPv6EchoRequest(id=3, seq=4, data=b"ping"),
    ),
    (
        eth(arp(psrc=A4, pdst=B4, hwsrc=SRC), src=SRC, dst=DST),
        ETHER / ARP(psrc=A4, pdst=B4, hwsrc=SRC, hwdst="00:00:00:00:00:00"),
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), FRAMES, ids=[theirs.summary() for _, theirs in FRAMES])
def test_frames_are_those_of_scapy(ours: bytes, theirs: Packet) -> None:
    assert ours == bytes(theirs)
    assert with_checksums(ours) == ours


def test_the_checksum_is_that_of_the_rfc() -> None:
    words = bytes.fromhex("0001f203f4f5f6f7")  # RFC 1071, section 3: the sum is ddf2
    assert checksum(words) == (0xDDF2 ^ 0xFFFF).to_bytes(2)


@pytest.mark.parametrize("frame", [ours for ours, theirs in FRAMES if ARP not in theirs])
@pytest.mark.parametrize("step", [0, 1, 0x1234, 0xFFFF])
def test_sums_survive_what_varies(frame: bytes, step: int) -> None:
    found = layers(frame)
    assert found is not None
    if found.version == 6 and len(frame) == found.transport + 8 and found.protocol == 17:
        with pytest.raises(OptionError, match="no payload"):
            vary(frame, "src")
        return
    varied = vary(frame, "src")
    moved = bytearray(varied.frame)
    for offsets, value in ((varied.up, step), (varied.down, 0xFFFF - step)):
        for offset in offsets:
            struct.pack_into("!H", moved, offset, value)
    without_udp_sum = found.version == 4 and found.protocol == 17
    valid = bytearray(with_checksums(moved))
    if without_udp_sum:
        valid[found.transport + 6 : found.transport + 8] = bytes(2)
    assert moved == valid


def test_fragments_and_others_have_nothing_to_vary() -> None:
    fragment = eth(ip(udp(sport=1, dport=2, payload=bytes(8)), src=A4, dst=B4, fragment=0x2000), dst=DST)
    for frame in (fragment, eth(arp(psrc=A4, pdst=B4, hwsrc=SRC))):
        with pytest.raises(OptionError, match="no such field"):
            vary(frame, "src")
        assert vary(frame, "none").frame == frame
    with pytest.raises(OptionError, match="no such field"):
        vary(eth(ip(icmp(), src=A4, dst=B4), dst=DST), "sport")


def test_the_program_is_the_same_each_time() -> None:
    frame = FRAMES[0][0]
    assert program(vary(frame, "src"), 2, 1) == program(vary(frame, "src"), 2, 1)
    assert program(vary(frame, "src"), 2, 1) != program(vary(frame, "none"), 2, 1)


def test_bad_addresses_are_refused() -> None:
    with pytest.raises(OptionError, match="not a MAC address"):
        eth(arp(psrc=A4, pdst=B4, hwsrc=SRC), dst="02:00")
