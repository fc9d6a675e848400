# SPDX-License-Identifier: Apache-2.0
"""What all look-ups do: load words of a set's memory, and end in one of two places.

For the verifier, every address is that of the region plus offsets whose bounds it can see. They are masked, shifted, or
compared with their limit, behind a barrier so that LLVM does not find that superfluous.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from offramp.emit.emitter import Emitter, Label
from offramp.emit.sets.layout import HEADER
from offramp.emit.target import I64, POINTER, Bpf, const
from offramp.lower.shapes import Shape

__all__ = ["Lookup"]


class Lookup:
    """One look-up. The emitter does not know its own branches, as they change nothing that is known of the packet."""

    def __init__(self, emit: Emitter, shape: Shape, base: ir.Value) -> None:
        self.emit = emit
        self.builder = emit.builder
        self.barrier = emit.target.barrier
        self.for_verifier = isinstance(emit.target, Bpf)
        self.shape = shape
        self.base = base
        self._found: ir.Block | None = None
        self._missed: ir.Block | None = None

    def run(self, current: ir.Value, words: Sequence[ir.Value]) -> None:
        """Write it. `current`: the snapshot; `words`: the key's words, i64. Leaves the current place."""
        raise NotImplementedError

    def block(self) -> ir.Block:
        return self.emit.target.function.append_basic_block()

    def load(self, address: ir.Value, offset: int = 0, type: ir.Type = I64) -> ir.Value:
        place = self.builder.add(address, const(offset)) if offset else address
        return self.builder.load(self.builder.inttoptr(place, POINTER), typ=type, align=type.width // 8)

    def pair(self, high: ir.Value, low: ir.Value) -> ir.Value:
        return self.builder.or_(self.builder.shl(high, const(32)), low)

    def equal(self, one: ir.Value, other: ir.Value) -> ir.Value:
        return self.builder.icmp_unsigned("==", one, other)

    def decide(self, condition: ir.Value) -> None:
        """End a search."""
        self.builder.cbranch(condition, self.found(), self.missed())

    def found(self) -> ir.Block:
        """The block for keys that are in the set."""
        if self._found is None:
            self._found = self.block()
        return self._found

    def missed(self) -> ir.Block:
        """The block for all other keys."""
        if self._missed is None:
            self._missed = self.block()
        return self._missed

    def leave(self, yes: Label, no: Label) -> None:
        """Arrive at each label once, with what was known before the look-up."""
        for block, label in ((self.found(), yes), (self.missed(), no)):
            self.builder.position_at_end(block)
            self.emit.goto(label)

    def bounded(self, value: ir.Value, limit: int) -> ir.Value:
        """`value`, which is below `limit`, with proof of that."""
        if not self.for_verifier:
            return value
        inside = self.block()
        value = self.barrier(value)
        self.builder.cbranch(self.builder.icmp_unsigned("<", value, const(limit)), inside, self.missed())
        self.builder.position_at_end(inside)
        return value

    def half(self, current: ir.Value, size: int) -> ir.Value:
        """The address of the current half."""
        number = self.barrier(self.builder.and_(current, const(1)))
        offset = self.builder.mul(number, const(size))
        return self.builder.add(self.builder.add(self.base, const(HEADER)), offset)
