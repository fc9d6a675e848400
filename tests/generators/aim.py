# SPDX-License-Identifier: Apache-2.0
"""Packets that nearly match: a frame is changed until a lowered expression just holds for it, or just fails.

    aim = Aim(seed)
    aim(lowered.expr, frame)              -> bytes for which it mostly holds
    aim(lowered.expr, frame, hold=False)  -> bytes for which it mostly does not hold

Random packets seldom get past the second test of `vlan 5 and udp[8:4] = 0x53495020`. So a path through the expression
is chosen at random, and each test on it is made true or false by writing the bytes that it loads, if its arithmetic can
be inverted. This is about as fast as evaluating the expression.
"""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from typing import Final

from offramp.lower.evaluate import Reader, Reject
from offramp.lower.expression import (
    ALL_ONES,
    All,
    Any,
    Calculation,
    Chain,
    Choice,
    Const,
    Expr,
    Load,
    Member,
    Negate,
    Number,
    Op,
    Test,
    Value,
)

__all__ = ["Aim"]

LEAST: Final = 300  # bytes: room for what is looked at


class Aim:
    """A generator; see the module. The same seed and calls give the same packets."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.data = bytearray()
        self.sets: Sequence[Container[int]] = ()

    def __call__(self, expr: Expr, frame: bytes, *, hold: bool = True, sets: Sequence[Container[int]] = ()) -> bytes:
        self.data = bytearray(frame.ljust(LEAST, b"\0"))
        self.sets = sets
        self.make(expr, hold)
        return bytes(self.data)

    def make(self, expr: Expr, hold: bool) -> None:
        match expr:
            case Const() | Member():
                return
            case Chain(network, version, number):
                start = network.offset + sum(map(self.read, network.behind))
                self.data[start + (9 if version == 4 else 6)] = number & 0xFF if hold else number + 1 & 0xFF
            case Negate(part):
                self.make(part, not hold)
            case All(parts) | Any(parts) if parts:
                if isinstance(expr, All) == hold:
                    for part in parts:
                        self.make(part, hold)
                else:
                    self.make(self.random.choice(parts), hold)
            case Test(left, op, right):
                try:
                    self.make_test(left, op, self.read(right), hold)
                except Reject:
                    return

    def make_test(self, left: Value, op: Op, right: int, hold: bool) -> None:
        loaded = self.read(left)
        is_so = {"==": loaded == right, ">=": loaded >= right, "<=": loaded <= right}[op]
        if is_so == hold:
            return
        if hold:
            wanted = right
        else:
            wanted = right ^ 1 << self.random.randrange(8) if op == "==" else right + (1 if op == "<=" else -1)
        self.write(left, wanted & ALL_ONES)

    def read(self, value: Value) -> int:
        return Reader(bytes(self.data), len(self.data), self.sets).value(value)

    def write(self, value: Value, wanted: int) -> None:
        """Makes `value` equal `wanted`, if writing one load can do that."""
        match value:
            case Load(place, size):
                start = place.offset + sum(map(self.read, place.behind))
                if start + size <= len(self.data):
                    self.data[start : start + size] = (wanted & (1 << 8 * size) - 1).to_bytes(size, "big")
            case Choice(asked, number, yes, no):
                self.write(yes if self.read(asked) == number else no, wanted)
            case Calculation("&", left, right):
                mask = self.read(right)
                self.write(left, self.read(left) & ~mask | wanted & mask)
            case Calculation("+", left, right):
                self.write(left, wanted - self.read(right) & ALL_ONES)
            case Calculation("-", left, right):
                self.write(left, wanted + self.read(right) & ALL_ONES)
            case Calculation("^", left, right):
                self.write(left, wanted ^ self.read(right))
            case Calculation("<<", left, Number(by)):
                self.write(left, wanted >> by)
            case Calculation(">>", left, Number(by)):
                self.write(left, wanted << by & ALL_ONES)
            case _:
                return
