# SPDX-License-Identifier: Apache-2.0
"""The words of a syntax error: what stands there, what was expected, and what was probably meant."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from .names import CONSTANTS, WELL_KNOWN_PORTS
from .scan import (
    END,
    EXAMPLE,
    IPV4,
    IPV6,
    KEYWORDS,
    KIND_WORDS,
    MAC,
    NAME,
    NUMBER,
    PROTO_WORDS,
    PROTOCOL_WORDS,
    SET,
    Cursor,
    Fault,
    Fix,
    shorten,
)

CONDITION: Final = f"a condition such as {EXAMPLE}"
OR_VALUE: Final = "another value"
VALUE: Final = "an address, a number or a name"
ARITHMETIC: Final = "a number, len, or bytes such as tcp[13]"
RELATION: Final = "a relation such as == or >="
VALUES: Final = (NUMBER, IPV4, IPV6, MAC, SET)

BEGINNINGS: Final = (  # of conditions
    *(
        "src",
        "dst",
        *KIND_WORDS,
        "not",
        "proto",
        "protochain",
        "less",
        "greater",
        "byte",
        "broadcast",
        "multicast",
        "len",
    ),
    *("vlan", "mpls", "pppoed", "pppoes", "vxlan", "geneve", "llc", *sorted(PROTOCOL_WORDS)),
)
CANDIDATES: Final = {CONDITION: BEGINNINGS, ARITHMETIC: ("len", *sorted(PROTOCOL_WORDS), *CONSTANTS)}


def _refused() -> dict[str, tuple[str, str]]:
    """Words of pcap-filter(7) that cannot mean anything here, or are not supported: why, and what to do."""
    wireless = "is about wireless frames (802.11), which are not Ethernet frames"
    pflog = "is about records of OpenBSD's packet filter (pflog), which are not Ethernet frames"
    groups = {
        "wlan fddi tr ppp slip": ("is another kind of link than Ethernet", "write 'ether'"),
        "radio type subtype dir addr1 addr2 addr3 addr4 ra ta": (wireless, ""),
        "ifname ruleset rnr srnr reason action": (pflog, ""),
        "lane metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect": (
            *("is about ATM, which is not Ethernet", ""),
        ),
        "fisu lssu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls": (
            "is about SS7, which is not Ethernet",
            "",
        ),
        "inbound outbound": (
            *("is not something that a frame tells", "all packets that the interface receives are looked at"),
        ),
        "ifindex": ("is not something that a frame tells", "a match is about the interface that it is opened on"),
        "gateway": ("needs names of hosts, which are not looked up", "write 'ether host MAC and not host ADDRESS'"),
    }
    return {word: why for words, why in groups.items() for word in words.split()}


REFUSED: Final = _refused()
_OVER_UDP: Final = ("tftp", "ntp", "snmp", "syslog")
_OVER_BOTH: Final = ("domain", "dns", "kerberos", "ldap", "sip")


def _service(name: str) -> str:
    return f"{'' if name in _OVER_BOTH else 'udp ' if name in _OVER_UDP else 'tcp '}port {WELL_KNOWN_PORTS[name]}"


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
    **{name: _service(name) for name in WELL_KNOWN_PORTS if name not in KEYWORDS},
    "dhcp": "udp port 67",
    "quic": "udp port 443",
    "gre": "proto 47",
    "ipip": "ip proto 4",
    "ospf": "proto 89",
    "lldp": "ether proto 0x88cc",
    **{name[4:]: f"tcp[tcpflags] & {name} != 0" for name in CONSTANTS if name.startswith("tcp-")},
}
FIELDS: Final = {"ttl": "the TTL is a byte: 'ip[8] < 5'", "tos": "the TOS is a byte: 'ip[1] != 0'"}
SIGNS: Final = {  # that are no operators between conditions, or no relations: what to write, or what to know
    "&": ("and", ""),
    "|": ("or", ""),
    "-": (None, "a range has no spaces: 'portrange 80-90'"),
    "^": (None, "there is no exclusive or of conditions"),
    "=": ("", "a value follows without a sign: 'port 80'"),
}
WIRESHARK: Final = r"(?:eth|ip|ipv6|tcp|udp|icmp|arp|dns|http|frame|vlan)\.[a-z]"
VLAN_IDS: Final = (
    "a 'vlan' behind another is the next tag; ids of the first are compared: 'vlan and ether[14:2] & 0xfff < 8'"
)
SETS: Final = "sets hold hosts or ports: 'src host in @name', 'dst port in @name'"
JOIN: Final = "conditions are joined by 'and' or 'or'"
MASK: Final = "a mask such as 255.255.0.0"


def unexpected(cursor: Cursor, *expected: str) -> Fault:
    """The fault that the current token is, where one of `expected` had to stand: phrases, or words as they are."""
    kind, word = cursor.kind, shorten(cursor.text[cursor.start : cursor.end])
    if kind == END:
        return Fault(f"the match ends early: expected {_either(expected)}", len(cursor.text.rstrip()), 0)
    if fix := _field(cursor):
        return Fault(f"unknown word '{word}'", cursor.start, cursor.end, fix=fix)
    if kind in REFUSED:
        why, hint = REFUSED[kind]
        return Fault(f"'{word}' {why}", cursor.start, cursor.end, hint)
    what, hint, meant = (_name if kind == NAME else _token)(word, cursor, expected)
    fix = Fix(cursor.start, cursor.end, meant) if isinstance(meant, str) else meant
    return Fault(what, cursor.start, cursor.end, hint, fix)


_Complaint: TypeAlias = tuple[str, str, str | Fix | None]  # what, hint, and what to write instead


def _token(word: str, cursor: Cursor, expected: tuple[str, ...]) -> _Complaint:
    """A token of the language in the wrong place."""
    kind, before = cursor.kind, cursor.last
    what = f"unexpected '{word}': expected {_either(expected)}"
    if kind in VALUES and (CONDITION in expected or (before in PROTOCOL_WORDS and "host" in expected)):
        return (what, SETS, None) if kind == SET else (what, "", _as_value(word, cursor, CONDITION in expected))
    if kind in VALUES and "or" in expected:
        return what, "values are joined by 'or'", _joined(word, cursor)
    if before in PROTO_WORDS and word in KEYWORDS:
        return what, f"'{word}' is a keyword, not a protocol's name", f"\\{word}"
    if "and" in expected and (kind in BEGINNINGS or kind == "("):
        return what, JOIN, None
    if before in (">", "<", "=", "==", "!") and kind in (">", "<", "="):
        return what, "the relations are ==, !=, >, >=, < and <=", None
    if kind == "-" and before.startswith("@"):
        return what, "the name of a set has letters, digits and '_'", None
    if kind in SIGNS and (VALUE in expected or "and" in expected):
        meant, hint = SIGNS[kind]
        return what, hint, meant
    if kind == SET and VALUE in expected:
        return what, "", f"in {word}"
    if kind == NUMBER and before == "mask":
        return what, "", Fix(len(cursor.text[: cursor.last_start].rstrip()), cursor.end, f"/{word}")
    if kind == "mask":
        return what, "a mask follows an IPv4 network: 'net 10.0.0.0 mask 255.0.0.0'", None
    if kind == "/":
        return what, "a prefix length follows an address: 'net 10.0.0.0/8'", None
    if kind == "%" and (zone := re.compile(r"%[-\w.]+").match(cursor.text, cursor.start)):
        return what, "no frame says which zone it is from", Fix(cursor.start, zone.end(), "")
    return what, "", None


def _as_value(word: str, cursor: Cursor, alone: bool) -> str | None:
    """A value where qualifiers or a condition should stand."""
    match cursor.kind:
        case "number":
            return as_condition(word)
        case "an Ethernet address":
            return f"ether host {word}" if alone else f"host {word}"
        case _:
            return f"host {word}"


def as_condition(number: str) -> str | None:
    """What somebody wants who writes a number alone, or a constant."""
    for prefix, relation in (("tcp-", "tcp[tcpflags] & {} != 0"), ("icmp-", "icmp[icmptype] == {}")):
        if number.startswith(prefix):
            return relation.format(number)
    if number.startswith("icmp6-"):
        return f"icmp6[icmp6type] == {number}"
    return None if number in CONSTANTS else f"port {number}"


def _joined(word: str, cursor: Cursor) -> Fix:
    """`port 80 443`, `portrange 80 90`."""
    is_range = cursor.text[: cursor.last_start].rstrip().endswith("portrange")
    both = f"{cursor.last}-{word}" if is_range else f"({cursor.last} or {word})"
    return Fix(cursor.last_start, cursor.end, both)


def _field(cursor: Cursor) -> Fix | None:
    """`icmp[type]` is `icmp[icmptype]`, and so is `icmp type 8`."""
    word = cursor.text[cursor.start : cursor.end]
    if cursor.last == "[":
        protocol = re.search(r"([a-z0-9]+)\s*\[\s*\Z", cursor.text[max(0, cursor.start - 20) : cursor.start])
        names = [f"{protocol[1]}{word}", f"{protocol[1]}{word}s"] if protocol else []
        known = [name for name in names if name in CONSTANTS]
        return Fix(cursor.start, cursor.end, known[0]) if known else None
    name = f"{cursor.last}{word}"
    if word in ("type", "code") and name in CONSTANTS:
        return Fix(cursor.last_start, cursor.end, f"{cursor.last}[{name}] ==")
    return None


def _name(word: str, cursor: Cursor, expected: tuple[str, ...]) -> _Complaint:
    """A word that the language does not have: a misspelt one, or a name."""
    unknown, before = f"unknown word '{word}'", cursor.last
    is_number = ARITHMETIC in expected
    if "-" in word[1:] and re.fullmatch(r"(len|length|[0-9]+)(-(len|length|[0-9]+))+", word):
        if is_number or (CONDITION in expected and "len" in word):
            return f"'{word}' is one word", "put spaces around '-'", word.replace("-", " - ")
        meant = f"portrange {word}" if CONDITION in expected or "portrange" in expected else None
        return f"unexpected '{word}': expected {_either(expected)}", "", meant
    if before == "in":
        return f"'{word}' is not a set", "", f"@{word}"
    if word == "in":
        return unknown, SETS, None
    if is_number and f"tcp-{word}" in CONSTANTS:
        return unknown, "", f"tcp-{word}"
    if not is_number and (meant := elsewhere(word, before)):
        return unknown, "", meant
    if word in FIELDS:
        return unknown, FIELDS[word], None
    if (parts := re.fullmatch("([a-z]+?)([0-9]+)", word)) and parts[1] in (*BEGINNINGS, *expected):
        return unknown, "", f"{parts[1]} {parts[2]}"
    if re.match(WIRESHARK, word):
        return unknown, f"this is Wireshark's language; a match is a tcpdump expression, such as {EXAMPLE}", None
    if re.fullmatch(r"[0-9.]+", word):
        return f"'{word}' is not an address", FOUR_NUMBERS, None
    return _misspelt(word, cursor, expected)


def _misspelt(word: str, cursor: Cursor, expected: tuple[str, ...]) -> _Complaint:
    candidates = [known for phrase in expected for known in CANDIDATES.get(phrase, (phrase,))]
    if near := nearest(word, candidates):
        return f"unknown word '{word}'", "", near
    others = BEGINNINGS if cursor.last in PROTOCOL_WORDS and "host" in expected else (*BEGINNINGS, "and", "or")
    return f"unknown word '{word}': expected {_either(expected)}", "", nearest(word, others) or None


FOUR_NUMBERS: Final = "an IPv4 address has four numbers: 10.0.0.1"


def elsewhere(word: str, before: str) -> str:
    """What a word of another language is here, behind the word `before`; "" if it is none."""
    meant = ELSEWHERE.get(word, "")
    if before in ("src", "dst") and "port " in meant:
        return meant[meant.index("port ") :]
    return meant.removeprefix(f"{before} ")


def nearest(word: str, candidates: tuple[str, ...] | list[str]) -> str:
    """What a misspelt word should be; "" if nothing is near."""
    from difflib import get_close_matches

    letters = sorted(word.lower())
    swapped = [known for known in sorted(candidates) if sorted(known) == letters]  # 'adn', 'prot'
    near = swapped or get_close_matches(word.lower(), sorted(candidates), n=1, cutoff=0.7)
    return near[0] if near else ""


def _either(expected: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(expected[:-1]), *expected[-1:])))
