# SPDX-License-Identifier: Apache-2.0
"""Expressions of the lowered form -> branches that stop as soon as the result is known.

All((a, b)):     a ──true──> b ──true──> yes
                 └──false──> no <──false──┘
a value that cannot be read, wherever it is: ──────────> the place that `Values` names for such packets
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from llvmlite import ir

from offramp.emit.chains import chain
from offramp.emit.emitter import Label
from offramp.emit.sets.lookup import member, snapshot
from offramp.emit.values import Values
from offramp.lower.expression import All, Any, Chain, Const, Expr, Member, Named, Negate, SetUse, Test

__all__ = ["Decision"]


class Decision:
    """Expressions over one frame. `sets` are the sets of their match."""

    def __init__(self, values: Values, sets: Sequence[SetUse] = ()) -> None:
        self.values = values
        self.emit = values.emit
        self.sets = sets
        self.snapshots: dict[int, ir.Value] = {}

    def decide(self, expr: Expr, yes: Label, no: Label) -> None:
        """Branch to `yes` or `no`. Leaves the current place.

        If a packet is tested against a set twice, and the set changes meanwhile, both answers are as of the beginning.
        """
        asked = Counter(_members(expr))
        for number in sorted(number for number, times in asked.items() if times > 1):
            if isinstance(self.sets[number], Named):  # other sets do not change
                self.snapshots[number] = snapshot(self.emit, self.sets[number].shape, self._memory(number))
        self._decide(expr, yes, no)

    def _decide(self, expr: Expr, yes: Label, no: Label) -> None:
        match expr:
            case Const(value):
                self.emit.goto(yes if value else no)
            case Negate(part):
                self._decide(part, no, yes)
            case All(parts):
                for part in parts:
                    next_part = self.emit.label()
                    self._decide(part, next_part, no)
                    self.emit.enter(next_part)
                self.emit.goto(yes)
            case Any(parts):
                for part in parts:
                    next_part = self.emit.label()
                    self._decide(part, yes, next_part)
                    self.emit.enter(next_part)
                self.emit.goto(no)
            case Test(left, op, right):
                sides = self.values.read_all((left, right))
                self.emit.branch(self.emit.builder.icmp_unsigned(op, *sides), yes, no)
            case Member(words, number):
                self._member(self.values.read_all(words), number, yes, no)
            case Chain():
                chain(self.values, expr, yes, no)

    def _member(self, key: Sequence[ir.Value], number: int, yes: Label, no: Label) -> None:
        shape = self.sets[number].shape
        member(self.emit, shape, self._memory(number), key, yes, no, self.snapshots.get(number))

    def _memory(self, number: int) -> ir.Value:
        return self.emit.target.memory(self.sets[number])


def _members(expr: Expr) -> Iterator[int]:
    """The sets that are asked, once for each time."""
    match expr:
        case Member(_, number):
            yield number
        case Negate(part):
            yield from _members(part)
        case All(parts) | Any(parts):
            for part in parts:
                yield from _members(part)
