# SPDX-License-Identifier: Apache-2.0
"""What a MatchError says, word for word: the place, the reason, the cure."""

from __future__ import annotations

import pytest

from offramp.errors import MatchError
from offramp.match import parse
from offramp.match.complain import BEGINNINGS, REFUSED
from offramp.match.scan import KEYWORDS

CONDITION = "a condition such as 'udp dst port 53', 'host 10.0.0.1' or 'tcp'"
QUALIFIER = "host, net, port, portrange, src, dst, proto, '[', and, or or the end"
TCPDUMP = "a match is a tcpdump expression, such as 'udp dst port 53', 'host 10.0.0.1' or 'tcp'"
WIRESHARK = f"this is Wireshark's language; {TCPDUMP}"


@pytest.mark.parametrize(
    ("source", "place", "what", "hint"),
    [
        ("udp dst prot 53", "prot", "unknown word 'prot'", "did you mean 'udp dst port 53'?"),
        ("TCP port 80", "TCP", "unknown word 'TCP'", "did you mean 'tcp port 80'?"),
        ("tcp prt 80", "prt", "unknown word 'prt'", "did you mean 'tcp port 80'?"),
        ("port 99999", "99999", "port 99999 is not in 0..65535", ""),
        ("port 080", "080", "'080' begins with 0, so it is octal, and has other digits", "did you mean 'port 80'?"),
        ("port http", "http", "'http' is not a port", "did you mean 'port 80'?"),
        ("port sip", "sip", "'sip' is not a port", "did you mean 'port 5060'?"),
        ("port nosuch", "nosuch", "'nosuch' is not a port", "names of services are not known here: write the number"),
        ("port 80-90", "80-90", "'80-90' is not a port", "did you mean 'portrange 80-90'?"),
        ("port ::1", "::1", "'::1' is not a port", "a port is a number from 0 to 65535"),
        ("port 10.0.0.1", "10.0.0.1", "'10.0.0.1' is not a port", "a port is a number from 0 to 65535"),
        ("ip port 80", "80", "'ip' has no ports: they belong to tcp, udp and sctp", "did you mean 'ip and port 80'?"),
        ("ether port 80", "80", "'ether' has no ports: they belong to tcp, udp and sctp", "did you mean 'port 80'?"),
        (
            "host example.com",
            "example.com",
            "'example.com' is not an address",
            "names are not looked up: write the address",
        ),
        ("host 1.2.3.4.5", "1.2.3.4.5", "'1.2.3.4.5' is not an address", "an IPv4 address has four numbers: 10.0.0.1"),
        ("host 300.1.1.1", "300.1.1.1", "'300.1.1.1' is not an IP address", "each of its numbers is at most 255"),
        (
            "host 00:11:22:33:44:55",
            "00:11:22:33:44:55",
            "'00:11:22:33:44:55' is an Ethernet address",
            "did you mean 'ether host 00:11:22:33:44:55'?",
        ),
        (
            "src 00:11:22:33:44:55",
            "00:11:22:33:44:55",
            "'00:11:22:33:44:55' is an Ethernet address",
            "did you mean 'ether src host 00:11:22:33:44:55'?",
        ),
        (
            "host 00:11:22:33:44",
            "00:11:22:33:44",
            "'00:11:22:33:44' is not an address",
            "an Ethernet address has six bytes, an IPv6 address eight groups or one '::'",
        ),
        ("ether host 10.0.0.1", "10.0.0.1", "'ether' cannot qualify an IPv4 address", "did you mean 'host 10.0.0.1'?"),
        (
            "ether host router",
            "router",
            "'router' is not an Ethernet address",
            "names are not looked up: write the six bytes, 00:11:22:33:44:55",
        ),
        (
            "ether 00:11:22:33:44:55",
            "00:11:22:33:44:55",
            f"unexpected '00:11:22:33:44:55': expected {QUALIFIER}",
            "did you mean 'ether host 00:11:22:33:44:55'?",
        ),
        ("dst 80", "80", "'80' is a number, not an address", "did you mean 'dst port 80'?"),
        ("net 10.0.0.0/33", "33", "an IPv4 prefix has at most 32 bits", ""),
        ("net ::/129", "129", "an IPv6 prefix has at most 128 bits", ""),
        ("net 10.0.0.1/8", "10.0.0.1/8", "non-network bits set in '10.0.0.1/8'", "did you mean 'net 10.0.0.0/8'?"),
        ("net ::1/64", "::1/64", "non-network bits set in '::1/64'", "did you mean 'net ::/64'?"),
        ("host 10.0.0.0/8", "10.0.0.0/8", "a mask belongs to 'net'", "did you mean 'net 10.0.0.0/8'?"),
        ("host ::/64", "::/64", "a mask belongs to 'net'", "did you mean 'net ::/64'?"),
        ("net 10/8", "/", "a prefix length follows a dotted address", "did you mean 'net 10.0.0.0/8'?"),
        (
            "net 10.1.0.0 mask 255.0.0.0",
            "10.1.0.0 mask 255.0.0.0",
            "non-network bits set in '10.1.0.0 mask 255.0.0.0'",
            "did you mean 'net 10.0.0.0/8'?",
        ),
        ("net 10.0.0.0 mask", "", "the match ends early: expected a mask such as 255.255.0.0", ""),
        (
            "net 10.0.0.0 mask 24",
            "24",
            "unexpected '24': expected a mask such as 255.255.0.0",
            "did you mean 'net 10.0.0.0/24'?",
        ),
        ("net mynet", "mynet", "'mynet' is not an address", "names are not looked up: write the address"),
        (
            "tcp host 10.0.0.1",
            "10.0.0.1",
            "'tcp' cannot qualify an IPv4 address",
            "did you mean 'tcp and host 10.0.0.1'?",
        ),
        (
            "tcp 10.0.0.1",
            "10.0.0.1",
            f"unexpected '10.0.0.1': expected {QUALIFIER}",
            "did you mean 'tcp and host 10.0.0.1'?",
        ),
        ("ip src host ::1", "::1", "'ip' cannot qualify an IPv6 address", "did you mean 'ip6 src host ::1'?"),
        ("ip6 host 10.0.0.1", "10.0.0.1", "'ip6' cannot qualify an IPv4 address", "did you mean 'ip host 10.0.0.1'?"),
        ("tcp 80", "80", f"unexpected '80': expected {QUALIFIER}", "did you mean 'tcp port 80'?"),
        ("10.0.0.1", "10.0.0.1", f"unexpected '10.0.0.1': expected {CONDITION}", "did you mean 'host 10.0.0.1'?"),
        ("443", "443", "'443' follows nothing that says what it is", "did you mean 'port 443'?"),
        (
            "00:11:22:33:44:55",
            "00:11:22:33:44:55",
            f"unexpected '00:11:22:33:44:55': expected {CONDITION}",
            "did you mean 'ether host 00:11:22:33:44:55'?",
        ),
        (
            "@blocked",
            "@blocked",
            f"unexpected '@blocked': expected {CONDITION}",
            "sets hold hosts or ports: 'src host in @name', 'dst port in @name'",
        ),
        (
            "host @blocked",
            "@blocked",
            "unexpected '@blocked': expected an address, a number or a name",
            "did you mean 'host in @blocked'?",
        ),
        ("src host in blocked", "blocked", "'blocked' is not a set", "did you mean 'src host in @blocked'?"),
        ("host in", "", "the match ends early: expected a set such as @blocked", ""),
        ("portrange in @x", "in @x", "a set has no portranges: it has hosts or ports", "did you mean 'port in @x'?"),
        (
            "src in @my-list",
            "-",
            "unexpected '-': expected and, or or the end",
            "the name of a set has letters, digits and '_'",
        ),
        ("tcp src host in @x", "in @x", "'tcp' has no addresses", "did you mean 'tcp and src host in @x'?"),
        ("tcp or 443", "443", "'443' follows nothing that says what it is", "did you mean 'tcp or port 443'?"),
        (
            "(host ::1) or ::2",
            "::2",
            "'::2' follows nothing that says what it is",
            "did you mean '(host ::1) or host ::2'?",
        ),
        (
            "port 80 udp",
            "udp",
            "unexpected 'udp': expected and, or or the end",
            "conditions are joined by 'and' or 'or'",
        ),
        ("port 80 443", "443", "unexpected '443': expected and, or or the end", "did you mean 'port (80 or 443)'?"),
        (
            "host 10.0.0.1 10.0.0.2",
            "10.0.0.2",
            "unexpected '10.0.0.2': expected and, or or the end",
            "did you mean 'host (10.0.0.1 or 10.0.0.2)'?",
        ),
        ("port 80 and", "", f"the match ends early: expected {CONDITION} or another value", ""),
        ("port 80 or or 443", "or", f"unexpected 'or': expected {CONDITION} or another value", ""),
        ("and tcp", "and", f"unexpected 'and': expected {CONDITION}", ""),
        ("not", "", f"the match ends early: expected {CONDITION}", ""),
        ("tcp not udp", "not", f"unexpected 'not': expected {QUALIFIER}", "conditions are joined by 'and' or 'or'"),
        ("(tcp", "", "the match ends early: expected and, or or ')'", ""),
        ("tcp)", ")", "unexpected ')': expected and, or or the end", ""),
        ("()", ")", f"unexpected ')': expected {CONDITION}", ""),
        ("port (80 or tcp)", "tcp", "unexpected 'tcp': expected an address, a number or a name", ""),
        (
            "port ((80 or 443))",
            "(80 or 443)",
            "a parenthesis of values begins with another",
            "leave the inner parentheses out: 'and' and 'or' go from left to right",
        ),
        ("port 80 or prt 443", "prt", "unknown word 'prt'", "did you mean 'port 80 or port 443'?"),
        ("ip[0:3] == 1", "3", "3 bytes cannot be compared: a field has 1, 2 or 4", ""),
        ("ip[0] == 4294967296", "4294967296", "the number does not fit in 32 bits", ""),
        ("ip[0", "", "the match ends early: expected an operator, ':' or ']'", ""),
        ("ip[0]", "", "the match ends early: expected an operator or a relation such as == or >=", ""),
        ("ip[0:] == 1", "]", "unexpected ']': expected a number of bytes: 1, 2 or 4", ""),
        ("ip[0:4 == 1", "==", "unexpected '==': expected ']'", ""),
        ("tcp[13] & 2", "", "the match ends early: expected an operator or a relation such as == or >=", ""),
        ("tcp[13] 2", "2", "unexpected '2': expected an operator or a relation such as == or >=", ""),
        (
            "tcp[13] => 2",
            ">",
            "unexpected '>': expected a number, len, or bytes such as tcp[13]",
            "the relations are ==, !=, >, >=, < and <=",
        ),
        (
            "ip[0] === 1",
            "=",
            "unexpected '=': expected a number, len, or bytes such as tcp[13]",
            "the relations are ==, !=, >, >=, < and <=",
        ),
        ("len-1 > 5", "len-1", "'len-1' is one word", "did you mean 'len - 1 > 5'?"),
        ("len > 10-2", "10-2", "'10-2' is one word", "did you mean 'len > 10 - 2'?"),
        (
            "tcp[tcpflag] & tcp-syn != 0",
            "tcpflag",
            "unknown word 'tcpflag'",
            "did you mean 'tcp[tcpflags] & tcp-syn != 0'?",
        ),
        ("tcp[13] == tcp-sin", "tcp-sin", "unknown word 'tcp-sin'", "did you mean 'tcp[13] == tcp-syn'?"),
        ("ip[0] / 0 == 1", "0", "division by zero", ""),
        (
            "ip[0] / ip[0] == 1",
            "ip[0]",
            "division by zero",
            "tcpdump takes the first number of what follows '/' for all of it, and so refuses this",
        ),
        ("1 << 32 == 1", "32", "a shift by more than 31 bits", ""),
        ("ah[0] == 1", "ah[0]", "the bytes of 'ah' cannot be addressed", ""),
        ("l1[0] == 1", "l1", "the bytes of 'l1' cannot be addressed", ""),
        (
            "ether",
            "ether",
            "every frame is an Ethernet frame",
            "say what of it: 'ether host 00:11:22:33:44:55', 'ether proto 0x88cc'",
        ),
        ("l1 host 1", "l1", "'l1' qualifies nothing", "'l1' stands alone"),
        ("portrange 80-90x", "80-90x", "'80-90x' is not a range of ports", "did you mean 'portrange 80-90'?"),
        ("portrange http", "http", "'http' is not a range of ports", "a range is two ports: 'portrange 6000-6008'"),
        ("portrange 1-70000", "1-70000", "port 70000 is not in 0..65535", ""),
        (
            "portrange 80 - 90",
            "-",
            "unexpected '-': expected and, or or the end",
            "a range has no spaces: 'portrange 80-90'",
        ),
        (
            "ip proto tcp",
            "tcp",
            "unexpected 'tcp': expected an address, a number or a name",
            "did you mean 'ip proto \\tcp'?",
        ),
        ("ip proto foo", "foo", "'foo' is not a protocol of ip", "write its number"),
        (
            "proto 10.0.0.1",
            "10.0.0.1",
            "'10.0.0.1' is not a protocol",
            "a protocol is a number, or a name behind a backslash: 'ip proto \\tcp'",
        ),
        ("src proto 6", "src proto", "a protocol number has no direction", "leave 'src' or 'dst' out"),
        ("tcp proto 6", "6", "'tcp' does not carry other protocols", ""),
        ("ip proto 4294967296", "4294967296", "the number does not fit in 32 bits", ""),
        ("iso proto \\foo", "\\foo", "'foo' is not a protocol of iso", "write its number"),
        ("vlan 5000", "5000", "VLAN id 5000 is greater than 4095", ""),
        ("vlan foo", "foo", "unknown word 'foo': expected and, or or the end", ""),
        ("mpls 1048576", "1048576", "MPLS label 1048576 is greater than 1048575", ""),
        ("pppoes 70000", "70000", "PPPoE session 70000 is greater than 65535", ""),
        (
            "llc foo",
            "foo",
            "'foo' is not an LLC type",
            "the types are disc, dm, frmr, i, rej, rnr, rr, s, sabme, test, u, ua, ui, xid",
        ),
        ("llc rrx", "rrx", "'rrx' is not an LLC type", "did you mean 'llc rr'?"),
        (
            "vlan and mpls and arp",
            "arp",
            "behind mpls only IPv4 and IPv6 can be told apart",
            "order matters: what stands before is looked behind",
        ),
        (
            "mpls and vlan",
            "vlan",
            "no VLAN tag can be found behind mpls",
            "order matters: what stands before is looked behind",
        ),
        (
            "pppoes and ether host 1:2:3:4:5:6",
            "1:2:3:4:5:6",
            "behind pppoes there is PPP, not Ethernet",
            "order matters: what stands before is looked behind",
        ),
        (
            "vlan any and vlan any",
            "vlan any",
            "'vlan any' stands once",
            "order matters: what stands before is looked behind",
        ),
        ("byte 0 & 1", "&", "'byte 0 &' does not look at the byte in tcpdump", "write 'ether[0] & ... != 0'"),
        ("byte 0 1", "1", "unexpected '1': expected '=', '<' or '>'", ""),
        ("less", "", "the match ends early: expected a number", ""),
        ("less foo", "foo", "unknown word 'foo': expected a number", ""),
        ("tcp broadcast", "tcp broadcast", "'tcp' has no broadcast: only ether and ip have", ""),
        ("tcp multicast", "tcp multicast", "'tcp' has no multicast: only ether, ip and ip6 have", ""),
        (
            "gateway snup",
            "gateway",
            "'gateway' needs names of hosts, which are not looked up",
            "write 'ether host MAC and not host ADDRESS'",
        ),
        ("wlan host 1", "wlan", "'wlan' is another kind of link than Ethernet", "write 'ether'"),
        ("fddi", "fddi", "'fddi' is another kind of link than Ethernet", "write 'ether'"),
        (
            "inbound",
            "inbound",
            "'inbound' is not something that a frame tells",
            "all packets that the interface receives are looked at",
        ),
        (
            "ifname eth0",
            "ifname",
            "'ifname' is about records of OpenBSD's packet filter (pflog), which are not Ethernet frames",
            "",
        ),
        ("geneve", "geneve", "'geneve' is not supported", "the tunnel itself is 'udp dst port 6081'"),
        (
            "ip protochain 6",
            "protochain",
            "'protochain' is not supported",
            "write 'proto': it looks at the first header only",
        ),
        ("type mgt", "type", "'type' is about wireless frames (802.11), which are not Ethernet frames", ""),
        ("vpi 3", "vpi", "'vpi' is about ATM, which is not Ethernet", ""),
        ("decnet host 10.1", "10.1", "DECnet addresses are not supported", "'decnet' alone, and decnet[offset], are"),
        ("host $1f", "$1f", "'$1f' is an ARCnet address, which Ethernet does not have", ""),
        ("ip.src == 1.2.3.4", "ip.src", "unknown word 'ip.src'", WIRESHARK),
        ("tcp.port == 80", "tcp.port", "unknown word 'tcp.port'", WIRESHARK),
        ("port 80; tcp", ";", "';' means nothing in a match", TCPDUMP),
        (
            "port = 80",
            "=",
            "unexpected '=': expected an address, a number or a name",
            "did you mean 'port 80'?",
        ),
        ("tcp & udp", "&", f"unexpected '&': expected {QUALIFIER}", "did you mean 'tcp and udp'?"),
        ("tcp | udp", "|", f"unexpected '|': expected {QUALIFIER}", "did you mean 'tcp or udp'?"),
        ("tcp, udp", ",", "',' means nothing in a match", TCPDUMP),
        ('port "80"', '"', "'\"' means nothing in a match", TCPDUMP),
        ("udp dst port 53 and src host", "", "the match ends early: expected an address, a number or a name", ""),
        ("src and 10.0.0.1", "10.0.0.1", "unexpected '10.0.0.1': expected dst", ""),
        ("src or src host 1.2.3.4", "src", "unexpected 'src': expected dst", ""),
        ("dst port", "", "the match ends early: expected an address, a number or a name", ""),
        ("not port", "", "the match ends early: expected an address, a number or a name", ""),
        (
            "port 80 and host 10.0.0.1 or prot 53",
            "prot",
            "unknown word 'prot'",
            "did you mean 'port 80 and host 10.0.0.1 or port 53'?",
        ),
        (
            "icmp[icmptype] == icmp-ehco",
            "icmp-ehco",
            "unknown word 'icmp-ehco'",
            "did you mean 'icmp[icmptype] == icmp-echo'?",
        ),
        ("udp dest port 53", "dest", "unknown word 'dest'", "did you mean 'udp dst port 53'?"),
        ("source host 10.0.0.1", "source", "unknown word 'source'", "did you mean 'src host 10.0.0.1'?"),
        ("dport 53", "dport", "unknown word 'dport'", "did you mean 'dst port 53'?"),
        ("sport 53", "sport", "unknown word 'sport'", "did you mean 'src port 53'?"),
        ("vlan5", "vlan5", "unknown word 'vlan5'", "did you mean 'vlan 5'?"),
        ("ip address 10.0.0.1", "address", "unknown word 'address'", "did you mean 'ip host 10.0.0.1'?"),
        ("ether proto foo", "foo", "'foo' is not a protocol of ether", "write its number"),
        ("ether proto \\vlan", "\\vlan", "'vlan' is not a protocol of ether", "write its number"),
        (
            "port \xe9",
            "\xe9",
            "a match is printable ASCII, '\\xe9' is not",
            "addresses and ports are written as numbers",
        ),
        ("tcp\0", "\0", "a match is printable ASCII, '\\x00' is not", "addresses and ports are written as numbers"),
    ],
)
def test_errors_name_the_place_the_reason_and_the_cure(source: str, place: str, what: str, hint: str) -> None:
    with pytest.raises(MatchError) as caught:
        parse(source)
    error = caught.value
    assert (error.what, error.hint) == (what, hint)
    assert error.text == source
    assert source[error.position : error.position + error.width] == place


def test_an_error_draws_a_caret_under_the_place() -> None:
    with pytest.raises(MatchError) as caught:
        parse("udp dst prot 53")
    assert str(caught.value).splitlines() == [
        "unknown word 'prot' (did you mean 'udp dst port 53'?)",
        "  udp dst prot 53",
        "          ^^^^",
    ]


def test_an_error_in_a_long_match_shows_its_surroundings() -> None:
    with pytest.raises(MatchError) as caught:
        parse("tcp or " * 1000 + "prt 80 or " + "udp or " * 1000 + "udp")
    what, shown, caret = str(caught.value).splitlines()
    assert what == "unknown word 'prt' (did you mean 'port' here?)"
    assert len(shown) < 140
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "prt"


@pytest.mark.parametrize("word", sorted(REFUSED))
def test_words_that_mean_nothing_here_say_why(word: str) -> None:
    for source in (word, f"tcp and {word} 1", f"host {word}", f"tcp {word}"):
        with pytest.raises(MatchError) as caught:
            parse(source)
        assert caught.value.what.startswith(f"'{word}' ")
        assert caught.value.text[caught.value.position :].startswith(word)


def test_all_keywords_are_known_to_the_parser() -> None:
    """Each begins something, stands somewhere, or is refused with a reason."""
    elsewhere = {"and", "or", "mask", "="}
    assert set(KEYWORDS.values()) == {*BEGINNINGS, *REFUSED, *elsewhere}
