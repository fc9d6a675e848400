# SPDX-License-Identifier: Apache-2.0
"""What is never diverted: what of it a match can meet, as a match that libpcap takes too, and in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.facts.found import DAEMONS, Found, Session
from offramp.llvm.programs import xdp
from offramp.lower.meaning import lower
from offramp.match import parse
from offramp.protection import ROWS, Protection
from offramp.verdict import Verdict
from tests.oracles.libpcap import Filter

EVERYTHING, NOTHING = lower(parse("")), Found()
ALWAYS = [row.name for row in ROWS if row.name not in DAEMONS]
BY_MAC = ["STP", "MVRP", "PVST+"]  # whatever else a frame of these groups is
SESSIONS = (
    Session("10.0.0.1", 22, "10.0.0.9", 40000),
    Session("10.0.0.1", 4022, "10.0.0.2", 50000),
    Session("10.0.0.1", 50002, "10.0.0.3", 22),
    Session("2001:db8::1", 50001, "2001:db8::2", 4022),
)


def met(match: str, found: Found = NOTHING) -> list[str]:
    return [row.name for row in Protection.of(found, lower(parse(match))).rows]


def test_every_packet_meets_all_that_is_always_protected() -> None:
    assert met("") == ALWAYS
    everything = Protection.of(Found(), EVERYTHING)
    assert everything.words == ", ".join(ALWAYS)
    assert not everything.whole


def test_what_was_found_is_protected_too() -> None:
    made = Protection.of(Found((22, 2222), SESSIONS, daemons=("BGP", "OSPF")), EVERYTHING)
    names = [row.name for row in made.rows]
    assert names == [
        *[row.name for row in ROWS[:-1] if row.name not in DAEMONS or row.name in ("BGP", "OSPF")],
        *("TCP to port 2222", "2 SSH sessions on other ports", "PPP"),
    ]
    assert " or (tcp dst port 2222) or (" in str(made.text)
    assert (
        " or ((ip src host 10.0.0.2 and dst host 10.0.0.1 and tcp src port 50000 and dst port 4022)"
        " or (ip6 src host 2001:db8::2 and dst host 2001:db8::1 and tcp src port 4022 and dst port 50001)) or ("
    ) in str(made.text)


def test_a_session_of_bgp_is_protected_by_itself_where_no_daemon_is_found() -> None:
    session = Session("10.0.0.1", 50000, "10.0.0.2", 179)
    assert met("tcp", Found(sessions=(session,))) == ["TCP port 22 (SSH)", "1 BGP session"]
    assert met("tcp", Found(sessions=(session,), daemons=("BGP",))) == ["BGP", "TCP port 22 (SSH)"]
    assert met("udp", Found(sessions=(session,))) == ["DHCP"]


@pytest.mark.parametrize(
    ("match", "rows"),
    [
        ("udp dst port 4321", []),
        ("udp dst port 67", ["DHCP"]),
        ("udp dst portrange 60-70", ["DHCP"]),
        ("udp src port 67", ["DHCP"]),
        ("portrange 23-66", ["DHCP", "TCP port 22 (SSH)"]),  # the other port may be any
        ("tcp src and dst portrange 23-66", []),
        ("tcp src and dst portrange 22-66", ["TCP port 22 (SSH)"]),
        ("tcp", ["TCP port 22 (SSH)"]),
        ("tcp dst port 80", ["TCP port 22 (SSH)"]),
        ("tcp src port 80 and dst port 8080", []),
        ("tcp and not port 22", []),
        ("src net 203.0.113.0/24", ["ARP", *BY_MAC, "IGMP", "DHCP", "ICMP errors", "TCP port 22 (SSH)"]),
        ("ip src net 203.0.113.0/24 and udp", ["DHCP"]),
        ("ip6", ["ND", "MLD", "DHCP", "ICMP errors", "TCP port 22 (SSH)"]),
        ("icmp", ["ICMP errors"]),
        ("icmp[0] == 8", []),
        ("icmp and icmp[icmptype] == icmp-unreach", ["ICMP errors"]),
        ("icmp6 and icmp6[0] == 128", []),
        ("icmp6 and icmp6[0] == 135", ["ND"]),
        ("icmp6[0] > 128 and icmp6[0] < 133", ["MLD"]),
        ("vlan 5 and udp dst port 4321", []),
        ("vlan 5 and vlan 6 and arp", ["ARP"]),
        # if the first tag is beside the frame
        ("vlan and vlan and vlan and tcp dst port 22", [*BY_MAC, "TCP port 22 (SSH)"]),
        ("vlan and vlan and vlan and vlan and tcp dst port 22", BY_MAC),
        ("vlan any and udp dst port 4321", []),
        ("ether proto 0x88cc", [*BY_MAC, "LLDP"]),
        ("pppoes", [*BY_MAC, "PPP"]),
        ("pppoes and ip", BY_MAC),
        ("pppoed", [*BY_MAC, "PPPoE"]),
        ("pppoes and tcp port 22", BY_MAC),  # what is inside of a tunnel is not looked at
        ("mpls", BY_MAC),
        ("ether dst 01:80:c2:00:00:00", [name for name in ALWAYS if name not in ("MVRP", "PVST+")]),
        ("arp", ["ARP"]),
        ("not tcp", ALWAYS),
        ("dst port 1 or 2 or 3 or 4 or 5 or 6 or 7 or 8 or 9", ["TCP port 22 (SSH)"]),  # a look-up
        ("tcp src port 7 and (dst port 1 or 2 or 3 or 4 or 5 or 6 or 7 or 8 or 9)", []),
        ("tcp src port 7 and (dst port 1 or 2 or 3 or 4 or 5 or 6 or 7 or 8 or 22)", ["TCP port 22 (SSH)"]),
        ("src host 10.0.0.1 and dst host 10.0.0.2 and udp src port 1000 and dst port 2000", []),
        ("len > 1000", ALWAYS),
    ],
)
def test_what_of_it_a_match_can_meet(match: str, rows: list[str]) -> None:
    assert met(match) == rows


@pytest.mark.parametrize(
    ("match", "whole"),
    [
        ("arp", True),
        ("ether proto 0x88cc", True),
        ("tcp port 22", True),
        ("udp dst port 67", True),
        ("icmp[0] == 3", True),
        ("icmp6 and icmp6[0] == 135", True),
        ("tcp dst port 80", False),
        ("", False),
        ("udp dst port 4321", False),
        ("arp or udp", False),
        ("icmp", False),
        ("vlan 5 and arp", True),
    ],
)
def test_a_match_that_is_protected_as_a_whole_is_known(match: str, whole: bool) -> None:
    assert Protection.of(Found(), lower(parse(match))).whole is whole


def test_sessions_that_are_left_out_are_told_if_they_could_match() -> None:
    found = Found(left_out=((65534, 48),))
    assert Protection.of(found, EVERYTHING).left_out == ((65534, 48),)
    assert Protection.of(found, lower(parse("udp"))).left_out == ()


def test_words() -> None:
    udp = Protection.of(Found(), lower(parse("udp dst port 4321")))
    assert (udp.words, udp.text, udp.lowered) == ("nothing that can match", None, None)
    own = Protection.of(Found(), lower(parse("udp dst port 4321")), "host 10.0.0.9")
    assert own.words == "packets of your own: host 10.0.0.9"
    assert Protection.of(Found(), lower(parse("arp")), "x" * 1000).words.endswith("xxx...")
    assert len(replace(own, own="x" * 1000).words) < 250


ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str).filter(lambda text: "." not in text)
PORTS = st.integers(1, 65535)
FOUND = st.builds(
    Found,
    st.lists(PORTS, max_size=4, unique=True).map(lambda ports: tuple(sorted(ports))),
    st.lists(
        st.builds(Session, ADDRESSES, PORTS, ADDRESSES, PORTS).filter(lambda s: (":" in s.local) == (":" in s.remote)),
        max_size=80,
        unique=True,
    ).map(lambda sessions: tuple(sorted(sessions))),
    daemons=st.sets(st.sampled_from(sorted(DAEMONS))).map(lambda names: tuple(sorted(names))),
)


@settings(deadline=None)
@given(FOUND)
def test_every_protection_is_a_match_for_us_and_for_libpcap(found: Found) -> None:
    text = Protection.of(found, EVERYTHING).text
    assert text is not None
    parse(text)
    with Filter(text.removeprefix("vlan any and ")):
        pass


def test_the_largest_protection_fits_a_program() -> None:
    sessions = tuple(Session("2001:db8::1", 4022, f"2001:db8::{number:x}", number) for number in range(1, 193))
    protection = Protection.of(Found((22,), sessions, daemons=tuple(sorted(DAEMONS))), EVERYTHING)
    assert xdp(
        Spec(MatchBody(lower(parse("udp dst port 4321")), Verdict.CLAIM), protection.lowered, 4, 10**9, True)
    ).code


@pytest.mark.parametrize("verdict", [Verdict.DROP, Verdict.CLAIM])
def test_a_match_that_meets_nothing_costs_nothing(verdict: Verdict) -> None:
    """Its program is the one without protection."""
    body = MatchBody(lower(parse("udp dst port 4321")), verdict)
    protection = Protection.of(Found((2222,), SESSIONS, daemons=tuple(sorted(DAEMONS))), body.match)
    assert xdp(Spec(body, protection.lowered)) == xdp(Spec(body))
