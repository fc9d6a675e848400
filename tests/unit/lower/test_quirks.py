# SPDX-License-Identifier: Apache-2.0
"""Surprises in tcpdump's meaning: expressions, and packets that show them. libpcap is asked as well."""

from __future__ import annotations

import random
import struct

import pytest

from offramp.errors import MatchError, OptionError
from offramp.lower.evaluate import evaluate
from offramp.lower.layers import LLC_CONTROLS
from offramp.lower.meaning import lower
from offramp.match import Network, tree
from offramp.match.tree import Protocol
from tests.generators.aim import Aim
from tests.generators.packets import Packets
from tests.oracles.libpcap import Filter, Refused
from tests.oracles.reference import Reference

MACS = bytes.fromhex("020000000002 020000000001")


def ether(kind: int, payload: bytes) -> bytes:
    return MACS + struct.pack("!H", kind) + payload


def ip(protocol: int, segment: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    first = 0x45 + len(options) // 4
    header = struct.pack("!BBHHHBBH", first, 0, 20 + len(options) + len(segment), 1, fragment, 64, protocol, 0)
    return header + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + options + segment


def ip6(protocol: int, segment: bytes) -> bytes:
    addresses = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002")
    return struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + addresses + segment


def ports(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8, 0)


def label(number: int, *, last: bool) -> bytes:
    return struct.pack("!I", number << 12 | last << 8 | 64)


def tag(kind: int, number: int) -> bytes:
    """What follows the type field of a tag."""
    return struct.pack("!HH", number, kind)


def session(number: int, payload: bytes) -> bytes:
    return struct.pack("!BBHHH", 0x11, 0, 1, 2 + len(payload), number) + payload


UDP_53 = ip(17, ports(4321, 53))
FRAGMENT = struct.pack("!BBHI", 17, 0, 0, 1)

QUIRKS = [
    # Only the first fragment has ports; the others match as the protocol
    ("udp port 53", ether(0x0800, ip(17, ports(4321, 53), fragment=0x2000)), True),
    ("udp port 53", ether(0x0800, ip(17, ports(4321, 53), fragment=0x2001)), False),
    ("udp", ether(0x0800, ip(17, ports(4321, 53), fragment=0x2001)), True),
    ("udp[2:2] = 53", ether(0x0800, ip(17, ports(4321, 53), fragment=1)), False),
    ("not udp[2:2] != 53", ether(0x0800, ip(17, ports(4321, 53), fragment=1)), True),
    # Options move the transport's header
    ("udp dst port 53", ether(0x0800, ip(17, ports(4321, 53), options=bytes(40))), True),
    # IPv6: the protocol is found behind one fragment header, ports and fields behind none
    ("udp", ether(0x86DD, ip6(44, FRAGMENT + ports(4321, 53))), True),
    ("udp port 53", ether(0x86DD, ip6(44, FRAGMENT + ports(4321, 53))), False),
    ("udp port 53", ether(0x86DD, ip6(17, ports(4321, 53))), True),
    ("udp[2:2] = 53", ether(0x86DD, ip6(17, ports(4321, 53))), False),
    ("icmp6", ether(0x86DD, ip6(44, struct.pack("!BBHI", 58, 0, 0, 1) + bytes(8))), True),
    ("icmp6[0] = 0", ether(0x86DD, ip6(44, struct.pack("!BBHI", 58, 0, 0, 1) + bytes(8))), False),
    ("udp", ether(0x86DD, ip6(0, FRAGMENT + ports(4321, 53))), False),
    # An ethertype says whether it is IPv4: the version in the header does not count
    ("ip", ether(0x0800, ip6(17, b"")), True),
    # ... but behind a label it does
    ("mpls and ip6", ether(0x8847, label(3, last=True) + ip6(17, b"")), True),
    ("mpls and ip", ether(0x8847, label(3, last=True) + ip6(17, b"")), False),
    # Only the last label has something behind it; a further `mpls` wants the one before not to be the last
    ("mpls and ip", ether(0x8847, label(3, last=False) + label(4, last=True) + UDP_53), False),
    ("mpls and mpls and udp dst port 53", ether(0x8847, label(3, last=False) + label(4, last=True) + UDP_53), True),
    ("mpls and mpls 4", ether(0x8847, label(3, last=False) + label(4, last=True) + UDP_53), True),
    ("mpls 3 and mpls", ether(0x8847, label(3, last=True) + UDP_53), False),
    # An address behind a label is not looked for in ARP
    ("mpls and host 10.0.0.1", ether(0x8847, label(3, last=True) + UDP_53), True),
    # `vlan` shifts what stands behind it in the text, through parentheses, `or` and `not`
    ("vlan 5 or vlan 6", ether(0x8100, tag(0x0800, 6) + UDP_53), False),
    ("vlan 5 or vlan 6", ether(0x8100, tag(0x8100, 1) + tag(0x0800, 6) + UDP_53), True),
    ("not (vlan 7) and udp port 53", ether(0x8100, tag(0x0800, 6) + UDP_53), True),
    ("udp port 53 or vlan and udp port 53", ether(0x8100, tag(0x0800, 6) + UDP_53), True),
    ("vlan and udp port 53 or udp port 53", ether(0x0800, UDP_53), False),
    ("vlan 5", ether(0x9100, tag(0x0800, 0xF005) + UDP_53), True),  # priority and drop bit aside
    # ... but not the link header
    ("vlan and ether src 02:00:00:00:00:01 and ether[12:2] = 0x88a8", ether(0x88A8, tag(0x0800, 1) + UDP_53), True),
    # PPP has numbers of its own, by which ethertypes and service access points are translated
    ("pppoes and udp port 53", ether(0x8864, session(0x0021, UDP_53)), True),
    ("pppoes and ether proto 0x800", ether(0x8864, session(0x0021, UDP_53)), True),
    ("pppoes and ether proto 0x21", ether(0x8864, session(0x0021, UDP_53)), True),
    ("pppoes and ether proto 0x42", ether(0x8864, session(0x0031, bytes(30))), True),
    ("pppoes and iso proto 0x83", ether(0x8864, session(0x0023, b"\x83" + bytes(30))), True),
    ("pppoes and mpls and ip", ether(0x8864, session(0x0281, label(3, last=True) + UDP_53)), True),
    # ... and is the link layer from there on
    ("pppoes and ether[0:2] = 0x0021 and ether[2] = 0x45", ether(0x8864, session(0x0021, UDP_53)), True),
    ("pppoes 1", ether(0x8864, session(0x0021, UDP_53)), True),
    ("pppoes 2", ether(0x8864, session(0x0021, UDP_53)), False),
    # Up to 1500 the type is a length
    ("ether proto 0x42", ether(46, b"\x42\x42\x03" + bytes(43)), True),
    ("ether proto 0x42", ether(0x0042, b"\x42\x00\x03" + bytes(43)), True),  # the destination suffices
    ("iso", ether(46, b"\xfe\x00\x03" + bytes(43)), False),  # here it does not
    ("ether proto 1500", ether(1500, b"\xdc\x00"), False),  # a service access point of 11 bits
    ("ether proto 1501", ether(1501, b""), True),
    ("llc", ether(1501, b"\x42\x42\x03"), False),
    ("llc", ether(1500, b"\xff\xff\x03"), False),  # IPX without 802.2
    ("ipx", ether(1500, b"\xff\xff\x03" + bytes(8)), True),
    ("ipx", ether(0x8137, b""), True),
    ("ipx", ether(8, bytes.fromhex("aaaa030000008137")), True),
    ("atalk", ether(8, bytes.fromhex("aaaa03080007809b")), True),
    ("atalk", ether(8, bytes.fromhex("aaaa03000000809b")), False),
    ("aarp", ether(8, bytes.fromhex("aaaa0300000080f3")), True),
    ("ip", ether(8, bytes.fromhex("aaaa030000000800") + UDP_53), False),  # not looked for in SNAP
    # Looking for SNAP first, 802.3 frames of less than eight bytes are rejected, whatever else they are
    ("ipx", ether(7, bytes.fromhex("e0e00300000000")), False),
    ("not atalk", ether(7, bytes.fromhex("e0e00300000000")), False),
    # A load beyond the end rejects the packet, below `not` as well, unless the result is known before
    ("not ip[100] = 0", ether(0x0800, UDP_53), False),
    ("not ip[100] = 0", ether(0x0806, UDP_53), True),
    ("udp or ip[100] = 0", ether(0x0800, UDP_53), True),
    ("tcp and ip[100] = 0 or udp", ether(0x0800, UDP_53), True),
    ("ip[100] = 0 or udp", ether(0x0800, UDP_53), False),
    # An empty mask is loaded under as well (the optimiser leaves that out)
    ("not net 0.0.0.0/0", ether(0x0800, UDP_53[:8]), False),
    ("not src net ::/0", ether(0x86DD, ip6(17, b"")[:20]), False),
    # A relation holds for packets of its fields' protocols only, whatever it says
    ("udp[0] != udp[0] or tcp[0] = tcp[0]", ether(0x0800, UDP_53), False),
    ("not tcp[13] & 2 != 0", ether(0x0800, UDP_53), True),
    # ... where in a calculation only the left operand's protocol is asked for
    ("udp[0:2] - tcp[0:2] = 0", ether(0x0800, UDP_53), True),
    ("tcp[0:2] - udp[0:2] = 0", ether(0x0800, UDP_53), False),
    ("5 - tcp[5] = 5", ether(0x0806, bytes(60)), True),
    ("0 = tcp[5] or 0 != tcp[5]", ether(0x0806, bytes(60)), False),
    # Arithmetic is C's on unsigned numbers of 32 bits; dividing by zero rejects, shifting by too much gives 0
    ("ip[0] - 0x46 = 0xffffffff", ether(0x0800, UDP_53), True),
    ("ip[0] - 0x46 > 5", ether(0x0800, UDP_53), True),
    ("-ip[0] = 0xffffffbb", ether(0x0800, UDP_53), True),
    ("ip[8] * 0x4000000 = 0", ether(0x0800, UDP_53), True),
    ("ip[8] / ip[1] = 0 or not ip[8] / ip[1] = 0", ether(0x0800, UDP_53), False),
    ("not ip[8] % ip[1] = 0", ether(0x0800, UDP_53), False),
    ("ip[8] << ip[8] = 0 and ip[8] >> ip[8] = 0", ether(0x0800, UDP_53), True),
    # An index and the length of the IPv4 header wrap together; where the headers start is added without
    ("udp[0xfffffffc:4] = 0x0a000002", ether(0x0800, UDP_53), True),
    ("udp[-4:4] = 0x0a000002", ether(0x0800, UDP_53), True),
    ("ip[-2:2] = 0x0800", ether(0x0800, UDP_53), False),
    ("ip[ip[0] & 0xf] = 1", ether(0x0800, UDP_53), True),
    # The length is that on the wire (the last test below has more)
    ("len = 42 and greater 42 and less 42", ether(0x0800, UDP_53), True),
    # A protocol's number of more than a byte is never found, and no error
    ("ip proto 273", ether(0x0800, UDP_53), False),
    ("byte 23 = 17 and byte 23 > 16 and byte 23 < 18", ether(0x0800, UDP_53), True),
    # CARP and VRRP have one number; `pim` is found in IPv6, `vrrp` is not
    ("carp and vrrp", ether(0x0800, ip(112, bytes(8))), True),
    ("pim", ether(0x86DD, ip6(103, bytes(8))), True),
    ("vrrp", ether(0x86DD, ip6(112, bytes(8))), False),
    # `ip multicast` is a byte of 224 and more
    ("ip multicast", ether(0x0800, UDP_53[:16] + b"\xff" * 4), True),
    ("ip6 multicast", ether(0x86DD, ip6(17, b"")[:24] + b"\xff" * 16), True),
]


@pytest.mark.parametrize(("expression", "frame", "verdict"), QUIRKS, ids=[quirk[0] for quirk in QUIRKS])
def test_quirk(expression: str, frame: bytes, verdict: bool) -> None:
    with Filter(expression, optimize=False) as oracle:
        assert oracle(frame) is verdict, "libpcap disagrees with this test"
    assert Reference(expression)(frame) is verdict


def test_lengths_are_those_on_the_wire() -> None:
    frame = ether(0x0800, UDP_53)
    for expression in ("len = 1500", "greater 1500", "not less 1499"):
        with Filter(expression, optimize=False) as oracle:
            assert oracle(frame, 1500)
            assert Reference(expression)(frame, 1500)
            assert not Reference(expression)(frame)


@pytest.mark.parametrize("kind", sorted(LLC_CONTROLS))
def test_formats_of_llc(kind: str) -> None:
    with Filter(f"llc {kind}", optimize=False) as oracle:
        for control in range(256):
            frame = ether(3, bytes((0x42, 0x42, control)))
            assert Reference(f"llc {kind}")(frame) == oracle(frame), control


PRIMITIVES: list[tree.Node] = [
    *(tree.IsProtocol(protocol) for protocol in Protocol if protocol is not Protocol.ETHER),
    *(
        tree.Carries(number, layer)
        for layer in (None, Protocol.ETHER, Protocol.IP, Protocol.IP6, Protocol.ISO, Protocol.ISIS)
        for number in (6, 0x11, 0x42, 0xE0, 0xF0, 0xFE, 0x83, 0x800, 0x86DD, 0x600, 0x6003, 0x809B, 0x80F3, 1500, 1501)
    ),
    *(
        tree.Address(Network(4, 0x0A000001, 0xFFFFFFFF), direction, protocol)
        for direction in tree.Direction
        for protocol in (None, Protocol.IP, Protocol.ARP, Protocol.RARP)
    ),
    *(tree.Address(Network.prefix(6, 0x20010DB8 << 96, 33), direction) for direction in tree.Direction),
    *(tree.Station(0x020000000001, direction) for direction in tree.Direction),
    *(tree.Port(53, last, direction) for direction in tree.Direction for last in (53, 80)),
    *(tree.Port(53, 53, tree.Direction.EITHER, protocol) for protocol in tree.WITH_PORTS),
    *(tree.Multicast(layer) for layer in (Protocol.ETHER, Protocol.IP, Protocol.IP6)),
    *(tree.Broadcast(), tree.Vlan(), tree.Vlan(5), tree.Mpls(), tree.Mpls(3), tree.Pppoed(), tree.Pppoes()),
    *(tree.Pppoes(17), tree.Llc(), tree.Llc("u")),
    *(tree.Compare(tree.Field(protocol, tree.Number(1)), "<=", tree.Number(80)) for protocol in tree.WITH_FIELDS),
    *(
        tree.Compare(tree.Calculation("-", tree.Length(), tree.Field(protocol, tree.Length())), "!=", tree.Number(3))
        for protocol in tree.WITH_FIELDS
    ),
    *(
        tree.Compare(tree.Field(protocol, tree.Field(protocol, tree.Number(0))), ">", tree.Number(3))
        for protocol in tree.WITH_FIELDS
    ),
]
HEADERS: list[tuple[tree.Node, ...]] = [
    *((), (tree.Vlan(),), (tree.Vlan(), tree.Vlan(6)), (tree.Mpls(),), (tree.Mpls(), tree.Mpls()), (tree.Pppoes(),)),
    *((tree.Vlan(), tree.Mpls(1024)), (tree.Vlan(), tree.Pppoes()), (tree.Pppoes(), tree.Mpls())),
    (tree.Pppoes(), tree.Pppoes()),
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: " and ".join(map(str, headers)) or "none")
def test_every_primitive_behind_headers(headers: tuple[tree.Node, ...]) -> None:
    """Each is judged, or refused, as by libpcap."""
    chance, pool, aim = random.Random(1), Packets(2).pool(3000), Aim(3)
    if headers:
        with Filter(" and ".join(map(str, headers)), optimize=False) as behind:
            pool = [packet for packet in pool if behind(*packet)] + pool[:20]
    for primitive in PRIMITIVES:
        node = tree.And((*headers, primitive)) if headers else primitive
        try:
            oracle = Filter(str(node), optimize=False)
        except Refused:
            with pytest.raises(MatchError):
                lower(node)
            continue
        expr = lower(node).expr
        for packet in chance.choices(pool, k=20):
            made = aim(expr, packet.data)
            for data, length in (packet, (made, len(made)), (made[: chance.randrange(14, 90)], len(made))):
                assert evaluate(expr, data, length) == oracle(data, length), f"{node} on {data.hex()}, {length} B"
        oracle.close()


@pytest.mark.parametrize("netmask", [0xFFFFFF00, 0xFFFF0000, 0, 0xFFFFFFFE, 0xFF00FF00])
def test_ip_broadcast(netmask: int) -> None:
    """Zeros or ones only in the host's part."""
    frames = [
        ether(0x0800, UDP_53[:16] + bytes.fromhex(last)) for last in ("0a0000ff", "0a000000", "0a000001", "ff" * 4)
    ]
    frames += [ether(0x0800, UDP_53[:19]), ether(0x0806, bytes(30)), ether(0x86DD, ip6(17, b""))]
    for expression in ("ip broadcast", "not ip broadcast", "vlan and ip broadcast or ip broadcast"):
        reference = Reference(expression, netmask=netmask)
        with Filter(expression, optimize=False, netmask=netmask) as oracle:
            for packet in [*Packets(4).pool(200), *((frame, len(frame)) for frame in frames)]:
                assert reference(*packet) == oracle(*packet), f"{expression} on {packet}"
    assert Reference("ip broadcast", netmask=0xFFFFFF00)(frames[0])
    assert not Reference("ip broadcast", netmask=0xFFFFFF00)(frames[2])


def test_ip_broadcast_needs_a_netmask() -> None:
    """As libpcap does; it also takes /32 for a netmask that is not known."""
    expression = "ip broadcast"
    with pytest.raises(Refused, match="netmask"):
        Filter(expression)
    with pytest.raises(MatchError, match="netmask"):
        Reference(expression)
    with pytest.raises(OptionError, match="no broadcast address"):
        Reference(expression, netmask=0xFFFFFFFF)


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (tree.And((tree.Mpls(), tree.IsProtocol(Protocol.ARP))), "only IPv4 and IPv6"),
        (tree.And((tree.Mpls(), tree.Vlan())), "no VLAN tag"),
        (tree.And((tree.Pppoes(), tree.AnyVlan())), "no VLAN tag"),
        (tree.And((tree.Pppoes(), tree.Station(1))), "PPP, not Ethernet"),
        (tree.And((tree.Pppoes(), tree.Llc())), "PPP, not Ethernet"),
        (tree.And((tree.AnyVlan(), tree.AnyVlan())), "stands once"),
    ],
)
def test_trees_that_mean_nothing_are_refused(node: tree.Node, reason: str) -> None:
    """The parser refuses their text; a tree can be made without it."""
    with pytest.raises(MatchError, match=reason):
        lower(node)
