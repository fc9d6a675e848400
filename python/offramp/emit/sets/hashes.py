# SPDX-License-Identifier: Apache-2.0
"""Sets of single keys: one bit of a bitmap, or up to 32 slots from the one that the mixed key points to. The first slot
mostly decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llvmlite import ir

from offramp.emit.sets import layout
from offramp.emit.sets.layout import HEADER
from offramp.emit.sets.shared import Lookup
from offramp.emit.target import const

__all__ = ["Bitmap", "Hash", "WideHash"]

_I1: Final = ir.IntType(1)
_TAKEN: Final = 1 << 63
_FINGERPRINT: Final = (1 << 31) - 1


class Bitmap(Lookup):
    """One bit."""

    def run(self, current: ir.Value, words: Sequence[ir.Value]) -> None:
        (port,) = words
        number = self.builder.and_(self.builder.lshr(port, const(6)), const(0x3FF))
        offset = self.builder.shl(self.barrier(number), const(3))
        word = self.load(self.builder.add(self.half(current, layout.BITMAP), offset))
        bit = self.builder.lshr(word, self.builder.and_(port, const(63)))
        self.decide(self.builder.trunc(bit, _I1))


class Hash(Lookup):
    """Slots that hold keys."""

    def run(self, current: ir.Value, words: Sequence[ir.Value]) -> None:
        key = words[0] if len(words) == 1 else self.pair(*words)
        half_layout = layout.HashLayout.of(self.shape)
        half = self.half(current, half_layout.half)
        factor = self.load(half, 8)
        mixed = self.stir(self.builder.mul(self.builder.xor(key, self.load(half)), factor), factor)
        first = self.first_slot(half, mixed, half_layout.bits)
        wanted = self.builder.or_(key, const(_TAKEN))
        for place in range(layout.WINDOW):
            slot = self.load(first, HEADER + 8 * place)
            others, taken = self.block(), self.block()
            self.builder.cbranch(self.equal(slot, wanted), self.found(), others)
            self.builder.position_at_end(others)
            self.builder.cbranch(self.equal(slot, const(0)), self.missed(), taken)
            self.builder.position_at_end(taken)
        self.builder.branch(self.missed())

    def first_slot(self, half: ir.Value, mixed: ir.Value, bits: int) -> ir.Value:
        number = self.barrier(self.builder.lshr(mixed, const(64 - bits)))
        return self.barrier(self.builder.add(half, self.builder.shl(number, const(3))))

    def stir(self, value: ir.Value, factor: ir.Value) -> ir.Value:
        return self.builder.mul(self.builder.xor(value, self.builder.lshr(value, const(32))), factor)


class WideHash(Hash):
    """Slots that hold a fingerprint and the number of an entry. The entry holds a key of 128 bits."""

    def run(self, current: ir.Value, words: Sequence[ir.Value]) -> None:
        high, low = self.pair(*words[:2]), self.pair(*words[2:])
        half_layout = layout.HashLayout.of(self.shape)
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
            self.builder.cbranch(self.equal(difference, const(0)), self.found(), taken)
            self.builder.position_at_end(others)
            self.builder.cbranch(self.equal(slot, const(0)), self.missed(), taken)
            self.builder.position_at_end(taken)
        self.builder.branch(self.missed())
