# SPDX-License-Identifier: Apache-2.0
"""Programs with several sections: the first with a verdict ends a packet's way, and all that it saw count it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from offramp import bpf
from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.errors import OptionError
from offramp.llvm.programs import xdp
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import Any, Expr, Lowered
from offramp.testing import Lab
from offramp.verdict import Verdict
from tests.generators.lowered import ROUNDS, Expressions, equals, packet
from tests.kernel.emit.test_program import PROTECT, Maps, frame, port, spec

MANY = 4


@pytest.fixture
def each() -> Iterator[list[Maps]]:
    made = [Maps() for _ in range(MANY)]
    yield made
    for maps in made:
        for one in maps.slots.values():
            one.close()


def load(each: list[Maps], *specs: Spec, ifindex: int | None = None) -> bpf.Program:
    compiled = xdp(*specs)
    with bpf.bind(compiled, *(bpf.Scope(mine.slots) for mine in each)) as maps:
        return bpf.Program.load(compiled, name="test_sections", maps=maps, ifindex=ifindex)


def counted(each: list[Maps]) -> list[Counter[str]]:
    return [maps.read() for maps in each]


def holds(expr: Expr | None, data: bytes) -> bool:
    return expr is not None and evaluate(expr, data)


def expected(sections: list[tuple[Expr, Expr | None, Verdict]], data: bytes) -> tuple[list[str], Verdict]:
    """Where the packet ends in each section that sees it, and the verdict."""
    ends = []
    for match, protect, verdict in sections:
        end = "protected" if holds(protect, data) else "claimed" if holds(match, data) else "passed"
        ends.append(end)
        if end == "claimed":
            return ends, verdict
    return ends, Verdict.PASS


@pytest.mark.fuzz
def test_random_sections_agree_with_the_reference(each: list[Maps]) -> None:
    chance = random.Random(11)
    expressions = Expressions(chance)
    verdicts: Counter[Verdict] = Counter()
    for _ in range(ROUNDS // 10):
        sections = [
            (
                expressions(),
                expressions(1) if chance.random() < 0.5 else None,
                chance.choice((Verdict.DROP, Verdict.PASS, Verdict.TX)),
            )
            for _ in range(chance.randint(2, MANY))
        ]
        with load(each, *(spec(*section) for section in sections)) as program:
            before, wanted = counted(each), [Counter[str]() for _ in each]
            for _ in range(20):
                data = packet(chance)
                ends, verdict = expected(sections, data)
                assert program.test_run(data).retval == verdict, (sections, data.hex())
                verdicts[verdict] += 1
                for number, end in enumerate(ends):
                    wanted[number] += Counter({"seen": 1, end: 1})
            assert [now - then for now, then in zip(counted(each), before, strict=True)] == wanted
    assert set(verdicts) == {Verdict.DROP, Verdict.PASS, Verdict.TX}


def test_what_a_reader_leaves_is_shown_to_the_next(each: list[Maps]) -> None:
    """A reader that sleeps, or has no socket, has no verdict."""
    claims = [spec(port(53), None, Verdict.CLAIM, stall_ns) for stall_ns in (10**9, None)]
    with load(each, *claims, spec(port(53))) as program:
        assert program.test_run(frame(53)).retval == Verdict.DROP
    ends = [set(+one) - {"seen"} for one in counted(each)]
    assert ends == [{"stalled"}, {"redirect_failed"}, {"claimed"}, set()]


def test_a_hidden_queue(each: list[Maps], lab: Lab) -> None:
    """What matches elsewhere was missed by the NIC; what is protected is protected everywhere."""
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2)
    wire.a.host.sysctl("net.ipv6.conf.eth0.disable_ipv6", 1)  # or it would say something of its own
    hidden = replace(spec(port(53), PROTECT, Verdict.CLAIM, 10**9), hidden_queue=1)
    each[0].beat(1, time.monotonic_ns() + 10**12)
    with wire.b.host, load(each, hidden) as program, bpf.XdpLink.attach(program, wire.b.ifindex):
        for queue in (0, 1):
            for number in (53, 54, 67):
                data = frame(number)
                context = bpf.xdp_context(len(data), ifindex=wire.b.ifindex, queue=queue)
                assert program.test_run(data, ctx=context).retval == Verdict.PASS
    assert each[0].read() == Counter(seen=6, protected=2, passed=2, missed_by_nic=1, redirect_failed=1)


@pytest.mark.since("6.8")
def test_sections_that_ask_for_tags(each: list[Maps], lab: Lab) -> None:
    """Bound to their device, and replaced by another program of that kind in one step."""
    wire = lab.wire(lab.host("a"), lab.host("b"))
    expressions = Expressions(random.Random(5))
    with wire.b.host:
        for verdict in (Verdict.DROP, Verdict.TX, Verdict.CLAIM):
            specs = [spec(expressions(), PROTECT, verdict, vlan_metadata=True) for _ in range(MANY)]
            with (
                load(each, *specs[:1], ifindex=wire.b.ifindex) as one,
                load(each, *specs, ifindex=wire.b.ifindex) as all_of_them,
                bpf.XdpLink.attach(one, wire.b.ifindex) as link,
            ):
                first = link.info().program_id
                link.update(all_of_them, one)
                assert link.info().program_id != first


def test_too_many_and_too_large() -> None:
    dns = spec(port(53))
    with pytest.raises(OptionError, match=r"17 ramps on one interface: not from 1 to 16"):
        xdp(*[dns] * 17)
    with pytest.raises(OptionError, match="VLAN metadata"):
        xdp(dns, replace(dns, vlan_metadata=True))
    with pytest.raises(OptionError, match=r"hidden_queue=2: not one of 2 queues"):
        replace(dns, hidden_queue=2)
    many = Lowered(Any(tuple(equals(30, 4, number) for number in range(3000))))
    wide = replace(dns, body=MatchBody(many, Verdict.DROP))
    with pytest.raises(OptionError, match="the matches of all ramps on this interface are too large for one program"):
        xdp(*[wide] * 3)
