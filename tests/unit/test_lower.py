# SPDX-License-Identifier: Apache-2.0
"""lower() against libpcap: generated expressions, generated, mutated and cut packets, no difference allowed.

The exact oracle is libpcap's program as generated (tcpdump -O), for every packet however short. The optimised one
(tcpdump) is a second one, of a fixed number of expressions, on packets that hold all bytes that the expression may look
at. On shorter ones its verdict depends on the order that the optimiser chose, and now and then it is plainly wrong: of
20,000 expressions libpcap 1.10.3 miscompiled one, that came down to this, which then misses 2001:db8::1 > fe80::1:
    (dst net fe80::/97 and host 2001:db8::1 and net 10.0.0.0/16) or net fe80::/97
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest
from hypothesis import settings

from offramp.compile.lower import lower
from offramp.compile.tests import All, Any, Base, Const, Expr, Negate, Test, evaluate
from offramp.match import Node, parse, text
from tests.libpcap import Filter, RejectsAll

EXAMPLES = settings().max_examples  # 100, or what --hypothesis-profile says

V4 = ["10.0.0.1", "10.0.0.2", "192.168.7.9", "0.0.0.0", "255.255.255.255"]
V6 = ["2001:db8::1", "2001:db8::2", "fe80::1", "::", "ff02::1:ff00:1"]
NETS = ["10.0.0.0/8", "10.0/16", "10.0", "10", "192.168.7", "192.168.7.8/29", "10.0.0.0/31", "0", "128.0.0.0/1"]
NETS6 = ["2001:db8::/127", "ff02::1", "fe80::/97", "2001:db8::/120"]
# Whose addresses have words of 32 bits that the prefix does not reach
SHORT_NETS = ["0.0.0.0/0", "::/0", "fe80::/10", "2001:db8::/32", "2001:db8::/33", "2001:db8::/64"]
PORTS = [0, 22, 53, 80, 4321, 65535]
RANGES = ["53-80", "80-53", "0-65535", "22-22", "1-65535"]
PROTOCOLS = ["ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp"]
TAG = bytes.fromhex("81000005")
TRANSPORTS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmp6": 58, "other": 200}


class Expressions:
    """Random expressions in tcpdump's language, with values that the packets have."""

    def __init__(self, seed: int, nets: list[str]) -> None:
        self.random = random.Random(seed)
        self.nets = nets

    def __call__(self) -> str:
        return self.expression(self.random.choice((0, 1, 1, 2, 2, 3)))

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def operator(self) -> str:
        return self.pick(" and ", " or ", " && ", " || ", " and ", " or ")

    def expression(self, depth: int) -> str:
        terms = [self.term(depth)]
        for _ in range(self.random.choice((0, 1, 1, 2, 3)) if depth else 0):
            terms += [self.operator(), self.term(depth)]
        return "".join(terms)

    def term(self, depth: int) -> str:
        prefix = self.pick("", "", "", "not ", "!")
        if depth and self.random.random() < 0.35:
            return f"{prefix}({self.expression(depth - 1)})"
        kind = self.random.choice(
            (self.protocol, self.host4, self.host6, self.net, self.port, self.port, self.relation)
        )
        return prefix + kind()

    def protocol(self) -> str:
        return self.random.choice(PROTOCOLS)

    def direction(self) -> str:
        return self.pick("", "", "src ", "dst ", "src or dst ", "src and dst ", "dst and src ", "dst or src ")

    def values(self, values: list[str]) -> str:
        """One value, or several that share the qualifiers."""
        first, *more = self.random.sample(values, self.random.choice((1, 1, 1, 2, 3)))
        if more and self.random.random() < 0.3:
            return f"({self.operator().join([first, *more])})"
        return first + "".join(self.operator() + self.pick("", "", "not ") + value for value in more)

    def host4(self) -> str:
        kind = self.pick("host ", "host ", "")
        direction = self.direction() if kind else self.pick("src ", "dst ", "src or dst ")
        return self.pick("", "ip ", "arp ", "rarp ") + direction + kind + self.values([*V4, "10.0", "192.168.7"])

    def host6(self) -> str:
        return self.pick("", "ip6 ") + self.direction() + "host " + self.values(V6)

    def net(self) -> str:
        return self.direction() + "net " + self.values(self.nets)

    def port(self) -> str:
        kind, values = self.random.choice((("port ", [str(p) for p in PORTS]), ("portrange ", [*RANGES, "80"])))
        return self.pick("", "", "tcp ", "udp ", "sctp ") + self.direction() + kind + self.values(values)

    def relation(self) -> str:
        protocol = self.pick("ether", "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "sctp", "rarp")
        size = self.pick("", ":1", ":2", ":4")
        mask = self.pick("", "", " & 0x0f", " & 2", " & 0xff00", " & 0x80000001")
        field = f"{protocol}[{self.random.choice((0, 1, 2, 6, 9, 12, 13, 20, 40, 60))}{size}]{mask}"
        if self.random.random() < 0.2:
            field = f"({field})"
        value = self.random.choice((0, 1, 2, 6, 0x45, 53, 80, 133, 0x800, 0x0A000001, 0xFFFFFFFF))
        number = self.pick(str(value), hex(value), f"0{value:o}" if value < 1 << 30 else str(value))
        return f"{field} {self.pick('==', '=', '!=', '>', '>=', '<', '<=')} {number}"


class Packets:
    """Random Ethernet frames: valid ones of all kinds, the same with bytes changed, cut off, and noise."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self) -> bytes:
        frame = self.frame()
        fate = self.random.random()
        if fate < 0.15:
            return frame[: self.random.randrange(len(frame) + 1)]
        if fate < 0.3:
            changed = bytearray(frame)
            for _ in range(self.random.choice((1, 1, 2, 5))):
                changed[self.random.randrange(len(changed))] = self.random.choice(
                    (0, 1, 4, 6, 17, 44, 0x45, 0x4F, 0xFF)
                )
            return bytes(changed)
        if fate < 0.35:
            return self.random.randbytes(self.random.randrange(100))
        return frame

    def frame(self) -> bytes:
        make: Callable[[], tuple[int, bytes]] = self.random.choice((self.ip, self.ip, self.ip6, self.ip6, self.arp))
        ethertype, payload = make()
        tags = self.random.choice([b""] * 8 + [TAG, TAG + TAG])
        padding = bytes(60) if self.random.random() < 0.5 else b""
        frame = self.random.randbytes(12) + tags + struct.pack("!H", ethertype) + payload
        return frame + padding[len(frame) :]

    def ip(self) -> tuple[int, bytes]:
        protocol, segment = self.segment()
        options = self.random.randbytes(4 * self.random.choice((0, 0, 0, 1, 3, 10)))
        fragment = self.random.choice((0, 0, 0, 0x4000, 0x2000, 0x2001, 0x1FFF, 1))
        first = 0x45 + len(options) // 4
        header = struct.pack("!BBHHHBBH", first, 0, 20 + len(options) + len(segment), 1, fragment, 64, protocol, 0)
        return 0x0800, header + self.address(V4) + self.address(V4) + options + segment

    def ip6(self) -> tuple[int, bytes]:
        protocol, segment = self.segment()
        for extension in self.random.choice(([], [], [], [44], [0], [60, 44], [44, 44], [43])):
            segment = struct.pack("!BBHI", protocol, 0, self.random.choice((0, 0, 1, 8)), 7) + segment
            protocol = extension
        header = struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64)
        return 0x86DD, header + self.address(V6) + self.address(V6) + segment

    def arp(self) -> tuple[int, bytes]:
        mac = self.random.randbytes(6)
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, self.random.choice((1, 2))) + mac + self.address(V4) + bytes(6)
        return self.random.choice((0x0806, 0x0806, 0x8035)), body + self.address(V4)

    def address(self, pool: list[str]) -> bytes:
        return ip_address(self.random.choice(pool[:3] if self.random.random() < 0.8 else pool)).packed

    def segment(self) -> tuple[int, bytes]:
        protocol = self.random.choice(["tcp", "udp"] * 3 + list(TRANSPORTS))
        source, destination = self.random.choice(PORTS), self.random.choice([*PORTS, self.random.randrange(65536)])
        if protocol.startswith("icmp"):
            body = bytes([self.random.choice((0, 3, 8, 128, 133, 135, 137)), 0]) + self.random.randbytes(6)
        else:
            body = struct.pack("!HH", source, destination) + self.random.randbytes(16 if protocol == "tcp" else 4)
        return TRANSPORTS[protocol], body + self.random.randbytes(self.random.choice((0, 0, 8, 30)))


def leaves(expr: Expr) -> Iterator[Test]:
    match expr:
        case Test():
            yield expr
        case All(parts) | Any(parts):
            for part in parts:
                yield from leaves(part)
        case Negate(part):
            yield from leaves(part)
        case Const():
            return


def holds_all(packet: bytes, expr: Expr) -> bool:
    """Whether no test of the expression looks beyond the end of the packet."""
    header = 4 * (packet[14] & 0x0F) if len(packet) > 14 else 0
    starts = {Base.LINK: 0, Base.NET: 14, Base.TRANSPORT: 14 + header}
    return len(packet) > 14 and all(starts[test.base] + test.offset + test.size <= len(packet) for test in leaves(expr))


def matches_optimised(expression: str, frames: list[bytes]) -> list[bool]:
    try:
        with Filter(expression) as optimised:
            return [optimised(frame) for frame in frames]
    except RejectsAll:  # tcpdump refuses to run a filter that no packet passes
        return [False] * len(frames)


def examples(expressions: Expressions, count: int) -> Iterator[tuple[str, Node, Expr, list[bytes]]]:
    """Expressions in three forms, each with 40 packets."""
    packets = Packets(2)
    pool = [packets() for _ in range(5000)]
    for _ in range(count):
        source = expressions()
        tree = parse(source)
        yield source, tree, lower(tree), expressions.random.sample(pool, 40)


def differences(expressions: Expressions, count: int, *, shortest: int = 0) -> Iterator[str]:
    for source, tree, expr, frames in examples(expressions, count):
        assert parse(text(tree)) == tree, source
        with Filter(source, optimize=False) as generated:
            for frame in frames:
                if len(frame) >= shortest and evaluate(expr, frame) != generated(frame):
                    yield f"{source!r} on {frame.hex()}: libpcap says {generated(frame)}"


@pytest.mark.fuzz
def test_no_difference_on_any_packet() -> None:
    assert list(differences(Expressions(1, NETS + NETS6), 30 * EXAMPLES)) == []


@pytest.mark.fuzz
def test_no_difference_on_packets_with_both_addresses_where_words_of_them_are_left_out() -> None:
    assert list(differences(Expressions(3, SHORT_NETS + NETS), 10 * EXAMPLES, shortest=14 + 40)) == []


def test_the_optimiser_agrees_on_packets_with_all_bytes_that_are_looked_at() -> None:
    """It compiles our canonical text, so that this is checked as well."""
    for _, tree, expr, frames in examples(Expressions(4, NETS + NETS6 + SHORT_NETS), 1500):
        for frame, theirs in zip(frames, matches_optimised(text(tree), frames), strict=True):
            if holds_all(frame, expr):
                assert evaluate(expr, frame) == theirs, f"{text(tree)!r} on {frame.hex()}"


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "port 53",
        "not port 53",
        "host 10.0.0.1 or udp src port 53",
        "not (arp host 10.0.0.1) and not tcp",
        "ip6 host 2001:db8::1 or icmp6[0] >= 133 and icmp6[0] <= 137",
        "src and dst net 10 or sctp[0:4] & 0xffff != 80",
        "ether[12:2] == 0x86dd or ip[0] & 0xf > 5",
    ],
)
def test_frames_cut_at_every_length(expression: str) -> None:
    packets = Packets(4)
    expr = lower(parse(expression))
    with Filter(expression, optimize=False) as generated:
        for frame in (packets.frame() for _ in range(60)):
            for length in range(len(frame) + 1):
                assert evaluate(expr, frame[:length]) == generated(frame[:length], len(frame)), frame[:length].hex()


@pytest.mark.parametrize(
    ("prefix", "expression"),
    [("0.0.0.0/0", "ip or arp or rarp"), ("::/0", "ip6"), ("2001:db8::/32", "ip6[8:4] == 0x20010db8")],
)
def test_words_under_an_empty_mask_are_left_out_as_by_the_optimiser(prefix: str, expression: str) -> None:
    packets = Packets(5)
    frames = [frame[:length] for frame in (packets.frame() for _ in range(20)) for length in range(len(frame) + 1)]
    expr = lower(parse(f"src net {prefix}"))
    ours = [evaluate(expr, frame) for frame in frames]
    assert ours == matches_optimised(f"src net {prefix}", frames) == matches_optimised(expression, frames)


def test_ports_of_the_ipv4_half_read_like_the_documentation() -> None:
    (_, ip), number = lower(parse("udp dst port 53")).parts, 17  # type: ignore[union-attr]
    assert ip == All(
        (
            Test(Base.LINK, 12, 2, "==", 0x0800),
            Any((Test(Base.NET, 9, 1, "==", number),)),
            Test(Base.NET, 6, 2, "==", 0, mask=0x1FFF),
            Test(Base.TRANSPORT, 2, 2, "==", 53),
        )
    )
