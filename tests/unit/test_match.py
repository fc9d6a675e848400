# SPDX-License-Identifier: Apache-2.0
"""Text to tree and back; what a MatchError says, and that absurd input gets one quickly."""

from __future__ import annotations

import re
import time
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import MatchError
from offramp.match import (
    Address,
    And,
    Compare,
    Direction,
    Everything,
    Field,
    IsProtocol,
    Node,
    Not,
    Or,
    Port,
    Protocol,
    parse,
    text,
)
from tests.libpcap import Filter, Refused

TCP, UDP, IP = IsProtocol(Protocol.TCP), IsProtocol(Protocol.UDP), IsProtocol(Protocol.IP)
SRC, DST, BOTH = Direction.SRC, Direction.DST, Direction.BOTH
DNS, HTTP, HTTPS = Port(53, 53), Port(80, 80), Port(443, 443)


def address(network: str, direction: Direction = Direction.EITHER, protocol: Protocol | None = None) -> Address:
    return Address(ip_network(network), direction, protocol)


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ("", Everything()),
        (" \n\t", Everything()),
        ("tcp", TCP),
        ("udp dst port 53", Port(53, 53, DST, Protocol.UDP)),
        ("port 0x50", HTTP),
        ("port 0120", HTTP),
        ("portrange 443-80", Port(80, 443)),
        ("portrange 80", HTTP),
        ("src or dst port 80", HTTP),
        ("dst and src port 80", Port(80, 80, BOTH)),
        ("host 10.0.0.1", address("10.0.0.1/32")),
        ("src 10.0.0.1", address("10.0.0.1/32", SRC)),
        ("arp dst host 10.0.0.1", address("10.0.0.1/32", DST, Protocol.ARP)),
        ("net 10", address("10.0.0.0/8")),
        ("net 10.1", address("10.1.0.0/16")),
        ("net 10.0/8", address("10.0.0.0/8")),
        ("host 10.1.2", address("10.1.2.0/24")),
        ("net 192.168.0.0 / 16", address("192.168.0.0/16")),
        ("net 0", address("0.0.0.0/32")),
        ("net 2560", address("10.0.0.0/16")),
        ("ip6 src host ::1", address("::1/128", SRC, Protocol.IP6)),
        ("host ::ffff:1.2.3.4", address("::ffff:102:304/128")),
        ("net 2001:db8::/33", address("2001:db8::/33")),
        ("tcp[13] & 2 != 0", Compare(Field(Protocol.TCP, 13), "!=", 0, 2)),
        ("(tcp[13] & 0x2) != 0", Compare(Field(Protocol.TCP, 13), "!=", 0, 2)),
        ("ether[12:2] = 0x800", Compare(Field(Protocol.ETHER, 12, 2), "==", 0x800)),
        ("not tcp", Not(TCP)),
        ("! not tcp", Not(Not(TCP))),
    ],
)
def test_primitives(source: str, tree: Node) -> None:
    assert parse(source) == tree


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ("tcp or udp and ip", And((Or((TCP, UDP)), IP))),  # no precedence: from left to right
        ("tcp and udp or ip", Or((And((TCP, UDP)), IP))),
        ("tcp or (udp and ip)", Or((TCP, And((UDP, IP))))),
        ("tcp && udp and ip", And((TCP, UDP, IP))),
        ("tcp || (udp or ip)", Or((TCP, UDP, IP))),
        ("not tcp and udp", And((Not(TCP), UDP))),
        ("not (tcp and udp)", Not(And((TCP, UDP)))),
        ("((tcp))", TCP),
        ("port 80 or 443", Or((HTTP, HTTPS))),
        ("port (80 or 443)", Or((HTTP, HTTPS))),
        ("not port 80 or 443", Or((Not(HTTP), HTTPS))),
        ("port 80 and not 443", And((HTTP, Not(HTTPS)))),
        ("port 53 or (80 or not 443)", Or((DNS, HTTP, Not(HTTPS)))),
        ("port 80 or (tcp) or 443", Or((HTTP, TCP, HTTPS))),  # a group leaves the qualifiers from before it
        ("src net 10 or ::1", Or((address("10.0.0.0/8", SRC), address("::1/128", SRC)))),
        ("tcp src port 80 and 443 and host 10.0.0.1 or 10.0.0.2", None),
    ],
)
def test_operators_and_inherited_qualifiers(source: str, tree: Node | None) -> None:
    ports = (Port(80, 80, SRC, Protocol.TCP), Port(443, 443, SRC, Protocol.TCP))
    assert parse(source) == (tree or Or((And((*ports, address("10.0.0.1"))), address("10.0.0.2"))))


protocols = st.sampled_from([protocol for protocol in Protocol if protocol is not Protocol.ETHER])
directions = st.sampled_from(Direction)
ports = st.integers(0, 65535)
numbers = st.integers(0, 0xFFFF_FFFF)


@st.composite
def networks(draw: st.DrawFn) -> IPv4Network | IPv6Network:
    if draw(st.booleans()):
        return IPv4Network((draw(st.ip_addresses(v=4)), draw(st.integers(0, 32))), strict=False)
    return IPv6Network((draw(st.ip_addresses(v=6)), draw(st.integers(0, 128))), strict=False)


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    network = draw(networks())
    v4 = st.sampled_from([None, Protocol.IP, Protocol.ARP, Protocol.RARP])
    return Address(
        network, draw(directions), draw(v4 if network.version == 4 else st.sampled_from([None, Protocol.IP6]))
    )


@st.composite
def port_ranges(draw: st.DrawFn) -> Port:
    first, last = sorted((draw(ports), draw(ports)))
    protocol = st.sampled_from([None, Protocol.TCP, Protocol.UDP, Protocol.SCTP])
    return Port(first, draw(st.sampled_from([first, last])), draw(directions), draw(protocol))


fields = st.builds(Field, st.sampled_from(Protocol), ports, st.sampled_from([1, 2, 4]))
relations = st.sampled_from(["==", "!=", ">", ">=", "<", "<="])
comparisons = st.builds(Compare, fields, relations, numbers, numbers.filter(bool))
primitives: st.SearchStrategy[Node] = st.one_of(
    st.builds(IsProtocol, protocols), addresses(), port_ranges(), comparisons
)


def combine(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(parts, min_size=2, max_size=4).map(tuple)
    return st.one_of(st.builds(Not, parts), st.builds(And, several), st.builds(Or, several))


trees = st.one_of(st.builds(Everything), st.recursive(primitives, combine, max_leaves=12))


@given(trees)
def test_text_parses_to_the_same_tree_and_tcpdump_takes_it(tree: Node) -> None:
    assert parse(text(tree)) == tree
    assert str(tree) == text(tree)
    assert hash(parse(text(tree))) == hash(tree)
    Filter(text(tree), optimize=False).close()


@given(st.text(st.sampled_from(" ()!&|=<>[]:/.-0123456789abcdefip6tcpudosrhne\\\0é\n"), max_size=40) | st.text())
def test_any_text_is_a_match_or_a_match_error(source: str) -> None:
    try:
        tree = parse(source)
    except MatchError:
        return
    assert parse(text(tree)) == tree
    if not re.search(r"\(\s*\(", source):  # tcpdump does not take port ((80 or 443))
        Filter(source, optimize=False).close()


@pytest.mark.parametrize(
    ("source", "place", "what", "hint"),
    [
        ("udp dst prot 53", "prot", "unknown word 'prot'", "did you mean 'port'?"),
        ("TCP port 80", "TCP", "unknown word 'TCP'", "did you mean 'tcp'?"),
        ("tcp prt 80", "prt", "unknown word 'prt'", "did you mean 'port'?"),
        ("port 99999", "99999", "port 99999 is not in 0..65535", ""),
        ("port 080", "080", "'080' begins with 0, so it is octal, and has other digits", ""),
        ("port http", "http", "'http' is not a port number", "names of services come later: write the number"),
        ("port sip", "sip", "'sip' is not a port number", "names of services come later: write the number"),
        ("port 80-90", "80-90", "'80-90' is not a port", "did you mean 'portrange 80-90'?"),
        ("port ::1", "::1", "'::1' is not a port", "a port is a number from 0 to 65535"),
        ("ip port 80", "80", "'ip' has no ports: they belong to tcp, udp and sctp", "did you mean 'ip and port 80'?"),
        (
            "host example.com",
            "example.com",
            "'example.com' is not an address",
            "names are not looked up: write the address",
        ),
        ("host 1.2.3.4.5", "1.2.3.4.5", "'1.2.3.4.5' is not an address", "an IPv4 address has four numbers: 10.0.0.1"),
        ("host 300.1.1.1", "300.1.1.1", "'300.1.1.1' is not an IP address", ""),
        (
            "host 00:11:22:33:44:55",
            "00:11:22:33:44:55",
            "is not an IP address",
            "Ethernet addresses are not supported yet",
        ),
        ("dst 80", "80", "'80' is a number, not an address", "did you mean 'dst port 80'?"),
        ("net 10.0.0.0/33", "33", "an IPv4 prefix has at most 32 bits", ""),
        ("net 10.0.0.1/8", "10.0.0.1/8", "non-network bits set in '10.0.0.1/8'", "did you mean '10.0.0.0/8'?"),
        ("net ::1/64", "::1/64", "non-network bits set in '::1/64'", "did you mean '::/64'?"),
        ("host 10.0.0.0/8", "10.0.0.0/8", "a prefix length belongs to 'net'", "did you mean 'net 10.0.0.0/8'?"),
        ("net 10/8", "10", "a prefix length follows a dotted address", "did you mean '10.0.0.0/8'?"),
        ("net 10.0 mask 255.255.0.0", "mask", "'mask' is not supported yet", "write a prefix length: net 10.0.0.0/8"),
        ("tcp host 10.0.0.1", "10.0.0.1", "cannot qualify an IPv4 address", "did you mean 'tcp and host 10.0.0.1'?"),
        ("ip src host ::1", "::1", "'ip' cannot qualify an IPv6 address", ""),
        (
            "tcp 80",
            "80",
            "unexpected '80': expected host, net, port, portrange, src, dst",
            "did you mean 'tcp port 80'?",
        ),
        ("10.0.0.1", "10.0.0.1", "unexpected '10.0.0.1': expected a condition", "did you mean 'host 10.0.0.1'?"),
        ("tcp or 443", "443", "'443' follows nothing that says what it is", "say which: 'port 443'"),
        ("(host ::1) or ::2", "::2", "'::2' follows nothing that says what it is", "say which: 'host ::2'"),
        ("port 80 udp", "udp", "unexpected 'udp': expected and, or or the end", "join conditions: '... and udp'"),
        ("port 80 and", "", "the match ends early: expected a condition such as", ""),
        ("(tcp", "", "the match ends early: expected ')'", ""),
        ("tcp)", ")", "unexpected ')': expected the end", ""),
        ("ip[0:3] == 1", "ip[0:3] == 1", "3 bytes cannot be compared", ""),
        ("ip[70000] == 1", "ip[70000] == 1", "offset 70000 is beyond every packet", ""),
        ("ip[0] == 4294967296", "4294967296", "the number does not fit in 32 bits", ""),
        ("ip[0] + 1 == 2", "+", "'+' is not supported yet", "a field takes one mask and is compared with a number"),
        ("tcp[tcpflags] & tcp-syn != 0", "tcpflags", "'tcpflags' is not supported yet", ""),
        ("tcp[13] == tcp-syn", "tcp-syn", "'tcp-syn' is not supported yet", ""),
        ("ether host aa:bb:cc:dd:ee:ff", "host", "unexpected 'host': expected '['", "ether[offset:size] is supported"),
        ("ip.src == 1.2.3.4", "ip.src", "unknown word 'ip.src'", "this is Wireshark's language"),
        ("port 80; tcp", ";", "';' means nothing in a match", "a match is a tcpdump expression"),
        ("port é", "é", "a match is printable ASCII, '\\xe9' is not", ""),
        ("tcp\0", "\0", "a match is printable ASCII, '\\x00' is not", ""),
    ],
)
def test_errors_name_the_place_the_reason_and_the_cure(source: str, place: str, what: str, hint: str) -> None:
    with pytest.raises(MatchError) as caught:
        parse(source)
    error = caught.value
    assert what in error.what
    assert error.hint.startswith(hint)
    assert error.text == source
    assert source[error.position : error.position + error.width] == place


@pytest.mark.parametrize(
    "source",
    ["vlan", "vlan 5 and tcp", "mpls 3", "gateway snup", "wlan host 1", "less 60", "tcp and greater 60", "len > 5"],
)
def test_what_tcpdump_has_and_we_have_not_is_named(source: str) -> None:
    with pytest.raises(MatchError, match="is not supported yet"):
        parse(source)


def test_an_error_draws_a_caret_under_the_place() -> None:
    with pytest.raises(MatchError) as caught:
        parse("udp dst prot 53")
    assert str(caught.value).splitlines()[1:] == ["  udp dst prot 53", "          ^^^^"]


@pytest.mark.parametrize(
    "source",
    [
        "tcp host 10.0.0.1",
        "ip6 host 10.0.0.1",
        "arp host ::1",
        "icmp port 80",
        "ip portrange 1-2",
        "net 10.0.0.1/8",
        "net ::1/64",
        "host 10.0.0.0/8",
        "host ::/64",
        "net 10.0.0.0/33",
        "net ::/129",
        "port 65536",
        "portrange 1-65536",
        "portrange 1 - 2",
        "port ::1",
        "net 10/8",
        "10.0.0.1",
        "tcp 80",
        "tcp or 443",
        "(port 80) or 443",
        "port (80 or tcp)",
        "tcp udp",
        "ip[0:3] == 1",
        "1 == 1 == 1",
        "TCP",
        "port 08",
        "ip[0] == 0x100000000",
    ],
)
def test_what_tcpdump_refuses_is_refused(source: str) -> None:
    with pytest.raises(Refused):
        Filter(source, optimize=False)
    with pytest.raises(MatchError):
        parse(source)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 10_000 + "tcp" + ")" * 10_000,
        "(" * 10_000,
        "not " * 10_000 + "tcp",
        "port " + "(" * 10_000 + "80" + ")" * 10_000,
        "port 80 and " + "not " * 10_000 + "443",
        "tcp and udp or " * 2_000 + "tcp",
        "a" * 1_000_000,
        "tcp or " * 200_000 + "tcp",
        "port " + "9" * 50_000,
        "portrange 1-" + "9" * 50_000,
        "host 1." + "9" * 50_000,
        "host " + ":" * 50_000,
        "port 0" + "9" * 50_000,
    ],
    ids=lambda source: source[:15],
)
def test_absurd_input_is_refused_quickly(source: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(MatchError) as caught:
        parse(source)
    assert time.perf_counter() - begin < 2
    assert len(caught.value.what) < 200


def test_long_and_deep_matches_that_are_allowed() -> None:
    many = parse("host " + " or ".join(["10.0.0.1"] * 5_000))
    assert isinstance(many, Or)
    assert len(many.parts) == 5_000
    deep = parse("not " * 98 + "tcp")
    assert parse(text(deep)) == deep
    assert repr(deep).count("Not") == 98
    assert hash(deep) == hash(parse("not " * 98 + "tcp"))


def test_constructors_normalise_and_refuse() -> None:
    assert And((TCP, And((UDP, IP)))) == And((TCP, UDP, IP))
    assert Or((Or((TCP, UDP)), IP)) == Or((TCP, UDP, IP))
    for wrong in (
        lambda: And((TCP,)),
        lambda: Or(()),
        lambda: Not(Everything()),
        lambda: Port(2, 1),
        lambda: Port(0, 65536),
        lambda: Port(1, 1, protocol=Protocol.IP),
        lambda: address("::1", protocol=Protocol.IP),
        lambda: IsProtocol(Protocol.ETHER),
        lambda: Field(Protocol.IP, -1),
        lambda: Compare(Field(Protocol.IP, 0), "==", 1, 0),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()
