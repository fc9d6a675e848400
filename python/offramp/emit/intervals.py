# SPDX-License-Identifier: Apache-2.0
"""What is known of values and expressions before a packet is seen: intervals, and answers of three kinds.

    bounds(Calculation("<<", Calculation("&", Load(Place(14), 1), Number(15)), Number(2)))  ->  (0, 60)
    outcomes("vlan 5", of a frame whose tag is out of band)                                 ->  {True, False}
    outcomes("udp", of the same)                                                            ->  {False}

`tags` are the ethertypes that the frame's first VLAN tag can have, if the frame is known to have one: bytes 12 and 13
on the wire. Such a frame has at least the 14 bytes of an Ethernet header besides the tag.
"""

from __future__ import annotations

from offramp.immutable import immutable
from offramp.lower.expression import (
    TAG_BYTES,
    All,
    Any,
    Calculation,
    Chain,
    Choice,
    Const,
    Expr,
    Length,
    Load,
    Member,
    Negate,
    Number,
    Place,
    TagBytes,
    Test,
    Value,
)
from offramp.lower.ranges import FULL, Range, calculated, of_bytes

__all__ = ["FIRST_TAG", "Held", "Range", "bounds", "lowest_start", "outcomes"]

FIRST_TAG = 12  # where the first tag's ethertype is, and where a tag is inserted
_SHORTEST_TAGGED = 14 + TAG_BYTES


@immutable
class Held:
    """A value that is in a register, which stands where a value does in a place."""

    register: object
    range: Range


def bounds(value: Value, tags: tuple[int, ...] = ()) -> Range:
    """The range of numbers that `value` can be, if it does not reject."""
    match value:
        case Number(number):
            return Range(number, number)
        case Length():
            return FULL
        case Load(Place(offset, ()), 2) if tags and offset == FIRST_TAG:
            return Range(min(tags), max(tags))
        case Load(_, size):
            return of_bytes(size)
        case TagBytes(offset):
            return Range(TAG_BYTES if tags and offset == FIRST_TAG else 0, 2 * TAG_BYTES)
        case Calculation(op, left, right):
            return calculated(op, bounds(left, tags), bounds(right, tags))
        case Held():
            return value.range
        case Choice(_, _, yes, no):
            return bounds(yes, tags).union(bounds(no, tags))


def lowest_start(place: Place, tags: tuple[int, ...]) -> int:
    """The lowest offset that `place` can have."""
    return place.offset + sum(bounds(part, tags).low for part in place.behind)


def outcomes(expr: Expr, tags: tuple[int, ...]) -> frozenset[bool | None]:
    """All results that `expr` may have for a frame of which only `tags` is known. None: the frame is rejected."""
    match expr:
        case Const(value):
            return frozenset({value})
        case Negate(part):
            return frozenset(None if outcome is None else not outcome for outcome in outcomes(part, tags))
        case All(parts):
            return _in_turn(parts, True, tags)
        case Any(parts):
            return _in_turn(parts, False, tags)
        case Member(words, _):
            rejected = any(_may_reject(word, tags) for word in words)
            return frozenset({True, False, None} if rejected else {True, False})
        case Chain():
            return frozenset({True, False, None})
        case Test(left, op, right):
            rejected = _may_reject(left, tags) or _may_reject(right, tags)
            return _compared(op, bounds(left, tags), bounds(right, tags)) | frozenset({None} if rejected else ())


def _in_turn(parts: tuple[Expr, ...], going_on: bool, tags: tuple[int, ...]) -> frozenset[bool | None]:
    """The results of evaluating the parts from left to right, as long as they are `going_on`."""
    ended: frozenset[bool | None] = frozenset()
    for part in parts:
        found = outcomes(part, tags)
        ended |= found - {going_on}
        if going_on not in found:
            return ended
    return ended | {going_on}


def _compared(op: str, left: Range, right: Range) -> frozenset[bool | None]:
    match op:
        case "==":
            always = left == right and left.low == left.high
            possible = left.low <= right.high and right.low <= left.high
        case ">=":
            always, possible = left.low >= right.high, left.high >= right.low
        case _:
            always, possible = left.high <= right.low, left.low <= right.high
    return frozenset({possible, always})


def _may_reject(value: Value, tags: tuple[int, ...]) -> bool:
    match value:
        case Load(place, size):
            return bool(place.behind) or place.offset + size > _SHORTEST_TAGGED or not tags
        case TagBytes(offset):
            return offset + TAG_BYTES + 2 > _SHORTEST_TAGGED or not tags
        case Calculation(op, left, right):
            by_zero = op in ("/", "%") and bounds(right, tags).low == 0
            return by_zero or _may_reject(left, tags) or _may_reject(right, tags)
        case Choice(asked, _, yes, no):
            return any(_may_reject(part, tags) for part in (asked, yes, no))
    return False
