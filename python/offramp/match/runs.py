# SPDX-License-Identifier: Apache-2.0
"""Long lists of addresses, read by a few regular expressions rather than token by token.

    src net 10.0.0.0/24 or src net 10.0.1.0/24 or ...        host 10.0.0.1 or 10.0.0.2 or ...

A block list of 100,000 prefixes is a match like any other. Only what means the same without a doubt is read here: the
same operator, the same qualifiers in the same words or none, plain spellings. The rest, errors too, is parse.py's.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from offramp.immutable import alike

from .network import Network
from .numbers import ipv6
from .tree import Address, Not
from .words import check_address_protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .words import Qualifiers

NEGATIONS = ("!", "not")
SPACE = r"[ \t\r\n]"
OPERATORS = {"and": ("and", "&&"), "or": ("or", "||")}
V4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
GROUPS = "[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})"
V6 = f"(?:{GROUPS}{{7}}|(?:{GROUPS}{{0,6}})?::(?:{GROUPS}{{0,6}})?)"
LENGTH = "(?:/(?:0|[1-9][0-9]{0,2}))"


def is_regular(words: str) -> bool:
    """Whether the words before a value are qualifiers, perhaps behind one `not`."""
    rest = words.removeprefix("!") if words.startswith("!") else words.removeprefix("not")
    return not re.search(r"[(!]|\bnot\b", rest)


class Run:
    """A regular expression for what follows an address in the same manner."""

    def __init__(self, operator: str, words: str, qualifiers: Qualifiers) -> None:
        """`words`: what stood between the last operator and its value."""
        self.qualifiers = qualifiers
        self.negates = words.startswith(NEGATIONS)
        if self.negates:
            words = words[1:] if words.startswith("!") else words[3:]
        negation = rf"(?:not{SPACE}+|!{SPACE}*)" if self.negates else ""
        operators = "|".join(map(re.escape, OPERATORS[operator]))
        head = "".join(f"{re.escape(word)}{SPACE}+" for word in words.split())
        value = f"(?:{V4}|{V6})" + (f"{LENGTH}?" if qualifiers.kind == "net" else "")
        goes_on = rf"(?={SPACE}+(?:and|or){SPACE}|{SPACE}*(?:&&|\|\||\)|\Z))"
        one = rf"(?:{operators}){SPACE}+{negation}(?:{head})?{value}{goes_on}{SPACE}*"
        # In parts, as each takes memory until it ends. Before Python 3.11.5, (...)++ may end in the middle of one.
        self._part = re.compile(rf"(?>(?:{one}){{1,1000}})")

    def read(self, text: str, start: int) -> tuple[Sequence[Address | Not], int] | None:
        """The nodes from the operator at `start` on, and where their text ends; None if one of them is wrong."""
        end = start
        while found := self._part.match(text, end):
            end = found.end()
        protocol = self.qualifiers.protocol
        try:
            networks = [_network(spelling, length) for spelling, length in _parts()(text[start:end])]
            if protocol is not None:
                for version in {network.version for network in networks}:
                    check_address_protocol(version, protocol)
        except (KeyError, ValueError):
            return None
        addresses = alike(Address, networks, self.qualifiers.direction, protocol)
        return (alike(Not, addresses) if self.negates else addresses), end


@cache
def _parts() -> Any:
    """Finds each address, and its length or ""; the words between them have no '.' and no ':'."""
    return re.compile(r"([0-9A-Fa-f]*[.:][0-9A-Fa-f.:]+)(?:/([0-9]+))?").findall


@cache
def _masks(version: Literal[4, 6]) -> dict[str, int]:
    """Of all lengths, as they are spelled; "" is a host's."""
    bits = 32 if version == 4 else 128
    masks = {str(length): (1 << bits) - (1 << (bits - length)) for length in range(bits + 1)}
    return masks | {"": masks[str(bits)]}


BYTES = {str(byte): byte for byte in range(256)}


def _network(spelling: str, length: str) -> Network:
    """Raises KeyError or ValueError for what parse.py reads in another way, or refuses."""
    if ":" not in spelling:
        a, b, c, d = spelling.split(".")
        address = BYTES[a] << 24 | BYTES[b] << 16 | BYTES[c] << 8 | BYTES[d]
        mask = _masks(4)[length]
        if address & ~mask:
            raise ValueError
        return Network(4, address, mask)
    colons = spelling.count(":")
    if colons > 7 and not (colons == 8 and (spelling.startswith("::") or spelling.endswith("::"))):
        raise ValueError
    address = ipv6(spelling) or 0
    mask = _masks(6)[length]
    if address & ~mask:
        raise ValueError
    return Network(6, address, mask)
