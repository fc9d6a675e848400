# SPDX-License-Identifier: Apache-2.0
"""What was probably meant: the reader's own text, mended until it parses.

    udp dst 53      Fix(8, 10, "port 53")    udp dst port 53     parses: it is suggested
    ip src 80       two fixes, one after the other               ip and src port 80
    icmp port 5     nothing would make sense of it               no suggestion, rather than a wrong one

So a suggestion is always a whole match, with all that its writer has said. If the text is long, or has other errors
further on, the suggestion is only the piece at the caret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .scan import KIND_WORDS, PROTO_WORDS, PROTOCOL_WORDS, Fault, Fix
from .tree import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from .words import Qualifiers

ROUNDS: Final = 4  # of mending
LONGEST: Final = 1 << 16  # characters that are parsed once more
SHOWN: Final = 80  # characters
FAR: Final = 80  # characters between a value and the first of the words that qualify it

_DIRECTION: Final = r"(?:src|dst)(?:\s*(?:\bor\b|\band\b|\|\||&&)\s*(?:src|dst))?\s+"
_GOES_ON: Final = re.compile(r"\s*(?:and\b|or\b|&&|\|\|)\s*(?:(?:not\b|!)\s*)*(?:[0-9(\\]|[0-9a-f]*:|in\s*@)").match
_WORDS: Final = rf"(?:(?:{'|'.join(sorted(PROTOCOL_WORDS))})\s+)?(?:{_DIRECTION})?(?:(?:{'|'.join(KIND_WORDS)})\s+)?"


def suggestion(text: str, fault: Fault, read: Callable[[str], object]) -> str:
    """The hint that names what was meant; "" if that is not known. `read` parses a text, or raises Fault."""
    fix = fault.fix
    if fix is None or len(text) > LONGEST:
        return ""
    mended, leads_on = text, False
    piece = " ".join(fix.text.split())
    here = f"did you mean '{piece}' here?" if 0 < len(piece) <= SHOWN else ""
    for number in range(ROUNDS):
        mended = fix.applied(mended)
        try:
            read(mended)
        except Fault as another:
            if not number:
                leads_on = another.start > fix.start + len(fix.text)
            if another.fix is None:
                return here if leads_on else ""
            fix = another.fix
        else:
            whole = " ".join(mended.split())
            return f"did you mean '{whole}'?" if len(whole) <= SHOWN else here
    return here if leads_on else ""


def another_kind(kind: str, value: str, qualifiers: Qualifiers, text: str, start: int, end: int) -> Fix:
    """`value` is no host, but a port: other words in front of it, the rest of its qualifiers kept."""
    before = text[:start].rstrip()
    last = re.search(r"[a-z]*\Z", before[-FAR:])
    word = last[0] if last else ""
    if word in ("src", "dst"):
        return Fix(start, end, f"{kind} {value}")
    if word in KIND_WORDS:
        return Fix(len(before) - len(word), end, f"{kind} {value}")
    return Fix(start, end, _joined(qualifiers.protocol, qualifiers._replace(kind=kind), value))


def another_protocol(
    protocol: Protocol | None, value: str, qualifiers: Qualifiers, text: str, start: int, end: int
) -> Fix:
    """The value under another protocol, or none; if it has its qualifiers from further left, with all of them."""
    return Fix(_first_word(text, start), end, _joined(protocol, qualifiers, value))


def joined(under: Protocol | None, value: str, qualifiers: Qualifiers, text: str, start: int, end: int) -> Fix | None:
    """`tcp host A` and `ip port N` mix two layers: each is a condition of its own. Not if a value behind inherits."""
    if qualifiers.protocol is None or _GOES_ON(text, end):
        return None
    both = f"{qualifiers.protocol.value} and {_joined(under, qualifiers, value)}"
    first = _first_word(text, start)
    return Fix(first, end, f"({both})" if text[:first].strip() or text[end:].strip() else both)


def _joined(protocol: Protocol | None, qualifiers: Qualifiers, value: str) -> str:
    """A value with all its words."""
    words = (protocol.value if protocol else "", qualifiers.direction.value, qualifiers.kind or "host", value)
    return " ".join(filter(None, words))


def _first_word(text: str, start: int) -> int:
    """Where the qualifiers that stand before a value begin; where the value does, if it has none of its own."""
    near = max(0, start - FAR)
    found = re.search(rf"(?<![-\w]){_WORDS}\Z", text[near:start])
    return near + found.start() if found else start


OVER_IP: Final = {Protocol.TCP, Protocol.UDP, Protocol.SCTP, Protocol.PIM, Protocol.AH, Protocol.ESP}
OVER_IP4: Final = {Protocol.ICMP, Protocol.IGMP, Protocol.IGRP, Protocol.VRRP, Protocol.CARP}


def without_conflict(
    value: str, version: int | None, qualifiers: Qualifiers, text: str, start: int, end: int
) -> Fix | None:
    """For a value, of an IP version or none, that its protocol cannot qualify; None where they exclude each other."""
    protocol, place = qualifiers.protocol, (value, qualifiers, text, start, end)
    if protocol is None:
        return None
    if protocol is Protocol.ETHER:
        return another_protocol(None, *place)
    if qualifiers.kind in ("port", "portrange"):
        return joined(None, *place) if protocol in (Protocol.IP, Protocol.IP6) else None
    if qualifiers.kind in PROTO_WORDS:
        return None
    if protocol in (Protocol.IP, Protocol.IP6) and version is not None:
        return another_protocol(Protocol.IP if version == 4 else Protocol.IP6, *place)
    carried = OVER_IP | (OVER_IP4 if version != 6 else set()) | ({Protocol.ICMP6} if version != 4 else set())
    return joined(None, *place) if protocol in carried else None
