# SPDX-License-Identifier: Apache-2.0
"""What a MatchError suggests is a whole match, and says what its reader said. A wrong suggestion is worse than none."""

from __future__ import annotations

import re

import pytest

from offramp.errors import MatchError
from offramp.match import parse
from offramp.match.suggest import LONGEST, SHOWN

ZONE = "%eth0"


@pytest.mark.parametrize(
    ("typed", "place", "meant"),
    [
        ("ether proto ip", "ip", "ether proto \\ip"),
        ("ip6 proto tcp", "tcp", "ip6 proto \\tcp"),
        ("ether proto vlan", "vlan", None),
        ("udp dst 53", "53", "udp dst port 53"),
        ("udp src or dst 53", "53", "udp src or dst port 53"),
        ("dst 10.0.0.1 or 80", "80", "dst 10.0.0.1 or dst port 80"),
        ("ip src 80", "80", "ip and src port 80"),
        ("tcp 80 or 443", "80", "tcp port 80 or 443"),
        ("tcp80", "tcp80", "tcp port 80"),
        ("icmp 8", "8", None),
        ("icmp port 5", "5", None),
        ("not (tcp and icmp port 5)", "5", None),
        ("arp dst 80", "80", None),
        ("tcp port 80-90", "80-90", "tcp portrange 80-90"),
        ("tcp src port 80 or 443-445", "443-445", "tcp src port 80 or tcp src portrange 443-445"),
        ("tcp dst 80-90", "80-90", "tcp dst portrange 80-90"),
        ("sctp 5000-6000", "5000-6000", "sctp portrange 5000-6000"),
        ("portrange 80 90", "90", "portrange 80-90"),
        ("portrange 80,90", ",", None),
        ("vlan 5 or 6", "6", None),  # 'vlan 5 or vlan 6' is 6 inside of 5
        ("vlan 5-7", "5-7", None),
        ("vlan 5,6", ",", None),
        ("mpls 5 or 6", "6", None),
        ("len == 64 or 128", "128", "len == 64 or len == 128"),
        ("len > 64 and 128", "128", None),
        ("less 64 or 128", "128", None),
        ("tcp-syn", "tcp-syn", "tcp[tcpflags] & tcp-syn != 0"),
        ("not syn", "syn", "not tcp[tcpflags] & tcp-syn != 0"),
        ("tcp[13] & syn != 0", "syn", "tcp[13] & tcp-syn != 0"),
        ("ip.proto=17", "ip.proto", None),
        ("icmp[type]=8", "type", "icmp[icmptype] = 8"),
        ("icmp type 8", "type", "icmp[icmptype] = 8"),
        ("icmp[icmptype] = echo", "echo", None),  # icmp's or icmp6's
        ("port 80,443", ",", "port (80 or 443)"),
        ("not port 80, 443,8080 and tcp", ",", "not port (80 or 443 or 8080) and tcp"),
        ("tcp, udp", ",", None),
        ("udp port 53, tcp port 80", ",", None),
        ("port 80 443", "443", "port (80 or 443)"),
        ("not port 80 443", "443", "not port (80 or 443)"),
        ("tcp udp", "udp", None),  # and? or?
        ("host 2001:db8:::1", "2001:db8:::1", None),
        ("host 2001:db8::1::2", "2001:db8::1::2", None),
        ("host 00:11:22:33:44", "00:11:22:33:44", None),
        (f"host fe80::1{ZONE} and tcp", "%", "host fe80::1 and tcp"),
        (f"net fe80::/10{ZONE}", "%", "net fe80::/10"),
        ("10.0.0.0/8", "10.0.0.0", "net 10.0.0.0/8"),
        ("src host 10.0.0.0/8", "10.0.0.0/8", "src net 10.0.0.0/8"),
        ("src host 10.0.0.1/8", "10.0.0.1/8", None),  # the address of an interface, as it is written there
        ("src net 10.0.0.1/8", "10.0.0.1/8", "src net 10.0.0.0/8"),
        ("src net 10/8 and tcp", "/", "src net 10.0.0.0/8 and tcp"),
        ("src net 10.0.0.0 mask 24", "24", "src net 10.0.0.0/24"),
        ("tcp src 10.0.0.1", "10.0.0.1", "tcp and src host 10.0.0.1"),
        ("not tcp host 10.0.0.1", "10.0.0.1", "not (tcp and host 10.0.0.1)"),
        ("udp or tcp host 10.0.0.1", "10.0.0.1", "udp or (tcp and host 10.0.0.1)"),
        ("tcp host 10.0.0.1 or 10.0.0.2", "10.0.0.1", None),
        ("icmp host ::1", "::1", None),
        ("ip src host ::1", "::1", "ip6 src host ::1"),
        ("ip src host 10.0.0.1 or ::1", "::1", "ip src host 10.0.0.1 or ip6 src host ::1"),
        ("ether src 10.0.0.1", "10.0.0.1", "src host 10.0.0.1"),
        ("dst net 02:00:00:00:00:01", "02:00:00:00:00:01", "ether dst host 02:00:00:00:00:01"),
        ("ip src 02:00:00:00:00:01", "02:00:00:00:00:01", "ip and ether src host 02:00:00:00:00:01"),
        ("tcp proto 6", "6", None),
        ("tcp src host in @x", "in @x", "tcp and src host in @x"),
        ("tcp dst portrange in @x", "in @x", "tcp dst port in @x"),
        ("src @x", "@x", "src in @x"),
        ("@x", "@x", None),
        ("gre", "gre", "proto 47"),
        ("ip gre", "gre", "ip proto 47"),
        ("ipip", "ipip", "ip proto 4"),
        ("quic", "quic", "udp port 443"),
        ("tcp http or 443", "http", "tcp port 80 or 443"),
        ("udp http", "http", None),
        ("dst ssh", "ssh", "dst port 22"),
        ("smtp", "smtp", "tcp port 25"),
        ("vxlna 5", "vxlna", "vxlan 5"),
        ("protchain 6", "protchain", "protochain 6"),
        ("ttl", "ttl", None),
        ("ip ttl 5", "ttl", None),
        ("udp dport 53 or sport 54", "dport", "udp dst port 53 or src port 54"),
        ("TCP DST PORT 80", "TCP", "tcp dst port 80"),
    ],
)
def test_a_suggestion_is_what_was_meant(typed: str, place: str, meant: str | None) -> None:
    error = refused(typed)
    assert typed[error.position : error.position + error.width] == place
    found = re.fullmatch("did you mean '(.*)'[?]", error.hint)
    if meant is None:
        assert found is None, error.hint
        assert "did you mean" not in error.hint
    else:
        assert found is not None, error.hint
        assert parse(found[1]) == parse(meant)


def test_the_examples_of_a_hint_are_matches() -> None:
    for typed in (
        "vlan 5-7",
        "ttl",
        "@x",
        "less 64 or 128",
        "port ::1",
        "portrange 80 - 90",
        "ether",
        "src host 10.0.0.1/8",
    ):
        examples = re.findall("'([^']{2,})'", refused(typed).hint)
        for example in examples:
            parse(example)


def test_one_of_several_mistakes_is_mended_where_it_stands() -> None:
    assert refused("udp dst prt 53 and foo 5").hint == "did you mean 'port' here?"


def test_of_a_long_match_the_place_is_suggested() -> None:
    assert refused("tcp or " * 20 + "prt 80").hint == "did you mean 'port' here?"
    assert len("tcp or " * 20) > SHOWN
    assert refused("tcp or " * LONGEST + "prt 80").hint == ""


def refused(text: str) -> MatchError:
    with pytest.raises(MatchError) as caught:
        parse(text)
    return caught.value
