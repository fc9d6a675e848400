# SPDX-License-Identifier: Apache-2.0
"""Text to tokens, as tcpdump's scanner cuts it (libpcap, scanner.l): always the longest.

A word may contain '-', '.' and '_', so `len-1` is one word and `aa-bb-cc-dd-ee-ff` an Ethernet address. Numbers are C's
(0x50, 0120, 80), constants have names (`tcp-syn`), a backslash makes a name of a keyword (`\\tcp`). `@name` is ours:
tcpdump has no sets. Tokens are cut one at a time, so that bad text costs no more than its good beginning.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .names import CONSTANTS

# Kinds of tokens besides the keywords and signs, whose kind is their spelling
NUMBER: Final = "number"
IPV4: Final = "an IPv4 address"
IPV6: Final = "an IPv6 address"
MAC: Final = "an Ethernet address"
NAME: Final = "a name"
SET: Final = "a set"
ARCNET: Final = "an ARCnet address"
END: Final = "the end"

ALL_ONES: Final = 0xFFFF_FFFF


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROTOCOL_WORDS: Final = _words(
    """
    ether ip ip6 arp rarp tcp udp sctp icmp icmp6 igmp igrp pim vrrp carp ah esp atalk aarp decnet lat sca moprc mopdl
    iso esis isis clnp stp ipx netbeui l1 l2 iih lsp snp csnp psnp
    """
)
KIND_WORDS: Final = ("host", "net", "port", "portrange")
PROTO_WORDS: Final = ("proto", "protochain")
OTHER_WORDS: Final = _words(
    """
    src dst and or not proto mask less greater byte broadcast multicast len vlan mpls pppoed pppoes llc rnr
    protochain vxlan geneve gateway radio wlan fddi tr ppp slip
    type subtype dir addr1 addr2 addr3 addr4 ra ta inbound outbound ifindex ifname ruleset srnr reason action
    lane metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect
    fisu lssu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls
    """
)
SYNONYMS: Final = dict(
    pair.split("=", 1)
    for pair in _words("""
    &&=and ||=or !=not direction=dir address1=addr1 address2=addr2 address3=addr3 address4=addr4
    length=len link=ether es-is=esis is-is=isis on=ifname rset=ruleset rulenum=rnr subrulenum=srnr lsu=lssu
    """)
) | {"==": "="}
KEYWORDS: Final = {word: word for word in (*PROTOCOL_WORDS, *KIND_WORDS, *OTHER_WORDS)} | SYNONYMS

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      ( (?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:) [0-9A-Fa-f:]+ )   # 1: two colons, perhaps an address
    | ( [A-Za-z0-9](?:[-_.A-Za-z0-9]*[.A-Za-z0-9])? )            # 2: a word
    | ( &&|\|\||[<>=!]=|<<|>>|[-+*/%:\[\]!<>()&|^=] )            # 3: a sign
    | \\( ["-'*-~]+ )                                            # 4: a name
    | @( [A-Za-z_][A-Za-z0-9_]* )                                # 5: a set
    | ( \$[0-9A-Fa-f]{1,2} )                                     # 6: an ARCnet address
    | ( \Z ) )""",
    re.VERBOSE,
).match
_COLONS, _WORD, _SIGN, _ESCAPED, _SET, _ARCNET, _END = range(1, 8)

# Compiled when the first text needs them, and kept by re
_GROUP = "[0-9A-Fa-f]{1,4}"
_DOTTED = r"(?:0[xX][0-9A-Fa-f]+|[0-9]+)(?:\.(?:0[xX][0-9A-Fa-f]+|[0-9]+)){3}"
_COLON_MAC = r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5}"
_BOGUS_MAC = r"[0-9A-Fa-f]{1,2}:+(?:[0-9A-Fa-f]{1,2}:+)+"
_OTHER_MAC = (
    r"[0-9A-Fa-f]{1,2}(?:(?:-[0-9A-Fa-f]{1,2}){5}|(?:\.[0-9A-Fa-f]{1,2}){5})|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}"
    r"|[0-9A-Fa-f]{12}"
)


class Fix(NamedTuple):
    """What should stand in the text from `start` to `end`, probably."""

    start: int
    end: int
    text: str

    def applied(self, text: str) -> str:
        return text[: self.start] + self.text + text[self.end :]


class Fault(Exception):
    """A MatchError that does not know the text yet. `hint` is said where no fix makes a match of the text."""

    def __init__(self, what: str, start: int, end: int, hint: str = "", fix: Fix | None = None) -> None:
        super().__init__(what)
        self.what, self.start, self.end, self.hint, self.fix = what, start, end, hint, fix


class Cursor:
    """The current token: its kind, its value (an int for numbers, else a str), and where it stands in the text."""

    __slots__ = ("end", "kind", "last_end", "last_start", "number", "start", "text", "word")

    def __init__(self, text: str) -> None:
        self.text = text
        self.start = self.end = self.last_start = self.last_end = 0
        self.kind, self.word, self.number = END, "", 0
        self.advance()

    @property
    def last(self) -> str:
        """The text of the token before."""
        return self.text[self.last_start : self.last_end]

    def advance(self) -> None:
        """Go on to the next token."""
        self.last_start, self.last_end = self.start, self.end
        found = _TOKEN(self.text, self.end)
        if found is None:
            raise self._bad_character()
        which = found.lastindex or _END
        self.start, self.end = found.span(which)
        self.word = word = found[which]
        if which == _WORD:
            self.kind = KEYWORDS.get(word) or self._kind_of(word)
        elif which == _SIGN:
            self.kind = SYNONYMS.get(word, word)
        elif which == _COLONS:
            self._colons()
        elif which == _END:
            self.kind = END
        else:
            self.start -= 0 if which == _ARCNET else 1
            self.kind = NAME if which == _ESCAPED else SET if which == _SET else ARCNET

    def move(self, end: int) -> None:
        """Go on to the token behind the character at `end`."""
        self.end = end
        self.advance()

    def _kind_of(self, word: str) -> str:
        """What a word is that is no keyword."""
        if (constant := CONSTANTS.get(word)) is not None:
            self.number = constant
            return NUMBER
        if word[0] <= "9":
            if word.isdigit():
                return MAC if len(word) == 12 else self._number(word)
            if word[:2] in ("0x", "0X") and re.fullmatch("[0-9A-Fa-f]+", word[2:]):
                return self._number(word)
            parts = word.split(".", 4)
            if 2 <= len(parts) <= 4 and all(map(str.isdigit, parts)):
                return MAC if [len(part) for part in parts] == [4, 4, 4] else IPV4
        return MAC if 11 <= len(word) <= 17 and re.fullmatch(_OTHER_MAC, word) else NAME

    def _number(self, word: str) -> str:
        is_octal = word[0] == "0" and word.isdigit()
        digits = word[2:] if word[:2] in ("0x", "0X") else word
        if is_octal and not set(word) <= set("01234567"):
            raise Fault(
                f"'{shorten(word)}' begins with 0, so it is octal, and has other digits",
                *(self.start, self.end, "write it without the 0", Fix(self.start, self.end, word.lstrip("0"))),
            )
        significant = digits.lstrip("0")
        if len(significant) <= 11:
            self.number = int(significant or "0", 8 if is_octal else 10 if digits is word else 16)
            if self.number <= ALL_ONES:
                return NUMBER
        raise Fault("the number does not fit in 32 bits", self.start, self.end)

    def _colons(self) -> None:
        """An IPv6 or Ethernet address, whichever is longer; else the word before the first colon."""
        text, start = self.text, self.start
        parts = self.word.split(":", 6)
        if len(parts) == 6 and all(1 <= len(part) <= 2 for part in parts):
            self.kind = MAC
            return
        mac, bogus = re.compile(_COLON_MAC).match(text, start), re.compile(_BOGUS_MAC).match(text, start)
        ipv6_end, mac_end, bogus_end = _ipv6_end(text, start), mac.end() if mac else 0, bogus.end() if bogus else 0
        if bogus_end > max(ipv6_end, mac_end):
            raise Fault(f"'{shorten(self.word)}' is not an address", start, self.end, SIX_OR_EIGHT)
        if ipv6_end or mac_end:
            run_end, self.end = self.end, max(ipv6_end, mac_end)
            if ":" in text[self.end : run_end]:
                raise Fault(f"'{shorten(self.word)}' is not an address", start, run_end, SIX_OR_EIGHT)
            self.kind = MAC if mac_end >= ipv6_end else IPV6
            self.word = text[start : self.end]
            return
        self.word = self.word[: self.word.index(":")] or ":"
        self.end = start + len(self.word)
        if self.word == ":":
            self.kind = ":"
            return
        self.kind = KEYWORDS.get(self.word) or self._kind_of(self.word)

    def _bad_character(self) -> Fault:
        text = self.text
        place = self.end
        while text[place] in " \t\r\n":
            place += 1
        character = text[place]
        if not " " <= character <= "~":
            hint = "addresses and ports are written as numbers"
            return Fault(f"a match is printable ASCII, {character!a} is not", place, place + 1, hint)
        hint = {
            "@": "a set is named '@' and a word: 'src host in @blocked'",
            "\\": "a backslash makes a name of the keyword behind it: 'ether proto \\ip'",
            "$": "'$' begins an ARCnet address, which Ethernet does not have",
        }.get(character, f"a match is a tcpdump expression, such as {EXAMPLE}")
        fix = _listed(text, place) if character == "," else None
        return Fault(f"'{character}' means nothing in a match", place, place + 1, hint, fix)


EXAMPLE: Final = "'udp dst port 53', 'host 10.0.0.1' or 'tcp'"
SIX_OR_EIGHT: Final = "an Ethernet address has six bytes, an IPv6 address eight groups or one '::'"
LONGEST_LIST: Final = 1000  # characters


def _listed(text: str, comma: int) -> Fix | None:
    """`80,443` as tcpdump has it: `(80 or 443)`."""
    before = re.search(r"[^\s(),]+\s*\Z", text[max(0, comma - LONGEST_LIST) : comma])
    after = re.match(r"(?:\s*,\s*[^\s(),]+)+", text[comma : comma + LONGEST_LIST])
    if before is None or after is None or text[: comma - len(before[0])].rstrip().endswith("portrange"):
        return None
    values = re.split(r"\s*,\s*", before[0].strip() + after[0])
    if not all(value[0].isdigit() or ":" in value for value in values):
        return None
    return Fix(comma - len(before[0]), comma + after.end(), f"({' or '.join(values)})")


def shorten(word: str) -> str:
    return word if len(word) <= 40 else word[:40] + "..."


def _ipv6_end(text: str, start: int) -> int:
    """Where the longest IPv6 address ends that begins at `start`; 0 if none does."""
    head = re.compile(f"(?:{_GROUP}(?::{_GROUP}){{0,7}})?").match(text, start)
    assert head is not None
    end = head.end()
    groups = head[0].count(":") + 1 if head[0] else 0
    if not text.startswith("::", end):
        dotted = re.compile(f"(?:{_GROUP}:){{6}}{_DOTTED}").match(text, start)
        return max(end if groups == 8 else 0, dotted.end() if dotted else 0)
    if groups > 7:
        return end
    end += 2
    tails = (
        re.compile(f"{_GROUP}(?::{_GROUP}){{0,{max(6 - groups, 0)}}}").match(text, end) if groups < 7 else None,
        re.compile(f"(?:{_GROUP}:){{0,{5 - groups}}}{_DOTTED}").match(text, end) if groups < 6 else None,
    )
    return max(end, *(tail.end() for tail in tails if tail), end)
