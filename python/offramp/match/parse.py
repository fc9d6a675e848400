# SPDX-License-Identifier: Apache-2.0
"""Text to tree: `parse` reads a match as tcpdump reads it, or raises MatchError with the place, the reason and a hint.

lark makes a syntax tree (grammar.lark); the walk over it hands each value the qualifiers that it does not repeat:

    udp dst port 53 or 5353 and not host 10.0.0.1 or 10.0.0.2
    ^^^^^^^^^^^^       └ takes udp dst port  ^^^^     └ takes host

A bare protocol or a relation leaves no qualifiers behind, and a group leaves those from before its parenthesis:
pcap-filter's rules (libpcap, grammar.y). Numbers are C's: 0x50, 0120, 80. One trap of tcpdump's is refused with a hint:
a plain number as a host (`src 80` is host 0.0.0.80 there).
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from offramp.errors import MatchError

from .complain import syntax_error
from .tree import (
    ALL_ONES,
    Address,
    And,
    Compare,
    Direction,
    Everything,
    Field,
    IsProtocol,
    Node,
    Not,
    Or,
    Port,
    Protocol,
    Relation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lark import Lark, Token, Tree

MAX_TEXT = 65536  # characters
MAX_DEPTH = 100  # levels of the tree: and in or, not, parentheses
TRANSPORTS = (Protocol.TCP, Protocol.UDP, Protocol.SCTP, Protocol.ICMP, Protocol.ICMP6)


def parse(text: str) -> Node:
    """The tree of a match; "" matches every packet. No name is looked up, nothing is read but the grammar, once."""
    from lark import UnexpectedInput

    _check_characters(text)
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise syntax_error(text, error) from None
    (expression,) = tree.children
    if expression is None:
        return Everything()
    try:
        return _chain(cast("Tree[Token]", expression), None, 0)[0]
    except _Fault as fault:
        raise MatchError(
            fault.what, text=text, position=fault.start, width=min(fault.end - fault.start, 80), hint=fault.hint
        ) from None


def _check_characters(text: str) -> None:
    if len(text) > MAX_TEXT:
        what = f"a match has at most {MAX_TEXT} characters, this one has {len(text)}"
        raise MatchError(what, text=text[:60] + "...", position=60, width=3)
    if found := re.search(r"[^\t\n\r -~]", text):
        what = f"a match is printable ASCII, {found[0]!a} is not"
        raise MatchError(what, text=text, position=found.start(), hint="addresses and ports are written as numbers")


class _KeepWords:
    """Has lark keep the terminal WORD, which no rule uses, so that an unknown word is a token with a place."""

    always_accept = ("WORD",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return stream


@cache
def _parser() -> Lark:
    from lark import Lark

    grammar = files(__package__).joinpath("grammar.lark").read_text(encoding="ascii")
    return Lark(
        grammar, parser="lalr", lexer="basic", maybe_placeholders=True, propagate_positions=True, postlex=_KeepWords()
    )


class _Fault(Exception):
    """A MatchError that does not know the text yet."""

    def __init__(self, what: str, place: Tree[Token] | Token, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.hint = what, hint
        at: Any = getattr(place, "meta", place)
        self.start, self.end = at.start_pos, at.end_pos


class _Qualifiers(NamedTuple):
    protocol: Protocol | None
    direction: Direction
    kind: str  # host, net, port, portrange or nothing, which is host


_Inherited = _Qualifiers | None  # None: there are none to take


def _children(tree: Tree[Any]) -> list[Any]:
    return tree.children  # lark's type for them, a tree or a token, helps nobody who knows the grammar


def _chain(tree: Tree[Token], before: _Inherited, depth: int) -> tuple[Node, _Inherited]:
    """`a and b and c or d` from left to right: runs of one operator make one node, which begins the next run."""
    first, *rest = tree.children
    pairs = zip(cast("Sequence[Token]", rest[0::2]), rest[1::2], strict=True)
    runs = [(operator, [item for _, item in run]) for operator, run in groupby(pairs, key=lambda pair: pair[0].type)]
    depth += 1 + len(runs)
    if depth > MAX_DEPTH:
        hint = "put the conditions of a kind together, or use fewer parentheses"
        raise _Fault(f"the match nests more than {MAX_DEPTH} levels deep", tree, hint)
    node, inherited = _item(first, before, depth)
    for operator, items in runs:
        parts = [node]
        for item in items:
            part, inherited = _item(item, inherited, depth)
            parts.append(part)
        node = (And if operator == "AND" else Or)(tuple(parts))
    return node, inherited


def _item(item: Tree[Token] | Token, before: _Inherited, depth: int) -> tuple[Node, _Inherited]:
    tree = cast("Tree[Any]", item)
    match tree.data:
        case "primitive":
            head, rest = tree.children
            return _item(rest, _qualifiers(head), depth)
        case "value":
            return _value(tree, before), before
        case "group":
            (inner,) = tree.children
            node, last = _chain(inner, before, depth)
            return node, before if inner.data == "expression" else last
        case "negation":
            return _negation(tree, before, depth)
        case "protocol":
            return IsProtocol(Protocol(tree.children[0])), None
        case _:
            return _compare(tree), None


def _negation(tree: Tree[Any], before: _Inherited, depth: int) -> tuple[Node, _Inherited]:
    count, inner = 0, tree
    while inner.data == "negation":
        count, inner = count + 1, inner.children[1]
    if depth + count > MAX_DEPTH:
        raise _Fault(f"the match nests more than {MAX_DEPTH} levels deep", tree, "two 'not' cancel out")
    node, inherited = _item(inner, before, depth + count)
    for _ in range(count):
        node = Not(node)
    return node, inherited


def _qualifiers(head: Tree[Any]) -> _Qualifiers:
    protocol, *middle, kind = _children(head)
    direction = Direction.EITHER
    if middle:
        match [token.type for token in middle[0].children]:
            case ["SRC"] | ["DST"]:
                direction = Direction(str(middle[0].children[0]))
            case [_, "AND", _]:
                direction = Direction.BOTH
    return _Qualifiers(Protocol(protocol) if protocol else None, direction, str(kind or ""))


def _value(tree: Tree[Any], qualifiers: _Inherited) -> Node:
    token, length = (*_children(tree), None)[:2]
    if qualifiers is None:
        hint = "say which: " + (f"'port {token}'" if token.type in ("NUMBER", "RANGE") else f"'host {token}'")
        raise _Fault(f"'{token}' follows nothing that says what it is", token, hint)
    try:
        if qualifiers.kind.startswith("port"):
            return Port(*_ports(tree, token, length, qualifiers.kind), qualifiers.direction, qualifiers.protocol)
        return Address(_network(tree, token, length, qualifiers), qualifiers.direction, qualifiers.protocol)
    except ValueError as error:
        raise _Fault(str(error), tree, _join_hint(token, qualifiers)) from None


def _join_hint(token: Token, qualifiers: _Qualifiers) -> str:
    """`tcp host A` and `ip port N` mix two layers: each is a condition of its own."""
    other_layer = TRANSPORTS if token.type in ("IPV4", "IPV6") else (Protocol.IP, Protocol.IP6)
    if qualifiers.protocol is None or qualifiers.protocol not in other_layer:
        return ""
    words = (qualifiers.protocol.value, "and", qualifiers.direction.value, qualifiers.kind or "host", str(token))
    return f"did you mean '{' '.join(filter(None, words))}'?"


def _ports(tree: Tree[Any], token: Token, length: Token | None, kind: str) -> tuple[int, int]:
    if token.type == "RANGE" and kind == "portrange":
        first, last = sorted(int(port, 10) for port in token.split("-"))  # tcpdump, too, swaps a reversed range
        return first, last
    if token.type == "NUMBER" and length is None:
        return (port := number(token)), port
    hint = f"did you mean 'portrange {token}'?" if token.type == "RANGE" else "a port is a number from 0 to 65535"
    raise _Fault(f"'{token}' is not a port", tree, hint)


def _network(tree: Tree[Any], token: Token, length: Token | None, qualifiers: _Qualifiers) -> IPv4Network | IPv6Network:
    if token.type == "RANGE":
        raise _Fault(f"'{token}' is not an address", token, f"did you mean 'portrange {token}'?")
    if token.type == "NUMBER":
        return _net_number(token, length, qualifiers)
    missing = 3 - token.count(".") if token.type == "IPV4" else 0
    try:
        address = ip_network(token + ".0" * missing)
    except ValueError:
        hint = "Ethernet addresses are not supported yet" if token.count(":") == 5 else ""
        raise _Fault(f"'{token}' is not an IP address", token, hint) from None
    bits = number(length) if length else address.max_prefixlen - 8 * missing
    if bits > address.max_prefixlen:
        assert length
        raise _Fault(f"an IPv{address.version} prefix has at most {address.max_prefixlen} bits", length)
    if length and qualifiers.kind != "net" and (token.type == "IPV4" or bits < 128):
        raise _Fault("a prefix length belongs to 'net'", tree, f"did you mean 'net {token}/{length}'?")
    network = ip_network((address.network_address, bits), strict=False)
    if network.network_address != address.network_address:
        raise _Fault(f"non-network bits set in '{token}/{bits}'", tree, f"did you mean '{network}'?")
    return network


def _net_number(token: Token, length: Token | None, qualifiers: _Qualifiers) -> IPv4Network:
    """`net 10` is 10.0.0.0/8: a number's leading zero bytes are not part of the network."""
    value, bits = number(token), 32
    if qualifiers.kind != "net":
        meant = f"{qualifiers.direction.value} port {token}".lstrip()
        raise _Fault(f"'{token}' is a number, not an address", token, f"did you mean '{meant}'?")
    while value and not value >> 24:
        value, bits = value << 8, bits - 8
    network = IPv4Network((value, bits))
    if length:
        hint = f"did you mean '{network.network_address}/{length}'?"
        raise _Fault("a prefix length follows a dotted address", token, hint)
    return network


def _compare(tree: Tree[Any]) -> Compare:
    field, relation, value = _children(tree)
    protocol, offset, size, mask = _children(field)
    try:
        where = Field(Protocol(protocol), number(offset), cast(Any, number(size) if size else 1))
        operator = cast(Relation, "==" if relation == "=" else str(relation))
        return Compare(where, operator, number(value), number(mask) if mask else ALL_ONES)
    except ValueError as error:
        raise _Fault(str(error), tree) from None


def number(token: Token) -> int:
    """A C number of 32 bits."""
    is_octal = token.startswith("0") and token.isdigit()
    try:
        value = int(token, 8 if is_octal else 0)
    except ValueError:
        raise _Fault(f"'{token}' begins with 0, so it is octal, and has other digits", token) from None
    if value > ALL_ONES:
        raise _Fault("the number does not fit in 32 bits", token)
    return value
