# SPDX-License-Identifier: Apache-2.0
"""Expressions of the lowered form -> branches that stop as soon as the result is known.

All((a, b)):     a ──true──> b ──true──> yes
                 └──false──> no <──false──┘
a value that cannot be read, wherever it is: ──────────> where the values' packets go then
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from offramp.compile.emit import Label
from offramp.compile.expression import All, Any, Const, Expr, Member, Negate, SetUse, Test
from offramp.compile.values import Values

__all__ = ["Decision"]


class Decision:
    """Expressions over one frame. `sets` are their match's; the first of them is the program's number `first_set`."""

    def __init__(self, values: Values, sets: Sequence[SetUse] = (), first_set: int = 0) -> None:
        self.values = values
        self.emit = values.emit
        self.sets = sets
        self.first_set = first_set

    def decide(self, expr: Expr, yes: Label, no: Label) -> None:
        """Branch to `yes` or `no`. Leaves the current place."""
        match expr:
            case Const(value):
                self.emit.goto(yes if value else no)
            case Negate(part):
                self.decide(part, no, yes)
            case All(parts):
                for part in parts:
                    next_part = self.emit.label()
                    self.decide(part, next_part, no)
                    self.emit.enter(next_part)
                self.emit.goto(yes)
            case Any(parts):
                for part in parts:
                    next_part = self.emit.label()
                    self.decide(part, yes, next_part)
                    self.emit.enter(next_part)
                self.emit.goto(no)
            case Test(left, op, right):
                sides = self.values.read_all((left, right))
                self.emit.branch(self.emit.builder.icmp_unsigned(op, *sides), yes, no)
            case Member(words, number):
                self._member(self.values.read_all(words), number, yes, no)

    def _member(self, key: Sequence[ir.Value], number: int, yes: Label, no: Label) -> None:
        from offramp.compile.lookup import member

        memory = self.emit.target.set_memory(self.first_set + number)
        member(self.emit, self.sets[number].shape, memory, key, yes, no)
