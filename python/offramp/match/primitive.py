# SPDX-License-Identifier: Apache-2.0
"""A value and the qualifiers that it has or inherits, to a node: `src net` + `10.0.0.0/8`.

Traps of tcpdump's that are refused with a hint: a plain number as a host (`src 80` is host 0.0.0.80 there), and what
follows a port range without a space (`portrange 80-90x` is 80-90). A host's name is the union of all its addresses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from .complain import BEGINNINGS, FOUR_NUMBERS, MASK, elsewhere, nearest, unexpected
from .names import ETHER_PROTOCOLS, ISO_PROTOCOLS, WELL_KNOWN_PORTS, Names, NotFound
from .network import Network
from .numbers import ipv4, ipv6, mac
from .scan import ARCNET, IPV4, IPV6, KIND_WORDS, MAC, NAME, NUMBER, PROTO_WORDS, SET, Cursor, Fault, Fix, shorten
from .suggest import another_kind, another_protocol, joined, without_conflict
from .tree import (
    ALL_ONES,
    MAX_PORT,
    Address,
    Carries,
    InChain,
    InSet,
    Or,
    Port,
    Protocol,
    SetKind,
    Station,
)
from .words import Qualifiers

if TYPE_CHECKING:
    from .tree import Primitive

NOT_LOOKED_UP = "names of hosts are looked up where that is asked for (resolve=True): write the address"
VERSIONS = {Protocol.IP: 4, Protocol.ARP: 4, Protocol.RARP: 4, Protocol.IP6: 6}
SERVICES: tuple[Literal["tcp"], Literal["udp"]] = ("tcp", "udp")
WITHOUT_ADDRESS = ("port", "portrange", *PROTO_WORDS)  # kinds of values
STARTS = (NUMBER, IPV4, IPV6, MAC, NAME, ARCNET)  # kinds of tokens that begin a value


class Reader:
    """Makes nodes of the values at a cursor."""

    def __init__(self, cursor: Cursor, names: Names) -> None:
        self.cursor, self.names = cursor, names

    def value(self, qualifiers: Qualifiers, *, inherited: bool) -> Primitive | Or:
        """The node of the value at the cursor, which moves on; `inherited`: it has no qualifiers of its own."""
        cursor = self.cursor
        start, end, kind, word = cursor.start, cursor.end, cursor.kind, cursor.word
        cursor.advance()
        if kind == NAME and word == "in" and cursor.kind == SET:
            return self._in_set(qualifiers, start)
        try:
            match kind:
                case "an IPv4 address":
                    return self._ipv4(qualifiers, word, start)
                case "an IPv6 address":
                    return self._ipv6(qualifiers, word, start)
                case "an Ethernet address":
                    return self._mac(qualifiers, word, start, end)
                case "a name":
                    return self._name(qualifiers, word, start, end, inherited)
                case _:
                    what = f"'{cursor.text[start:end]}' is an ARCnet address, which Ethernet does not have"
                    raise Fault(what, start, end)
        except ValueError as error:
            shown = cursor.text[start : cursor.last_end]
            fix = without_conflict(shown, _version(kind), qualifiers, cursor.text, start, cursor.last_end)
            raise Fault(str(error), start, cursor.last_end, fix=fix) from None

    def number(self, qualifiers: Qualifiers, number: int, start: int, end: int) -> Primitive:
        """The node of a number that has been read, perhaps in parentheses."""
        word = self.cursor.text[start:end]
        kind, protocol, direction = qualifiers.kind, qualifiers.protocol, qualifiers.direction
        try:
            if kind in ("port", "portrange"):
                return Port(number, number, direction, protocol)
            if kind == "proto":
                return Carries(number, protocol)
            if kind == "protochain":
                return InChain(number, protocol)
            if kind == "net":
                _refuse_decnet(qualifiers, start, end)
                return Address(self._net_number(number, start), direction, protocol)
        except ValueError as error:
            fix = without_conflict(word, None, qualifiers, self.cursor.text, start, end)
            raise Fault(str(error), start, end, fix=fix) from None
        raise self._not_an_address(qualifiers, "port", word, start, end)

    def _net_number(self, number: int, start: int) -> Network:
        """`net 10` is 10.0.0.0/8: a number's leading zero bytes are not part of the network."""
        bits = 32
        while number and not number >> 24:
            number, bits = number << 8, bits - 8
        network = Network.prefix(4, number, bits)
        if self.cursor.kind in ("/", "mask"):
            dotted = str(network).partition("/")[0]
            fix = Fix(start, self.cursor.last_end, dotted)
            raise Fault("a prefix length follows a dotted address", self.cursor.start, self.cursor.end, fix=fix)
        return network

    def _ipv4(self, qualifiers: Qualifiers, word: str, start: int) -> Primitive:
        cursor, end = self.cursor, self.cursor.last_end
        address, bits = self._dotted(word, start, end)
        mask = ALL_ONES >> (32 - bits) << (32 - bits)
        if (length := self._length(32)) is not None:
            mask = ALL_ONES >> (32 - length) << (32 - length)
        elif cursor.kind == "mask":
            cursor.advance()
            if cursor.kind != IPV4:
                raise unexpected(cursor, MASK)
            mask = self._dotted(cursor.word, cursor.start, cursor.end)[0]
            cursor.advance()
        masked = cursor.last_end > end
        shown = cursor.text[start : cursor.last_end]
        network = Network(4, address & mask, mask)
        if qualifiers.kind in WITHOUT_ADDRESS:
            raise Fault(f"'{shown}' is not a {_thing(qualifiers)}", start, end, _value_hint(qualifiers))
        self._check_network(qualifiers, network, address, masked, start)
        _refuse_decnet(qualifiers, start, end)
        return Address(network, qualifiers.direction, qualifiers.protocol)

    def _ipv6(self, qualifiers: Qualifiers, word: str, start: int) -> Primitive:
        cursor, end = self.cursor, self.cursor.last_end
        address = ipv6(word)
        if address is None:
            raise Fault(f"'{shorten(word)}' is not an IP address", start, end)
        length = self._length(128)
        shown = cursor.text[start : cursor.last_end]
        network = Network.prefix(6, address, 128 if length is None else length)
        if qualifiers.kind in WITHOUT_ADDRESS:
            raise Fault(f"'{shown}' is not a {_thing(qualifiers)}", start, cursor.last_end, _value_hint(qualifiers))
        network = network._replace(address=address & network.mask)
        self._check_network(qualifiers, network, address, length not in (None, 128), start)
        return Address(network, qualifiers.direction, qualifiers.protocol)

    def _check_network(self, qualifiers: Qualifiers, network: Network, address: int, masked: bool, start: int) -> None:
        """An address with host bits under a mask is a network mistyped, where `net` says so; else it may be a host."""
        text, end = self.cursor.text, self.cursor.last_end
        shown = text[start:end]
        if qualifiers.kind != "net" and masked:
            if address != network.address:
                raise Fault("a mask belongs to 'net'", start, end, f"leave it out, or write 'net {network}'")
            fix = another_kind("net", shown, qualifiers, text, start, end)
            raise Fault("a mask belongs to 'net'", start, end, fix=fix)
        if address != network.address:
            raise Fault(f"non-network bits set in '{shown}'", start, end, fix=Fix(start, end, str(network)))

    def _mac(self, qualifiers: Qualifiers, word: str, start: int, end: int) -> Station:
        if qualifiers.protocol is Protocol.ETHER and qualifiers.kind in ("host", ""):
            return Station(mac(word), qualifiers.direction)
        meant = word, qualifiers._replace(kind="host"), self.cursor.text, start, end
        fix = None
        if qualifiers.kind in ("host", "net", ""):
            is_other = qualifiers.protocol not in (None, Protocol.ETHER)
            fix = (joined if is_other else another_protocol)(Protocol.ETHER, *meant)
        raise Fault(f"'{word}' is an Ethernet address", start, end, fix=fix)

    def _dotted(self, word: str, start: int, end: int) -> tuple[int, int]:
        found = ipv4(word)
        if found is None:
            raise Fault(f"'{shorten(word)}' is not an IP address", start, end, "each of its numbers is at most 255")
        return found

    def _length(self, most: int) -> int | None:
        """`/ 24`, if it stands at the cursor."""
        cursor = self.cursor
        if cursor.kind != "/":
            return None
        cursor.advance()
        if cursor.kind != NUMBER:
            raise unexpected(cursor, "a prefix length")
        length = cursor.number
        if length > most:
            version = 4 if most == 32 else 6
            raise Fault(f"an IPv{version} prefix has at most {most} bits", cursor.start, cursor.end)
        cursor.advance()
        return length

    def _in_set(self, qualifiers: Qualifiers, start: int) -> InSet:
        """`in @name`: an extension, tcpdump has no sets. The cursor is at the name."""
        cursor = self.cursor
        name, end = cursor.word, cursor.end
        cursor.advance()
        if qualifiers.kind in ("portrange", *PROTO_WORDS):
            is_range = qualifiers.kind == "portrange"
            fix = another_kind("port", f"in @{name}", qualifiers, cursor.text, start, end) if is_range else None
            raise Fault(f"a set has no {qualifiers.kind}s: it has hosts or ports", start, end, fix=fix)
        kind = SetKind.PORT if qualifiers.kind == "port" else SetKind.HOST
        try:
            return InSet(name, kind, qualifiers.direction, qualifiers.protocol)
        except ValueError as error:
            fix = without_conflict(f"in @{name}", None, qualifiers, cursor.text, start, end)
            raise Fault(str(error), start, end, fix=fix) from None

    def _name(self, qualifiers: Qualifiers, word: str, start: int, end: int, inherited: bool) -> Primitive | Or:
        shown = shorten(word)
        if self.cursor.text[start] != "\\":
            self._refuse_misspelt(qualifiers, shown, start, end, inherited)
        match qualifiers.kind:
            case "port":
                port, protocol = self._service(qualifiers, word, start, end)
                return Port(port, port, qualifiers.direction, protocol)
            case "portrange":
                return self._range(qualifiers, word, start, end)
            case "proto":
                return Carries(self._protocol(qualifiers, word, start, end), qualifiers.protocol)
            case "protochain":
                return InChain(self._protocol(qualifiers, word, start, end), qualifiers.protocol)
        if qualifiers.protocol is Protocol.ETHER:
            hint = "names of stations are not looked up: write the six bytes, 00:11:22:33:44:55"
            raise Fault(f"'{shown}' is not an Ethernet address", start, end, hint)
        if re.fullmatch("[0-9]+-[0-9]+", word):
            raise self._not_an_address(qualifiers, "portrange", word, start, end)
        if word.isdigit():
            raise self._not_an_address(qualifiers, "port", word, start, end)
        if re.fullmatch(r"[0-9.]+", word):
            raise Fault(f"'{shown}' is not an address", start, end, FOUR_NUMBERS)
        return self._resolved(qualifiers, word, start, end)

    def _resolved(self, qualifiers: Qualifiers, name: str, start: int, end: int) -> Primitive | Or:
        """The addresses of a host, of the protocol's version; a network."""
        _refuse_decnet(qualifiers, start, end)
        protocol, host, net = qualifiers.protocol, self.names.host, self.names.net
        if host is None or net is None:
            raise Fault(f"'{shorten(name)}' is not an address", start, end, NOT_LOOKED_UP)
        try:
            networks = (net(name),) if qualifiers.kind == "net" else host(name)
        except NotFound as error:
            raise Fault(f"'{shorten(name)}': {error.reason}", start, end, error.hint) from None
        if protocol in VERSIONS:
            networks = tuple(network for network in networks if network.version == VERSIONS[protocol])
            if not networks:
                what = f"'{shorten(name)}' has no IPv{VERSIONS[protocol]} address"
                raise Fault(what, start, end, f"leave out '{protocol.value}'")
        found = tuple(Address(network, qualifiers.direction, protocol) for network in networks)
        return Or(found) if len(found) > 1 else found[0]

    def _refuse_misspelt(self, qualifiers: Qualifiers, word: str, start: int, end: int, inherited: bool) -> None:
        """A name in place of an address may be a keyword with a slip: `dst prot 53`, `port 80 or dts 443`."""
        if word == "in":
            raise unexpected(self.cursor, "a set such as @blocked")
        candidates = BEGINNINGS if inherited else () if qualifiers.kind else (*KIND_WORDS, "in")
        if qualifiers.kind in WITHOUT_ADDRESS and self._is_known(qualifiers, word):
            return
        before = re.search(r"[a-z]*\Z", self.cursor.text[max(0, start - 20) : start].rstrip())
        meant = elsewhere(word, before[0] if before else "") if inherited or not qualifiers.kind else ""
        if meant := meant or (nearest(word, candidates) if candidates else ""):
            raise Fault(f"unknown word '{word}'", start, end, fix=Fix(start, end, meant))

    def _is_known(self, qualifiers: Qualifiers, word: str) -> bool:
        if qualifiers.kind in PROTO_WORDS:
            return word in ETHER_PROTOCOLS or word in ISO_PROTOCOLS or self.names.protocol(word) is not None
        return any(self._lookup(part) for part in (word, word.partition("-")[0]))

    def _lookup(self, name: str) -> tuple[int, Protocol | None] | None:
        """The port of a service, and its protocol unless it is the same port of tcp and of udp."""
        if name.isdigit():
            number = name.lstrip("0") or "0"
            return (int(number), None) if len(number) <= 5 and int(number) <= MAX_PORT else None
        ports = {protocol: self.names.service(name, protocol) for protocol in SERVICES}
        if (tcp := ports["tcp"]) is not None:
            return tcp, None if ports["udp"] == tcp else Protocol.TCP
        return None if (udp := ports["udp"]) is None else (udp, Protocol.UDP)

    def _service(self, qualifiers: Qualifiers, name: str, start: int, end: int) -> tuple[int, Protocol | None]:
        shown = shorten(name)
        found = self._lookup(name)
        if found is None:
            if re.fullmatch("[0-9]+-[0-9]+", name):
                ranged = another_kind("portrange", name, qualifiers, self.cursor.text, start, end)
                raise Fault(f"'{shown}' is not a port", start, end, fix=ranged)
            known = WELL_KNOWN_PORTS.get(name.lower())
            fix = Fix(start, end, str(known)) if known else None
            raise Fault(f"'{shown}' is not a port", start, end, self.names.hint, fix)
        port, protocol = found
        return port, self._transport(qualifiers, shown, protocol, start, end)

    def _transport(
        self, qualifiers: Qualifiers, name: str, protocol: Protocol | None, start: int, end: int
    ) -> Protocol | None:
        if None not in (qualifiers.protocol, protocol) and qualifiers.protocol is not protocol:
            assert protocol is not None
            raise Fault(f"'{name}' is a service of {protocol.value}", start, end, "write the number of the port")
        return qualifiers.protocol or protocol

    def _range(self, qualifiers: Qualifiers, word: str, start: int, end: int) -> Port:
        shown = shorten(word)
        numbers = re.match("([0-9]+)-([0-9]+)", word)
        if numbers and numbers.end() < len(word):
            raise Fault(f"'{shown}' is not a range of ports", start, end, fix=Fix(start, end, numbers[0]))
        first_name, dash, last_name = word.partition("-")
        if not dash:
            hint = "a range is two ports: 'portrange 6000-6008'"
            raise Fault(f"'{shown}' is not a range of ports", start, end, hint)
        first, last = self._lookup(first_name), self._lookup(last_name)
        if first is None or last is None:
            wrong = first_name if first is None else last_name
            if wrong.isdigit():
                raise Fault(f"port {shorten(wrong)} is not in 0..{MAX_PORT}", start, end)
            raise Fault(f"'{shorten(wrong)}' is not a port", start, end, self.names.hint)
        protocol = first[1] if first[1] is last[1] else None
        protocol = self._transport(qualifiers, shown, protocol, start, end)
        low, high = sorted((first[0], last[0]))  # tcpdump, too, swaps a reversed range
        return Port(low, high, qualifiers.direction, protocol)

    def _not_an_address(self, qualifiers: Qualifiers, kind: str, word: str, start: int, end: int) -> Fault:
        """A port, or a range of them."""
        fix = another_kind(kind, word, qualifiers, self.cursor.text, start, end)
        what = "is a number, not an address" if kind == "port" else "is not an address"
        return Fault(f"'{shorten(word)}' {what}", start, end, fix=fix)

    def _protocol(self, qualifiers: Qualifiers, name: str, start: int, end: int) -> int:
        match qualifiers.protocol:
            case None | Protocol.IP | Protocol.IP6:
                found = self.names.protocol(name)
            case Protocol.ETHER:
                found = ETHER_PROTOCOLS.get(name)
            case Protocol.ISO:
                found = ISO_PROTOCOLS.get(name)
            case _:
                found = None
        if found is None:
            layer = qualifiers.protocol.value if qualifiers.protocol else "ip"
            raise Fault(f"'{shorten(name)}' is not a protocol of {layer}", start, end, "write its number")
        return found


def _refuse_decnet(qualifiers: Qualifiers, start: int, end: int) -> None:
    if qualifiers.protocol is Protocol.DECNET:
        raise Fault("DECnet addresses are not supported", start, end, "'decnet' alone, and decnet[offset], are")


def _version(kind: str) -> int | None:
    return {IPV4: 4, IPV6: 6}.get(kind)


def _thing(qualifiers: Qualifiers) -> str:
    return {"port": "port", "portrange": "range of ports"}.get(qualifiers.kind, "protocol")


def _value_hint(qualifiers: Qualifiers) -> str:
    return {
        "port": "a port is a number from 0 to 65535",
        "portrange": "a range is two ports: 'portrange 6000-6008'",
    }.get(qualifiers.kind, "a protocol is a number, or a name behind a backslash: 'ip proto \\tcp'")
