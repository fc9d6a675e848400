# SPDX-License-Identifier: Apache-2.0
"""A body with three exits, and a kind of state that is not a set. Both work without teaching the emitter anything.

Sorting(first, second)    DROP where the first match holds, else TX where the second does, else no verdict
Tally("seen")             a number in memory, to which each packet adds its length on the wire
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from unittest.mock import patch

from offramp.emit.body import Exit
from offramp.emit.decide import Decision
from offramp.emit.emitter import Label
from offramp.emit.intervals import outcomes
from offramp.emit.size import Size, size, total
from offramp.emit.state import KINDS, StateKind, kind
from offramp.emit.target import I64, POINTER
from offramp.emit.values import Values
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import Length, Lowered, Negate
from offramp.verdict import Verdict

__all__ = ["DROPPED", "EXITS", "OTHERS", "RETURNED", "Sorting", "Tally", "tallies"]

DROPPED, RETURNED, OTHERS = Exit("dropped", Verdict.DROP), Exit("returned", Verdict.TX), Exit("passed")
EXITS: Final = (DROPPED, RETURNED, OTHERS)


@dataclass(frozen=True)
class Words:
    """Memory of this many words of 64 bits."""

    count: int = 1


@dataclass(frozen=True)
class Tally:
    name: str
    shape: Words = Words()


@contextmanager
def tallies() -> Iterator[None]:
    """Registers the kind of state, for a while."""
    with patch.dict(KINDS, {Words: StateKind("tally", lambda words: 4)}):
        yield


@dataclass(frozen=True)
class Sorting:
    first: Lowered
    second: Lowered
    tally: Tally | None = None
    exits: tuple[Exit, ...] = EXITS

    @property
    def size(self) -> Size:
        uses = Size(state=(kind(self.tally).name,), accesses=4) if self.tally else Size()
        return total(size(self.first), size(self.second), uses)

    def write(self, values: Values, labels: Mapping[Exit, Label]) -> None:
        emit, builder = values.emit, values.emit.builder
        if self.tally is not None:
            place = builder.inttoptr(emit.target.memory(self.tally), POINTER)
            length = builder.zext(values.read(Length()), I64)
            builder.store(builder.add(builder.load(place, typ=I64), length), place)
        others = emit.label()
        Decision(values, self.first.sets).decide(self.first.expr, labels[DROPPED], others)
        emit.enter(others)
        Decision(values, self.second.sets).decide(self.second.expr, labels[RETURNED], labels[OTHERS])

    def exit_of_tagged(self, tags: tuple[int, ...]) -> Exit | None:
        ends: set[Exit] = set()
        for tag in tags:
            first, second = (outcomes(each.expr, (tag,)) for each in (self.first, self.second))
            ends |= {end for end, said in ((DROPPED, True), (OTHERS, None)) if said in first}
            if False in first:
                ends |= {RETURNED if said else OTHERS for said in second}
        return ends.pop() if len(ends) == 1 else None

    def exit(self, packet: bytes, sets: Mapping[str, set[int]] = {}) -> Exit:
        """The reference. If the first match cannot read the packet, it is rejected, as in a match of both."""
        named = {use: sets[use.name] for each in (self.first, self.second) for use in each.sets}  # type: ignore[union-attr]
        first = [named[use] for use in self.first.sets]
        if evaluate(self.first.expr, packet, sets=first):
            return DROPPED
        if not evaluate(Negate(self.first.expr), packet, sets=first):
            return OTHERS
        return RETURNED if evaluate(self.second.expr, packet, sets=[named[use] for use in self.second.sets]) else OTHERS
