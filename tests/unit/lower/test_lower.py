# SPDX-License-Identifier: Apache-2.0
"""lower() against libpcap: generated expressions, generated, mutated and cut packets, no difference allowed.

The exact oracle is libpcap's program as generated (tcpdump -O), for every packet however short. The optimised one
(tcpdump) is a second one, of a fixed number of expressions, on packets that hold all bytes that the expression may look
at. On shorter ones its verdict depends on the order that the optimiser chose, and now and then it is plainly wrong: of
20,000 expressions libpcap 1.10.3 miscompiled one, that came down to this, which then misses 2001:db8::1 > fe80::1:
    (dst net fe80::/97 and host 2001:db8::1 and net 10.0.0.0/16) or net fe80::/97

Packets cut off inside an IPv6 address are left out where a long union of IPv6 addresses is looked up (unions.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import settings

from offramp.lower.evaluate import Reader, Reject
from offramp.lower.expression import All, Any, Calculation, Expr, Load, Member, Negate, Number, Place, Test, Value
from offramp.lower.meaning import lower
from offramp.match import parse, text
from tests.generators.aim import Aim
from tests.generators.expressions import Expressions
from tests.generators.packets import Packet, Packets
from tests.generators.realworld import EXPRESSIONS
from tests.oracles.libpcap import Filter, Refused, RejectsAll
from tests.oracles.reference import Reference

EXAMPLES = settings().max_examples  # 100, or what --hypothesis-profile says
BEHIND_ADDRESSES = 14 + 3 * 4 + 40  # three tags; of IPv6


def comparable(reference: Reference, packets: Sequence[Packet]) -> list[Packet]:
    if not reference.looks_up_ip6:
        return list(packets)
    return [packet for packet in packets if len(packet.data) >= BEHIND_ADDRESSES + 3 * 4]


def compared(expression: str, packets: Sequence[Packet]) -> Iterator[str]:
    """The differences from libpcap."""
    reference = Reference(expression)
    assert parse(text(reference.tree)) == reference.tree, expression
    with Filter(expression, optimize=False) as generated:
        for packet in comparable(reference, packets):
            if reference(*packet) != generated(*packet):
                yield f"{expression!r} on {packet.data.hex()}, {packet.length} B: libpcap says {generated(*packet)}"


def aimed(aim: Aim, expression: str, packets: Sequence[Packet]) -> list[Packet]:
    """Packets that just match, or just do not. Some are cut off; of others the wire has carried more."""
    reference = Reference(expression)
    found = []
    for number, packet in enumerate(packets):
        data = aim(reference.lowered.expr, packet.data, hold=number % 3 > 0, sets=reference.sets)
        length = len(data) + aim.random.choice((0, 0, 1300))
        found.append(Packet(data[: aim.random.randrange(len(data))] if number % 2 else data, length))
    return found


@pytest.mark.fuzz
def test_no_difference_on_any_packet() -> None:
    """3,000 expressions, each on 40 random packets and on 20 that were made for it."""
    expressions, pool, aim = Expressions(1), Packets(2).pool(5000), Aim(3)
    for _ in range(30 * EXAMPLES):
        expression = expressions()
        packets = expressions.random.sample(pool, 40)
        assert list(compared(expression, packets)) == []
        assert list(compared(expression, aimed(aim, expression, packets[:20]))) == []


@pytest.mark.fuzz
@pytest.mark.parametrize(
    "knobs",
    [{"arithmetic": 1.0}, {"shifts": 0.5}, {"unions": 0.4, "shifts": 0.1}, {"depth": 6, "terms": 3}],
    ids=lambda knobs: ",".join(knobs),
)
def test_no_difference_where_expressions_are_one_sided(knobs: dict[str, float]) -> None:
    expressions, pool = Expressions(4, **knobs), Packets(5).pool(3000)  # type: ignore[arg-type]  # ints among them
    for _ in range(4 * EXAMPLES):
        assert list(compared(expressions(), expressions.random.sample(pool, 40))) == []


def test_frames_cut_at_every_length() -> None:
    """And so at every load that can reject."""
    expressions, packets, aim = Expressions(6), Packets(7), Aim(8)
    for _ in range(100):
        expression = expressions()
        reference = Reference(expression)
        if reference.looks_up_ip6:
            continue
        data = aim(reference.lowered.expr, packets.frame(), sets=reference.sets)[:160]
        cut = [Packet(data[:length], len(data)) for length in range(len(data) + 1)]
        assert list(compared(expression, cut)) == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_that_people_use(expression: str) -> None:
    packets, aim, reference = Packets(9).pool(60), Aim(10), Reference(expression)
    verdicts: set[bool] = set()
    for _ in range(20):  # rounds, until some packets match and others do not
        made = packets + aimed(aim, expression, packets)
        assert list(compared(expression, made)) == []
        verdicts.update(reference(*packet) for packet in made)
        if len(verdicts) == 2:
            return
    pytest.fail("all packets are judged alike")


def values(expr: Expr) -> Iterator[Value]:
    """All numbers that the expression may read."""
    match expr:
        case Test(left, _, right):
            yield from (left, right)
        case Member(key):
            yield from key
        case All(parts) | Any(parts):
            for part in parts:
                yield from values(part)
        case Negate(part):
            yield from values(part)
        case _:
            return


def holds_all(packet: Packet, expr: Expr) -> bool:
    """Whether no part of the expression can reject the packet, in whatever order they are tried."""
    reader = Reader(packet.data, packet.length, ())
    try:
        for value in values(expr):
            reader.value(value)
    except Reject:
        return False
    return True


def matches_optimised(expression: str, packets: Sequence[Packet]) -> list[bool]:
    try:
        with Filter(expression) as optimised:
            return [optimised(*packet) for packet in packets]
    except RejectsAll:  # tcpdump refuses to run a filter that no packet passes
        return [False] * len(packets)
    except Refused:  # and one that shifts by a number which the optimiser has found to be too great
        return []


def test_the_optimiser_agrees_on_packets_with_all_bytes_that_are_looked_at() -> None:
    """It compiles our canonical text, so that this is checked as well."""
    expressions, pool, checked = Expressions(11), Packets(12).pool(5000), 0
    for _ in range(1500):
        reference = Reference(expressions())
        expr, canonical = reference.lowered.expr, text(reference.tree)
        whole = [packet for packet in expressions.random.sample(pool, 40) if holds_all(packet, expr)]
        optimised = matches_optimised(canonical, whole)
        for packet, theirs in zip(whole, optimised, strict=False):
            assert reference(*packet) == theirs, f"{canonical!r} on {packet.data.hex()}, {packet.length} B"
        checked += len(optimised)
    assert checked > 10_000


def test_ports_of_the_ipv4_half_read_like_the_documentation() -> None:
    (_, ip) = lower(parse("udp dst port 53")).expr.parts  # type: ignore[union-attr]
    header = Calculation("<<", Calculation("&", Load(Place(14), 1), Number(15)), Number(2))
    assert ip == All(
        (
            Test(Load(Place(12), 2), "==", Number(0x0800)),
            Any((Test(Load(Place(23), 1), "==", Number(17)),)),
            Test(Calculation("&", Load(Place(20), 2), Number(0x1FFF)), "==", Number(0)),
            Test(Load(Place(16, (header,)), 2), "==", Number(53)),
        )
    )
