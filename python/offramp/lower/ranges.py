# SPDX-License-Identifier: Apache-2.0
"""Ranges of numbers, and what a calculation makes of them. Numbers are unsigned, have 32 bits, and wrap."""

from __future__ import annotations

from typing import Final, NamedTuple

from .evaluate import calculate
from .expression import ALL_ONES, Operator

__all__ = ["FULL", "Range", "calculated", "of_bytes"]


class Range(NamedTuple):
    """From `low` to `high`, both included."""

    low: int
    high: int

    def union(self, other: Range) -> Range:
        """The smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def intersection(self, other: Range) -> Range | None:
        """The numbers in both; None if there are none."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Range(low, high) if low <= high else None


FULL: Final = Range(0, ALL_ONES)


def of_bytes(size: int) -> Range:
    """Of numbers that have so many bytes."""
    return Range(0, (1 << 8 * size) - 1)


def calculated(op: Operator, left: Range, right: Range) -> Range:
    """Of the results, where there is one: nothing can be divided by zero."""
    if left.low == left.high and right.low == right.high and (right.low or op not in ("/", "%")):
        result = calculate(op, left.low, right.low)
        return Range(result, result)
    match op:
        case "+":
            return _unless_it_wraps(left.low + right.low, left.high + right.high)
        case "-":
            return _unless_it_wraps(left.low - right.high, left.high - right.low)
        case "*":
            return _unless_it_wraps(left.low * right.low, left.high * right.high)
        case "/":
            return Range(left.low // max(right.high, 1), left.high // max(right.low, 1))
        case "%":
            return left if left.high < right.low else Range(0, min(left.high, max(right.high, 1) - 1))
        case "&":
            return Range(0, min(left.high, right.high))
        case "|":
            return Range(max(left.low, right.low), _ones(left.high | right.high))
        case "^":
            return Range(0, _ones(left.high | right.high))
        case "<<" if right.high < 32:
            return _unless_it_wraps(left.low << right.low, left.high << right.high)
        case ">>":
            return Range(left.low >> min(right.high, 32), left.high >> min(right.low, 32))
    return FULL


def _unless_it_wraps(low: int, high: int) -> Range:
    return Range(low, high) if low >= 0 and high <= ALL_ONES else FULL


def _ones(number: int) -> int:
    return (1 << number.bit_length()) - 1
