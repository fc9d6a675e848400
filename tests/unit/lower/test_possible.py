# SPDX-License-Identifier: Apache-2.0
"""Whether any packet can match: "no" is certain, and said of what tcpdump says it of."""

from __future__ import annotations

import random

import pytest

from offramp import HashSet, Match
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import Lowered
from offramp.lower.meaning import lower
from offramp.lower.possible import Matching, possible
from offramp.match import parse
from tests.generators.aim import Aim
from tests.generators.expressions import Expressions
from tests.generators.lowered import Expressions as LoweredExpressions
from tests.generators.lowered import packet as random_packet
from tests.generators.packets import Packets
from tests.generators.realworld import EXPRESSIONS
from tests.oracles.libpcap import Filter, Refused, RejectsAll
from tests.oracles.reference import Reference

SHORTEST = 14  # a frame on an interface

MANY = [f"10.0.0.{number}" for number in range(1, 100, 2)]
MANY_NETS = f"src net ({' or '.join(f'192.168.{number}.0/24' for number in range(20))})"
STATIONS_AND_ALL = [*(f"02:00:00:00:01:{number:02x}" for number in range(20)), "ff:ff:ff:ff:ff:ff"]
LISTS = [
    f"src host ({' or '.join(MANY)}) and src host 10.0.1.1",
    f"{MANY_NETS} and src net 10.1",
    f"broadcast and not ether host ({' or '.join(STATIONS_AND_ALL)})",
    "src port (1 or 2 or 3 or 4 or 5 or 6 or 7 or 8 or 9) and src port 10",
]
IMPOSSIBLE = """
ip6 and tcp[tcpflags] & tcp-syn != 0
tcp and udp
tcp and not tcp
port 53 and port 80 and port 90
ip and ip6
ip and arp
icmp and port 53
arp and port 53
icmp6 and ip
stp and ip
ip and vlan
ether proto 0x800 and ip6
vlan and ip and ip6
mpls and ip and ip6
pppoes and tcp and udp
vxlan and ip and ip6
geneve 5 and tcp and udp
vxlan 5 and (vlan 6 and not ip and tcp and not ip6)
len < 14
less 13
len = 0
greater 100 and less 50
port 53 and less 20
udp[40] = 1 and less 30
ip[0] > 255
ip[2:2] = 0x10000
ether[0] & 1 = 2
ip[0] & 0xf = 16
ip[0] & 0xf0 = 0x45
ip[8] < 5 and ip[8] > 9
ip[8] = 5 and ip[8] != 5
ip[8:2] = 0x0506 and ip[8] = 6
tcp[13] = 2 and tcp[13] & 2 = 0
tcp[13] & 2 = 0 and tcp[13] = 2
tcp[13] & 2 != 0 and tcp[13] = 0
(ip[8] = 1 or ip[8] = 2 or ip[8] = 3) and (ip[8] = 4 or ip[8] = 5)
(ip[8] = 1 or ip[8] = 2 or ip[8] = 3) and ip[8] != 1 and ip[8] != 2 and ip[8] != 3
(ip[8] = 1 or ip[8] = 4) and ip[8] & 2 = 2
ip[8] & 2 = 2 and (ip[8] = 1 or ip[8] = 4)
vlan and vlan and vlan and vlan and vlan and tcp and udp
ip[4:2] != 5 and ip[4:2] <= 5 and ip[4:2] >= 5
ip[12:4] != ip[12:4]
ip[8] / 0x10 > 15
1 = 2
src host 10.0.0.1 and src host 10.0.0.2
host 10.0.0.1 and host 10.0.0.2 and host 10.0.0.3
src host 10.0.0.1 and not src net 10.0.0.0/8
not src net 10.0.0.0/8 and src host 10.0.0.1
dst net 10.0.0.0/8 and dst net 192.168.0.0/16
ip6 host 2001:db8::1 and ip
src net ::/1 and src net 8000::/1
ether src 02:00:00:00:00:01 and ether src 02:00:00:00:00:02
broadcast and ether dst 02:00:00:00:00:01
portrange 1-5 and portrange 6-10 and portrange 11-15
src portrange 1-5 and src port 6
src port 80 and not src portrange 70-90
proto 300
ip proto 256
ether proto 65536
protochain 256
not (tcp or not tcp)
ip[16:4] = 0x0a000001 and dst host 10.0.0.2 and ip
vlan 5 and ether[14:2] & 0xfff = 6
ether multicast and ether dst 02:00:00:00:00:01
ip multicast and dst host 10.0.0.1 and ip
ip broadcast and dst host 10.0.0.1 and ip
proto (1 or 300 or 17) and icmp6 and not dst and src host (255.255.255.255 and 224.0.0.5)
""".strip().splitlines()
POSSIBLE = """
port 53 and port 80
host 10.0.0.1 and host 10.0.0.2
vlan 5 and vlan 6
tcp or udp
not ip
port 53 and port 80 and not port 90
tcp port 80 and udp[4] = 5 or ip6
len >= 14
less 14
len > 60000
vlan and ip or ip6
ip or ip6
1 = 1
ip[0] = 255
(ip[8] = 1 or ip[8] = 2 or ip[8] = 3) and (ip[8] = 3 or ip[8] = 5) and ip[8] & 1 = 1
ip[0] <= 255
ip proto 6 and ip6 or arp
mpls 5 and mpls 6
geneve 5 and geneve 6
geneve and udp and ip6
ether proto 0x800 and not tcp
ip[8] != 5 and ip[8] > 4 and ip[8] < 7
tcp[tcpflags] & 3 != 3
ip6 protochain 6 and udp and ip6
port 80 and not src port 80
icmp6 and not icmp6[0] = 1
arp and host 10.0.0.1
src net 10.0.0.0/8 and not src host 10.0.0.1
ip[9] / ip[8] = 1
ip broadcast and ip
""".strip().splitlines()


def can(expression: str) -> bool:
    return possible(Reference(expression).lowered)


@pytest.mark.parametrize("expression", [*IMPOSSIBLE, *LISTS])
def test_no_packet_can_match(expression: str) -> None:
    netmask = "255.255.255.0" if "ip broadcast" in expression else None
    assert not Match(expression, netmask).can_match()


@pytest.mark.parametrize("expression", ["", *POSSIBLE])
def test_a_packet_can_match(expression: str) -> None:
    assert Match(expression).can_match()


def test_what_people_write_can_match() -> None:
    for expression in EXPRESSIONS:
        assert can(expression), expression


def test_a_set_may_change() -> None:
    assert Match("src host in @empty and ip", empty=HashSet(family="ip")).can_match()
    assert not Match("src host in @empty and ip6 and ip", empty=HashSet(family="ip")).can_match()


def expressions(seed: int, count: int) -> list[str]:
    """Two joined by `and` exclude each other more often."""
    simple, rich = Expressions(seed, depth=1, arithmetic=0.15), Expressions(seed, depth=2, terms=3)
    found: list[str] = []
    while len(found) < count:
        one, other = rich(), simple()
        joined = f"({one}) and ({other})"
        found += [one, other] + ([joined] if is_taken(joined) else [])
    return found


def is_taken(expression: str) -> bool:
    try:
        Reference(expression)
        Filter(expression, optimize=False).close()
    except (ValueError, Refused):
        return False
    return True


def tcpdump_rejects(expression: str) -> bool:
    try:
        Filter(expression).close()
    except RejectsAll:
        return True
    except Refused:  # its optimiser has found a division by zero
        pass
    return False


def sweep(seed: int, count: int) -> None:
    """tcpdump's optimiser finds what we find, and hardly more, since our search is bounded. No packet matches what is
    said to match none.
    """
    packets, aim = Packets(seed), Aim(seed)
    found = theirs = missed = 0
    for expression in expressions(seed, count):
        reference = Reference(expression)
        if possible(reference.lowered):
            missed += tcpdump_rejects(expression)
            continue
        found += 1
        theirs += tcpdump_rejects(expression)
        for _ in range(30):
            frame = packets.frame()
            aimed = aim(reference.lowered.expr, frame, sets=reference.sets)
            assert not reference(frame), (expression, frame.hex())
            assert not reference(aimed), (expression, aimed.hex())
    assert missed <= count / 1000
    assert found > count / 50
    assert theirs > count / 100


def test_we_find_what_tcpdump_finds_and_are_never_wrong() -> None:
    sweep(9, 500)


@pytest.mark.soak
def test_we_find_what_tcpdump_finds_and_are_never_wrong_at_length() -> None:
    for seed in range(100, 120):
        sweep(seed, 1000)


def test_facts_never_contradict_a_packet() -> None:
    """Of the lowered form, whatever it holds: an expression that a packet matches is possible."""
    chance = random.Random(4)
    generate = LoweredExpressions(chance)
    matching = 0
    for _ in range(1500):
        expr = generate()
        frames = [random_packet(chance) for _ in range(3)]
        if any(len(frame) >= SHORTEST and evaluate(expr, frame) for frame in frames):
            matching += 1
            assert possible(Lowered(expr)), expr
    assert matching > 300


def test_packets_are_asked_for_again_and_again() -> None:
    """The answer is the same as for both expressions joined by `and`, whatever was asked before."""
    one, texts = parse("udp dst port 53 or vlan"), ["ip", "tcp", "ip6 and not udp", "ether[12:2] = 0x8100", "arp"]
    packets = Matching(lower(one).expr, ())
    for _ in range(2):
        assert packets.exist()
        assert [packets.exist(lower(parse(text)).expr) for text in texts] == [True, False, False, True, False]
        assert not packets.exist_beside(lower(parse("udp or ip6 or ip or not ip")).expr)
        assert packets.exist_beside(lower(parse("ip")).expr)


def test_a_search_ends() -> None:
    """Many alternatives, too many to try: the answer is yes, soon."""
    many = " and ".join(f"(ip[{number}] = 1 or ip[{number}] = 2)" for number in range(200))
    assert can(f"{many} and ip")
    assert can(" and ".join(f"not host 10.0.{number >> 8}.{number & 255}" for number in range(3000)))
