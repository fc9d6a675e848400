# SPDX-License-Identifier: Apache-2.0
"""What is known before a packet is seen: no packet contradicts it."""

from __future__ import annotations

import random

import pytest

from offramp.emit.intervals import Range, bounds, outcomes
from offramp.emit.match import OTHERS, MatchBody
from offramp.emit.vlan_tag import OUT_OF_BAND
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import (
    All,
    Any,
    Calculation,
    Const,
    Expr,
    Length,
    Lowered,
    Member,
    Negate,
    Number,
    TagBytes,
    Test,
    Value,
)
from offramp.verdict import Verdict
from tests.generators.lowered import DNS, HEADER, IP, Expressions, equals, load, packet, with_tag

TAGS = (0x8100_0005, 0x88A8_FFFF)


def calculated(operator: str, left: Value, right: int | Value) -> Range:
    right = Number(right) if isinstance(right, int) else right
    return bounds(Calculation(operator, left, right))  # type: ignore[arg-type]


def test_bounds() -> None:
    byte, word = load(0, 1), load(0, 4)
    assert bounds(HEADER) == (0, 60)
    assert bounds(TagBytes(12)) == (0, 8)
    assert bounds(TagBytes(12), (0x8100,)) == (4, 8)
    assert bounds(load(12, 2), (0x8100, 0x88A8)) == (0x8100, 0x88A8)
    assert bounds(Length()) == (0, 0xFFFF_FFFF)
    assert calculated("+", byte, byte) == (0, 510)
    assert calculated("+", word, 1) == (0, 0xFFFF_FFFF)
    assert calculated("-", byte, 1) == (0, 0xFFFF_FFFF)
    assert calculated("-", Number(300), byte) == (45, 300)
    assert calculated("*", byte, 4) == (0, 1020)
    assert calculated("/", byte, 4) == (0, 63)
    assert calculated("/", byte, byte) == (0, 255)
    assert calculated("%", byte, 4) == (0, 3)
    assert calculated("%", byte, 256) == (0, 255)
    assert calculated("&", Number(6), 3) == (2, 2)
    assert calculated("|", byte, 0x100) == (0x100, 0x1FF)
    assert calculated("^", byte, 0x100) == (0, 0x1FF)
    assert calculated("<<", byte, byte) == (0, 0xFFFF_FFFF)
    assert calculated(">>", word, 24) == (0, 255)
    assert calculated(">>", word, 40) == (0, 0)


def test_no_value_is_out_of_its_bounds() -> None:
    chance = random.Random(7)
    expressions = Expressions(chance)
    for _ in range(3000):
        value = expressions.value(chance.randrange(4))
        low, high = bounds(value)
        frame = packet(chance)
        for limit, op in ((low, ">="), (high, "<=")):
            within = Test(value, op, Number(limit))  # type: ignore[arg-type]
            assert evaluate(within, frame) or not evaluate(Any((within, Const(True))), frame), value


@pytest.mark.parametrize(
    ("match", "answer"),
    [
        (DNS, False),
        (Negate(DNS), True),
        (Const(True), True),
        (equals(12, 2, 0x8100), None),
        (Any((equals(12, 2, 0x8100), equals(12, 2, 0x88A8))), True),
        (equals(0, 4, 1), None),
        (Any((Negate(IP), equals(14, 1, 1))), True),
        (All((Any((equals(12, 2, 0x8100), equals(12, 2, 0x88A8))), equals(14, 2, 5, 0xFFF))), None),
        (Test(TagBytes(12), "==", Number(0)), False),
        (Test(load(12, 2, TagBytes(12)), "==", Number(0x0800)), None),
        (Test(Length(), ">=", Number(0)), True),
        (Test(load(18, 1), ">=", Number(0)), None),
        (Test(load(17, 1), ">=", Number(0)), True),
        (Negate(Test(Calculation("/", Number(1), load(0, 1)), ">=", Number(2))), None),
        (Any((Member((load(0, 4),), 0), Const(False))), None),
    ],
)
def test_what_is_known_of_frames_with_a_tag_out_of_band(match: Expr, answer: bool | None) -> None:
    body = MatchBody(Lowered(match), Verdict.DROP)
    told = body.exit_of_tagged(OUT_OF_BAND)
    assert told == (None if answer is None else body.exits[0] if answer else OTHERS)


def test_an_outcome_that_is_not_foreseen_does_not_happen() -> None:
    chance = random.Random(8)
    expressions = Expressions(chance)
    for _ in range(1000):
        expr, tag = expressions(), chance.choice(TAGS)
        possible = outcomes(expr, (tag >> 16,))
        for _ in range(10):
            said = evaluate(expr, with_tag(packet(chance), tag))
            assert said in possible or (not said and None in possible), expr
