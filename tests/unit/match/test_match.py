# SPDX-License-Identifier: Apache-2.0
"""Text to tree, construct by construct; what the constructors refuse."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence

import pytest

from offramp.errors import MatchError
from offramp.match import (
    Address,
    And,
    AnyVlan,
    Broadcast,
    Calculation,
    Carries,
    Compare,
    Direction,
    Everything,
    Field,
    InSet,
    IsProtocol,
    Length,
    Llc,
    Mpls,
    Multicast,
    Negative,
    Network,
    Node,
    Not,
    Number,
    Or,
    Port,
    Pppoed,
    Pppoes,
    Protocol,
    SetKind,
    Station,
    Vlan,
    parse,
    set_names,
)

TCP, UDP, IP = IsProtocol(Protocol.TCP), IsProtocol(Protocol.UDP), IsProtocol(Protocol.IP)
SRC, DST, BOTH = Direction.SRC, Direction.DST, Direction.BOTH
DNS, HTTP, HTTPS = Port(53, 53), Port(80, 80), Port(443, 443)
A, B = 0x0A00_0001, 0x0A00_0002
FLAGS = Field(Protocol.TCP, Number(13))


def v4(address: int, length: int = 32) -> Address:
    return Address(Network.prefix(4, address, length))


def v6(address: int, length: int = 128) -> Address:
    return Address(Network.prefix(6, address, length))


def of(address: Address, direction: Direction, protocol: Protocol | None = None) -> Address:
    return Address(address.network, direction, protocol)


def trees(cases: Sequence[tuple[str, Node | None]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("source", "tree"), cases, ids=[source for source, _ in cases])


@trees(
    [
        ("", Everything()),
        (" \n\t\r", Everything()),
        ("tcp", TCP),
        ("((tcp))", TCP),
        ("es-is", IsProtocol(Protocol.ESIS)),
        ("l1", Or(tuple(Carries(number, Protocol.ISIS) for number in (15, 17, 18, 24, 26)))),
        ("ip proto 6", Carries(6, Protocol.IP)),
        ("proto 0x11 or 6", Or((Carries(17), Carries(6)))),
        ("ip6 proto \\tcp", Carries(6, Protocol.IP6)),
        ("ether proto \\ip6", Carries(0x86DD, Protocol.ETHER)),
        ("link proto \\stp", Carries(0x42, Protocol.ETHER)),
        ("iso proto \\clnp", Carries(0x81, Protocol.ISO)),
        ("isis proto 18", Carries(18, Protocol.ISIS)),
        ("broadcast", Broadcast()),
        ("ether broadcast", Broadcast()),
        ("ip broadcast", Broadcast(Protocol.IP)),
        ("multicast", Multicast()),
        ("ip6 multicast", Multicast(Protocol.IP6)),
        ("vlan", Vlan()),
        ("vlan (5)", Vlan(5)),
        ("vlan any and tcp", And((AnyVlan(), TCP))),
        ("mpls 1048575", Mpls(0xFFFFF)),
        ("pppoed or pppoes 3", Or((Pppoed(), Pppoes(3)))),
        ("llc", Llc()),
        ("llc XID", Llc("xid")),
        ("llc rnr or llc rulenum", Or((Llc("rnr"), Llc("rnr")))),
    ]
)
def test_protocols_and_headers(source: str, tree: Node) -> None:
    assert parse(source) == tree


@trees(
    [
        ("host 10.0.0.1", v4(A)),
        ("host 010.0.0.001", v4(A)),  # no octal in addresses
        ("src 10.0.0.1", of(v4(A), SRC)),
        ("src || dst host 10.0.0.1", v4(A)),
        ("dst and src host 10.0.0.1", of(v4(A), BOTH)),
        ("arp dst host 10.0.0.1", of(v4(A), DST, Protocol.ARP)),
        ("net 10", v4(0x0A00_0000, 8)),
        ("net 10.1", v4(0x0A01_0000, 16)),
        ("net 10.0/8", v4(0x0A00_0000, 8)),
        ("host 10.1.2", v4(0x0A01_0200, 24)),
        ("net 192.168.0.0 / 16", v4(0xC0A8_0000, 16)),
        ("net 10.0.0.1 mask 255.0.0.255", Address(Network(4, A, 0xFF00_00FF))),
        ("net 0.0.0.0/0", v4(0, 0)),
        ("net 0", v4(0)),
        ("net 2560", v4(0x0A00_0000, 16)),
        ("ip6 src host ::1", of(v6(1), SRC, Protocol.IP6)),
        ("host ::1/128", v6(1)),
        ("host ::ffff:1.2.3.4", v6(0xFFFF_0102_0304)),
        ("host 1:2:3:4:5:6:7::", v6(0x0001_0002_0003_0004_0005_0006_0007_0000)),
        ("host 1:2:3:4:5:6:1.2.3.4", v6(0x0001_0002_0003_0004_0005_0006_0102_0304)),
        ("net 2001:db8::/33", v6(0x2001_0DB8 << 96, 33)),
        ("ether host aa:bb:cc:dd:ee:ff", Station(0xAABB_CCDD_EEFF)),
        ("ether src a-b-c-d-e-f", Station(0x0A0B_0C0D_0E0F, SRC)),
        ("ether dst host aabb.ccdd.eeff", Station(0xAABB_CCDD_EEFF, DST)),
        ("ether host aabbccddeeff or 1.2.3.4.5.6", Or((Station(0xAABB_CCDD_EEFF), Station(0x0102_0304_0506)))),
        ("ether host 123456789012", Station(0x1234_5678_9012)),
    ]
)
def test_addresses(source: str, tree: Node) -> None:
    assert parse(source) == tree


@trees(
    [
        ("udp dst port 53", Port(53, 53, DST, Protocol.UDP)),
        ("port 0x50", HTTP),
        ("port 0120", HTTP),
        ("port tcp-push", Port(8, 8)),  # a constant is a number, as it is for tcpdump
        ("portrange 443-80", Port(80, 443)),
        ("portrange 010-20", Port(10, 20)),
        ("portrange 80", HTTP),
        ("dst and src port 80", Port(80, 80, BOTH)),
        ("port \\80", HTTP),
    ]
)
def test_ports(source: str, tree: Node) -> None:
    assert parse(source) == tree


@trees(
    [
        ("tcp[13] & 2 != 0", Compare(Calculation("&", FLAGS, Number(2)), "!=", Number(0))),
        (
            "tcp[tcpflags]&(tcp-syn|tcp-ack)=tcp-syn",
            Compare(Calculation("&", FLAGS, Calculation("|", Number(2), Number(16))), "==", Number(2)),
        ),
        ("(tcp[13]) == (2)", Compare(FLAGS, "==", Number(2))),
        ("ether[12:2] = 0x800", Compare(Field(Protocol.ETHER, Number(12), 2), "==", Number(0x800))),
        ("icmp6[icmp6type] == icmp6-echo", Compare(Field(Protocol.ICMP6, Number(0)), "==", Number(128))),
        ("ip[ip[0]:4] > 1", Compare(Field(Protocol.IP, Field(Protocol.IP, Number(0)), 4), ">", Number(1))),
        ("len - 14 <= 46", Compare(Calculation("-", Length(), Number(14)), "<=", Number(46))),
        ("- 5 > -len", Compare(Negative(Number(5)), ">", Negative(Length()))),
        ("less 60", Compare(Length(), "<=", Number(60))),
        ("greater 60", Compare(Length(), ">=", Number(60))),
        ("byte 0 = 1", Compare(Field(Protocol.ETHER, Number(0)), "==", Number(1))),
        ("byte 3 < 1", Compare(Field(Protocol.ETHER, Number(3)), "<", Number(1))),
    ]
)
def test_relations(source: str, tree: Node) -> None:
    assert parse(source) == tree


@pytest.mark.parametrize(
    ("source", "clear"),
    [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("1 * 2 + 3", "(1 * 2) + 3"),
        ("1 - 2 - 3", "(1 - 2) - 3"),
        ("1 | 2 & 3 << 4 + 5 * 6", "1 | (2 & (3 << (4 + (5 * 6))))"),
        ("1 * 2 + 3 << 4 & 5 | 6", "((((1 * 2) + 3) << 4) & 5) | 6"),
        ("- 1 * 2", "(- 1) * 2"),
        ("2 - - 1", "2 - (- 1)"),
        ("1 % 2 + 3", "1 % (2 + 3)"),  # % and ^ take all that follows, and wait for all before
        ("1 * 2 % 3 * 4", "1 * (2 % (3 * 4))"),
        ("1 ^ 2 ^ 3", "1 ^ (2 ^ 3)"),
        ("1 | 2 ^ 3 | 4", "1 | (2 ^ (3 | 4))"),
        ("- 1 % 2", "- (1 % 2)"),
    ],
)
def test_arithmetic_groups_as_in_tcpdump(source: str, clear: str) -> None:
    assert parse(f"{source} == len") == parse(f"{clear} == len")
    assert parse(f"len == {source}") == parse(f"len == {clear}")


@trees(
    [
        ("tcp or udp and ip", And((Or((TCP, UDP)), IP))),  # no precedence: from left to right
        ("tcp and udp or ip", Or((And((TCP, UDP)), IP))),
        ("tcp or (udp and ip)", Or((TCP, And((UDP, IP))))),
        ("tcp && udp and ip", And((TCP, UDP, IP))),
        ("tcp || (udp or ip)", Or((TCP, UDP, IP))),
        ("not tcp and udp", And((Not(TCP), UDP))),
        ("! not tcp", Not(Not(TCP))),
        ("not (tcp and udp)", Not(And((TCP, UDP)))),
        ("not 80 > 3", Not(Compare(Number(80), ">", Number(3)))),
        ("(len + 1) > 3", Compare(Calculation("+", Length(), Number(1)), ">", Number(3))),
        ("port 80 or 443", Or((HTTP, HTTPS))),
        ("port (80 or 443)", Or((HTTP, HTTPS))),
        ("port ((80))", HTTP),
        ("not port 80 or 443", Or((Not(HTTP), HTTPS))),
        ("port 80 and not 443", And((HTTP, Not(HTTPS)))),
        ("port not 80", Not(HTTP)),
        ("port 53 or (80 or not 443)", Or((DNS, HTTP, Not(HTTPS)))),
        ("port (53 or (80 and 443))", Or((DNS, And((HTTP, HTTPS))))),
        ("port 53 or (80) > 3", Or((DNS, Compare(Number(80), ">", Number(3))))),
        ("port 80 or (tcp) or 443", Or((HTTP, TCP, HTTPS))),  # a group leaves the qualifiers from before it
        ("port 80 or ((tcp) or 443)", Or((HTTP, TCP, HTTPS))),
        ("src net 10 or ::1", Or((of(v4(0x0A00_0000, 8), SRC), of(v6(1), SRC)))),
        (
            "tcp src port 80 and 443 and host 10.0.0.1 or 10.0.0.2",
            Or((And((Port(80, 80, SRC, Protocol.TCP), Port(443, 443, SRC, Protocol.TCP), v4(A))), v4(B))),
        ),
    ]
)
def test_operators_and_inherited_qualifiers(source: str, tree: Node) -> None:
    assert parse(source) == tree


@trees(
    [
        ("host in @a", InSet("a", SetKind.HOST)),
        ("net in @a", InSet("a", SetKind.HOST)),
        ("src in @a_1", InSet("a_1", SetKind.HOST, SRC)),
        ("ip6 dst host in @a", InSet("a", SetKind.HOST, DST, Protocol.IP6)),
        ("ether src in @a", InSet("a", SetKind.HOST, SRC, Protocol.ETHER)),
        ("udp dst port in @a", InSet("a", SetKind.PORT, DST, Protocol.UDP)),
        ("src host in @a or in @b", Or((InSet("a", SetKind.HOST, SRC), InSet("b", SetKind.HOST, SRC)))),
        ("host in @a or 10.0.0.1 and not in @b", None),
        ("host (in @a or in @b)", Or((InSet("a", SetKind.HOST), InSet("b", SetKind.HOST)))),
    ]
)
def test_named_sets(source: str, tree: Node | None) -> None:
    a, b = InSet("a", SetKind.HOST), InSet("b", SetKind.HOST)
    assert parse(source) == (tree or And((Or((a, v4(A))), Not(b))))


def test_the_names_of_sets() -> None:
    assert set_names(parse("tcp")) == frozenset()
    assert set_names(parse("src in @a or not (dst port in @b and in @a)")) == {"a", "b"}


def test_long_lists_are_read_as_short_ones_are() -> None:
    spellings = ["10.0.0.1", "192.168.7.255", "255.255.255.255", "0.0.0.0", "::", "::1", "fe80::", "1:2:3:4:5:6:7:8"]
    spellings += ["1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "2001:db8::1.2.3.4", "010.1.1.1", "10.1", "1.2.3.4"] * 2
    plain = ["10.0.0.1", "10.0.0.2"] * 6
    for operator, kind in ((Or, "or"), (And, "and"), (Or, "||")):
        for before in ("host", "src host", "dst", "src or dst host"):
            for again in ("", before + " "):
                words = [*plain, *spellings, *plain]
                tree = parse(f"tcp or {before} " + f"  {kind}\n{again}".join(words) + " and tcp")
                single = [parse(f"{before} {word}") for word in words]
                first = Or((TCP, single[0]))
                listed = operator((first, *single[1:]))
                assert tree == And((listed, TCP))


@pytest.mark.parametrize("negation", ["not ", "!", "! ", "not\n"])
def test_long_lists_of_what_is_not_wanted(negation: str) -> None:
    for head, again in (("net ", ""), ("ip src net ", "ip src net ")):
        many = [f"10.{number}.0.0/16" for number in range(30)]
        tree = parse(f"{negation}{head}" + " and ".join([many[0], *(negation + again + one for one in many[1:])]))
        assert tree == And(tuple(Not(parse(head + one)) for one in many))
        mixed = f"{negation}{head}" + f" and {negation}{again}".join(many) + f" and {again}10.0.0.0/8 and not not 10.1"
        last = Not(Not(parse(head + "10.1")))
        assert parse(mixed) == And((tree, parse(head + "10.0.0.0/8"), last))


def test_long_lists_end_where_something_else_begins() -> None:
    many = " or ".join(["10.0.0.0/8"] * 20)
    ten = v4(0x0A00_0000, 8)
    for number in (999, 1000, 1001, 1002, 2001, 2002):  # the parts that they are read in
        assert parse("net " + " or ".join(["10.0.0.0/8"] * number) + " or not 10.1") == Or(
            (*(ten,) * number, Not(parse("net 10.1")))
        )
    assert parse(f"net {many} or 10.0.0.0 mask 255.0.0.0 or {many}") == Or((ten,) * 41)
    assert parse(f"net {many} or 10.0.0.0 / 8 or net {many}") == Or((ten,) * 41)
    assert parse(f"(net {many}) and tcp") == And((Or((ten,) * 20), TCP))
    assert parse(f"net ({many}) and tcp") == And((Or((ten,) * 20), TCP))
    assert parse(f"net {many} or src net {many} or port 53") == Or((*(ten,) * 20, *(of(ten, SRC),) * 20, DNS))
    for wrong in ("10.0.0.1/8", "300.0.0.0/8", "10.0.0.0/08", "10.0.0.0/33", "::1/8", "12345::/8", "1:2:3:4:5:6:7:8:9"):
        with pytest.raises(MatchError) as caught:
            parse(f"net {many} or {wrong} or {many}")
        assert caught.value.position >= len(f"net {many} or ")
        assert caught.value.position < len(f"net {many} or {wrong} or ")


def test_constructors_normalise_and_refuse() -> None:
    assert And((TCP, And((UDP, IP)))) == And((TCP, UDP, IP))
    assert Or((Or((TCP, UDP)), IP)) == Or((TCP, UDP, IP))
    deep = Number(1)
    for wrong in (
        lambda: And((TCP,)),
        lambda: Or(()),
        lambda: Not(Everything()),
        lambda: Port(2, 1),
        lambda: Port(0, 65536),
        lambda: Port(1, 1, protocol=Protocol.IP),
        lambda: of(v6(1), SRC, Protocol.IP),
        lambda: IsProtocol(Protocol.ETHER),
        lambda: Carries(6, Protocol.TCP),
        lambda: Vlan(4096),
        lambda: Mpls(1 << 20),
        lambda: Llc("x"),
        lambda: InSet("a-b", SetKind.HOST),
        lambda: InSet("a", SetKind.PORT, protocol=Protocol.IP),
        lambda: Broadcast(Protocol.IP6),
        lambda: Number(1 << 32),
        lambda: Field(Protocol.AH, Number(0)),
        lambda: Calculation("/", Length(), Number(0)),
        lambda: Calculation("%", Length(), Field(Protocol.IP, Number(0))),  # tcpdump sees the 0 only
        lambda: Calculation("<<", Length(), Calculation("-", Number(32), Number(1))),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()
    value: Calculation | Number = deep
    for _ in range(15):
        value = Calculation("+", Number(1), value)
    assert Compare(value, "==", Number(1)).left == value
    with pytest.raises(ValueError, match="more than 16 values"):
        Compare(Calculation("+", Number(1), value), "==", Number(1))


def test_nodes_are_values() -> None:
    node = parse("udp dst port 53 or src host 10.0.0.1")
    same = parse("udp dst port 53 or src host 10.0.0.1")
    assert node == same
    assert hash(node) == hash(same)
    assert node != parse("udp dst port 53")
    others: list[object] = [IsProtocol(Protocol.TCP), Carries(6), Number(1), Vlan(1), 1, (1,), None]
    assert [other for other in others if Vlan(1) == other] == [Vlan(1)]
    assert copy.deepcopy(node) == node
    assert pickle.loads(pickle.dumps(node)) == node
    assert repr(Port(1, 2)) == "Port(first=1, last=2, direction=<Direction.EITHER: ''>, protocol=None)"
    assert Port(first=1, last=2) == Port(1, last=2)
    with pytest.raises(AttributeError, match="cannot change 'first': Port is immutable"):
        HTTP.first = 1  # type: ignore[misc]
    with pytest.raises(TypeError, match="lacks last"):
        Port(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="does not take"):
        Port(1, 2, first=1)  # type: ignore[misc]
