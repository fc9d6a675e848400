# SPDX-License-Identifier: Apache-2.0
"""What is known of a packet for which some tests hold and others fail: numbers in ranges, bits of bytes.

    facts = Facts.none().where(Test(Load(Place(12), 2), "==", Number(0x0800)), True)
    facts.where(Test(Load(Place(12), 2), "==", Number(0x86DD)), True)  ->  None: no packet is both

It never contradicts a packet, and it does not know all: None is certain, anything else is not. A packet here is one
that arrives on an interface, so it has an Ethernet header, and its length on the wire is not less than what is read of
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .expression import (
    ALL_ONES,
    TAG_BYTES,
    Calculation,
    Choice,
    Length,
    Load,
    Number,
    Op,
    Place,
    TagBytes,
    Test,
    Value,
)
from .ranges import FULL, Range, calculated, of_bytes

__all__ = ["Facts"]

_SHORTEST: Final = 14  # bytes of a frame
_MIRRORED: Final[Mapping[Op, Op]] = {"==": "==", ">=": "<=", "<=": ">="}


class _Numbers:
    """A number for each value, so that it is compared and hashed only once: places in tunnels are large."""

    def __init__(self) -> None:
        self._of_objects: dict[int, tuple[int, object]] = {}  # with the object: its id is its own while it lives
        self._of_values: dict[object, int] = {}
        self.values: list[Any] = []

    def __call__(self, value: object) -> int:
        known = self._of_objects.get(id(value))
        if known is None:
            number = self._of_values.setdefault(value, len(self.values))
            if number == len(self.values):
                self.values.append(value)
            known = self._of_objects[id(value)] = number, value
        return known[0]


class Facts(NamedTuple):
    """Each method that learns something gives the facts with it; None: no packet is like that. The keys of the
    dictionaries are the numbers of values.
    """

    number: _Numbers
    bits: Mapping[tuple[int, int], tuple[int, int]] = MappingProxyType({})
    """Of a byte of the packet, by what it is behind and its offset: which bits are known, and what they are."""
    ranges: Mapping[int, Range] = MappingProxyType({})
    never: Mapping[int, frozenset[int]] = MappingProxyType({})  # numbers that a value is not
    only: Mapping[int, frozenset[int]] = MappingProxyType({})  # the few numbers that a value can be
    read: frozenset[int] = frozenset()  # values that can be read
    length: int = _SHORTEST  # the frame has at least so many bytes

    @classmethod
    def none(cls) -> Facts:
        """Those of any packet."""
        return cls(_Numbers())

    def where(self, test: Test, holds: bool) -> Facts | None:
        """The facts of the packets for which the test can be made, and holds or does not."""
        facts = self._read(test.left)
        facts = facts and facts._read(test.right)
        if facts is None:
            return None
        left, op = test.left, test.op
        if isinstance(test.right, Number):
            return facts._compared(left, op, test.right.value, holds)
        right = facts.range(test.right)
        if right.low != right.high:
            left, op, right = test.right, _MIRRORED[test.op], facts.range(test.left)
        if right.low == right.high:
            return facts._compared(left, op, right.low, holds)
        return facts if facts._may(test, holds) else None

    def among(self, value: Value, numbers: frozenset[int]) -> Facts | None:
        """The facts of the packets in which the value is one of these numbers."""
        facts = self._read(value)
        if facts is None:
            return None
        left = facts._left(value, numbers)
        if len(left) <= 1:
            return facts._equal(value, *left) if left else None
        only = {**facts.only, facts.number(value): left}
        return facts._replace(only=only)._within(value, min(left), max(left))

    def _left(self, value: Value, numbers: frozenset[int]) -> frozenset[int]:
        """Which of the numbers the value still can be."""
        key, known = self.number(value), self.range(value)
        mask, bits = self._known_bits(value.place, value.size) if isinstance(value, Load) else (0, 0)
        left = self.only.get(key, numbers) & numbers - self.never.get(key, frozenset())
        return frozenset([each for each in left if known.low <= each <= known.high and each & mask == bits])

    def reads(self, test: Test) -> bool:
        """Whether the test can be made, for each of the packets."""
        return self._surely(test.left) and self._surely(test.right)

    def _surely(self, value: Value) -> bool:
        if self.number(value) in self.read:
            return True
        match value:
            case Number() | Length():
                return True
            case Load(place, size):
                end = place.offset + sum([self.range(part).high for part in place.behind]) + size
                return end <= self.length and all(map(self._surely, place.behind))
            case Calculation(op, left, right):
                divides = op in ("/", "%")
                return self._surely(left) and self._surely(right) and not (divides and self.range(right).low == 0)
        return False

    def range(self, value: Value) -> Range:
        """The numbers that the value can be. Empty ranges do not occur: there would be no facts."""
        if isinstance(value, Number):
            return Range(value.value, value.value)
        known = self._computed(value)
        return known.intersection(self.ranges.get(self.number(value), FULL)) or known

    @property
    def consistent(self) -> bool:
        """Whether what was learned later leaves a number for each value."""
        values = self.number.values
        if any(known.intersection(self._computed(values[key])) is None for key, known in self.ranges.items()):
            return False
        for key, never in self.never.items():
            known = self.range(values[key])
            if known.high - known.low < len(never) and never.issuperset(range(known.low, known.high + 1)):
                return False
        return all(self._left(values[key], only) for key, only in self.only.items())

    def _computed(self, value: Value) -> Range:
        match value:
            case Number(number):
                return Range(number, number)
            case Length():
                return Range(self.length, ALL_ONES)
            case Load(place, size):
                mask, number = self._known_bits(place, size)
                return Range(number, number | ~mask & of_bytes(size).high)
            case TagBytes():
                return Range(0, 2 * TAG_BYTES)
            case Calculation(op, left, right):
                return calculated(op, self.range(left), self.range(right))
            case Choice(_, _, yes, no):
                return self.range(yes).union(self.range(no))

    def _known_bits(self, place: Place, size: int) -> tuple[int, int]:
        mask = number = 0
        behind = self.number(place.behind)
        for at in range(place.offset, place.offset + size):
            known, is_so = self.bits.get((behind, at), (0, 0))
            mask, number = mask << 8 | known, number << 8 | is_so
        return mask, number

    # -- what a comparison with a number says ----------------------------------------

    def _compared(self, value: Value, op: Op, number: int, holds: bool) -> Facts | None:
        if op == "==":
            return self._equal(value, number) if holds else self._unequal(value, number)
        if (op == ">=") == holds:
            return self._within(value, number if holds else number + 1, ALL_ONES)
        return self._within(value, 0, number if holds else number - 1)

    def _within(self, value: Value, low: int, high: int) -> Facts | None:
        never = self.never.get(self.number(value), frozenset())
        while low in never:
            low += 1
        while high in never:
            high -= 1
        both = self.range(value).intersection(Range(low, high))
        if both is None:
            return None
        if both.low == both.high:
            return self._equal(value, both.low)
        return self._replace(ranges={**self.ranges, self.number(value): both})

    def _unequal(self, value: Value, number: int) -> Facts | None:
        mask = _single_bit(value)
        if mask and number in (0, mask):
            return self._equal(value, mask - number)
        known = self.range(value)
        if not known.low <= number <= known.high:
            return self
        key = self.number(value)
        never = {**self.never, key: self.never.get(key, frozenset()) | {number}}
        return self._replace(never=never)._within(value, known.low, known.high)

    def _equal(self, value: Value, number: int) -> Facts | None:
        known, key = self.range(value), self.number(value)
        if not known.low <= number <= known.high or number in self.never.get(key, ()):
            return None
        if key in self.only and number not in self.only[key]:
            return None
        if known.low == known.high and isinstance(value, Load):
            return self
        facts = self._replace(ranges={**self.ranges, key: Range(number, number)})
        return facts._masked(value, ALL_ONES, number)

    def _masked(self, value: Value, mask: int, number: int) -> Facts | None:
        """Where `value & mask == number`."""
        match value:
            case Load(place, size):
                return self._bits(place, size, mask, number)
            case Calculation("&", part, Number(other)) | Calculation("&", Number(other), part):
                return self._masked(part, mask & other, number) if not number & ~other else None
            case Calculation("^", part, Number(other)) | Calculation("^", Number(other), part):
                return self._masked(part, mask, number ^ other & mask)
            case Calculation("+", part, Number(other)) if mask == ALL_ONES:
                return self._equal(part, number - other & ALL_ONES)
            case Calculation("-", part, Number(other)) if mask == ALL_ONES:
                return self._equal(part, number + other & ALL_ONES)
            case Calculation("<<", part, Number(by)) if by < 32:
                lost = (1 << by) - 1
                return self._masked(part, mask >> by, number >> by) if not number & lost else None
            case Calculation(">>", part, Number(by)) if by < 32:
                return self._masked(part, mask << by & ALL_ONES, number << by) if number << by <= ALL_ONES else None
        return self

    def _bits(self, place: Place, size: int, mask: int, number: int) -> Facts | None:
        if number >> 8 * size:
            return None
        bits, behind = dict(self.bits), self.number(place.behind)
        for index in range(size):
            shift = 8 * (size - 1 - index)
            at = (behind, place.offset + index)
            now, is_so = mask >> shift & 0xFF, number >> shift & 0xFF
            known, was = bits.get(at, (0, 0))
            if (was ^ is_so) & known & now:
                return None
            bits[at] = known | now, was | is_so
        return self._replace(bits=bits)

    def _may(self, test: Test, holds: bool) -> bool:
        """Whether two values, both unknown, can compare like that."""
        if test.left == test.right:
            return holds
        left, right = self.range(test.left), self.range(test.right)
        match test.op:
            case "==":
                return not holds or left.intersection(right) is not None
            case ">=":
                return left.high >= right.low if holds else left.low < right.high
            case "<=":
                return left.low <= right.high if holds else left.high > right.low

    # -- what reading a value says ----------------------------------------

    def _read(self, value: Value) -> Facts | None:
        """All of it is in the packet, and nothing is divided by zero."""
        key = self.number(value)
        if isinstance(value, Number | Length) or key in self.read:
            return self
        facts = self._read_anew(value)
        return facts and facts._replace(read=facts.read | {key})

    def _read_anew(self, value: Value) -> Facts | None:
        match value:
            case Load(place, size):
                facts = self._read_all(place.behind)
                return facts and facts._reaches(place, size)
            case TagBytes(offset):
                return self._reaches(Place(offset), 2)
            case Calculation(op, left, right):
                facts = self._read_all((left, right))
                return facts and (facts._within(right, 1, ALL_ONES) if op in ("/", "%") else facts)
            case Choice(asked, _, yes, no):
                return self._read_all((asked, yes, no))
        return self

    def _read_all(self, values: tuple[Value, ...]) -> Facts | None:
        facts: Facts | None = self
        for value in values:
            facts = facts and facts._read(value)
        return facts

    def _reaches(self, place: Place, size: int) -> Facts | None:
        least = place.offset + sum(self.range(part).low for part in place.behind) + size
        if least <= self.length:
            return self
        longest = self.range(Length()).high
        return self._replace(length=least) if least <= longest else None


def _single_bit(value: Value) -> int:
    """The mask of one bit that the value is under; 0: none."""
    match value:
        case Calculation("&", _, Number(mask)) | Calculation("&", Number(mask), _) if mask.bit_count() == 1:
            return mask
    return 0
