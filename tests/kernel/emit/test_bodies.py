# SPDX-License-Identifier: Apache-2.0
"""Bodies with three exits in the kernel: each packet gets the verdict of its exit, and is counted there."""

from __future__ import annotations

import random
import struct
from collections import Counter

import pytest

from offramp import bpf
from offramp.emit.body import Exit
from offramp.emit.program import Spec
from offramp.emit.vlan_tag import OUT_OF_BAND
from offramp.llvm.programs import xdp
from offramp.lower.expression import Any, Lowered, Member, Named, Negate
from offramp.state import HashSet
from offramp.verdict import Verdict
from tests.generators.bodies import DROPPED, EXITS, OTHERS, RETURNED, Sorting, Tally, tallies
from tests.generators.lowered import DNS, IP, Expressions, equals, load, packet, with_tag
from tests.kernel.emit.test_program import PROTECT, Maps, frame, maps, spec
from tests.kernel.emit.test_tags import TAGS, Count, count, quiet, to_all, untagged

__all__ = ["count", "maps", "quiet"]  # fixtures

ROUNDS, PACKETS = 60, 30


@pytest.mark.since("6.12")  # the verifier of 6.1 does not follow some headers behind tunnels
def test_random_bodies_agree_with_the_reference(maps: Maps) -> None:
    chance = random.Random(22)
    expressions = Expressions(chance)
    seen: Counter[Exit] = Counter()
    for _ in range(ROUNDS):
        body = Sorting(Lowered(expressions(2)), Lowered(expressions(2)))
        with maps.load(Spec(body)) as program:
            before, ends = maps.read(), Counter[str]()
            for each in (packet(chance) for _ in range(PACKETS)):
                exit = body.exit(each)
                assert program.test_run(each).retval == exit.final, (body, each.hex())
                seen[exit] += 1
                ends += Counter(("seen", exit.counter))
            assert maps.read() - before == ends, body
    assert min(seen[exit] for exit in EXITS) > ROUNDS, seen


def test_what_it_leaves_is_shown_to_the_next_section_and_what_is_protected_to_neither(maps: Maps) -> None:
    other = Maps()
    protected = Lowered(PROTECT)
    body = Sorting(Lowered(equals(36, 2, 53)), Lowered(equals(36, 2, 54)))
    compiled = xdp(Spec(body, protected), spec(IP, PROTECT))
    names = Spec(body).counters
    with bpf.bind(compiled, bpf.Scope(maps.slots), bpf.Scope(other.slots)) as found:
        program = bpf.Program.load(compiled, name="test_bodies", maps=found)
    with program:
        verdicts = [program.test_run(frame(number)).retval for number in (53, 54, 55, 67)]
    assert verdicts == [Verdict.DROP, Verdict.TX, Verdict.DROP, Verdict.PASS]
    first = Counter(dict(zip(names, maps.counters.sum(), strict=False)))
    assert first == Counter(seen=4, dropped=1, returned=1, passed=1, protected=1)
    assert other.read() == Counter(seen=2, claimed=1, protected=1)
    for each in other.slots.values():
        each.close()


def test_state_of_another_kind(maps: Maps) -> None:
    hosts, use = HashSet(["10.0.0.1"]), Tally("bytes")
    named = Named("hosts", hosts.shape)
    body = Sorting(Lowered(Member((load(26, 4),), 0), (named,)), Lowered(IP), use)
    memory = bpf.Map.create(bpf.MapType.ARRAY, 4, 8, 1, bpf.MapFlag.MMAPABLE, name="tally")
    with memory, tallies(), maps.load(Spec(body), state={use: Mapped(memory), named: hosts}) as program:
        assert program.test_run(frame()).retval == Verdict.DROP
        hosts.clear()
        assert program.test_run(frame()).retval == Verdict.TX
        assert program.test_run(frame()[:20]).retval == Verdict.PASS
        (tally,) = struct.unpack("Q", memory.lookup(bytes(4)))
    assert tally == 2 * len(frame()) + 20


class Mapped:
    """State that is a map already."""

    def __init__(self, memory: bpf.Map) -> None:
        self.memory = memory

    def map(self) -> bpf.Map:
        return self.memory


TAGGED = Any((equals(12, 2, 0x8100), equals(12, 2, 0x88A8)))
BODIES = {
    DROPPED: Sorting(Lowered(TAGGED), Lowered(IP)),
    RETURNED: Sorting(Lowered(equals(12, 2, 0x0806)), Lowered(Any((TAGGED, IP)))),
    OTHERS: Sorting(Lowered(DNS), Lowered(equals(12, 2, 0x86DD))),
    None: Sorting(Lowered(equals(14, 2, 5, 0xFFF)), Lowered(Negate(IP))),
}


@pytest.mark.since("6.8")
@pytest.mark.parametrize("certain", BODIES, ids=str)
@pytest.mark.parametrize("tag", [None, *TAGS])
def test_a_body_is_about_the_frame_on_the_wire(count: Count, certain: Exit | None, tag: int | None) -> None:
    body = BODIES[certain]
    assert body.exit_of_tagged(OUT_OF_BAND) == certain
    frames = [*untagged(random.Random(3), 30), *(to_all(frame(number)) for number in (53, 54))]
    on_wire = frames if tag is None else [with_tag(each, tag) for each in frames]
    wanted = Counter(seen=len(frames)) + Counter(body.exit(each).counter for each in on_wire)
    assert count(Spec(body, vlan_metadata=True), tag, frames) == wanted
