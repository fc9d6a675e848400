# SPDX-License-Identifier: Apache-2.0
"""Which packets two matches can both hold for, found without a packet. If it is not certain, the answer is: some.

`ways` walks an expression as a program would, but with what is known of the packet instead of the packet itself: bits
of its bytes, from the tests so far. A test that contradicts them ends the way. Whoever gets through is a way on which
the expression may be true; if there is none, it is false for every packet.

    udp dst port 4321       byte 12-13 == 0x0800, byte 23 == 17, ...                    a way
    and then: tcp port 22   byte 12-13 == 0x0800, byte 23 == 6                          no way: it is 17

`vlan any` makes places depend on the number of tags, so each number is looked at by itself. A match is about the frame
on the wire. What is protected is about the frame in memory, which may lack the first tag; from the third tag on, the
two differ in what is behind `vlan any`.

Bytes at places that depend on other numbers of the packet, such as the length of its IPv4 header, are known by the
place's expression. Two expressions may be the same byte, and nothing is concluded from that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, TypeAlias

from offramp.immutable import field, immutable
from offramp.lower.expression import (
    ALL_ONES,
    MAX_TAGS,
    TAG_BYTES,
    TAG_ETHERTYPES,
    All,
    Any,
    Calculation,
    Const,
    Expr,
    Fixed,
    Load,
    Lowered,
    Member,
    Negate,
    Number,
    Place,
    SetUse,
    TagBytes,
    Test,
    Value,
)

__all__ = ["Met"]

_FIRST_TAG: Final = 12  # where the ethertype of the first tag is
_MOST_WAYS: Final = 256  # of a match; beyond that nothing is certain
_MOST_STEPS: Final = 8_000

_Byte: TypeAlias = tuple[tuple[Value, ...], int]  # what is behind in a Place, and the offset
_Bits: TypeAlias = tuple[int, int]  # mask, and value: the bits that are known
_TAGS: Final = tuple((tag, tag) for tag in TAG_ETHERTYPES)


class _Uncertain(Exception):
    """There is too much to look at."""


@immutable
class _Asked:
    """Whether a number of the packet, some of its bits, is in one of the ranges."""

    load: Load
    mask: int
    ranges: tuple[tuple[int, int], ...]
    truth: bool = True

    @property
    def value(self) -> int | None:
        """The number, if it is known."""
        return self.ranges[0][0] if self.truth and len(self.ranges) == 1 and len(set(self.ranges[0])) == 1 else None


@immutable
class _Known:
    """What the tests so far say of the packet."""

    bytes: dict[_Byte, _Bits] = field(default_factory=dict)
    asked: tuple[_Asked, ...] = ()

    def with_(self, asked: _Asked) -> _Known | None:
        """The same, with one more answer; None if it contradicts the others."""
        known = self
        if asked.value is not None:
            found = self._bytes_with(asked.load, asked.mask, asked.value)
            if found is None:
                return None
            known = _Known(found, self.asked)
        else:
            known = _Known(self.bytes, (*self.asked, asked))
        return known if all(map(known._is_possible, known.asked)) else None

    def _bytes_with(self, load: Load, mask: int, value: int) -> dict[_Byte, _Bits] | None:
        if value & ~mask:
            return None
        found = dict(self.bytes)
        for number in range(load.size):
            shift = 8 * (load.size - 1 - number)
            here, bits = (load.place.behind, load.place.offset + number), (mask >> shift & 0xFF, value >> shift & 0xFF)
            before = found.get(here, (0, 0))
            if (before[1] ^ bits[1]) & before[0] & bits[0]:
                return None
            found[here] = (before[0] | bits[0], before[1] | bits[1])
        return found

    def _is_possible(self, asked: _Asked) -> bool:
        low, high = self._bounds(asked)
        if asked.truth:
            return any(max(low, first) <= min(high, last) for first, last in asked.ranges)
        return low <= high and not any(first <= low and high <= last for first, last in asked.ranges)

    def _bounds(self, asked: _Asked) -> tuple[int, int]:
        """Between which numbers it is."""
        known = value = 0
        for number in range(asked.load.size):
            mask, bits = self.bytes.get((asked.load.place.behind, asked.load.place.offset + number), (0, 0))
            known, value = known << 8 | mask, value << 8 | bits
        low = value & asked.mask
        high = low | asked.mask & ~known  # the bits that are not known are all zeros, or all ones
        for other in self.asked:
            if other.truth and other.ranges and (other.load, other.mask) == (asked.load, asked.mask):
                low, high = max(low, other.ranges[0][0]), min(high, other.ranges[-1][1])
        return low, high


class _Walk:
    """Walks the expressions of one match. `shift`: the bytes of the tags that its `vlan any` has passed."""

    def __init__(self, sets: Sequence[SetUse], shift: int) -> None:
        self.sets = sets
        self.shift = shift
        self.steps = _MOST_STEPS

    def ways(self, expr: Expr, truth: bool, known: _Known) -> Iterator[_Known]:
        """What is known on each way on which `expr` may have this truth value."""
        match expr:
            case Const(value):
                if value == truth:
                    yield known
            case Negate(part):
                yield from self.ways(part, not truth, known)
            case All(parts) | Any(parts):
                if isinstance(expr, All) == truth:
                    yield from self._each(parts, truth, known)
                else:
                    for part in parts:
                        yield from self.ways(part, truth, known)
            case Test() | Member():
                self.steps -= 1
                if not self.steps:
                    raise _Uncertain
                asked = self._question(expr, truth)
                found = known if asked is None else known.with_(asked)
                if found is not None:
                    yield found

    def _each(self, parts: tuple[Expr, ...], truth: bool, known: _Known) -> Iterator[_Known]:
        if not parts:
            yield known
            return
        for found in self.ways(parts[0], truth, known):
            yield from self._each(parts[1:], truth, found)

    def _question(self, expr: Test | Member, truth: bool) -> _Asked | None:
        """What is asked about bits of the packet; None: something else, of which nothing is concluded."""
        match expr:
            case Test(left, op, Number(number)):
                bits = self._bits(left)
                return None if bits is None else _Asked(*bits, *_compared(op, number, truth))
            case Member((key,), number) if isinstance(use := self.sets[number], Fixed):
                bits = self._bits(key)
                return None if bits is None else _Asked(*bits, use.ranges, truth)
        return None

    def _bits(self, value: Value) -> tuple[Load, int] | None:
        match value:
            case Load(place, size):
                return Load(self._placed(place), size), (1 << 8 * size) - 1
            case Calculation("&", Load(place, size), Number(mask)):
                return Load(self._placed(place), size), mask & (1 << 8 * size) - 1
        return None

    def _placed(self, place: Place) -> Place:
        """The place without the tags that were passed."""
        if not place.behind:
            return place
        tags = TagBytes(_FIRST_TAG)
        offset = place.offset + self.shift * place.behind.count(tags)
        return Place(offset, tuple(self._value(part) for part in place.behind if part != tags))

    def _value(self, value: Value) -> Value:
        match value:
            case Load(place, size):
                return Load(self._placed(place), size)
            case Calculation(operator, left, right):
                return Calculation(operator, self._value(left), self._value(right))
        return value


def _compared(op: str, number: int, truth: bool) -> tuple[tuple[tuple[int, int], ...], bool]:
    """The ranges, and whether the number is in one of them."""
    match op:
        case "==":
            return ((number, number),), truth
        case ">=":
            return ((number, ALL_ONES) if truth else (0, number - 1),), True
        case _:
            return ((0, number) if truth else (number + 1, ALL_ONES),), True


@immutable
class _Frames:
    """Frames with so many tags, and how many bytes of tags `vlan any` passes in them."""

    tags: int  # MAX_TAGS + 1: or more
    wire: int  # where it is about the frame on the wire
    memory: int  # where it is about the frame in memory, counted on the wire: a tag that is not there counts

    @property
    def known(self) -> _Known:
        known: _Known | None = _Known()
        for number in range(min(self.tags, MAX_TAGS) + 1):
            place = Place(_FIRST_TAG + TAG_BYTES * number)
            assert known is not None
            known = known.with_(_Asked(Load(place, 2), 0xFFFF, _TAGS, number < self.tags))
        assert known is not None
        return known


_ALL: Final = (
    _Frames(0, 0, 0),
    _Frames(1, TAG_BYTES, TAG_BYTES),
    _Frames(2, 2 * TAG_BYTES, 2 * TAG_BYTES),
    _Frames(3, 2 * TAG_BYTES, 2 * TAG_BYTES),
    _Frames(3, 2 * TAG_BYTES, 3 * TAG_BYTES),  # the first tag is beside the frame
)


class Met:
    """A match, to be asked which packets of other matches it can meet. It is about frames on the wire."""

    def __init__(self, match: Lowered) -> None:
        self._ways: list[tuple[_Frames, list[_Known]]] | None = None  # None: not certain
        with suppress(_Uncertain, RecursionError):
            self._ways = [(frames, _all_ways(match, frames)) for frames in _ALL]

    def meets(self, other: Lowered, *, on_wire: bool = False) -> bool:
        """Whether a packet can be of both. The other one is about frames in memory, unless it is `on_wire` too."""
        return self._can_be(other, True, on_wire=on_wire)

    def is_within(self, other: Lowered) -> bool:
        """Whether every packet of the match is certainly of the other one too, which is about frames in memory."""
        return not self._can_be(other, False, on_wire=False)

    def _can_be(self, other: Lowered, truth: bool, *, on_wire: bool) -> bool:
        if self._ways is None:
            return True
        try:
            for frames, ways in self._ways:
                walk = _Walk(other.sets, frames.wire if on_wire else frames.memory)
                if any(any(True for _ in walk.ways(other.expr, truth, known)) for known in ways):
                    return True
        except (_Uncertain, RecursionError):
            return True
        return False


def _all_ways(match: Lowered, frames: _Frames) -> list[_Known]:
    found = list(islice(_Walk(match.sets, frames.wire).ways(match.expr, True, frames.known), _MOST_WAYS + 1))
    if len(found) > _MOST_WAYS:
        raise _Uncertain
    return found
