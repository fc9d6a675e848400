# SPDX-License-Identifier: Apache-2.0
"""Look-ups in sets, as LLVM IR. The layouts, and why a reader is never wrong, are in crates/offramp-state.

    snapshot   the word that says what is current; look-ups that share it are all before a replace(), or all behind it
    bitmap     one bit
    hash       up to 32 slots from where the mixed key points to; mostly the first one decides
    ranges     a search without branches in each node from the root to a leaf

Whatever changes meanwhile, what a look-up loads is consistent: it follows addresses from the snapshot on, and each
word is loaded once.

For the verifier every address is the region's plus offsets whose bounds it can see: they are masked, shifted, or
compared with their limit, behind a barrier, so that LLVM does not find that superfluous. The search in a node adds sign
bits to an address: branches would double the verifier's work at each of up to 30 steps. Three comparisons at a time
need more instructions than one after another, and less time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from llvmlite import ir

from offramp.emit.emitter import Emitter, Label
from offramp.emit.sets import layout
from offramp.emit.sets.layout import HEADER
from offramp.emit.target import I32, I64, POINTER, Bpf, const
from offramp.lower.shapes import Shape

__all__ = ["member", "snapshot"]

_I1: Final = ir.IntType(1)
_TAKEN: Final = 1 << 63
_FINGERPRINT: Final = (1 << 31) - 1
_STRIDES: Final = ((8, 16, 24), (2, 4, 6), (1,))  # places of a node, compared at the same time


def snapshot(emit: Emitter, shape: Shape, base: ir.Value) -> ir.Value:
    """What is current in the set at address `base` (i64), for `member`: i64. Single changes are seen all the same."""
    return _Lookup(emit, shape, base).load(base)


def member(
    emit: Emitter,
    shape: Shape,
    base: ir.Value,
    key: Sequence[ir.Value],
    yes: Label,
    no: Label,
    current: ir.Value | None = None,
) -> None:
    """Branch to `yes` or `no` by whether the set at address `base` (i64) contains `key`. Leaves the current place.

    `key`: i32 words, the most significant first (shapes.py). `current`: of `snapshot`, made on every way to here.
    """
    lookup = _Lookup(emit, shape, base)
    if current is None:
        current = lookup.load(base)
    words = [emit.builder.zext(word, I64) for word in key]
    match shape.structure:
        case "bitmap":
            lookup.bitmap(current, words[0])
        case "hash" if shape.family == "ip6":
            lookup.wide_hash(current, lookup.pair(words[0], words[1]), lookup.pair(words[2], words[3]))
        case "hash":
            lookup.hash(current, words[0] if len(words) == 1 else lookup.pair(words[0], words[1]))
        case "ranges" if shape.family == "ip6":
            lookup.ranges(current, [lookup.pair(words[0], words[1]), lookup.pair(words[2], words[3])])
        case "ranges":
            lookup.ranges(current, words)
    lookup.leave(yes, no)


class _Lookup:
    """One look-up. Its own branches are none of the emitter's, as they change nothing that is known of the packet."""

    def __init__(self, emit: Emitter, shape: Shape, base: ir.Value) -> None:
        self.emit = emit
        self.builder = emit.builder
        self.barrier = emit.target.barrier
        self.for_verifier = isinstance(emit.target, Bpf)
        self.shape = shape
        self.base = base
        self.found: ir.Block | None = None
        self.missed: ir.Block | None = None

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
        """The end of a search."""
        self.builder.cbranch(condition, self._found(), self._missed())

    def _found(self) -> ir.Block:
        if self.found is None:
            self.found = self.block()
        return self.found

    def _missed(self) -> ir.Block:
        if self.missed is None:
            self.missed = self.block()
        return self.missed

    def leave(self, yes: Label, no: Label) -> None:
        """Arrive at each label once, with what was known before the look-up."""
        for block, label in ((self._found(), yes), (self._missed(), no)):
            self.builder.position_at_end(block)
            self.emit.goto(label)

    def bounded(self, value: ir.Value, limit: int) -> ir.Value:
        """`value`, which is below `limit`, and proof of that."""
        if not self.for_verifier:
            return value
        inside = self.block()
        value = self.barrier(value)
        self.builder.cbranch(self.builder.icmp_unsigned("<", value, const(limit)), inside, self._missed())
        self.builder.position_at_end(inside)
        return value

    def half(self, current: ir.Value, size: int) -> ir.Value:
        """The address of the current half."""
        number = self.barrier(self.builder.and_(current, const(1)))
        offset = self.builder.mul(number, const(size))
        return self.builder.add(self.builder.add(self.base, const(HEADER)), offset)

    def bitmap(self, current: ir.Value, port: ir.Value) -> None:
        number = self.builder.and_(self.builder.lshr(port, const(6)), const(0x3FF))
        offset = self.builder.shl(self.barrier(number), const(3))
        word = self.load(self.builder.add(self.half(current, layout.BITMAP), offset))
        bit = self.builder.lshr(word, self.builder.and_(port, const(63)))
        self.decide(self.builder.trunc(bit, _I1))

    def first_slot(self, half: ir.Value, mixed: ir.Value, bits: int) -> ir.Value:
        number = self.barrier(self.builder.lshr(mixed, const(64 - bits)))
        return self.barrier(self.builder.add(half, self.builder.shl(number, const(3))))

    def stir(self, value: ir.Value, factor: ir.Value) -> ir.Value:
        return self.builder.mul(self.builder.xor(value, self.builder.lshr(value, const(32))), factor)

    def hash(self, current: ir.Value, key: ir.Value) -> None:
        half_layout = layout.Hash.of(self.shape)
        half = self.half(current, half_layout.half)
        factor = self.load(half, 8)
        mixed = self.stir(self.builder.mul(self.builder.xor(key, self.load(half)), factor), factor)
        first = self.first_slot(half, mixed, half_layout.bits)
        wanted = self.builder.or_(key, const(_TAKEN))
        for place in range(layout.WINDOW):
            slot = self.load(first, HEADER + 8 * place)
            others, taken = self.block(), self.block()
            self.builder.cbranch(self.equal(slot, wanted), self._found(), others)
            self.builder.position_at_end(others)
            self.builder.cbranch(self.equal(slot, const(0)), self._missed(), taken)
            self.builder.position_at_end(taken)
        self.builder.branch(self._missed())

    def wide_hash(self, current: ir.Value, high: ir.Value, low: ir.Value) -> None:
        half_layout = layout.Hash.of(self.shape)
        half = self.half(current, half_layout.half)
        factor = self.load(half, 8)
        mixed = self.builder.mul(self.builder.xor(high, self.load(half)), factor)
        mixed = self.builder.xor(mixed, self.builder.lshr(mixed, const(32)))
        mixed = self.stir(self.builder.mul(self.builder.xor(mixed, low), factor), factor)
        first = self.first_slot(half, mixed, half_layout.bits)
        wanted = self.builder.or_(self.builder.and_(mixed, const(_FINGERPRINT)), const(_FINGERPRINT + 1))
        for place in range(layout.WINDOW):
            slot = self.load(first, HEADER + 8 * place)
            alike, others, taken = self.block(), self.block(), self.block()
            self.builder.cbranch(self.equal(self.builder.lshr(slot, const(32)), wanted), alike, others)
            self.builder.position_at_end(alike)
            number = self.bounded(self.builder.and_(slot, const(0xFFFF_FFFF)), half_layout.entries)
            entry = self.builder.add(half, self.builder.shl(number, const(4)))
            difference = self.builder.or_(
                self.builder.xor(self.load(entry, half_layout.first_entry), high),
                self.builder.xor(self.load(entry, half_layout.first_entry + 8), low),
            )
            self.builder.cbranch(self.equal(difference, const(0)), self._found(), taken)
            self.builder.position_at_end(others)
            self.builder.cbranch(self.equal(slot, const(0)), self._missed(), taken)
            self.builder.position_at_end(taken)
        self.builder.branch(self._missed())

    def ranges(self, current: ir.Value, key: Sequence[ir.Value]) -> None:
        tree = layout.Tree.of(self.shape)
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
        """Of what the ways to here bring, that of the way taken."""
        choice = self.builder.phi(I64)
        for value, block in arrivals:
            choice.add_incoming(value, block)
        return choice

    def decide_range(self, place: ir.Value, last: int, key: Sequence[ir.Value]) -> None:
        """Whether the key is in the range at `place`."""
        for offset, relation, strict in ((0, "<=", "<"), (last, ">=", ">")):
            fine = self.block()
            *high, low = (self.number(place, offset, word, len(key)) for word in range(len(key)))
            for number, wanted in zip(high, key, strict=False):
                others, alike = self.block(), self.block()
                self.builder.cbranch(self.builder.icmp_unsigned(strict, number, wanted), fine, others)
                self.builder.position_at_end(others)
                self.builder.cbranch(self.equal(number, wanted), alike, self._missed())
                self.builder.position_at_end(alike)
            self.builder.cbranch(self.builder.icmp_unsigned(relation, low, key[-1]), fine, self._missed())
            self.builder.position_at_end(fine)
        self.builder.branch(self._found())

    def node(self, number: ir.Value, tree: layout.Tree) -> ir.Value:
        """The address of a node."""
        number = self.bounded(number, tree.nodes)
        offset = self.builder.mul(number, const(tree.node))
        return self.builder.add(self.builder.add(self.base, const(HEADER)), offset)

    def search(self, node: ir.Value, key: Sequence[ir.Value]) -> ir.Value:
        """The address of the last place whose first number is not above `key`; else of the first place.

        Of 128 bits the high words are searched; only if one is found that is the key's, the low ones are looked at.
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
        """A search by `not_above`, which says 1 or 0 of a place and an offset. A number has 1 << `width` bytes."""
        address = node
        for strides in _STRIDES:
            count, *others = (not_above(address, stride << width) for stride in strides)
            for other in others:
                count = self.builder.add(count, other)
            shift = width + (strides[0] - 1).bit_length()
            address = self.barrier(self.builder.add(address, self.builder.shl(count, const(shift))))
        return address

    def number(self, place: ir.Value, offset: int, word: int, words: int) -> ir.Value:
        """A word of a number of a node, the most significant first."""
        if words == 1:
            return self.builder.zext(self.load(place, offset, I32), I64)
        return self.load(place, offset + 8 * layout.FANOUT * word)

    def high(self, word: ir.Value) -> ir.Value:
        """As many of the highest bits as `high_not_above` compares."""
        return self.builder.lshr(word, const(1)) if self.for_verifier else word

    def high_not_above(self, place: ir.Value, offset: int, key: ir.Value) -> ir.Value:
        """Whether the first word of a number is not above the key's, by their highest bits. A difference of 63 bits has
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
        """1 if `number` <= `key`, else 0, as i64. For the verifier they have fewer than 64 bits."""
        if not self.for_verifier:
            return self.builder.zext(self.builder.icmp_unsigned("<=", number, key), I64)
        difference = self.builder.sub(number, self.builder.add(key, const(1)))
        return self.builder.lshr(self.barrier(difference), const(63))

    def borrow(self, from_: ir.Value, what: ir.Value, difference: ir.Value) -> ir.Value:
        """1 if `from_` - `what` (- a borrow), of which `difference` is the result, is negative, else 0: the highest bit
        of the difference, corrected where the operands' highest bits differ.
        """
        inverse = self.builder.not_(from_)
        certain = self.builder.and_(inverse, what)
        possible = self.builder.and_(self.builder.or_(inverse, what), difference)
        return self.builder.lshr(self.barrier(self.builder.or_(certain, possible)), const(63))
