# SPDX-License-Identifier: Apache-2.0
"""A match about frames of which is known how many tags they have: `vlan any` passes so many bytes of them."""

from __future__ import annotations

from typing import Final

from .expression import (
    TAG_BYTES,
    TAG_ETHERTYPES,
    All,
    Any,
    Calculation,
    Chain,
    Choice,
    Expr,
    Load,
    Member,
    Negate,
    Number,
    Place,
    TagBytes,
    Test,
    Value,
)

__all__ = ["passing", "tagged"]

_FIRST: Final = 12  # where the ethertype of the first tag is


def tagged(tags: int, *, or_more: bool = False) -> Expr:
    """Whether a frame has so many tags."""
    here = [_is_tag(number) for number in range(tags)]
    return All(tuple(here if or_more else [*here, Negate(_is_tag(tags))]))


def _is_tag(number: int) -> Expr:
    ethertype = Load(Place(_FIRST + TAG_BYTES * number), 2)
    return Any(tuple([Test(ethertype, "==", Number(tag)) for tag in TAG_ETHERTYPES]))


def passing(size: int, expr: Expr, first_set: int = 0) -> Expr:
    """The same expression, where a `vlan any` that begins at the first tag passes `size` bytes. Its sets are counted
    from `first_set` on.
    """
    match expr:
        case Test(left, op, right):
            return Test(_value(size, left), op, _value(size, right))
        case All(parts):
            return All(tuple([passing(size, part, first_set) for part in parts]))
        case Any(parts):
            return Any(tuple([passing(size, part, first_set) for part in parts]))
        case Negate(part):
            return Negate(passing(size, part, first_set))
        case Member(key, number):
            return Member(tuple([_value(size, word) for word in key]), first_set + number)
        case Chain(network, version, number):
            return Chain(_place(size, network), version, number)
    return expr


def _value(size: int, value: Value) -> Value:
    match value:
        case Load(place, width):
            return Load(_place(size, place), width) if place.behind else value
        case Calculation(operator, left, right):
            return Calculation(operator, _value(size, left), _value(size, right))
        case Choice(asked, number, yes, no):
            return Choice(_value(size, asked), number, _value(size, yes), _value(size, no))
    return value


def _place(size: int, place: Place) -> Place:
    tags = TagBytes(_FIRST)
    behind = tuple([_value(size, part) for part in place.behind if part != tags])
    return Place(place.offset + size * place.behind.count(tags), behind)
