# SPDX-License-Identifier: Apache-2.0
"""VXLAN, Geneve and chains of headers mean what libpcap says.

Debian's libpcap knows Geneve and chains. VXLAN has two other oracles: it is Geneve with other numbers in its header;
and what is in a tunnel matches as it does outside of one. Most of this asks the reference interpreter, which
tests/oracles/differential.py compares with compiled code.
"""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet as Layer

from offramp import Match, MatchError
from offramp.lower.expression import MAX_CHAIN
from offramp.match import parse
from tests.generators.expressions import Expressions
from tests.generators.packets import Packets
from tests.oracles.libpcap import Filter
from tests.oracles.reference import Reference

STATIONS: dict[str, Any] = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
OUTER = {
    "IPv4": Ether(**STATIONS) / IP(src="192.0.2.1", dst="192.0.2.2"),
    "IPv4 with options": Ether(**STATIONS) / IP(src="192.0.2.1", dst="192.0.2.2", ihl=7, options=b"\1" * 8),
    "IPv6": Ether(**STATIONS) / IPv6(src="2001:db8::1", dst="2001:db8::2"),
    "a tag": Ether(**STATIONS) / Dot1Q(vlan=5) / IP(src="192.0.2.1", dst="192.0.2.2"),
}
INNER = Ether(src="02:00:00:00:01:01", dst="02:00:00:00:01:02") / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(dport=443)


def vxlan(outer: Layer, frame: bytes, vni: int = 100) -> bytes:
    return bytes(outer / UDP(sport=4444, dport=4789) / VXLAN(vni=vni, flags="Instance") / frame)


def geneve(outer: Layer, frame: bytes, vni: int = 100, proto: int = 0x6558, options: int = 0) -> bytes:
    header = bytes((options // 4, 0)) + proto.to_bytes(2, "big") + (vni << 8).to_bytes(4, "big") + b"\7" * options
    return bytes(outer / UDP(sport=4444, dport=6081) / (header + frame))


def as_geneve(packet: bytes, at: int) -> bytes:
    """The VXLAN packet whose UDP header is at `at`, as Geneve."""
    return packet[: at + 2] + b"\x17\xc1" + packet[at + 4 : at + 8] + b"\0\0\x65\x58" + packet[at + 12 :]


def libpcap(expression: str, packet: bytes) -> bool:
    with Filter(expression, optimize=False) as oracle:
        return oracle(packet)


@pytest.mark.parametrize("outer", OUTER)
def test_packets_of_scapy(outer: str) -> None:
    before = "vlan and " if outer == "a tag" else ""
    packet = vxlan(OUTER[outer], bytes(INNER))

    def matches(expression: str, packet: bytes = packet) -> bool:
        return Reference(expression)(packet)

    for inner in ("", "tcp", "dst port 443", "src host 10.0.0.1", "ether src 02:00:00:00:01:01", "ip[8] == 64"):
        said = f" and {inner}" if inner else ""
        assert matches(f"{before}vxlan{said}", packet), inner
        assert matches(f"{before}vxlan 100{said}", packet), inner
        assert not matches(f"{before}vxlan 101{said}", packet), inner
        assert not matches(f"{before}geneve{said}", packet), inner
    for inner in ("udp", "ip6", "src host 192.0.2.1", "ether src 02:00:00:00:00:01", "arp", "vlan", "dst port 4789"):
        assert not matches(f"{before}vxlan and {inner}", packet), inner
    arp = vxlan(OUTER[outer], bytes(Ether() / Dot1Q(vlan=7) / ARP(psrc="10.0.0.9")))
    assert matches(f"{before}vxlan and vlan 7 and arp src host 10.0.0.9", arp)
    scapys = bytes(OUTER[outer] / UDP(dport=6081) / GENEVE(vni=7) / INNER)
    assert matches(f"{before}geneve 7 and tcp dst port 443", scapys)
    assert libpcap(f"{before}geneve 7 and tcp dst port 443", scapys)


@pytest.mark.parametrize("tunnel", ["vxlan", "geneve"])
@pytest.mark.parametrize("outer", ["IPv4", "IPv4 with options", "IPv6"])
def test_what_is_in_a_tunnel_matches_as_it_does_outside(tunnel: str, outer: str) -> None:
    """All words of the language, in a tunnel: a generated match of a generated frame, whole or cut off."""
    chance, generate, packets = random.Random(3), Expressions(3, tunnels=0.0), Packets(3)
    made = compared = 0
    while compared < 60:
        made += 1
        expression = generate()
        if any(word in expression for word in ("len", "less", "greater", "protochain")):
            continue
        compared += 1
        inside, outside = Reference(f"{tunnel} 100 and ({expression})"), Reference(expression)
        for _ in range(8):
            frame = packets.frame()
            frame = frame[: chance.randrange(len(frame))] if chance.random() < 0.2 else frame
            wrapped = (vxlan if tunnel == "vxlan" else geneve)(OUTER[outer], frame)
            assert inside(wrapped) == outside(frame), (expression, frame.hex())


@pytest.mark.parametrize("outer", ["IPv4", "IPv6"])
def test_vxlan_is_geneve_with_other_numbers(outer: str) -> None:
    """So libpcap's Geneve says what VXLAN has to say, cut off anywhere."""
    packets, generate, at = Packets(5), Expressions(5, tunnels=0.0), 14 + (20 if outer == "IPv4" else 40)
    for _ in range(80):
        expression = generate()
        if "protochain" in expression:
            continue
        match = Reference(f"vxlan and ({expression})")
        with Filter(f"geneve and ({expression})", optimize=False) as oracle:
            for _ in range(10):
                packet = vxlan(OUTER[outer], packets.frame())
                packet = packet[: random.Random(len(packet)).choice((len(packet), len(packet) // 2))]
                if len(packet) < at + 16:
                    continue
                assert match(packet) == oracle(as_geneve(packet, at)), (expression, packet.hex())


@pytest.mark.parametrize("options", [0, 4, 252])
@pytest.mark.parametrize(
    ("proto", "frame"),
    [(0x6558, bytes(INNER)), (0x0800, bytes(INNER[IP])), (0x86DD, bytes(IPv6() / UDP(dport=53))), (0x8847, b"\0" * 60)],
)
def test_geneve_carries_ethernet_or_not(proto: int, frame: bytes, options: int) -> None:
    packet = geneve(OUTER["IPv4"], frame, proto=proto, options=options)
    for inner in ("ip", "ip6", "tcp", "udp", "mpls", "arp", "ether multicast", "broadcast", "len > 60", "port 443"):
        for negation in ("", "not "):
            expression = f"geneve and {negation}{inner}"
            assert Reference(expression)(packet) == libpcap(expression, packet), expression
    for expression in ("geneve and ether src 02:00:00:00:01:01", "geneve and not ether host 02:00:00:00:00:01"):
        assert Reference(expression)(packet) == libpcap(expression, packet), expression


@pytest.mark.parametrize("tunnel", ["vxlan", "geneve"])
@pytest.mark.parametrize(
    "expression",
    ["not {} and tcp", "{} or tcp", "({} and tcp) or udp", "{0} 1 or {0} 2", "tcp or {} or udp", "not ({} or ip)"],
)
def test_what_would_be_looked_for_in_a_tunnel_that_is_not_there_is_refused(tunnel: str, expression: str) -> None:
    with pytest.raises(MatchError, match="'and' joins a tunnel to what is in it"):
        Match(expression.format(tunnel))


@pytest.mark.parametrize(
    "expression",
    ["not {}", "tcp and not {}", "tcp or {}", "({} and (tcp or not udp)) and ip", "udp or ({} and not (arp or ip6))"],
)
def test_where_a_tunnel_may_stand(expression: str) -> None:
    for tunnel in ("vxlan", "geneve 5", "(vxlan 5 and geneve)", "(geneve and geneve 6)"):
        said = expression.format(tunnel)
        tree = parse(said)
        assert parse(str(tree)) == tree
        assert Reference(said).tree == tree


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("vxlan 16777216", "VXLAN VNI 16777216 is greater than 16777215"),
        ("geneve 16777216", "Geneve VNI 16777216 is greater than 16777215"),
        ("vxlan and vxlan and vxlan", "more than 2 tunnels"),
        ("mpls and vxlan", "a tunnel behind mpls"),
        ("vxlan and protochain 6", "cannot be followed in a tunnel"),
        ("vxlan and vlan any", "'vlan any' in a tunnel"),
        ("src protochain 6", "a protocol number has no direction"),
        ("tcp protochain 6", "'tcp' has no chain of headers"),
        ("ether protochain 6", "'ether' has no chain of headers"),
    ],
)
def test_what_is_refused(expression: str, why: str) -> None:
    with pytest.raises(MatchError, match=why):
        Match(expression)


HEADERS = {
    0: IPv6ExtHdrHopByHop(),
    43: IPv6ExtHdrRouting(addresses=["2001:db8::9"]),
    44: IPv6ExtHdrFragment(id=1),
    51: AH(icv=b"\0" * 12),
    60: IPv6ExtHdrDestOpt(),
}


def chained(*kinds: int) -> bytes:
    packet = Ether(**STATIONS) / IPv6(src="2001:db8::1", dst="2001:db8::2")
    for kind in kinds:
        packet /= HEADERS[kind].copy()
    return bytes(packet / TCP(dport=80))


def test_chains_of_ipv6_headers() -> None:
    for kinds in ((), *((one,) for one in HEADERS), *permutations(HEADERS, 2), *permutations(HEADERS, 3)):
        packet = chained(*kinds)
        for number in (6, 17, 44, 51, 59, 60):
            for expression in (f"ip6 protochain {number}", f"not protochain {number}", f"ip protochain {number}"):
                assert Reference(expression)(packet) == libpcap(expression, packet), (expression, kinds)
        if 51 not in kinds:  # libpcap loses its place behind one
            assert Reference("ip6 protochain 6")(packet)


def test_chains_of_ipv4_headers() -> None:
    for options in (0, 8):
        ip = IP(ihl=5 + options // 4, options=b"\1" * options)
        for packet in (Ether() / ip / TCP(), Ether() / ip / AH(icv=b"\0" * 12) / UDP(), Ether() / ip / AH() / AH()):
            for number in (6, 17, 51):
                expression = f"ip protochain {number}"
                assert Match(expression).matches(bytes(packet)) == libpcap(expression, bytes(packet))


def test_a_chain_is_followed_through_eight_headers() -> None:
    """A longer one is not decided, and so its packet does not match, also if `not` stands in front."""
    follow = Match("ip6 protochain 6")
    assert follow.matches(chained(*[60] * MAX_CHAIN))
    assert not follow.matches(chained(*[60] * (MAX_CHAIN + 1)))
    assert not Match("not ip6 protochain 6").matches(chained(*[60] * (MAX_CHAIN + 1)))
    assert Match("ip6 protochain 60").matches(chained(*[60] * 20))
    endless = bytes(Ether(**STATIONS) / IPv6(nh=0) / (b"\0" * 1400))  # hop-by-hop options that name themselves
    assert not follow.matches(endless)
    assert Match("protochain \\tcp") == Match("protochain 6")
    assert str(Match("ip protochain 6 or 17")) == "ip protochain 6 or ip protochain 17"
