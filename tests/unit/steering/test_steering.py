# SPDX-License-Identifier: Apache-2.0
"""n-tuple rules as values, and the model of a NIC's receive side."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import OptionError
from offramp.gen.packets import eth, icmp, ip, ip6, tcp, udp
from offramp.nic import rules
from offramp.steering import (
    DROP,
    WAKE,
    Rss,
    Rule,
    Steering,
    Term,
    cookie,
    equal,
    parse_rule,
    queue_of,
    toeplitz,
    weighted,
    without,
)
from offramp.steering.fields import FLOWS
from offramp.steering.headers import headers
from offramp.testing.software_nic import KEY
from tests.generators.frames import FRAMES

MICROSOFT = bytes.fromhex(KEY.replace(":", ""))

# "Verifying the RSS Hash Calculation": source and destination, hash of the addresses, hash with TCP's ports
VECTORS = [
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323E8FC2, 0x51CCC178),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xD718262A, 0xC626B0EA),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xD2D0A5DE, 0x5C2B394A),
    ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xAFC7327F),
    ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2CC18CD5, 0x40207D3D),
    ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0F0C461C, 0xDDE51BBF),
    ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4B61E985, 0x02D1FEEF),
]


def frame(
    src: str, sport: int, dst: str, dport: int, transport: str = "tcp", vlan: int | tuple[int, ...] = ()
) -> bytes:
    inner = tcp(sport=sport, dport=dport) if transport == "tcp" else udp(sport=sport, dport=dport)
    network = ip6(inner, src=src, dst=dst) if ":" in src else ip(inner, src=src, dst=dst)
    return eth(network, vlan=vlan)


# -- Toeplitz ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("src", "sport", "dst", "dport", "addresses", "ports"), VECTORS)
def test_the_published_vectors(src: str, sport: int, dst: str, dport: int, addresses: int, ports: int) -> None:
    data = ip_address(src).packed + ip_address(dst).packed
    assert toeplitz(MICROSOFT, data) == addresses
    assert toeplitz(MICROSOFT, data + struct.pack("!HH", sport, dport)) == ports


@pytest.mark.parametrize(("src", "sport", "dst", "dport", "addresses", "ports"), VECTORS)
def test_the_vectors_as_frames(src: str, sport: int, dst: str, dport: int, addresses: int, ports: int) -> None:
    table = tuple(range(128))
    six = "6" if ":" in src else "4"
    whole = frame(src, sport, dst, dport)
    assert queue_of(whole, Rss(table, MICROSOFT, {f"tcp{six}": "sdfn"})) == ports % 128
    assert queue_of(whole, Rss(table, MICROSOFT, {f"tcp{six}": "sd"})) == addresses % 128
    assert queue_of(whole, Rss(table, MICROSOFT, {f"ip{six}": "sd"})) == addresses % 128
    assert queue_of(whole, Rss(table, MICROSOFT, {f"udp{six}": "sd"}, unhashed=7)) == 7


def test_a_key_that_is_too_short() -> None:
    with pytest.raises(OptionError, match="an RSS key of 8 bytes: 12 are needed"):
        toeplitz(bytes(8), bytes(8))


@given(st.binary(max_size=36), st.binary(max_size=36), st.binary(min_size=40, max_size=40))
def test_toeplitz_is_linear(one: bytes, other: bytes, key: bytes) -> None:
    size = max(len(one), len(other))
    one, other = one.ljust(size, b"\0"), other.ljust(size, b"\0")
    both = bytes(a ^ b for a, b in zip(one, other, strict=True))
    assert toeplitz(key, both) == toeplitz(key, one) ^ toeplitz(key, other)


# -- tables ------------------------------------------------------------------------------------------------------------


def test_tables() -> None:
    assert equal(6, 4) == [0, 1, 2, 3, 0, 1]
    assert equal(4, 2, start=3) == [3, 4, 3, 4]
    assert weighted(8, [3, 1]) == [0] * 6 + [1] * 2
    assert weighted(8, [0, 1], start=1) == [2] * 8
    assert without([0, 1, 2, 3, 0, 1, 2, 3], {3}) == [0, 1, 2, 0, 0, 1, 2, 1]
    assert without([0, 1], set()) == [0, 1]


def test_tables_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="without any queue"):
        without([1, 1], {1})
    for weights in ([], [0, 0], [9], [-1, 2]):
        with pytest.raises(OptionError, match="their sum is not from 1 to 8"):
            weighted(8, weights)
    with pytest.raises(OptionError, match="at least one queue is needed"):
        equal(8, 0)


@given(st.lists(st.integers(0, 15), min_size=1, max_size=128), st.sets(st.integers(0, 15)))
def test_without_moves_nothing_else(table: list[int], excluded: set[int]) -> None:
    if set(table) <= excluded:
        return
    changed = without(table, excluded)
    assert not set(changed) & excluded
    assert all(new == old for new, old in zip(changed, table, strict=True) if old not in excluded)
    moved = Counter(new for new, old in zip(changed, table, strict=True) if old in excluded)
    assert not moved or max(moved.values()) - min(moved.get(queue, 0) for queue in set(table) - excluded) <= 1


# -- rules as values ---------------------------------------------------------------------------------------------------


@st.composite
def some_rules(draw: st.DrawFn) -> Rule:
    flow = draw(st.sampled_from(sorted(FLOWS)))
    names = draw(st.sets(st.sampled_from(sorted(FLOWS[flow].fields))))
    if "l4data" in names:
        names -= {"spi", "src-port", "dst-port"}
    if "spi" in names and flow in ("ip4", "ip6"):
        names -= {"src-port", "dst-port"}
    terms = []
    for name in sorted(names):
        ones = FLOWS[flow].fields[name].ones
        number = st.integers(0, ones)
        terms.append(Term(name, draw(number), draw(st.just(ones) | number)))
    action = draw(st.sampled_from([DROP, WAKE, cookie(0), cookie(3, vf=0), cookie(1, vf=254)]))
    context = draw(st.none() | st.integers(0, 1 << 31))
    return Rule(flow, tuple(terms), action, draw(st.none() | st.integers(0, (1 << 31) - 1)), context)


@given(some_rules())
def test_rules_survive_their_words_json_and_bytes(rule: Rule) -> None:
    assert parse_rule(str(rule)) == rule
    assert Rule.from_value(rule.to_value(), rule.location) == rule
    normal = rule.normal()
    assert normal.normal() == normal
    placed = replace(rule, location=rule.location or 0)
    assert rules.rule_of(rules.flow_spec(placed), placed.context or 0) == placed.normal()


@given(some_rules(), st.sampled_from(FRAMES))
def test_the_normal_form_means_the_same(rule: Rule, packet: bytes) -> None:
    rss = Rss((9,), MICROSOFT)
    assert Steering(rss, (rule,)).queue_of(packet) == Steering(rss, (rule.normal(),)).queue_of(packet)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("dst-port 53 action 3", "a rule without flow-type"),
        ("flow-type udp5 action 1", "flow-type udp5: not one of ether, ip4"),
        ("flow-type udp4 dst-port 53", "a rule without an action"),
        ("flow-type udp4 dst-port", "dst-port without a value"),
        ("flow-type udp4 spi 5 action 1", "spi in a rule for udp4: it has src-ip"),
        ("flow-type udp4 dst-port 65536 action 1", "dst-port 65536: not a number of 16 bits"),
        ("flow-type udp4 dst-port -1 action 1", "dst-port -1: not a number of 16 bits"),
        ("flow-type udp4 dst-port x action 1", "dst-port x: not a number"),
        ("flow-type udp4 dst-port 1 dst-port 2 action 1", "dst-port twice"),
        ("flow-type udp4 src-ip ::1 action 1", "src-ip ::1: not an IPv4 address"),
        ("flow-type udp4 src-ip ten action 1", "src-ip ten: not an address"),
        ("flow-type ether src 1:2:3 action 1", "src 1:2:3: not a MAC address"),
        ("flow-type ether src 1:2:3:4:5:x action 1", "src 1:2:3:4:5:x: not a MAC address"),
        ("flow-type udp4 action 1 vf 2", "action with vf or queue"),
        ("flow-type udp4 vf 255 queue 0", "vf 255: not from 0 to 254"),
        ("flow-type udp4 dst-port-mask 5 action 1", "dst-port-mask in a rule for udp4: a mask without its field"),
        ("m 5", "m without a field before it"),
        ("flow-type ip4 l4data 1 src-port 1 action 1", "l4data, and another name for its bytes"),
        ("flow-type udp4 action 1 loc 2147483648", "loc 2147483648: not a number of 31 bits"),
    ],
)
def test_rules_that_cannot_be(words: str, said: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_rule(words)
    assert said in str(error.value)


def test_equal_rules_have_one_normal_form() -> None:
    one = parse_rule("flow-type ip4 src-port 5 dst-port 6 src-ip 10.9.9.9 m 0.255.255.255 tos 3 m 0xff action 1")
    other = parse_rule("flow-type ip4 l4data 0x50006 src-ip 10.0.0.0 src-ip-mask 0.255.255.255 action 1")
    assert one != other
    assert one.normal() == other.normal()


# -- headers as a NIC sees them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", FRAMES)
def test_cut_off_frames_are_read_without_error(packet: bytes) -> None:
    for length in range(len(packet) if len(packet) < 120 else 120):
        assert headers(packet[:length]).flow


def test_flow_types() -> None:
    assert headers(frame("10.0.0.1", 1, "10.0.0.2", 2)).flow == "tcp4"
    assert headers(frame("::1", 1, "::2", 2, "udp")).flow == "udp6"
    assert headers(frame("10.0.0.1", 1, "10.0.0.2", 2, vlan=5)).flow == "tcp4"
    assert headers(eth(ip(icmp(), src="10.0.0.1", dst="10.0.0.2"))).flow == "ip4"
    assert headers(bytes(12) + b"\x88\xb5").flow == "ether"
    fragment = ip(udp(sport=1, dport=2), src="10.0.0.1", dst="10.0.0.2", fragment=0x2000)
    assert headers(eth(fragment)).flow == "ip4"


# -- the model ---------------------------------------------------------------------------------------------------------

QUERY = frame("10.0.0.1", 5000, "10.0.0.2", 53, "udp")
TAGGED = frame("10.0.0.1", 5000, "10.0.0.2", 53, "udp", vlan=7)
FRAGMENT = eth(ip(udp(sport=5000, dport=53), src="10.0.0.1", dst="10.0.0.2", fragment=0x2000))
SIX = frame("2001:db8::1", 5000, "2001:db8::2", 53, "udp")
RSS = Rss((0,), MICROSOFT, {"udp4": "sd"})


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("flow-type udp4", {"QUERY", "TAGGED"}),
        ("flow-type udp4 dst-port 53", {"QUERY", "TAGGED"}),
        ("flow-type udp4 dst-port 54", set()),
        ("flow-type udp4 dst-port 54 m 1", set()),
        ("flow-type udp4 dst-port 52 m 1", {"QUERY", "TAGGED"}),
        ("flow-type udp4 src-ip 10.0.0.0 m 0.0.0.255", {"QUERY", "TAGGED"}),
        ("flow-type udp4 src-ip 10.0.1.0 m 0.0.0.255", set()),
        ("flow-type tcp4 dst-port 53", set()),
        ("flow-type udp6 dst-port 53", {"SIX"}),
        ("flow-type ip4 src-ip 10.0.0.1", {"QUERY", "TAGGED", "FRAGMENT"}),
        ("flow-type ip4 l4proto 17", {"QUERY", "TAGGED", "FRAGMENT"}),
        ("flow-type ip4 dst-port 53", {"QUERY", "TAGGED"}),
        ("flow-type ip4 tos 1", set()),
        ("flow-type ip6 src-ip 2001:db8:: m ::ffff", {"SIX"}),
        ("flow-type ether proto 0x86dd", {"SIX"}),
        ("flow-type ether src 02:00:00:00:00:01", {"QUERY", "TAGGED", "FRAGMENT", "SIX"}),
        ("flow-type udp4 vlan 7 m 0xf000", {"TAGGED"}),
        ("flow-type udp4 vlan-etype 0x8100", {"TAGGED"}),
        ("flow-type udp4 vlan 0", set()),
        ("flow-type udp4 user-def 1", set()),
        ("flow-type udp4 dst-mac 02:00:00:00:00:02", set()),
    ],
)
def test_what_a_rule_takes(words: str, taken: set[str]) -> None:
    steering = Steering(RSS, (parse_rule(f"{words} action 3"),))
    frames = {"QUERY": QUERY, "TAGGED": TAGGED, "FRAGMENT": FRAGMENT, "SIX": SIX}
    assert {name for name, packet in frames.items() if steering.queue_of(packet) == 3} == taken


def test_ip_rules_of_nics_that_mean_other_packets() -> None:
    rule = parse_rule("flow-type ip4 src-ip 10.0.0.1 action 3")
    other = Steering(RSS, (rule,), ip_is_other=True)
    assert [other.queue_of(packet) for packet in (QUERY, FRAGMENT)] == [0, 3]


def test_the_lowest_location_decides() -> None:
    wide = parse_rule("flow-type udp4 action 1 loc 5")
    exact = parse_rule("flow-type udp4 dst-port 53 action 2 loc 4")
    assert queue_of(QUERY, RSS, [wide, exact]) == 2
    assert queue_of(QUERY, RSS, [wide, replace(exact, location=6)]) == 1


def test_drop_and_virtual_functions_are_no_queue_of_ours() -> None:
    assert queue_of(QUERY, RSS, [parse_rule("flow-type udp4 action -1")]) is None
    assert queue_of(QUERY, RSS, [parse_rule("flow-type udp4 vf 0 queue 2")]) is None


def test_fragments_are_hashed_by_their_addresses() -> None:
    """All fragments of a datagram, and so not always where its flow is."""
    rss = Rss(tuple(range(128)), MICROSOFT, {"udp4": "sdfn", "ip4": "sd"})
    later = eth(ip(udp(sport=1, dport=2), src="10.0.0.1", dst="10.0.0.2", fragment=185))
    assert queue_of(FRAGMENT, rss) == queue_of(later, rss) != queue_of(QUERY, rss)
