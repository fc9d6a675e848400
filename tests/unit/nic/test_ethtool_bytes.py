# SPDX-License-Identifier: Apache-2.0
"""Requests, byte by byte, against those of Debian's ethtool and ip."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from offramp.errors import OptionError
from offramp.nic import ethtool, rss, rules, vf
from offramp.steering import DROP, Rule, Term, cookie, equal, parse_rule, weighted
from tests.rigs.recorder import Recorder, recorder

KEY = ":".join(f"{byte:02x}" for byte in range(40))

RULES = [
    # every flow type, alone and with all that it can compare
    *(f"flow-type {flow} action 1" for flow in ("ether", "ip4", "tcp4", "udp4", "sctp4", "ah4", "esp4")),
    *(f"flow-type {flow} action 1" for flow in ("ip6", "tcp6", "udp6", "sctp6", "ah6", "esp6")),
    "flow-type ether src 02:00:00:00:00:01 dst 02:00:00:00:00:02 proto 0x88b5 action 0 loc 0",
    "flow-type ip4 src-ip 192.0.2.1 dst-ip 198.51.100.7 tos 0x10 l4proto 47 l4data 0xdeadbeef action 2",
    "flow-type ip4 spi 77 action 2",
    "flow-type ip4 src-port 5 dst-port 6 action 2",
    "flow-type ip4 dst-port 6 m 0xff00 action 2",
    "flow-type tcp4 src-ip 192.0.2.1 dst-ip 198.51.100.7 tos 8 src-port 1 dst-port 65535 action 7 loc 5",
    "flow-type udp4 src-ip 10.0.0.1 dst-ip 10.0.0.2 src-port 53 dst-port 53 action 3",
    "flow-type sctp4 dst-port 36412 action 4",
    "flow-type ah4 spi 4294967295 action 4",
    "flow-type esp4 dst-ip 203.0.113.9 spi 0x1000 tos 3 action 4",
    "flow-type ip6 src-ip 2001:db8::1 dst-ip ::ffff:192.0.2.1 tclass 0xb8 l4proto 58 l4data 0x80000000 action 5",
    "flow-type tcp6 src-ip fe80::1 dst-ip 2001:db8::2 src-port 22 dst-port 22 tclass 1 action 5",
    "flow-type udp6 dst-port 53 action 5",
    "flow-type sctp6 src-port 1 action 5",
    "flow-type ah6 src-ip ::1 spi 9 action 5",
    "flow-type esp6 spi 9 tclass 255 action 5",
    # masks, of every form
    "flow-type udp4 src-ip 10.0.0.0 m 0.0.0.255 dst-port 53 action 3 loc 1023",
    "flow-type udp4 src-ip 10.1.2.3 m 0.0.255.255 action 3",
    "flow-type udp4 src-ip 10.0.0.1 m 255.0.255.0 action 3",
    "flow-type udp4 src-ip 10.0.0.1 src-ip-mask 255.255.255.255 action 3",
    "flow-type udp4 src-port 0x1000 m 0x0fff dst-port 8000 m 7 action 3",
    "flow-type udp4 dst-port 1 dst-port-mask 0 action 3",
    "flow-type tcp6 src-ip 2001:db8:: m 0:0:ffff:ffff:ffff:ffff:ffff:ffff dst-port 443 action 1",
    "flow-type ether src 02:00:00:00:00:00 m 00:00:00:ff:ff:ff action 1",
    "flow-type tcp4 tos 0xe0 m 0x1f action 1",
    "flow-type ip4 l4data 0x12345678 m 0xffff action 1",
    # the additional fields
    "flow-type udp4 vlan-etype 0x8100 vlan 0x2005 action 1",
    "flow-type udp4 vlan 5 m 0xf000 action 1",
    "flow-type udp4 vlan 0 m 0xffff action 1",
    "flow-type ether vlan 0xe000 m 0x1fff vlan-etype 0x88a8 action 1",
    "flow-type tcp4 user-def 0x0000000200000010 action 1",
    "flow-type tcp4 user-def 0x10 m 0xffffffffffff0000 action 1",
    "flow-type tcp4 user-def -1 action 1",
    "flow-type udp6 dst-mac 02:00:00:00:00:09 action 1",
    "flow-type ip4 dst-mac 1:2:3:4:5:6 m 00:00:00:00:00:ff vlan 7 action 1",
    # actions
    "flow-type udp4 dst-port 53 action -1",
    "flow-type udp4 dst-port 53 action -2",
    "flow-type udp4 dst-port 53 action 4294967296",
    "flow-type udp4 dst-port 53 action 4294967299",
    "flow-type udp4 dst-port 53 action 0x800000001",
    "flow-type udp4 dst-port 53 vf 0 queue 3",
    "flow-type udp4 dst-port 53 vf 7",
    "flow-type udp4 dst-port 53 queue 9",
    "flow-type udp4 dst-port 53 vf 254 queue 4294967295",
    "flow-type udp4 dst-port 53 context 2 action 1",
    "flow-type udp4 dst-port 010 action 1",
]


@pytest.fixture(scope="module")
def ethtool_says(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return recorder("ethtool", tmp_path_factory.mktemp("ethtool"))


@pytest.fixture(scope="module")
def ip_says(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return recorder("ip", tmp_path_factory.mktemp("ip"))


def meant(request: bytes) -> bytes:
    """struct ethtool_rxnfc without what ethtool leaves on its stack: flow_type and data, which this command has no use
    for, and the padding of the end.
    """
    return request[:4] + bytes(12) + request[16:188] + bytes(4)


def test_there_are_enough_rules() -> None:
    assert len(RULES) >= 40
    assert len(set(RULES)) == len(RULES)


@pytest.mark.parametrize("words", RULES)
def test_rules_are_ethtools(ethtool_says: Recorder, words: str) -> None:
    (theirs,) = ethtool_says("-N", "eth0", *words.split())
    rule = parse_rule(words)
    free = rules.RuleTable((), 1024, chooses=False).free()
    location = free if rule.location is None else rule.location
    ours = rules.insert_request(Rule(rule.flow, rule.terms, rule.action, location, rule.context))
    assert len(ours) == len(theirs)
    assert ours == meant(theirs)


@pytest.mark.parametrize("words", RULES)
def test_our_words_are_ethtools_words(ethtool_says: Recorder, words: str) -> None:
    """What we print for a rule, ethtool reads as the same rule."""
    (before,) = ethtool_says("-N", "eth0", *words.split())
    (after,) = ethtool_says("-N", "eth0", *str(parse_rule(words)).split())
    assert meant(after) == meant(before)


@pytest.mark.parametrize("words", RULES)
def test_rules_survive_their_bytes(words: str) -> None:
    rule = parse_rule(words)
    placed = Rule(rule.flow, rule.terms, rule.action, rule.location or 0, rule.context)
    assert rules.rule_of(rules.flow_spec(placed), placed.context or 0) == placed.normal()


def test_deleting_a_rule_is_ethtools(ethtool_says: Recorder) -> None:
    (theirs,) = ethtool_says("-N", "eth0", "delete", "1023")
    ours = rules.delete_request(1023)
    place = slice(16 + 160, 16 + 164)  # ethtool leaves the rest of the rule on its stack
    assert (len(ours), ours[:4], ours[place]) == (len(theirs), theirs[:4], theirs[place])


def test_a_flow_type_without_a_word() -> None:
    assert rules.rule_of(struct.pack("I", 0x99).ljust(168, b"\0")) is None


def test_the_example_of_the_article() -> None:
    """`action 4294967296` is queue 0 of VF 0."""
    rule = parse_rule("flow-type udp4 dst-port 4321 action 4294967296")
    assert (rule.vf, rule.queue, rule.action) == (0, 0, cookie(0, vf=0))
    assert rule == Rule("udp4", (Term("dst-port", 4321),), action=1 << 32)
    assert parse_rule("flow-type udp4 action -1").action == DROP


@pytest.mark.parametrize(
    ("words", "table"),
    [
        ("equal 4", equal(128, 4)),
        ("equal 1", equal(128, 1)),
        ("equal 7 start 1", equal(128, 7, 1)),
        ("weight 1", weighted(128, [1])),
        ("weight 3 1", weighted(128, [3, 1])),
        ("weight 1 2 3 4 5", weighted(128, [1, 2, 3, 4, 5])),
        ("weight 0 1 0 6", weighted(128, [0, 1, 0, 6])),
        ("weight 127 1", weighted(128, [127, 1])),
        ("start 2 weight 5 3", weighted(128, [5, 3], 2)),
        ("default", []),
    ],
)
def test_rss_tables_are_ethtools(ethtool_says: Recorder, words: str, table: list[int]) -> None:
    assert ethtool_says("-X", "eth0", *words.split()) == [rss.request(table)]


@pytest.mark.parametrize(("name", "number"), [("toeplitz", 1), ("xor", 2), ("crc32", 4)])
def test_rss_key_and_function_are_ethtools(ethtool_says: Recorder, name: str, number: int) -> None:
    key = bytes.fromhex(KEY.replace(":", ""))
    assert ethtool_says("-X", "eth0", "hkey", KEY) == [rss.request(key=key)]
    assert ethtool_says("-X", "eth0", "hfunc", name) == [rss.request(function=number)]
    together = rss.request(equal(128, 4), key, number)
    assert ethtool_says("-X", "eth0", "equal", "4", "hkey", KEY, "hfunc", name) == [together]


@pytest.mark.parametrize(
    "flow", ["tcp4", "udp4", "sctp4", "ah4", "esp4", "tcp6", "udp6", "sctp6", "ah6", "esp6", "ether"]
)
@pytest.mark.parametrize("letters", ["sdfn", "sd", "r", "m", "vt", "nfds"])
def test_hash_fields_are_ethtools(ethtool_says: Recorder, flow: str, letters: str) -> None:
    (theirs,) = ethtool_says("-N", "eth0", "rx-flow-hash", flow, letters)
    ours = rss.fields_request(flow, letters)
    assert (len(ours), ours[:16]) == (len(theirs), theirs[:16])  # behind it is ethtool's stack


def test_unknown_letters() -> None:
    with pytest.raises(OptionError, match="hash field x: not one of m v t s d f n r"):
        rss.fields_request("udp4", "sdx")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("combined 4", (2, 2, 4)), ("rx 1 tx 3", (1, 3, 8)), ("rx 4 tx 4 combined 16", (4, 4, 16))],
)
def test_channels_are_ethtools(ethtool_says: Recorder, words: str, wanted: tuple[int, int, int]) -> None:
    now = struct.pack("9I", 0x3C, 4, 4, 1, 16, 2, 2, 1, 8)  # as the recorder answers
    assert ethtool_says("-L", "eth0", *words.split()) == [ethtool.channels_request(now, *wanted)]


@pytest.mark.parametrize(("words", "wanted"), [("rx 1024", (1024, 512)), ("rx 64 tx 4096", (64, 4096))])
def test_rings_are_ethtools(ethtool_says: Recorder, words: str, wanted: tuple[int, int]) -> None:
    now = struct.pack("9I", 0x10, 4096, 64, 64, 4096, 512, 3, 5, 512)
    assert ethtool_says("-G", "eth0", *words.split()) == [ethtool.rings_request(now, *wanted)]


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("mac 02:00:00:00:00:07", vf.request(1, struct.pack("I32s", 3, bytes.fromhex("020000000007")))),
        ("vlan 5 qos 3", vf.request(2, struct.pack("III", 3, 5, 3))),
        ("vlan 0", vf.request(2, struct.pack("III", 3, 0, 0))),
        ("spoofchk off", vf.request(4, struct.pack("II", 3, 0))),
        ("trust on", vf.request(9, struct.pack("II", 3, 1))),
    ],
)
def test_virtual_functions_are_ips(ip_says: Recorder, words: str, ours: bytes) -> None:
    """`lo` has no VFs, so that the kernel refuses what was recorded; attributes begin behind nlmsghdr and ifinfomsg."""
    theirs = ip_says("link", "set", "lo", "vf", "3", *words.split(), check=False)[-1][32:]
    assert theirs.rstrip(b"\0") == ours.rstrip(b"\0")


def test_the_recorder_leaves_no_trace(ethtool_says: Recorder, tmp_path: Path) -> None:
    assert ethtool_says("-X", "eth0", "equal", "0", check=False) == []
    assert not list(tmp_path.iterdir())
