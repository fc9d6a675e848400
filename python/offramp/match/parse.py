# SPDX-License-Identifier: Apache-2.0
"""Text to tree: `parse` reads a match as tcpdump reads it, or raises MatchError with the place, the reason and a hint.

`and` and `or` have equal precedence, from left to right. A value without qualifiers takes those from before:

    udp dst port 53 or 5353 and not host 10.0.0.1 or 10.0.0.2
    ^^^^^^^^^^^^       └ takes udp dst port  ^^^^     └ takes host

A bare protocol, a relation or `vlan` leaves no qualifiers behind, and a group leaves those from before its parenthesis.
What a parenthesis holds shows only inside (`(80 or 443)`, `(tcp or udp)`, `(len + 2) * 4`), so `_item` and `_group` say
what they have found: libpcap's grammar.y, with the same verdict on each text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from typing import cast as cast_type

from offramp.errors import MatchError

from . import arithmetic
from .arithmetic import MAX_DEPTH, Operand
from .complain import CONDITION, OR_VALUE, RELATION, VALUE, VLAN_IDS, as_condition, unexpected
from .condition import CASTS, DIRECTIONS, SPECIAL, cast, direction_of, qualifier
from .context import Behind
from .names import ISIS_PDUS, NO_NAMES, Names
from .primitive import STARTS, Reader
from .scan import END, KIND_WORDS, MAC, NAME, NUMBER, PROTO_WORDS, PROTOCOL_WORDS, Cursor, Fault, Fix
from .suggest import suggestion
from .tree import (
    Address,
    And,
    Carries,
    Compare,
    Direction,
    Everything,
    IsProtocol,
    Mpls,
    Not,
    Number,
    Or,
    Pppoes,
    Protocol,
    Vlan,
)
from .words import Qualifiers

if TYPE_CHECKING:
    from .tree import Node, Primitive

MAX_TEXT: Final = 4 << 20  # characters: 100,000 prefixes, each with its qualifiers
RUN: Final = 8  # addresses of a kind, after which more of them are looked for

_Inherited = Qualifiers | None  # None: there are none to take


class _Item(NamedTuple):
    """What `_item` found: a condition (`node`), values with the qualifiers before them (`node`, `is_value`), a number
    that may be a value or begin a relation (`number`), or arithmetic without a relation, as yet (`number`, `height` 0).
    """

    node: Node | None
    height: int
    leaves: _Inherited
    is_value: bool = False
    is_group: bool = False
    number: Operand | None = None


def parse(text: str, names: Names | None = None) -> Node:
    """The tree of a match; "" matches every packet. Names of services and protocols are those of `names`."""
    _check_characters(text)
    try:
        return _Parser(text, names or NO_NAMES).match()
    except Fault as fault:
        width = min(fault.end - fault.start, 80)
        hint = suggestion(text, fault, lambda fixed: _Parser(fixed, names or NO_NAMES).match()) or fault.hint
        raise MatchError(fault.what, text=text, position=fault.start, width=width, hint=hint) from None


def _check_characters(text: str) -> None:
    if len(text) > MAX_TEXT:
        what = f"a match has at most {MAX_TEXT} characters, this one has {len(text)}"
        raise MatchError(what, text=text[:60] + "...", position=60, width=3, hint="a set holds more: 'host in @name'")
    if not text.isascii():
        position = next(place for place, character in enumerate(text) if not character.isascii())
        what = f"a match is printable ASCII, {text[position]!a} is not"
        raise MatchError(what, text=text, position=position, hint="addresses and ports are written as numbers")


class _Parser:
    """One reading of one text. `depth` is the number of parentheses around; heights are those of nodes."""

    def __init__(self, text: str, names: Names) -> None:
        self.cursor = Cursor(text)
        self.reader = Reader(self.cursor, names)
        self.behind = Behind()
        self.value_start = 0  # of the value read last, to know the words before it
        self.has_wrong_address = False
        self.latest: Primitive | None = None

    def match(self) -> Node:
        cursor = self.cursor
        if cursor.kind == END:
            return Everything()
        node, _, _ = self._chain(self._item(None, 0, conditions=True), None, 0)
        if cursor.kind != END:
            raise unexpected(cursor, "and", "or", END)
        return node

    def _chain(self, first: _Item, before: _Inherited, depth: int) -> tuple[Node, int, _Inherited]:
        """`a and b and c or d` from its first item on: a run of one operator makes one node, which begins the next."""
        cursor = self.cursor
        node, height, leaves = self._resolved(first, before), first.height, first.leaves
        while cursor.kind in ("and", "or"):
            operator = cursor.kind
            parts = [node]
            alike = 0
            while cursor.kind == operator:
                cursor.advance()
                start, inherited = cursor.start, leaves
                item = self._item(leaves, depth, conditions=not first.is_value)
                part = self._resolved(item, leaves)
                parts.append(part)
                height, leaves = max(height, item.height), item.leaves if item.number is None else leaves
                is_address = type(part) is Address or (type(part) is Not and type(part.part) is Address)
                alike = alike + 1 if is_address and leaves == inherited else 0
                if alike >= RUN and cursor.kind == operator and not self.has_wrong_address:
                    self._run(operator, start, leaves, parts)
                    alike = 0
            node = (And if operator == "and" else Or)(tuple(parts))
            height += 1
            if height > MAX_DEPTH:
                raise arithmetic.too_deep(cursor)
        return node, height, leaves

    def _run(self, operator: str, start: int, qualifiers: _Inherited, parts: list[Node]) -> None:
        """Read all that goes on as the last item did, which begins at `start`."""
        from .runs import Run, is_regular  # which few matches need

        cursor = self.cursor
        words = cursor.text[start : self.value_start]
        if qualifiers is None or not is_regular(words):
            return
        found = Run(operator, words, qualifiers).read(cursor.text, cursor.start)
        if found is None:
            self.has_wrong_address = True  # which the slow way will name
            return
        more, end = found
        if more:
            parts += more
            cursor.move(end)

    def _resolved(self, item: _Item, before: _Inherited) -> Node:
        """The node of an item that stands between operators."""
        if item.node is not None:
            return item.node
        assert item.number is not None
        if not isinstance(item.number.value, Number):
            raise unexpected(self.cursor, "an operator", RELATION)
        return self._number(item.number, before)

    def _number(self, number: Operand, qualifiers: _Inherited) -> Node:
        """A number as a value: `or 443`."""
        assert isinstance(number.value, Number)
        start, end = number.start, number.end
        if qualifiers is None:
            if self.cursor.kind in (END, ")", "and", "or"):
                raise self._unqualified_number(number.value.value, start, end)
            raise unexpected(self.cursor, "an operator", RELATION)
        return self._found(self.reader.number(qualifiers, number.value.value, start, end), start)

    def _unqualified_number(self, number: int, start: int, end: int) -> Fault:
        """`len == 64 or 128` wants the relation again, and `vlan 5 or 6` cannot be said so; else it is a port."""
        word = self.cursor.text[start:end]
        what = f"'{word}' follows nothing that says what it is"
        match self.latest:
            case Vlan():
                return Fault(what, start, end, VLAN_IDS)
            case Mpls() | Pppoes():
                return Fault(what, start, end)
            case Compare(left, "==", _) if re.search(
                r"(?:\bor|\|\|)\s*\Z", self.cursor.text[max(0, start - 9) : start]
            ):
                return Fault(what, start, end, fix=Fix(start, end, str(Compare(left, "==", Number(number)))))
            case Compare():
                return Fault(what, start, end, "a relation has two sides: 'len > 64 and len < 128'")
        meant = as_condition(word)
        return Fault(what, start, end, fix=Fix(start, end, meant) if meant else None)

    def _item(self, before: _Inherited, depth: int, *, conditions: bool, opening: bool = False) -> _Item:
        """A condition, or (if there are qualifiers to take) a value; `opening`: the first in a parenthesis."""
        cursor = self.cursor
        start, nots = cursor.start, 0
        while cursor.kind == "not":
            nots += 1
            if nots + depth > MAX_DEPTH:
                raise arithmetic.too_deep(cursor)
            cursor.advance()
        item = self._unit(before, depth + nots, conditions=conditions)
        if not nots:
            if opening and item.is_group and item.is_value:
                hint = "leave the inner parentheses out: 'and' and 'or' go from left to right"
                raise Fault("a parenthesis of values begins with another", start, cursor.last_end, hint)
            return item
        node, height = self._resolved(item, before), item.height
        for _ in range(nots):
            node = Not(node)
        if item.number is not None:
            return _Item(node, height + nots, before, is_value=True)
        return _Item(node, height + nots, item.leaves, is_value=item.is_value)

    def _unit(self, before: _Inherited, depth: int, *, conditions: bool) -> _Item:
        cursor = self.cursor
        kind = cursor.kind
        if kind == "(":
            return self._group(before, depth, conditions=conditions)
        if kind == NUMBER:
            number = Operand(Number(cursor.number), cursor.start, cursor.end)
            cursor.advance()
            return self._arithmetic(number, depth) if conditions else _Item(None, 1, before, number=number)
        if kind in STARTS and (before is not None or kind != NAME):
            if before is None:
                raise self._orphan()
            self.value_start = start = cursor.start
            value = self.reader.value(before, inherited=conditions)
            if isinstance(value, Or):  # of a host's addresses
                for part in value.parts:
                    self._found(cast_type("Primitive", part), start)
                return _Item(value, 2, before, is_value=True)
            return _Item(self._found(value, start), 1, before, is_value=True)
        if not conditions:
            raise unexpected(cursor, VALUE)
        if kind in arithmetic.BEGINNINGS:
            return self._arithmetic(None, depth)
        return self._condition(before, depth)

    def _orphan(self) -> Fault:
        """A value with no qualifiers to take."""
        cursor = self.cursor
        if cursor.last not in ("and", "or", "not", "&&", "||", "!"):
            return unexpected(cursor, CONDITION)
        word = cursor.text[cursor.start : cursor.end]
        fix = Fix(cursor.start, cursor.end, f"{'ether ' if cursor.kind == MAC else ''}host {word}")
        return Fault(f"'{word}' follows nothing that says what it is", cursor.start, cursor.end, fix=fix)

    def _group(self, before: _Inherited, depth: int, *, conditions: bool) -> _Item:
        cursor, start = self.cursor, self.cursor.start
        arithmetic.check_depth(cursor, depth)
        cursor.advance()
        first = self._item(before, depth + 1, conditions=conditions, opening=True)
        if first.number is not None:
            if cursor.kind == ")":
                cursor.advance()
                number = first.number._replace(start=start, end=cursor.last_end)
                return self._arithmetic(number, depth) if conditions else first._replace(number=number)
            if not isinstance(first.number.value, Number):
                raise unexpected(cursor, "an operator", RELATION, "')'")
            first = _Item(self._number(first.number, before), 1, before, is_value=True)
        node, height, _ = self._chain(first, before, depth + 1)
        if cursor.kind != ")":
            raise unexpected(cursor, "and", "or", "')'")
        cursor.advance()
        return _Item(node, height, before, is_value=first.is_value, is_group=True)

    def _arithmetic(self, left: Operand | None, depth: int) -> _Item:
        """A relation; or what may become one, if there is none yet."""
        cursor = self.cursor
        if left is None or cursor.kind in arithmetic.PRECEDENCE:
            left = arithmetic.arithmetic(cursor, depth, left)
        if cursor.kind not in arithmetic.RELATIONS:
            return _Item(None, 1, None, number=left)
        relation = arithmetic.relation(cursor)
        right = arithmetic.arithmetic(cursor, depth)
        try:
            node = Compare(left.value, relation, right.value)
        except ValueError as error:
            hint = "begin with the parentheses: (a + b) + c needs fewer than a + (b + c)"
            raise Fault(str(error), left.start, right.end, hint) from None
        return _Item(self._found(node, left.start), max(left.height, right.height) + 1, None)

    def _found(self, node: Primitive, start: int) -> Primitive:
        """The next primitive of the text, once it may stand where it does."""
        if reason := self.behind.refuses(node):
            raise Fault(reason, start, self.cursor.last_end, "order matters: what stands before is looked behind")
        self.latest = node
        return node

    def _condition(self, before: _Inherited, depth: int) -> _Item:
        cursor, start, kind = self.cursor, self.cursor.start, self.cursor.kind
        if kind in PROTOCOL_WORDS:
            return self._protocol(depth)
        if kind in DIRECTIONS or kind in KIND_WORDS or kind in PROTO_WORDS:
            return self._qualified(None, depth)
        if kind in CASTS:
            return self._single(cast(cursor, Protocol.ETHER, start), start)
        if kind in SPECIAL:
            return self._single(SPECIAL[kind](cursor), start)
        raise unexpected(cursor, *((CONDITION,) if before is None else (CONDITION, OR_VALUE)))

    def _single(self, node: Primitive, start: int) -> _Item:
        """A condition that leaves no qualifiers."""
        return _Item(self._found(node, start), 4 if isinstance(node, Compare) else 1, None)

    def _protocol(self, depth: int) -> _Item:
        """`tcp`, `tcp[13]`, `tcp port 80`, `ip multicast`."""
        cursor = self.cursor
        start, end, word = cursor.start, cursor.end, cursor.kind
        cursor.advance()
        following = cursor.kind
        if following == "[":
            protocol = arithmetic.addressable(word, start, end)
            return self._arithmetic(arithmetic.field(cursor, protocol, start, depth), depth)
        if following in CASTS:
            return self._single(cast(cursor, qualifier(word, start, end), start), start)
        if following in DIRECTIONS or following in KIND_WORDS or following in PROTO_WORDS:
            return self._qualified(qualifier(word, start, end), depth)
        if following not in ("and", "or", ")", END):
            raise unexpected(cursor, *KIND_WORDS, *DIRECTIONS, "proto", "'['", "and", "or", END)
        if word == "ether":
            hint = "say what of it: 'ether host 00:11:22:33:44:55', 'ether proto 0x88cc'"
            raise Fault("every frame is an Ethernet frame", start, end, hint)
        if word in ISIS_PDUS:
            pdus = [self._found(Carries(number, Protocol.ISIS), start) for number in ISIS_PDUS[word]]
            return _Item(Or(tuple(pdus)), 2, None)
        return self._single(IsProtocol(Protocol(word)), start)

    def _qualified(self, protocol: Protocol | None, depth: int) -> _Item:
        """`src net 10`, `port 80`, `proto 6`: the protocol has been read."""
        cursor = self.cursor
        direction, kind = direction_of(cursor), ""
        if cursor.kind in KIND_WORDS or (cursor.kind in PROTO_WORDS and direction is None):
            kind = cursor.kind
            cursor.advance()
        elif cursor.kind in PROTO_WORDS:
            raise Fault("a protocol number has no direction", cursor.last_start, cursor.end, "leave 'src' or 'dst' out")
        qualifiers = Qualifiers(protocol, direction or Direction.EITHER, kind)
        item = self._item(qualifiers, depth, conditions=False)
        node = self._resolved(item, qualifiers)
        return _Item(node, item.height, qualifiers)
