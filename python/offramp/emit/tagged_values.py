# SPDX-License-Identifier: Apache-2.0
"""Values of a frame whose VLAN tag is out of band:

wire     0     12    16    20
         +-----+-----+------------
         |MACs | tag |type ...
         +-----+-----+------------
memory   0     beside 12    16
"""

from __future__ import annotations

from collections.abc import Iterator

from llvmlite import ir

from offramp.emit.emitter import Address, Emitter, Label
from offramp.emit.intervals import FIRST_TAG, bounds, lowest_start
from offramp.emit.target import I32, const
from offramp.emit.values import Values
from offramp.lower.expression import TAG_BYTES, Place

__all__ = ["TaggedValues"]

_BEHIND_TAG = FIRST_TAG + TAG_BYTES


class TaggedValues(Values):
    """Values of a frame with a VLAN tag out of band. Memory has at least the 14 bytes of an Ethernet header.

    `tag` is an i32: the tag's ethertype, one of `tags`, followed by its control information, as on the wire.
    """

    def __init__(self, emit: Emitter, reject: Label, tag: ir.Value, tags: tuple[int, ...]) -> None:
        super().__init__(emit, reject)
        self.tag = tag
        self.tags = tags

    def _length(self) -> ir.Value:
        return self.builder.add(super()._length(), const(TAG_BYTES, I32))

    def _fixed(self, offset: int, size: int, apart: bool) -> ir.Value:
        end = offset + size
        if end <= FIRST_TAG:
            return super()._fixed(offset, size, apart)
        if offset >= _BEHIND_TAG:
            return super()._fixed(offset - TAG_BYTES, size, apart)
        if offset >= FIRST_TAG and end <= _BEHIND_TAG:
            shifted = self.builder.lshr(self.tag, const(8 * (_BEHIND_TAG - end), I32))
            return self.builder.and_(shifted, const((1 << 8 * size) - 1, I32))
        value: ir.Value = const(0, I32)
        for at in range(offset, end):
            value = self.builder.or_(self.builder.shl(value, const(8, I32)), self._fixed(at, 1, apart))
        return value

    def _variable(self, place: Place, size: int, apart: bool) -> ir.Value:
        if place.offset >= TAG_BYTES and lowest_start(place, self.tags) >= _BEHIND_TAG:
            return super()._variable(Place(place.offset - TAG_BYTES, place.behind), size, apart)
        return self._anywhere(place, size)

    def _anywhere(self, place: Place, size: int) -> ir.Value:
        """A load whose bytes may be before, in or after the tag."""
        start = self.emit.target.barrier(self.builder.add(self._sum(place.behind), const(place.offset)))
        done = self.emit.label()
        ways: list[tuple[ir.Value, ir.Block]] = []

        def arrive(value: ir.Value) -> None:
            ways.append((value, self.builder.block))
            self.emit.goto(done)

        for shift, here in self._whole(start, size):
            most = place.offset + sum(bounds(part, self.tags).high for part in place.behind)
            register = self._locate(self.builder.sub(start, const(shift)), self._limit(max(most - shift, 0), size))
            arrive(self.emit.load(Address(register), size, self.reject, apart=True))
            self.emit.enter(here)
        last = range(FIRST_TAG - size + 1, _BEHIND_TAG)[-1]
        for known in range(FIRST_TAG - size + 1, last):
            here, elsewhere = self.emit.label(), self.emit.label()
            self.emit.branch(self.builder.icmp_unsigned("==", start, const(known)), here, elsewhere)
            self.emit.enter(here)
            arrive(self._fixed(known, size, True))
            self.emit.enter(elsewhere)
        arrive(self._fixed(last, size, True))
        (value,) = self.emit.merge(done, ways)
        return value

    def _whole(self, start: ir.Value, size: int) -> Iterator[tuple[int, Label]]:
        """First for loads whose bytes are all after the tag, then for loads whose bytes are all before it: by how much
        memory is behind the wire, and the label of other packets."""
        for relation, limit, shift in ((">=", _BEHIND_TAG, TAG_BYTES), ("<=", FIRST_TAG - size, 0)):
            whole, others = self.emit.label(), self.emit.label()
            self.emit.branch(self.builder.icmp_unsigned(relation, start, const(limit)), whole, others)
            self.emit.enter(whole)
            yield shift, others
