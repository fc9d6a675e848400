# SPDX-License-Identifier: Apache-2.0
"""What relations compare: numbers, bytes of the packet, and calculations with them.

Operands that are calculations themselves are printed in parentheses: nobody has to remember how tcpdump's `%` binds.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from offramp.immutable import immutable

from .words import ALL_ONES, WITH_FIELDS, Protocol

__all__ = ["MAX_HELD", "Calculation", "Field", "Length", "Negative", "Number", "Operator", "Relation", "Value", "held"]

MAX_HELD: Final = 16  # registers of a BPF program, which tcpdump keeps values in (BPF_MEMWORDS)
_BITWISE: Final = ("&", "|", "^")
Operator: TypeAlias = Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]
Relation: TypeAlias = Literal["==", "!=", ">", ">=", "<", "<="]


@immutable
class Number:
    """A constant of 32 bits. Arithmetic is C's on unsigned numbers of 32 bits."""

    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value <= ALL_ONES:
            raise ValueError(f"{self.value} does not fit in 32 bits")

    def __str__(self) -> str:
        return str(self.value)


@immutable
class Length:
    """`len`: the packet's length on the wire, in bytes."""

    def __str__(self) -> str:
        return "len"


@immutable
class Field:
    """`proto[offset:size]`: so many bytes of a packet of that protocol, from its header on, as a big-endian number."""

    protocol: Protocol
    offset: Value
    size: Literal[1, 2, 4] = 1

    def __post_init__(self) -> None:
        if self.size not in (1, 2, 4):
            raise ValueError(f"{self.size} bytes cannot be compared: a field has 1, 2 or 4")
        if self.protocol not in WITH_FIELDS:
            raise ValueError(f"the bytes of '{self.protocol.value}' cannot be addressed")

    def __str__(self) -> str:
        return f"{self.protocol.value}[{self.offset}{'' if self.size == 1 else f':{self.size}'}]"


@immutable
class Calculation:
    """`left operator right`. A packet for which it divides by zero does not match.

    tcpdump refuses a divisor whose leftmost number is 0, also when it is only part of it (`5 / (0 + 3)`, `5 / ip[0]`),
    and so with shifts by more than 31.
    """

    operator: Operator
    left: Value
    right: Value

    def __post_init__(self) -> None:
        if self.operator in ("/", "%", "<<", ">>") and (first := _leftmost(self.right)) is not None:
            if self.operator in ("/", "%") and first == 0:
                raise ValueError("division by zero" if self.operator == "/" else "modulus by zero")
            if self.operator in ("<<", ">>") and first > 31:
                raise ValueError("a shift by more than 31 bits")

    def __str__(self) -> str:
        shown = _bits if self.operator in _BITWISE else _operand
        return f"{shown(self.left)} {self.operator} {shown(self.right)}"


@immutable
class Negative:
    """`-value`, modulo 2**32."""

    value: Value

    def __str__(self) -> str:
        return f"-{_operand(self.value)}"


Value: TypeAlias = Number | Length | Field | Calculation | Negative


def _leftmost(value: Value) -> int | None:
    """The number that the text of a value begins with, signs and `proto[` aside."""
    while not isinstance(value, Number):
        if isinstance(value, Length):
            return None
        value = (
            value.left if isinstance(value, Calculation) else value.offset if isinstance(value, Field) else value.value
        )
    return value.value


def held(value: Value) -> int:
    """How many values are kept at once while this one is computed, operands from left to right."""
    most = 1
    while not isinstance(value, Number | Length):
        if isinstance(value, Calculation):
            most = max(most, 1 + held(value.right))
            value = value.left
        elif isinstance(value, Field):
            most = max(most, 2)  # the offset and the bytes
            value = value.offset
        else:
            value = value.value
    return most


def _bits(value: Value) -> str:
    """An operand whose single bits matter."""
    return f"{value.value:#x}" if isinstance(value, Number) else _operand(value)


def _operand(value: Value) -> str:
    return f"({value})" if isinstance(value, Calculation | Negative) else str(value)
