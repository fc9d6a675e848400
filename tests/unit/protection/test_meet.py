# SPDX-License-Identifier: Apache-2.0
"""What a match is said not to meet, no packet of it is; and alternatives that share their tests mean the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from offramp.facts.found import DAEMONS, Found, Session
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import Expr, Lowered
from offramp.lower.meaning import lower
from offramp.match import parse
from offramp.protection import ROWS, Met, Protection
from offramp.protection.factor import factored
from tests.generators import lowered
from tests.generators.aim import Aim
from tests.generators.expressions import Expressions
from tests.generators.packets import TAG_TYPES, Packets
from tests.generators.protected import NEIGHBOURS, PROTECTED_FRAMES
from tests.oracles.reference import Reference

BY_ROW = {row.name: lower(parse(f"vlan any and ({row.match})")) for row in ROWS}
FRAMES = [frame for _, frame in (*PROTECTED_FRAMES, *NEIGHBOURS)]
ALL = Protection.of(
    Found(
        (2222,),
        (Session("10.0.0.1", 4022, "10.0.0.2", 50000), Session("2001:db8::1", 50001, "2001:db8::2", 4022)),
        daemons=tuple(sorted(DAEMONS)),
    ),
    lower(parse("")),
)


def with_tags(frame: bytes, chance: random.Random) -> bytes:
    tags = b"".join(chance.choice(TAG_TYPES).to_bytes(2) + bytes(2) for _ in range(chance.choice((0, 0, 1, 2, 3, 4))))
    return frame[:12] + tags + frame[12:]


def in_memory(frame: bytes) -> list[bytes]:
    """As it may be in memory: its first tag may be beside it."""
    is_tagged = len(frame) >= 18 and int.from_bytes(frame[12:14]) in TAG_TYPES
    return [frame, frame[:12] + frame[16:]] if is_tagged else [frame]


def check(text: str, packets: Sequence[bytes]) -> Counter[str]:
    """Every packet of the match, against what is said of it. Returns what was seen."""
    reference = Reference(text)
    met = Met(reference.lowered)
    said = {name: met.meets(row) for name, row in BY_ROW.items()}
    within = {name: met.is_within(row) for name, row in BY_ROW.items()}
    seen = Counter(met=sum(said.values()), unmet=len(said) - sum(said.values()), within=sum(within.values()))
    for packet in packets:
        if not reference(packet):
            continue
        for there in in_memory(packet):
            for name, row in BY_ROW.items():
                is_protected = evaluate(row.expr, there)
                assert said[name] or not is_protected, (text, name, packet.hex())
                assert is_protected or not within[name], (text, name, packet.hex())
                seen["both"] += is_protected
    return seen


def packets_for(text: str, chance: random.Random, aim: Aim) -> list[bytes]:
    """Packets that are likely to be of the match, of a row, and of both."""
    match = lower(parse(text)).expr
    found = [with_tags(frame, chance) for frame in chance.sample(FRAMES, 12)]
    found += [frame[: chance.randrange(14, len(frame) + 1)] for frame in found[:4]]
    found += [packet.data for packet in Packets(chance.randrange(1 << 30)).pool(6)]
    found += [aim(match, frame) for frame in found]
    rows = [row.expr for row in chance.sample(list(BY_ROW.values()), 4)]
    return found + [aim(first, aim(second, found[0])) for row in rows for first, second in ((row, match), (match, row))]


@pytest.mark.parametrize("seed", range(8))
def test_no_packet_is_of_both_if_they_do_not_meet(seed: int) -> None:
    sweep(seed, 25)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
def test_no_packet_is_of_both_if_they_do_not_meet_at_length(seed: int) -> None:
    sweep(seed, 300)


def sweep(seed: int, rounds: int) -> None:
    chance, aim = random.Random(seed), Aim(seed)
    expressions = Expressions(seed, any_vlan=0.15, shifts=0.2)
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        text = expressions()
        seen += check(text, packets_for(text, chance, aim))
    assert min(seen["met"], seen["unmet"], seen["both"]) > rounds, seen


@pytest.mark.parametrize(("name", "frame"), PROTECTED_FRAMES)
def test_a_match_of_one_frame_meets_the_rows_of_that_frame(name: str, frame: bytes) -> None:
    """Every byte of it is asked for, as a number or as a range."""
    frame = frame.ljust(96, b"\0")
    words = [f"ether[{at}:4] == {int.from_bytes(frame[at : at + 4])}" for at in range(0, len(frame) - 4, 4)]
    words += [f"ether[{at}] > {max(frame[at] - 1, 0)} or ether[{at}] == 0" for at in (12, 13, 20, 23)]
    met = Met(lower(parse(" and ".join(f"({word})" for word in words))))
    said = {row for row, match in BY_ROW.items() if met.meets(match)}
    true = {row for row, match in BY_ROW.items() if evaluate(match.expr, frame)}
    assert true <= said
    if frame[12:14] != b"\x08\0":  # there, ports are where the header ends, and nothing says that this is byte 34
        assert true == said


def test_what_takes_long_to_know_is_met() -> None:
    """The search is bounded; a match that is large, but simple, is still known."""
    either = Met(lower(parse(" or ".join(f"(udp src port {number} and len > {number})" for number in range(600)))))
    assert either.meets(BY_ROW["DHCP"])
    assert not any(map(either.is_within, BY_ROW.values()))
    long = Met(lower(parse(" and ".join(f"len != {number}" for number in range(1500)))))
    assert all(map(long.meets, BY_ROW.values()))
    many = " and ".join(f"(ip[{number}] & 3 = 1 or ip[{number}] & 5 = 4)" for number in range(10, 200))
    assert Met(lower(parse(f"ip and {many}"))).meets(BY_ROW["DHCP"])
    deep = "(" * 90 + "udp" + ")" * 90
    assert not Met(lower(parse(deep))).meets(BY_ROW["ARP"])
    tags = " and ".join(["vlan"] * 6)  # three ethertypes each
    assert not any(map(Met(lower(parse(f"{tags} and tcp dst port 22"))).is_within, BY_ROW.values()))
    assert not Met(lower(parse(f"{tags} and tcp dst port 22"))).meets(BY_ROW["DHCP"])


def test_a_packet_that_is_too_short_is_not_protected() -> None:
    protected = lower(parse("vlan any and icmp6 and icmp6[0] >= 0"))  # any that has the byte
    for match, within in (("icmp6", False), ("icmp6 and less 54", False), ("icmp6 and icmp6[0] == 1", True)):
        assert Met(lower(parse(match))).is_within(protected) is within, match
        assert Met(lower(parse(match))).meets(protected) is ("less" not in match), match


def test_what_the_user_protects_is_about_the_wire() -> None:
    tagged = Met(lower(parse("vlan 5 and udp")))
    assert tagged.meets(lower(parse("vlan 5")), on_wire=True)
    assert not tagged.meets(lower(parse("vlan 6")), on_wire=True)
    assert not tagged.meets(lower(parse("udp")), on_wire=True)
    assert not Met(lower(parse("udp dst port 4321"))).meets(lower(parse("src port 53 and dst port 53")), on_wire=True)


# -- alternatives that share their tests -------------------------------------------------------------------------------


def same(one: Expr, other: Expr, packets: Sequence[bytes]) -> int:
    """How many of the packets match. All of them, cut off anywhere, have to be judged alike."""
    matching = 0
    for packet in packets:
        found = evaluate(one, packet)
        assert found == evaluate(other, packet), packet.hex()
        matching += found
    return matching


def test_the_whole_table_means_the_same_in_fewer_tests() -> None:
    assert ALL.text is not None
    assert ALL.lowered is not None
    plain, chance = lower(parse(ALL.text)).expr, random.Random(5)
    packets = [with_tags(frame, chance) for frame in FRAMES for _ in range(3)]
    packets += [frame[: chance.randrange(14, len(frame) + 1)] for frame in packets for _ in range(2)]
    packets += [packet.data for packet in Packets(6).pool(2000)]
    assert same(plain, ALL.lowered.expr, packets) > 500
    assert how_many_tests(ALL.lowered) < how_many_tests(Lowered(plain)) / 1.6


def how_many_tests(match: Lowered) -> int:
    from offramp.emit.size import size

    return size(match).tests


@pytest.mark.parametrize("seed", range(4))
def test_any_expression_means_the_same_in_fewer_tests(seed: int) -> None:
    expressions, chance = lowered.Expressions(random.Random(seed)), random.Random(seed)
    for _ in range(150):
        expr = expressions(4)
        same(expr, factored(expr), [lowered.packet(chance) for _ in range(25)])
    texts = Expressions(seed, any_vlan=0.2)
    for _ in range(60):
        text = texts()
        match, packets = lower(parse(text)), [packet.data for packet in Packets(seed).pool(25)]
        if not match.sets:
            same(match.expr, factored(match.expr), packets)
