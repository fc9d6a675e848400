# SPDX-License-Identifier: Apache-2.0
"""What tcpdump accepts is accepted, what it refuses is refused: lists, and generated, then damaged expressions.

tests/unit/lower/test_lower.py tests that it means the same. ON_PURPOSE: refused, though tcpdump accepts it.
"""

from __future__ import annotations

import random
import re

import pytest

from offramp.errors import MatchError
from offramp.match import parse
from offramp.matcher.services import system
from tests.generators.expressions import Expressions
from tests.oracles.libpcap import Filter, Refused

NAMES = system()
ON_PURPOSE = (
    "is a number, not an address",  # src 80: host 0.0.0.80
    "is not a range of ports",  # portrange 80-90x
    "does not look at the byte",  # byte 0 & 1
    "DECnet addresses are not supported",
    "is another kind of link",  # wlan, fddi: tcpdump takes them for ether
    "is not something that a frame tells",  # ifindex
    "not supported",  # tunnels behind mpls, more than two of them
)
WORDS = """
tcp udp ip ip6 arp icmp6 sctp igmp ah decnet iso isis l1 stp ether link src dst host net port portrange proto and or not
&& || ! ( ) [ ] : / - + * % & | ^ << >> < > = == != >= <= len less greater byte broadcast multicast vlan mpls pppoed
pppoes llc rnr rulenum mask 0 1 4 6 32 80 4095 4096 65535 65536 1048576 4294967295 4294967296 0x10 010 08 10.0.0.1 10.1
300.1.1.1 255.0.255.0 10.0.0.0/8 10.0.0.1/8 ::1 2001:db8::/32 ::1/128 1:2:3:4:5:6:7:8 1:2 1::2:3:4:5:6:7:8
aa:bb:cc:dd:ee:ff a:b:c:d:e aabb.ccdd.eeff aa-bb-cc-dd-ee-ff 123456789012 \\tcp \\ip \\80 80-90 90-80 80-70000
tcpflags tcp-syn icmp6-echo u xid $1f geneve protochain wlan ifindex
""".split()  # noqa: SIM905


def tcpdump_takes(source: str) -> bool:
    try:
        Filter(source, optimize=False).close()
    except Refused:
        return False
    return True


def agree(source: str) -> bool:
    """Whether it is a match; fails if tcpdump thinks otherwise."""
    try:
        parse(source, NAMES)
    except MatchError as error:
        refused = error
    else:
        assert tcpdump_takes(source), source
        return True
    assert any(reason in refused.what for reason in ON_PURPOSE) or not tcpdump_takes(source), refused
    return False


@pytest.mark.parametrize(
    "source",
    [
        *(
            "tcp host 10.0.0.1",
            "ip6 host 10.0.0.1",
            "arp host ::1",
            "icmp port 80",
            "ip portrange 1-2",
            "ether net 10.1",
        ),
        *("net 10.0.0.1/8", "net ::1/64", "host 10.0.0.0/8", "host ::/64", "net 10.0.0.0/33", "net ::/129", "net 10/8"),
        *("net 10.0.0.0 mask 255", "net 10.1 mask 255.0", "host 10.0 mask 255.255", "host ::1 mask ::1"),
        *("host 256.1.1.1", "host 0x10.1", "host 1.2.3.4.5", "host 12345::1", "host ::01.2.3.4", "host 1:2:3:4"),
        *("port 65536", "portrange 1-65536", "portrange 1 - 2", "port ::1", "port 1.2", "portrange 1.2.3.4", "port 08"),
        *("10.0.0.1", "80", "tcp 80", "tcp or 443", "(port 80) or 443", "port (80 or tcp)", "port ((80 or 443))"),
        *("port ((80 or 443) or 22)", "host ((10.0.0.1))", "port not not", "tcp udp", "tcp not udp", "()", "(", "tcp)"),
        *("src proto 6", "src or src host 10.1", "src dst host 10.1", "host src 10.1", "tcp src", "and tcp", "tcp and"),
        *(
            "ip[0:3] == 1",
            "ip[0:(1)] == 1",
            "ip[0] == 0x100000000",
            "1 == 1 == 1",
            "ip[0]",
            "len",
            "1",
            "-1",
            "(1 + 1)",
        ),
        *("len-1 > 5", "ah[0] == 1", "esp[0] == 1", "stp[0] == 1", "l1[0] == 1", "ip[0:] == 1", "ip[] == 1", "ip[0"),
        *("1 / 0 == 1", "1 % 0 == 1", "1 << 32 == 1", "1 >> 32 == 1", "len / (0 + 3) == 1", "len / ip[0] == 1"),
        *("1 / -0 == 1", "1 << tcp[40] == 1", "len % udp[ip[0]] == 1", "+1 == 1", "~1 == 1", "not (1)"),
        *(
            "ip proto tcp",
            "ip proto \\foo",
            "tcp proto 6",
            "arp proto 6",
            "esis proto 6",
            "isis proto \\iso",
            "proto 1.2",
        ),
        *(
            "ether",
            "link",
            "radio",
            "ether proto \\vlan",
            "ether host 1.2.3.4",
            "ether port 80",
            "host aa:bb:cc:dd:ee:ff",
        ),
        *(
            "ether net aa:bb:cc:dd:ee:ff",
            "ether aa:bb:cc:dd:ee:ff",
            "ether host aa:bb:cc:dd:ee",
            "ether host a-b-c-d-e",
        ),
        *("tcp broadcast", "ip6 broadcast", "tcp multicast", "arp multicast", "src broadcast"),
        *(
            "vlan 4096",
            "vlan -1",
            "mpls 1048576",
            "pppoes 65536",
            "vlan 1 2",
            "vlan ()",
            "llc foo",
            "llc 1",
            "less",
            "less a",
        ),
        *("byte 0", "byte 0 1", "byte 0 >= 1", "byte (0) = 1", "less (60)", "greater -1"),
        *("mpls and vlan", "mpls and arp", "mpls and ether proto 6", "mpls and pppoes", "mpls and arp[0] == 1"),
        *(
            "mpls or not (vlan)",
            "mpls and pppoed",
            "mpls and iso proto 1",
            "mpls and l1",
            "mpls and rarp host 10.0.0.1",
        ),
        *("pppoes and vlan", "pppoes and ether host a:b:c:d:e:f", "pppoes and broadcast", "pppoes and llc"),
        *("pppoes and multicast", "mpls and stp", "(mpls) and (1 == arp[ip[0]])"),
        *("TCP", "host $1f", "gateway 10.0.0.1", "type mgt", "addr1 a:b:c:d:e:f", "vpi 1", "lane", "fisu", "@x"),
        *("1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+1))))))))))))))) == 1", "tcp;", "port (80 or tcp)"),
    ],
)
def test_what_tcpdump_refuses_is_refused(source: str) -> None:
    assert not tcpdump_takes(source)
    with pytest.raises(MatchError):
        parse(source, NAMES)


@pytest.mark.parametrize(
    "source",
    [
        *(
            "port ((80))",
            "port (80) or (((443)))",
            "port not (80 or 443)",
            "port 80 or ((tcp) or 443)",
            "not not not tcp",
        ),
        *("port 80 and (tcp or not udp and ip[0] == 1 or (len) > 3)", "host 1.2.3.4 or (not (::1))", "port 80 or(443)"),
        *("(5) > 3", "((5) + (len)) > 3", "- - 5 > 3", "5 > 3", "(tcp[13]&2)!=0", "ip[0]&0xf!=5", "not 1 == 1", "!tcp"),
        *("1 % 2 % 3 == 1", "len/1%ip[1:2] == 1", "1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+1)))))))))))))) == 1"),
        *(
            "1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1 == 1",
            "ip[ip[ip[ip[ip[1]]]]] == 1",
            "0 / 1 == 0",
            "0xffffffff = -1",
        ),
        *("net 10", "net 0", "net 4294967295", "net 10.1", "net 10.0 / 0x8", "net 0.0.0.0/0", "host 010.001.1.1"),
        *(
            "host ::1/128",
            "net ::/0",
            "net 1:2:3:4:5:6:7::",
            "host ::1:2:3:4:5:6:7",
            "host 1:2:3:4:5:6:1.2.3.4",
            "net ::",
        ),
        *("ether host 1.2.3.4.5.6", "ether host 1234.5678.9012", "ether src 123456789012", "ether dst aabbccddeeff"),
        *(
            "ether host (a:b:c:d:e:f or a-b-c-d-e-f)",
            "link host A:B:C:D:E:F",
            "ether proto 65536",
            "ether proto \\loopback",
        ),
        *("ip proto 256", "proto 6 or 17", "proto \\tcp", "ip6 proto \\TCP", "iso proto \\esis", "isis proto 300"),
        *("l1 or l2 or iih or lsp or snp or csnp or psnp", "vlan(5)", "vlan ((5))", "vlan 0", "vlan and vlan"),
        *(
            "mpls and mpls 5 and ip",
            "mpls and llc",
            "mpls and ether proto 0x800",
            "mpls and port 53",
            "mpls and host 10.1",
        ),
        *(
            "mpls and ether host a:b:c:d:e:f",
            "pppoes and arp",
            "pppoes and pppoes",
            "pppoes and mpls",
            "vlan and pppoes",
        ),
        *("pppoes and ether[0] == 1", "pppoes and pppoed", "pppoes and stp", "llc RNR", "llc rulenum", "llc\ti"),
        *("port icmp-echo", "len > icmp6type", "src||dst port 80", "port 80&&443", "tcp[12:2]&0xf000>>12==5", "is-is"),
        *("byte 70000 = 70000", "less 0x10", "greater 4294967295", "length = 5"),
    ],
)
def test_what_tcpdump_takes_is_taken(source: str) -> None:
    assert tcpdump_takes(source)
    parse(source, NAMES)


def test_generated_expressions_are_taken() -> None:
    generate = Expressions(7)
    for _ in range(400):
        assert agree(generate())


def test_damaged_expressions_are_taken_or_refused_as_tcpdump_does() -> None:
    generate = Expressions(11, terms=3)
    chance = random.Random(13)
    taken = 0
    for _ in range(1500):
        tokens = re.findall(r"[A-Za-z0-9.:/\\-]+|\S", generate())[:40]
        for _ in range(chance.randrange(1, 3)):
            place = chance.randrange(len(tokens) + 1)
            tokens[place : place + chance.randrange(2)] = chance.sample(WORDS, chance.randrange(2))
        taken += agree(chance.choice((" ", " ", " ", "")).join(tokens))
    assert 150 < taken < 1000


def test_random_words_are_taken_or_refused_as_tcpdump_does() -> None:
    chance = random.Random(17)
    for _ in range(2000):
        agree(" ".join(chance.choices(WORDS, k=chance.randrange(1, 7))))
