# SPDX-License-Identifier: Apache-2.0
"""Matches that nobody would write, and large ones: each program loads, and gives the reference's answers."""

from __future__ import annotations

import random

import pytest

from offramp import bpf
from offramp.errors import OptionError
from offramp.lower.expression import (
    All,
    Any,
    Calculation,
    Const,
    Expr,
    Negate,
    Number,
    TagBytes,
    Test,
    Value,
)
from offramp.verdict import Verdict
from tests.generators.lowered import (
    UDP,
    Size,
    behind_header,
    equals,
    header,
    load,
    packet,
)
from tests.kernel.emit.test_program import PROTECT, Maps, behind_tags, check, frame, host, maps, port, run, spec

__all__ = ["maps"]  # a fixture


def chained(operator: str, values: list[Value], *, from_right: bool = False) -> Value:
    first, *others = reversed(values) if from_right else values
    for other in others:
        left, right = (other, first) if from_right else (first, other)
        first = Calculation(operator, left, right)  # type: ignore[arg-type]
    return first


def paired(operator: str, values: list[Value]) -> Value:
    """A tree that is as flat as it can be."""
    while len(values) > 1:
        halves = zip(values[::2], [*values[1::2], *([Number(1)] * (len(values) % 2))], strict=True)
        values = [Calculation(operator, left, right) for left, right in halves]  # type: ignore[arg-type]
    return values[0]


def bytes_of(count: int, size: Size = 1) -> list[Value]:
    return [load(index % 60, size) for index in range(count)]


def scattered(count: int) -> list[Value]:
    """At places that are calculated, many different ones."""
    return [load(index % 40, 1, Calculation("&", load(index % 37, 2), Number(63))) for index in range(count)]


def deep_place(depth: int) -> Value:
    place: Value = load(0, 1)
    for level in range(depth):
        place = load(level % 7, 1, place)
    return place


def zero(value: Value) -> Expr:
    return Test(value, "==", Number(0))


def alternatives(offset: int, count: int) -> Expr:
    return Any(tuple(equals(offset, 2, number) for number in range(count)))


def tags_in_two_places(index: int) -> Expr:
    one, other = load(index % 40, 4, TagBytes(12 + index % 7)), load(30, 4, header(14, TagBytes(index % 9)))
    return Any((zero(one), zero(other), Const(True)))


ABSURD: dict[str, Expr] = {
    "a long sum": zero(chained("+", bytes_of(300))),
    "from the right": zero(chained("-", bytes_of(200), from_right=True)),
    "a flat tree": zero(paired("-", bytes_of(1024))),
    "divided 200 times": zero(chained("/", bytes_of(200, 4), from_right=True)),
    "a flat tree of shifts": zero(paired("<<", bytes_of(512, 4))),
    "500 calculated places": zero(paired("^", scattered(500))),
    "a place behind 60 others": zero(deep_place(60)),
    "2,000 scattered numbers": Any(tuple(map(zero, scattered(2000)))),
    "one number, twice, and then a place from it": All(
        (alternatives(16, 1000), *(Negate(zero(load(index, 2, load(16, 2)))) for index in range(300)))
    ),
    "one number, many times, masked": All(
        (alternatives(16, 500), *(Negate(equals(16, 2, number, 0xFFFE)) for number in range(1, 1000, 2)))
    ),
    "places that reach differently far": All(
        tuple(
            Any((equals(0, 1, 1), zero(load(index, 4, load(index % 5 + 20, 1))), Const(True))) for index in range(200)
        )
    ),
    "tags everywhere": All(tuple(map(tags_in_two_places, range(100)))),
    "500 hosts": Any(tuple(host(0x0A00_0000 + 7 * number) for number in range(500))),
    "300 ports": Any(tuple(port(number) for number in range(53, 353))),
    "300 ports behind tags": behind_tags(Any(tuple(port(number) for number in range(53, 353)))),
    "1,000 ports of one protocol": All(
        (UDP, Any(tuple(Test(behind_header(2, 2), "==", Number(number)) for number in range(53, 1053))))
    ),
    "all but 500 hosts": All(tuple(Negate(host(0x0B00_0000 + number)) for number in range(500))),
    "8,192 tests": Any(tuple(equals(26, 4, 0x0A00_0000 + 7 * number) for number in range(8192 - 100))),
}


# LLVM's work, half a minute of it each where a processor is emulated.
LABORIOUS = {"2,000 scattered numbers", "300 ports", "300 ports behind tags", "8,192 tests", "all but 500 hosts"}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.speed] if kind in LABORIOUS else []) for kind in ABSURD]
)
def test_absurd_and_large_matches_load(maps: Maps, kind: str) -> None:
    chance = random.Random(kind)
    check(maps, ABSURD[kind], PROTECT, [frame(53), frame(67), frame(40_000), *(packet(chance) for _ in range(10))])


def test_what_the_verifier_gives_up_on_is_the_users_error(maps: Maps) -> None:
    """A loop of a million rounds, in place of a program that no limit of ours foresaw."""
    from offramp.emit.program import XdpProgram

    code = bytes.fromhex("b400000000000000" + "0700000001000000" + "a500feff00001000" + "9500000000000000")
    with pytest.raises(OptionError, match="verifier gives up on a program of this size"):
        bpf.Program.load(XdpProgram(code), name="test", maps={})


def test_a_load_farther_away_than_any_packet_is_long(maps: Maps) -> None:
    for far in (load(65_549, 4), behind_header(65_535, 1), load(33_000, 2), load(4_294_967_295, 4)):
        assert run(maps, spec(Any((zero(far), Const(True)))), frame()) == ("passed", Verdict.PASS)
