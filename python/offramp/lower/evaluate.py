# SPDX-License-Identifier: Apache-2.0
"""What an expression means for a packet, in Python: the reference that compiled programs are compared with."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Sequence

from offramp.immutable import immutable
from offramp.lower.expression import (
    ALL_ONES,
    AUTHENTICATION,
    IP6_EXTENSIONS,
    IP6_HEADER,
    MAX_CHAIN,
    MAX_TAGS,
    TAG_BYTES,
    TAG_ETHERTYPES,
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
    Operator,
    Place,
    TagBytes,
    Test,
    Value,
)

__all__ = ["Reader", "Reject", "calculate", "evaluate"]


class Reject(Exception):
    """A load beyond the end of the packet, a division by zero, or a chain of headers that is too long."""


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
            case Chain(network, version, number):
                return self.chain(self.place(network), version, number)

    def value(self, value: Value) -> int:
        match value:
            case Number(number):
                return number
            case Length():
                return self.length
            case Load(place, size):
                return self.load(self.place(place), size)
            case TagBytes(offset):
                tags = 0
                while tags < MAX_TAGS and self.load(offset + TAG_BYTES * tags, 2) in TAG_ETHERTYPES:
                    tags += 1
                return TAG_BYTES * tags
            case Calculation(op, left, right):
                return calculate(op, self.value(left), self.value(right))
            case Choice(asked, number, yes, no):
                both = self.value(yes), self.value(no)
                return both[0] if self.value(asked) == number else both[1]

    def place(self, place: Place) -> int:
        return place.offset + sum(self.value(part) for part in place.behind)

    def chain(self, network: int, version: int, number: int) -> bool:
        if version == 4:
            header, at = self.load(network + 9, 1), (self.load(network, 1) & 0x0F) << 2
        else:
            header, at = self.load(network + 6, 1), IP6_HEADER
        for followed in range(MAX_CHAIN + 1):
            if header == number:
                return True
            if not (header == AUTHENTICATION or (version == 6 and header in IP6_EXTENSIONS)):
                return False
            if followed == MAX_CHAIN:
                break
            length = self.load(network + at + 1, 1)
            following = 4 * (length + 2) if header == AUTHENTICATION else at + 8 * (length + 1)
            header, at = self.load(network + at, 1), following
        raise Reject

    def load(self, start: int, size: int) -> int:
        if start + size > len(self.packet):
            raise Reject
        return int.from_bytes(self.packet[start : start + size], "big")


def calculate(op: Operator, left: int, right: int) -> int:
    """The result of a calculation. Raises Reject where it divides by zero."""
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
