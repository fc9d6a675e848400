# SPDX-License-Identifier: Apache-2.0
"""Sets of ranges: a search without branches in each node from the root to a leaf.

It adds sign bits to an address, because branches would double the verifier's work at each of up to 30 steps. Three
comparisons at a time need more instructions than one after another, but less time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from llvmlite import ir

from offramp.emit.sets import layout
from offramp.emit.sets.layout import HEADER
from offramp.emit.sets.shared import Lookup
from offramp.emit.target import I32, I64, const

__all__ = ["Ranges"]

_STRIDES: Final = ((8, 16, 24), (2, 4, 6), (1,))  # places of a node that are compared at the same time


class Ranges(Lookup):
    """Search from the root to a leaf."""

    def run(self, current: ir.Value, words: Sequence[ir.Value]) -> None:
        key = words if len(words) == 1 else [self.pair(*words[:2]), self.pair(*words[2:])]
        tree = layout.TreeLayout.of(self.shape)
        height = self.builder.lshr(current, const(32))
        node = self.builder.and_(current, const(0xFFFF_FFFF))
        leaf = self.block()
        arrivals: list[tuple[ir.Value, ir.Block]] = []
        for level in range(tree.height):
            inner = self.block()
            arrivals.append((node, self.builder.block))
            self.builder.cbranch(self.builder.icmp_unsigned("<=", height, const(level)), leaf, inner)
            self.builder.position_at_end(inner)
            place = self.search(self.node(node, tree), key)
            child = self.load(place, tree.node // 2, I64 if len(key) == 2 else I32)
            node = child if len(key) == 2 else self.builder.zext(child, I64)
        arrivals.append((node, self.builder.block))
        self.builder.branch(leaf)
        self.builder.position_at_end(leaf)
        place = self.search(self.node(self.either(arrivals), tree), key)
        self.decide_range(place, tree.node // 2, key)

    def either(self, arrivals: Sequence[tuple[ir.Value, ir.Block]]) -> ir.Value:
        """The value that comes with the path taken."""
        choice = self.builder.phi(I64)
        for value, block in arrivals:
            choice.add_incoming(value, block)
        return choice

    def decide_range(self, place: ir.Value, last: int, key: Sequence[ir.Value]) -> None:
        """Decide whether the key is in the range at `place`."""
        for offset, relation, strict in ((0, "<=", "<"), (last, ">=", ">")):
            fine = self.block()
            *high, low = (self.number(place, offset, word, len(key)) for word in range(len(key)))
            for number, wanted in zip(high, key, strict=False):
                others, alike = self.block(), self.block()
                self.builder.cbranch(self.builder.icmp_unsigned(strict, number, wanted), fine, others)
                self.builder.position_at_end(others)
                self.builder.cbranch(self.equal(number, wanted), alike, self.missed())
                self.builder.position_at_end(alike)
            self.builder.cbranch(self.builder.icmp_unsigned(relation, low, key[-1]), fine, self.missed())
            self.builder.position_at_end(fine)
        self.builder.branch(self.found())

    def node(self, number: ir.Value, tree: layout.TreeLayout) -> ir.Value:
        """The address of a node."""
        number = self.bounded(number, tree.nodes)
        offset = self.builder.mul(number, const(tree.node))
        return self.builder.add(self.builder.add(self.base, const(HEADER)), offset)

    def search(self, node: ir.Value, key: Sequence[ir.Value]) -> ir.Value:
        """The address of the last place whose first number is not above `key`; else that of the first place.

        For 128 bits it searches the high words. Only if one of them equals the key's does it look at the low words.
        """
        if len(key) == 1:
            return self.steps(node, 2, lambda place, offset: self.not_above(place, offset, key))
        fast = self.steps(node, 3, lambda place, offset: self.high_not_above(place, offset, key[0]))
        slow, done = self.block(), self.block()
        same = self.equal(self.high(self.load(fast)), self.high(key[0]))
        arrivals = [(fast, self.builder.block)]
        self.builder.cbranch(same, slow, done)
        self.builder.position_at_end(slow)
        exact = self.steps(node, 3, lambda place, offset: self.not_above(place, offset, key))
        arrivals.append((exact, self.builder.block))
        self.builder.branch(done)
        self.builder.position_at_end(done)
        return self.either(arrivals)

    def steps(self, node: ir.Value, width: int, not_above: Callable[[ir.Value, int], ir.Value]) -> ir.Value:
        """Search with `not_above`, which gives 1 or 0 for a place and an offset. A number has 1 << `width` bytes."""
        address = node
        for strides in _STRIDES:
            count, *others = (not_above(address, stride << width) for stride in strides)
            for other in others:
                count = self.builder.add(count, other)
            shift = width + (strides[0] - 1).bit_length()
            address = self.barrier(self.builder.add(address, self.builder.shl(count, const(shift))))
        return address

    def number(self, place: ir.Value, offset: int, word: int, words: int) -> ir.Value:
        """One word of a number in a node, the most significant word first."""
        if words == 1:
            return self.builder.zext(self.load(place, offset, I32), I64)
        return self.load(place, offset + 8 * layout.FANOUT * word)

    def high(self, word: ir.Value) -> ir.Value:
        """The highest bits of a word: as many as `high_not_above` compares."""
        return self.builder.lshr(word, const(1)) if self.for_verifier else word

    def high_not_above(self, place: ir.Value, offset: int, key: ir.Value) -> ir.Value:
        """Whether the highest bits of a number's first word are not above those of the key. A difference of 63 bits has
        a sign.
        """
        return self.sign(self.high(self.load(place, offset)), self.high(key))

    def not_above(self, place: ir.Value, offset: int, key: Sequence[ir.Value]) -> ir.Value:
        """Whether a number is not above the key."""
        high, *rest = (self.number(place, offset, word, len(key)) for word in range(len(key)))
        if not rest:
            return self.sign(high, key[0])
        low = rest[0]
        if not self.for_verifier:
            below = self.builder.icmp_unsigned("<", high, key[0])
            not_above = self.builder.icmp_unsigned("<=", low, key[1])
            return self.builder.zext(
                self.builder.or_(below, self.builder.and_(self.equal(high, key[0]), not_above)), I64
            )
        borrow = self.borrow(key[1], low, self.builder.sub(key[1], low))
        difference = self.builder.sub(self.builder.sub(key[0], high), borrow)
        return self.builder.xor(self.borrow(key[0], high, difference), const(1))

    def sign(self, number: ir.Value, key: ir.Value) -> ir.Value:
        """1 if `number` <= `key`, else 0, as i64. For the verifier, both have fewer than 64 bits."""
        if not self.for_verifier:
            return self.builder.zext(self.builder.icmp_unsigned("<=", number, key), I64)
        difference = self.builder.sub(number, self.builder.add(key, const(1)))
        return self.builder.lshr(self.barrier(difference), const(63))

    def borrow(self, from_: ir.Value, what: ir.Value, difference: ir.Value) -> ir.Value:
        """1 if `from_` - `what` (- a borrow) is negative, else 0; `difference` is the result of that subtraction. It is
        the highest bit of the difference, corrected if the highest bits of the operands differ.
        """
        inverse = self.builder.not_(from_)
        certain = self.builder.and_(inverse, what)
        possible = self.builder.and_(self.builder.or_(inverse, what), difference)
        return self.builder.lshr(self.barrier(self.builder.or_(certain, possible)), const(63))
