# SPDX-License-Identifier: Apache-2.0
"""Arithmetic to values: `(tcp[12] & 0xf0) >> 2`, with the precedences of tcpdump's grammar.

From loose to tight: `|`, `&`, `<< >>`, `+ -`, `* /`, the sign; operators of one level from left to right. `%` and `^`
have no precedence there (libpcap, grammar.y), and what an LALR parser does then is part of the language: whatever
stands to the right belongs to them. So `a % b + c` is `a % (b + c)`, and `a * b % c` is `a * (b % c)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from .complain import ARITHMETIC, RELATION, unexpected
from .scan import NUMBER, PROTOCOL_WORDS, Cursor, Fault
from .tree import Calculation, Field, Length, Negative, Number, Protocol, Value

if TYPE_CHECKING:
    from .tree import Operator, Relation

MAX_DEPTH: Final = 100  # levels of a tree, and of parentheses
PRECEDENCE: Final = {"|": 1, "&": 2, "<<": 3, ">>": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": None, "^": None}
SIGN: Final = 6
RELATIONS: Final = {"=": "==", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}
BEGINNINGS: Final = frozenset((NUMBER, "-", "len"))  # of arithmetic, besides parentheses and protocols


class Operand(NamedTuple):
    value: Value
    start: int  # where its text is
    end: int
    height: int = 1


def arithmetic(cursor: Cursor, depth: int, left: Operand | None = None) -> Operand:
    """The value that begins at the cursor, as far as operators go; `left` if its first operand has been read."""
    operands: list[Operand] = []
    waiting: list[tuple[str, int | None, int]] = []  # operators, their precedence, where they stand
    while True:
        if left is None:
            while cursor.kind == "-":
                if len(waiting) >= MAX_DEPTH:
                    raise too_deep(cursor)
                waiting.append(("sign", SIGN, cursor.start))
                cursor.advance()
        operands.append(left or _operand(cursor, depth))
        left = None
        operator = cursor.kind
        if operator not in PRECEDENCE:
            break
        precedence = PRECEDENCE[operator]
        while waiting and _binds(waiting[-1][1], precedence):
            _reduce(operands, waiting)
        if len(waiting) >= MAX_DEPTH:
            raise too_deep(cursor)
        waiting.append((operator, precedence, cursor.start))
        cursor.advance()
    while waiting:
        _reduce(operands, waiting)
    (result,) = operands
    return result


def field(cursor: Cursor, protocol: Protocol, start: int, depth: int) -> Operand:
    """`[offset:size]`; the cursor is at the bracket, the protocol has been read."""
    check_depth(cursor, depth)
    cursor.advance()
    offset = arithmetic(cursor, depth + 1)
    size, size_at = 1, (start, cursor.end)
    if cursor.kind == ":":
        cursor.advance()
        if cursor.kind != NUMBER:
            raise unexpected(cursor, "a number of bytes: 1, 2 or 4")
        size, size_at = cursor.number, (cursor.start, cursor.end)
        cursor.advance()
    if cursor.kind != "]":
        raise unexpected(cursor, *(("an operator", "':'", "']'") if size_at[0] == start else ("']'",)))
    end = cursor.end
    cursor.advance()
    try:
        value = Field(protocol, offset.value, cast("Any", size))
    except ValueError as error:
        raise Fault(str(error), *(size_at if size not in (1, 2, 4) else (start, end))) from None
    return _checked(Operand(value, start, end, offset.height + 1))


def check_depth(cursor: Cursor, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise too_deep(cursor)


def too_deep(cursor: Cursor) -> Fault:
    hint = "put the conditions of a kind together, or use fewer parentheses"
    return Fault(f"the match nests more than {MAX_DEPTH} levels deep", cursor.start, cursor.end, hint)


def _operand(cursor: Cursor, depth: int) -> Operand:
    start, end, kind = cursor.start, cursor.end, cursor.kind
    if kind == NUMBER:
        number = Number(cursor.number)
        cursor.advance()
        return Operand(number, start, end)
    if kind == "len":
        cursor.advance()
        return Operand(Length(), start, end)
    if kind in PROTOCOL_WORDS:
        cursor.advance()
        if cursor.kind != "[":
            raise unexpected(cursor, "'['")
        return field(cursor, addressable(kind, start, end), start, depth)
    if kind != "(":
        raise unexpected(cursor, ARITHMETIC)
    check_depth(cursor, depth)
    cursor.advance()
    inner = arithmetic(cursor, depth + 1)
    if cursor.kind != ")":
        raise unexpected(cursor, "an operator", "')'")
    cursor.advance()
    return inner._replace(start=start, end=cursor.last_end)


def addressable(word: str, start: int, end: int) -> Protocol:
    """The protocol of `word[...]`."""
    try:
        return Protocol(word)
    except ValueError:  # the PDUs of IS-IS: l1, iih
        raise Fault(f"the bytes of '{word}' cannot be addressed", start, end) from None


def _binds(waiting: int | None, coming: int | None) -> bool:
    """Whether the waiting operator takes its operands before the coming one does."""
    return waiting is not None and coming is not None and waiting >= coming


def _reduce(operands: list[Operand], waiting: list[tuple[str, int | None, int]]) -> None:
    operator, _, place = waiting.pop()
    right = operands.pop()
    if operator == "sign":
        operands.append(_checked(Operand(Negative(right.value), place, right.end, right.height + 1)))
        return
    left = operands.pop()
    try:
        value = Calculation(cast("Operator", operator), left.value, right.value)
    except ValueError as error:
        hint = ""
        if not isinstance(right.value, Number):
            hint = f"tcpdump takes the first number of what follows '{operator}' for all of it, and so refuses this"
        raise Fault(str(error), right.start, right.end, hint) from None
    operands.append(_checked(Operand(value, left.start, right.end, max(left.height, right.height) + 1)))


def _checked(operand: Operand) -> Operand:
    if operand.height > MAX_DEPTH:
        raise Fault(f"the value nests more than {MAX_DEPTH} levels deep", operand.start, operand.end)
    return operand


def relation(cursor: Cursor) -> Relation:
    """The relation at the cursor, which moves on."""
    if cursor.kind not in RELATIONS:
        raise unexpected(cursor, "an operator", RELATION)
    found = RELATIONS[cursor.kind]
    cursor.advance()
    return cast("Relation", found)
