# SPDX-License-Identifier: Apache-2.0
"""The words of a syntax error: what stands there, what was expected, and what was probably meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from offramp.errors import MatchError

if TYPE_CHECKING:
    from lark import UnexpectedInput

PROTOCOLS = ("ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp")
KEYWORDS = {
    "PROTO": PROTOCOLS,
    "KIND": ("host", "net", "port", "portrange"),
    "SRC": ("src",),
    "DST": ("dst",),
    "AND": ("and",),
    "OR": ("or",),
    "NOT": ("not",),
}
PHRASES = {
    "KIND": "host, net, port, portrange",
    "SRC": "src",
    "DST": "dst",
    "IPV4": "an address",
    "NUMBER": "a number",
    "LSQB": "'['",
    "COLON": "':'",
    "RSQB": "']'",
    "RELOP": "a relation such as == or >=",
    "AND": "and",
    "OR": "or",
    "RPAR": "')'",
    "$END": "the end",
}
EXAMPLE = "'udp dst port 53', 'host 10.0.0.1' or 'tcp'"
VALUES = ("NUMBER", "RANGE", "IPV4", "IPV6")

# What pcap-filter(7) has besides, for the grammar to grow into
LATER = frozenset(
    """
    link ppp slip fddi tr wlan igmp igrp pim vrrp carp radio ah esp atalk aarp decnet lat sca moprc mopdl iso esis
    es-is isis is-is l1 l2 iih lsp snp csnp psnp clnp stp ipx netbeui mask proto protochain gateway type subtype
    direction dir address1 address2 address3 address4 addr1 addr2 addr3 addr4 ra ta less greater byte broadcast
    multicast len length inbound outbound ifindex vlan mpls pppoed pppoes geneve vxlan lane llc metac bcc oam oamf4
    oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect on ifname rset ruleset rnr rulenum srnr subrulenum
    reason action fisu lssu lsu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls tcpflags icmptype icmpcode
    icmp6type icmp6code
    """.split()  # noqa: SIM905
)
CONSTANT = re.compile(r"(tcp|icmp6?)-[a-z0-9]+")  # tcp-syn, icmp-echo
WIRESHARK = re.compile(r"(eth|ip|ipv6|tcp|udp|icmp)\.[a-z]")


def syntax_error(text: str, error: UnexpectedInput) -> MatchError:
    """The MatchError for what lark found."""
    from lark import UnexpectedToken

    if not isinstance(error, UnexpectedToken):
        position = error.pos_in_stream
        assert position is not None
        what, hint = _character(text[position])
        return MatchError(what, text=text, position=position, hint=hint)
    if error.token.type == "$END":
        what = f"the match ends early: expected {_expected(error.accepts)}"
        return MatchError(what, text=text, position=len(text.rstrip()))
    word, position = str(error.token), error.token.start_pos or 0
    words_before: list[str] = re.findall(r"[A-Za-z0-9_.-]+", text[:position])
    before = words_before[-1] if words_before else ""
    shown = word if len(word) <= 40 else word[:40] + "..."
    explain = _word if error.token.type == "WORD" else _token
    what, hint = explain(shown, error.token.type, error.accepts, before)
    return MatchError(what, text=text, position=position, width=len(shown), hint=hint)


def _character(character: str) -> tuple[str, str]:
    if character in "+-*/%^|\\":
        return f"'{character}' is not supported yet", "a field takes one mask and is compared with a number"
    return f"'{character}' means nothing in a match", f"a match is a tcpdump expression, such as {EXAMPLE}"


def _token(token: str, kind: str, accepts: set[str], before: str) -> tuple[str, str]:
    """A token of the language in the wrong place."""
    what = f"unexpected '{token}': expected {_expected(accepts)}"
    qualified = {"NUMBER": "port", "RANGE": "portrange"}.get(kind, "host") + f" {token}"
    hint = ""
    if kind in VALUES and before in PROTOCOLS:
        hint = f"did you mean '{before}{' ' if 'port' in qualified else ' and '}{qualified}'?"
    elif kind in VALUES and "PROTO" in accepts:
        hint = f"did you mean '{qualified}'?"
    elif before == "ether":
        hint = "ether[offset:size] is supported, Ethernet addresses are not yet"
    elif "AND" in accepts and kind in ("PROTO", "KIND", "SRC", "DST", "NOT", "ETHER", "LPAR"):
        hint = f"join conditions: '... and {token}'"
    return what, hint


def _word(word: str, kind: str, accepts: set[str], before: str) -> tuple[str, str]:
    """A word that the grammar does not have: a keyword to come, a misspelt one, or a name."""
    if word in LATER or CONSTANT.fullmatch(word):
        return f"'{word}' is not supported yet", "write a prefix length: net 10.0.0.0/8" if word == "mask" else ""
    unknown = f"unknown word '{word}'"
    if near := _nearest(word, [known for terminal in accepts for known in KEYWORDS.get(terminal, ())]):
        return unknown, near
    if before in ("port", "portrange"):
        return f"'{word}' is not a port number", "names of services come later: write the number"
    if re.fullmatch(r"[0-9.]+", word):
        return f"'{word}' is not an address", "an IPv4 address has four numbers: 10.0.0.1"
    if before in ("host", "net", "src", "dst"):
        return f"'{word}' is not an address", "names are not looked up: write the address"
    if WIRESHARK.match(word):
        return unknown, f"this is Wireshark's language; a match is a tcpdump expression, such as {EXAMPLE}"
    near = _nearest(word, [known for words in KEYWORDS.values() for known in words])
    return f"{unknown}: expected {_expected(accepts)}", near


def _nearest(word: str, candidates: list[str]) -> str:
    near = get_close_matches(word.lower(), sorted(candidates), n=1, cutoff=0.7)
    return f"did you mean '{near[0]}'?" if near else ""


def _expected(accepts: set[str]) -> str:
    if "PROTO" in accepts:
        return f"a condition such as {EXAMPLE}" + (", or another value" if "NUMBER" in accepts else "")
    words = [phrase for terminal, phrase in PHRASES.items() if terminal in accepts]
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
