# SPDX-License-Identifier: Apache-2.0
"""Bodies with any number of exits, in native code: what each packet is given, and the state that it leaves."""

from __future__ import annotations

import ctypes
import random
from collections import Counter
from dataclasses import replace

import pytest

from offramp.emit import burst
from offramp.emit.body import Exit
from offramp.emit.match import MatchBody
from offramp.emit.program import COUNTERS, Spec
from offramp.errors import OptionError
from offramp.llvm import child
from offramp.llvm.programs import native, xdp
from offramp.lower.expression import Lowered, Member, Named
from offramp.lower.shapes import Shape
from offramp.state import HashSet
from offramp.verdict import Verdict
from tests.generators.bodies import DROPPED, EXITS, OTHERS, RETURNED, Sorting, Tally, tallies
from tests.generators.lowered import DNS, IP, Code, Expressions, load, packet, with_tag

ROUNDS, PACKETS = 60, 40
TAG = 0x8100_0005


def test_random_bodies_agree_with_the_reference() -> None:
    chance = random.Random(21)
    expressions = Expressions(chance)
    ends: Counter[Exit] = Counter()
    for _ in range(ROUNDS):
        body = Sorting(Lowered(expressions(2)), Lowered(expressions(2)))
        packets = [packet(chance) for _ in range(PACKETS)]
        wanted = [body.exit(each) for each in packets]
        ends += Counter(wanted)
        with Code(native(body).code) as code:
            assert code.verdicts(packets) == [exit.final for exit in wanted], body
        with Code(native(body, {exit: 7 + number for number, exit in enumerate(EXITS)}).code) as code:
            assert code.verdicts(packets) == [7 + EXITS.index(exit) for exit in wanted], body
        with Code(child.native_code(burst.build(body, tag=TAG).text)) as code:
            assert code.verdicts(packets) == [body.exit(with_tag(each, TAG)).final for each in packets], body
    assert min(ends[exit] for exit in EXITS) > ROUNDS, ends


def test_state_of_another_kind() -> None:
    """Beside a set: each is looked up in its own memory."""
    hosts = HashSet(["10.0.0.1"])
    in_set = Lowered(Member((load(26, 4),), 0), (Named("hosts", hosts.shape),))
    frame = bytes(12) + b"\x08\x00" + bytes(12) + bytes([10, 0, 0, 1]) + bytes(30)
    with tallies():
        program = native(Sorting(in_set, Lowered(IP), Tally("bytes")))
    assert program.state == (Tally("bytes"), Named("hosts", hosts.shape))
    tally = ctypes.c_uint64()
    with Code(program.code) as code, hosts.core.read() as memory:
        packets = [frame, frame.replace(b"\x0a", b"\x0b"), frame[:20]]
        found = code.verdicts(packets, sets=[ctypes.addressof(tally), memory])
    assert found == [Verdict.DROP, Verdict.TX, Verdict.PASS]
    assert tally.value == sum(map(len, packets))


def test_a_program_refers_to_state_of_any_kind_and_has_a_counter_for_each_exit() -> None:
    spec = Spec(Sorting(Lowered(DNS), Lowered(IP), Tally("bytes")))
    assert spec.counters == (*COUNTERS, "dropped", "returned")
    assert spec.verdicts == {Verdict.DROP, Verdict.TX}
    with tallies():
        assert [what for _, what in xdp(spec, spec).references if isinstance(what, Tally)] == [Tally("bytes")] * 2


def test_all_state_counts_against_the_most_that_a_program_can_have() -> None:
    sets = tuple(Named(f"s{number}", Shape("bitmap", "port", 65536)) for number in range(60))
    with tallies(), pytest.raises(OptionError, match="it looks into 60 sets and 1 tally, and at most 60 fit"):
        native(Sorting(Lowered(DNS, sets), Lowered(IP), Tally("bytes")))


def test_a_match_says_its_verdict_or_whether_it_holds() -> None:
    body = MatchBody(Lowered(IP), Verdict.TX)
    frames = [bytes(12) + b"\x08\x00", bytes(14)]
    for says, wanted in ((None, [Verdict.TX, Verdict.PASS]), (body.answers, [1, 0])):
        with Code(native(body, says).code) as code:
            assert code.verdicts(frames) == wanted


def test_what_a_body_cannot_end_with() -> None:
    body = Sorting(Lowered(DNS), Lowered(IP))
    with pytest.raises(OptionError, match="last exit of a body: its verdict must keep packets in the driver"):
        Spec(replace(body, exits=(DROPPED, OTHERS, RETURNED)))
    with pytest.raises(OptionError, match="ABORTED"):
        Spec(replace(body, exits=(DROPPED, Exit("broken", Verdict.ABORTED), OTHERS)))
