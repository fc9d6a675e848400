# SPDX-License-Identifier: Apache-2.0
"""The words of a syntax error: what stands there, what was expected, and what was probably meant."""

from __future__ import annotations

import re
from typing import Final

from .names import CONSTANTS
from .scan import END, EXAMPLE, IPV4, IPV6, KIND_WORDS, MAC, NAME, NUMBER, PROTOCOL_WORDS, SET, Cursor, Fault, shorten

CONDITION: Final = f"a condition such as {EXAMPLE}"
OR_VALUE: Final = "another value"
VALUE: Final = "an address, a number or a name"
ARITHMETIC: Final = "a number, len, or bytes such as tcp[13]"
RELATION: Final = "a relation such as == or >="
VALUES: Final = (NUMBER, IPV4, IPV6, MAC, SET)

BEGINNINGS: Final = (  # of conditions
    *("src", "dst", *KIND_WORDS, "not", "proto", "less", "greater", "byte", "broadcast", "multicast", "len"),
    *("vlan", "mpls", "pppoed", "pppoes", "llc", *sorted(PROTOCOL_WORDS)),
)
CANDIDATES: Final = {CONDITION: BEGINNINGS, ARITHMETIC: ("len", *sorted(PROTOCOL_WORDS), *CONSTANTS)}


def _refused() -> dict[str, tuple[str, str]]:
    """Words of pcap-filter(7) that cannot mean anything here, or are not supported: why, and what to do."""
    wireless = "is about wireless frames (802.11), which are no Ethernet frames"
    pflog = "is about records of OpenBSD's packet filter (pflog), which are no Ethernet frames"
    groups = {
        "wlan fddi tr ppp slip": ("is another kind of link than Ethernet", "write 'ether'"),
        "radio type subtype dir addr1 addr2 addr3 addr4 ra ta": (wireless, ""),
        "ifname ruleset rnr srnr reason action": (pflog, ""),
        "lane metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect": (
            *("is about ATM, which is no Ethernet", ""),
        ),
        "fisu lssu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls": (
            "is about SS7, which is no Ethernet",
            "",
        ),
        "inbound outbound": (
            *("is not something that a frame tells", "all packets that the interface receives are looked at"),
        ),
        "ifindex": ("is not something that a frame tells", "a match is about the interface that it is opened on"),
        "gateway": ("needs names of hosts, which are not looked up", "write 'ether host MAC and not host ADDRESS'"),
        "geneve": ("is not supported", "the tunnel itself is 'udp dst port 6081'"),
        "protochain": ("is not supported", "write 'proto': it looks at the first header only"),
    }
    return {word: why for words, why in groups.items() for word in words.split()}


REFUSED: Final = _refused()
ELSEWHERE: Final = {  # words of other languages and tools
    **dict.fromkeys(("dport", "dstport", "dst_port"), "dst port"),
    **dict.fromkeys(("sport", "srcport", "src_port"), "src port"),
    **dict.fromkeys(("source", "from"), "src"),
    **dict.fromkeys(("dest", "destination", "to"), "dst"),
    **dict.fromkeys(("address", "addr"), "host"),
    **dict.fromkeys(("network", "subnet", "prefix", "cidr"), "net"),
    **dict.fromkeys(("eth", "ethernet"), "ether"),
    **dict.fromkeys(("ipv4", "ip4"), "ip"),
    "ipv6": "ip6",
    "icmpv6": "icmp6",
    "mac": "ether host",
    "dns": "port 53",
    "dhcp": "udp port 67",
}
SIGNS: Final = {  # that are no operators between conditions, or no relations
    "&": "did you mean 'and'?",
    "|": "did you mean 'or'?",
    "-": "a range has no spaces: 'portrange 80-90'",
    "^": "there is no exclusive or of conditions",
    "=": "a value follows without a sign: 'port 80'",
}
WIRESHARK: Final = r"(?:eth|ip|ipv6|tcp|udp|icmp|arp|dns|http|frame|vlan)\.[a-z]"


def unexpected(cursor: Cursor, *expected: str) -> Fault:
    """The fault that the current token is, where one of `expected` had to stand: phrases, or words as they are."""
    kind, word = cursor.kind, shorten(cursor.text[cursor.start : cursor.end])
    if kind == END:
        return Fault(f"the match ends early: expected {_either(expected)}", len(cursor.text.rstrip()), 0)
    if kind in REFUSED:
        why, hint = REFUSED[kind]
        return Fault(f"'{word}' {why}", cursor.start, cursor.end, hint)
    what, hint = (_name if kind == NAME else _token)(word, cursor, expected)
    return Fault(what, cursor.start, cursor.end, hint)


def _token(word: str, cursor: Cursor, expected: tuple[str, ...]) -> tuple[str, str]:
    """A token of the language in the wrong place."""
    kind, before = cursor.kind, cursor.last
    what = f"unexpected '{word}': expected {_either(expected)}"
    if kind in VALUES:
        article = {NUMBER: "port", SET: "host in", MAC: "ether host"}.get(kind, "host")
        if before in PROTOCOL_WORDS and "host" in expected:
            if kind == MAC:
                return what, f"did you mean 'ether host {word}'?"
            joint = " " if kind == NUMBER or before in ("ether", "ip", "ip6") else " and "
            return what, f"did you mean '{before}{joint}{article} {word}'?"
        if CONDITION in expected:
            return what, f"did you mean '{article} {word}'?"
        if "or" in expected:
            return what, f"join values: '... or {word}'"
    if before == "proto" and kind in PROTOCOL_WORDS:
        return what, f"'{word}' is a keyword: did you mean 'proto \\{word}'?"
    if "and" in expected and (kind in BEGINNINGS or kind == "("):
        return what, f"join conditions: '... and {word}'"
    if before in (">", "<", "=", "==", "!") and kind in (">", "<", "="):
        return what, "the relations are ==, !=, >, >=, < and <="
    if kind in SIGNS and (VALUE in expected or "and" in expected):
        return what, SIGNS[kind]
    if kind == SET and VALUE in expected:
        return what, f"did you mean 'in {word}'?"
    if kind == NUMBER and before == "mask":
        return what, f"did you mean '/{word}'?"
    if kind == "mask":
        return what, "a mask follows an IPv4 network: 'net 10.0.0.0 mask 255.0.0.0'"
    if kind == "/":
        return what, "a prefix length follows an address: 'net 10.0.0.0/8'"
    return what, ""


def _name(word: str, cursor: Cursor, expected: tuple[str, ...]) -> tuple[str, str]:
    """A word that the language does not have: a misspelt one, or a name."""
    unknown, before = f"unknown word '{word}'", cursor.last
    if "-" in word[1:] and re.fullmatch(r"(len|length|[0-9]+)(-(len|length|[0-9]+))+", word):
        return f"'{word}' is one word", f"put spaces around '-': '{word.replace('-', ' - ')}'"
    if before == "in":
        return f"'{word}' is not a set", f"did you mean 'in @{word}'?"
    if word in ELSEWHERE:
        return unknown, f"did you mean '{ELSEWHERE[word]}'?"
    if (parts := re.fullmatch("([a-z]+?)([0-9]+)", word)) and parts[1] in (*BEGINNINGS, *expected):
        return unknown, f"did you mean '{parts[1]} {parts[2]}'?"
    candidates = [known for phrase in expected for known in CANDIDATES.get(phrase, (phrase,))]
    if near := nearest(word, candidates):
        return unknown, near
    if re.fullmatch(r"[0-9.]+", word):
        return f"'{word}' is not an address", FOUR_NUMBERS
    if re.match(WIRESHARK, word):
        return unknown, f"this is Wireshark's language; a match is a tcpdump expression, such as {EXAMPLE}"
    if before in PROTOCOL_WORDS and "host" in expected:
        return f"{unknown}: expected {_either(expected)}", nearest(word, BEGINNINGS)
    return f"{unknown}: expected {_either(expected)}", nearest(word, (*BEGINNINGS, "and", "or"))


FOUR_NUMBERS: Final = "an IPv4 address has four numbers: 10.0.0.1"


def nearest(word: str, candidates: tuple[str, ...] | list[str]) -> str:
    """The hint for a misspelt word; "" if nothing is near."""
    from difflib import get_close_matches

    letters = sorted(word.lower())
    swapped = [known for known in sorted(candidates) if sorted(known) == letters]  # 'adn', 'prot'
    near = swapped or get_close_matches(word.lower(), sorted(candidates), n=1, cutoff=0.7)
    return f"did you mean '{near[0]}'?" if near else ""


def _either(expected: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(expected[:-1]), *expected[-1:])))
