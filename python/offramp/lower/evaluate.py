# SPDX-License-Identifier: Apache-2.0
"""What an expression means for a packet, in Python: the reference that compiled programs are compared with."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Sequence

from offramp.immutable import immutable
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
    Length,
    Load,
    Member,
    Negate,
    Number,
    Operator,
    TagBytes,
    Test,
    Value,
)

__all__ = ["Reader", "Reject", "evaluate"]


class Reject(Exception):
    """A load beyond the end of the packet, or a division by zero."""


def evaluate(expr: Expr, packet: bytes, length: int | None = None, sets: Sequence[Container[int]] = ()) -> bool:
    """Whether `packet`, a frame from its first MAC address on, matches. `length`: bytes on the wire, if it was cut off.
    `sets`: the members of each set, by its number, each member as one integer.
    """
    reader = Reader(packet, len(packet) if length is None else length, sets)
    try:
        return reader.decide(expr)
    except Reject:
        return False


_RELATIONS: dict[str, Callable[[int, int], bool]] = {"==": operator.eq, ">=": operator.ge, "<=": operator.le}


@immutable
class Reader:
    """Reads what is in a packet. Raises Reject."""

    packet: bytes
    length: int
    sets: Sequence[Container[int]]

    def decide(self, expr: Expr) -> bool:
        match expr:
            case Const(value):
                return value
            case Negate(part):
                return not self.decide(part)
            case All(parts):
                return all(self.decide(part) for part in parts)
            case Any(parts):
                return any(self.decide(part) for part in parts)
            case Test(left, op, right):
                return _RELATIONS[op](self.value(left), self.value(right))
            case Member(words, number):
                key = 0
                for word in words:
                    key = key << 32 | self.value(word)
                return key in self.sets[number]

    def value(self, value: Value) -> int:
        match value:
            case Number(number):
                return number
            case Length():
                return self.length
            case Load(place, size):
                return self.load(place.offset + sum(self.value(part) for part in place.behind), size)
            case TagBytes(offset):
                tags = 0
                while tags < MAX_TAGS and self.load(offset + TAG_BYTES * tags, 2) in TAG_ETHERTYPES:
                    tags += 1
                return TAG_BYTES * tags
            case Calculation(op, left, right):
                return _calculate(op, self.value(left), self.value(right))

    def load(self, start: int, size: int) -> int:
        if start + size > len(self.packet):
            raise Reject
        return int.from_bytes(self.packet[start : start + size], "big")


def _calculate(op: Operator, left: int, right: int) -> int:
    match op:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/" | "%":
            if right == 0:
                raise Reject
            result = left // right if op == "/" else left % right
        case "&":
            result = left & right
        case "|":
            result = left | right
        case "^":
            result = left ^ right
        case "<<":
            result = left << right if right < 32 else 0
        case ">>":
            result = left >> right if right < 32 else 0
    return result & ALL_ONES
