# SPDX-License-Identifier: Apache-2.0
"""Values of the lowered form -> registers, i32: arithmetic, and numbers of a frame that is in memory as on the wire.

A variable place is a 64-bit sum of 32-bit numbers, so it cannot wrap. What it is computed from is loaded apart from
what tests compare, although the bytes may be the same. The verifier has to know the range of an offset exactly; if it
were the same register, each number found by a test would be kept apart from all others until the offset is made.

The order of reading inside a value does not matter, since there is one kind of rejection. So of two sides the one that
needs more registers comes first (Sethi & Ullman 1970), and a deep expression needs few of them.
"""

from __future__ import annotations

from copy import copy
from typing import Self

from llvmlite import ir

from offramp.emit.emitter import Address, Emitter, Label
from offramp.emit.intervals import FIRST_TAG, Held, bounds
from offramp.emit.target import I32, I64, const
from offramp.lower.expression import (
    TAG_BYTES,
    TAG_ETHERTYPES,
    Calculation,
    Choice,
    Length,
    Load,
    Number,
    Place,
    TagBytes,
    Value,
)

__all__ = ["Values"]

_TAG_MASK = 2 * TAG_BYTES | TAG_BYTES  # 0, 4 or 8
_CHUNK = 256
_REACH_OF_VERIFIER = 0xFFFF


class Values:
    """Writes values where the emitter is. Packets on which a value cannot be read leave for `reject`."""

    tags: tuple[int, ...] = ()  # what the first tag's ethertype can be, if there certainly is one

    def __init__(self, emit: Emitter, reject: Label) -> None:
        self.emit = emit
        self.builder = emit.builder
        self.reject = reject
        self._needs: dict[int, int] = {}

    def rejecting(self, reject: Label) -> Self:
        """The same values, of which packets leave for somewhere else."""
        other = copy(self)
        other.reject = reject
        return other

    def read(self, value: Value, *, apart: bool = False) -> ir.Value:
        """`apart`: not in registers that something else may share; places need that."""
        match value:
            case Number(number):
                return const(number, I32)
            case Length():
                return self._length()
            case Load(place, size):
                place = _without_numbers(place)
                return self._variable(place, size, apart) if place.behind else self._fixed(place.offset, size, apart)
            case TagBytes(offset):
                return self.builder.trunc(self._tag_bytes(offset), I32)
            case Calculation():
                return self._calculation(value, apart)
            case Choice():
                return self._choice(value, apart)
            case Held():
                return value.register

    def read_all(self, values: tuple[Value, ...]) -> list[ir.Value]:
        """Read those that need the most registers first; the result is in the order of `values`."""
        order = sorted(range(len(values)), key=lambda index: -self._need(values[index]))
        found: dict[int, ir.Value] = {}
        for index, following in zip(order, [*order[1:], None], strict=True):
            found[index] = self.read(values[index])
            if following is not None and isinstance(values[index], Calculation):
                found[index] = self._settled(found[index], values[following])
        return [found[index] for index in range(len(values))]

    # -- arithmetic ----------------------------------------------------------------------------------------------------

    def _calculation(self, top: Calculation, apart: bool) -> ir.Value:
        way: list[tuple[Calculation, bool]] = []
        value: Value = top
        while isinstance(value, Calculation):
            left_first = self._need(value.left) >= self._need(value.right)
            way.append((value, left_first))
            value = value.left if left_first else value.right
        result = self.read(value, apart=apart)
        for node, left_first in reversed(way):
            second = node.right if left_first else node.left
            if node is not way[-1][0]:
                result = self._settled(result, second)
            other = self.read(second, apart=apart)
            result = self._calculate(node, *((result, other) if left_first else (other, result)))
        return result

    def _settled(self, result: ir.Value, following: Value) -> ir.Value:
        """`result`, computed before `following`. LLVM likes to put it off, and to keep all that it is made of."""
        return result if isinstance(following, Number) else self.emit.target.barrier(result)

    def _need(self, value: Value) -> int:
        """About how many registers it takes to compute `value`."""
        if not isinstance(value, Calculation):
            return 0 if isinstance(value, Number) else 1
        if id(value) not in self._needs:
            left, right = self._need(value.left), self._need(value.right)
            self._needs[id(value)] = left + 1 if left == right else max(left, right)
        return self._needs[id(value)]

    def _calculate(self, node: Calculation, left: ir.Value, right: ir.Value) -> ir.Value:
        builder = self.builder
        match node.operator:
            case "+":
                return builder.add(left, right)
            case "-":
                return builder.sub(left, right)
            case "*":
                return builder.mul(left, right)
            case "/" | "%" as op:
                if bounds(node.right, self.tags).low == 0:
                    self._unless(builder.icmp_unsigned("==", right, const(0, I32)))
                return builder.udiv(left, right) if op == "/" else builder.urem(left, right)
            case "&":
                return builder.and_(left, right)
            case "|":
                return builder.or_(left, right)
            case "^":
                return builder.xor(left, right)
            case "<<" | ">>" as op:
                shift = builder.shl if op == "<<" else builder.lshr
                high = bounds(node.right, self.tags).high
                if high < 32:
                    return shift(left, right)
                return self._if_below_32(right, shift(left, builder.and_(right, const(31, I32))))

    def _if_below_32(self, count: ir.Value, shifted: ir.Value) -> ir.Value:
        """`shifted`, or 0 for larger counts. There is no branch, because the verifier would follow both paths."""
        return self.builder.and_(shifted, self._mask_if_below(count, 32))

    def _mask_if_below(self, value: ir.Value, limit: int) -> ir.Value:
        """All ones if `value`, i32, is below the limit, else 0."""
        below = self.emit.target.barrier(self.builder.sub(self.builder.zext(value, I64), const(limit)))
        return self.builder.trunc(self.builder.ashr(below, const(63)), I32)

    def _choice(self, node: Choice, apart: bool) -> ir.Value:
        """By a mask, for the same reason."""
        differs = self.builder.xor(self.read(node.asked, apart=apart), const(node.number, I32))
        is_it = self._mask_if_below(differs, 1)
        yes = self.builder.and_(self.read(node.yes, apart=apart), is_it)
        return self.builder.or_(yes, self.builder.and_(self.read(node.no, apart=apart), self.builder.not_(is_it)))

    def _unless(self, condition: ir.Value) -> None:
        """Reject if the condition holds."""
        inside = self.emit.label()
        self.emit.branch(condition, self.reject, inside)
        self.emit.enter(inside)

    # -- the frame -----------------------------------------------------------------------------------------------------

    def _length(self) -> ir.Value:
        return self.emit.target.length()

    def _fixed(self, offset: int, size: int, apart: bool) -> ir.Value:
        """The number at a place that is already known."""
        return self.emit.load(Address(self.emit.target.data, offset), size, self.reject, apart=apart)

    def _variable(self, place: Place, size: int, apart: bool) -> ir.Value:
        """The number at a place that depends on the packet."""
        register = self._behind(place.behind, place.offset + size)
        return self.emit.load(Address(register, place.offset), size, self.reject, apart=apart)

    def _behind(self, parts: tuple[Value, ...], length: int) -> ir.Value:
        """The address of the frame's first byte plus the sum of `parts`, from which `length` bytes will be read."""
        most = sum(bounds(part, self.tags).high for part in parts)
        limit = self._limit(most, length)
        what = (type(self), parts, limit)
        register = self.emit.remembered(what)
        if register is None:
            register = self._locate(self._sum(parts), limit)
        self.emit.remember(what, register)
        return register

    def _limit(self, most: int, length: int) -> int | None:
        """How much may be added to the frame's first byte if `length` bytes after that are to be in a packet.

        It is at most `most`, as far as the verifier follows; None if there is no verifier. It is rounded down to a few
        different numbers, so that loads share an address, but never so far that a byte of the longest packet is out of
        reach.
        """
        if self.emit.target.farthest is None:
            return None
        return min(most, _REACH_OF_VERIFIER - -(-length // _CHUNK) * _CHUNK)

    def _locate(self, start: ir.Value, limit: int | None) -> ir.Value:
        """The address of the frame's byte `start`, an i64."""
        if limit is not None and limit < 0:
            self.emit.leave(self.reject)
            limit = 0
        if limit is not None:
            start = self.emit.bounded(start, limit, self.reject)
        return self.emit.target.barrier(self.builder.add(self.emit.target.data, start))

    def _sum(self, parts: tuple[Value, ...]) -> ir.Value:
        first, *others = parts
        total = self._wide(first)
        for part in others:
            total = self._settled(total, part)
            total = self.builder.add(total, self._wide(part))
        return total

    def _wide(self, part: Value) -> ir.Value:
        if isinstance(part, TagBytes):
            return self._tag_bytes(part.offset)
        return self.builder.zext(self.read(part, apart=True), I64)

    # -- tags ----------------------------------------------------------------------------------------------------------

    def _tag_bytes(self, offset: int) -> ir.Value:
        what = (type(self), TagBytes(offset))
        length = self.emit.remembered(what)
        if length is None:
            length = self._measure_tags(offset)
        self.emit.remember(what, length)
        return length

    def _measure_tags(self, offset: int) -> ir.Value:
        done = self.emit.label()
        ways: list[tuple[ir.Value, ir.Block]] = []
        if not (self.tags and offset == FIRST_TAG):
            is_tag = self._is_tag(self._fixed(offset, 2, True))
            ways.append((const(0), self.builder.block))
            tagged = self.emit.label()
            self.emit.branch(is_tag, tagged, done)
            self.emit.enter(tagged)
        is_tag = self._is_tag(self._fixed(offset + TAG_BYTES, 2, True))
        ways.append((self.builder.select(is_tag, const(2 * TAG_BYTES), const(TAG_BYTES)), self.builder.block))
        self.emit.goto(done)
        (length,) = self.emit.merge(done, ways)
        return self.emit.target.launder(length, _TAG_MASK)

    def _is_tag(self, ethertype: ir.Value) -> ir.Value:
        first, *others = (self.builder.icmp_unsigned("==", ethertype, const(tag, I32)) for tag in TAG_ETHERTYPES)
        for other in others:
            first = self.builder.or_(first, other)
        return first


def _without_numbers(place: Place) -> Place:
    """The same place; numbers that are known now are moved into its offset."""
    if not any(isinstance(part, Number) for part in place.behind):
        return place
    known = sum(part.value for part in place.behind if isinstance(part, Number))
    return Place(place.offset + known, tuple(part for part in place.behind if not isinstance(part, Number)))
