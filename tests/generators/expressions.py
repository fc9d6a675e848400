# SPDX-License-Identifier: Apache-2.0
"""Random expressions over the whole match language, as text, for comparing what they match.

    expressions = Expressions(seed)
    expressions() -> "not (vlan 5 && tcp[13] & 2 != 0) or src host 10.0.0.1 or 10.0.0.2"

The same seed and knobs give the same expressions. tcpdump compiles each of them without its optimiser (with it, it
refuses those that no packet can match), except for the extensions that knobs let in. They ask for values that the
packets of tests/generators/packets.py have. About 30 µs each.

Left out are: names from /etc/services and /etc/protocols, which a system need not have; `byte I & N` and `byte I | N`,
for which libpcap 1.10.3 forgets to load the byte; and `ip broadcast`, which needs a netmask.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final

from tests.generators.packets import ETHERTYPES, LABELS, PORTS, SAPS, SESSIONS, STATIONS, V4, V6, VLANS, VNIS

__all__ = ["Expressions"]

NETS: Final = [
    *("10.0.0.0/8", "10.0/16", "10.0", "10", "192.168.7", "192.168.7.8/29", "10.0.0.0/31", "128.0.0.0/1", "0.0.0.0/0"),
    *("10.0.0.0 mask 255.255.0.0", "10.0.0.1 mask 255.0.0.255", "0.0.0.1 mask 0.0.0.1", "224.0.0.0/4", "0"),
]
NETS6: Final = ["2001:db8::/127", "ff02::1", "fe80::/97", "2001:db8::/120", "::/0", "fe80::/10", "2001:db8::/33"]
RANGES: Final = ["53-80", "80-53", "0-65535", "22-22", "1-65535", "80", "4321-5000"]

OVER_IP: Final = ["tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "igrp", "pim", "vrrp", "carp", "ah", "esp"]
LINK_TYPES: Final = [
    *("arp", "rarp", "atalk", "aarp", "decnet", "lat", "sca", "moprc", "mopdl"),
    *("iso", "esis", "isis", "clnp", "stp", "ipx", "netbeui"),
]
PDUS: Final = ["l1", "l2", "iih", "lsp", "snp", "csnp", "psnp"]
ETHER_NAMES: Final = [
    *("ip", "ip6", "arp", "rarp", "atalk", "aarp", "decnet", "lat", "sca", "mopdl", "moprc", "loopback"),
    *("iso", "stp", "ipx", "netbeui"),
]
LLC: Final = ["i", "s", "u", "rr", "rnr", "rej", "ui", "ua", "disc", "dm", "sabme", "test", "xid", "frmr"]

FIELDS: Final = [
    *("ether", "ip", "ip", "ip6", "tcp", "tcp", "udp", "icmp", "icmp6", "sctp"),
    *("igmp", "igrp", "pim", "vrrp", "carp"),
]
LINK_FIELDS: Final = ["arp", "rarp", "atalk", "decnet", "lat", "sca", "moprc", "mopdl"]
OFFSETS: Final = [0, 1, 2, 4, 6, 8, 9, 12, 13, 14, 16, 20, 24, 40, 60, 0x7FFFFFFF, 0xFFFFFFFC]
MASKS: Final = [0x01, 0x02, 0x0F, 0xF0, 0xFF00, 0x1FFF, 0x3FFF, 0x80000001, 0xFFFFFFFF, 0]
NUMBERS: Final = [0, 1, 2, 4, 6, 8, 17, 0x12, 0x45, 53, 60, 64, 80, 133, 255, 0x800, 0x86DD, 0x0A000001, 0xFFFFFFFF]
OFTEN: Final = [  # what people write, so that fields are often compared with what is in them
    *("ip[0] & 0xf != 5", "ip[6:2] & 0x1fff != 0", "ip[8] < 64", "ip[9] = 17", "ip6[6] == 44", "ip6[7] > 1"),
    *("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[13] == 18", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"),
    *("tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420", "udp[4:2] > 8", "udp[8] = 0x45", "icmp[icmptype] = icmp-echo"),
    *("icmp6[icmp6type] == icmp6-neighborsolicit", "ether[12:2] == 0x86dd", "ether[0] & 1 = 0 and ip[16] >= 224"),
    *("(ip[2:2] - ((ip[0] & 0xf) << 2)) - ((tcp[12] & 0xf0) >> 2) != 0", "len - 14 = ip[2:2]", "ip[2:2] < len"),
    *("arp[6:2] = 1", "ip[ip[0] & 0xf] = 1", "sctp[0:2] = udp[0:2]", "1 + udp[0:2] > 50", "tcp[-4:4] = 0x0a000001"),
    *("arp[7] = 2", "rarp[6:2] != 1"),
]
OFTEN_BEHIND_MPLS: Final = [one for one in OFTEN if "arp" not in one]


class Expressions:
    """A generator; see the module.

    depth: of parentheses; terms: the most side by side. Shares of the terms: arithmetic is relations; shifts are
    `vlan`, `mpls` and `pppoes`; unions are lists of 8 to 40 values. `tunnels` is the share of expressions about what is
    in a tunnel, of those kinds in `tunnel`. There are no extensions by default: any_vlan is the
    share of expressions behind a `vlan any`; sets are those that may be named, by their family: {"hosts": "ip"}.
    """

    def __init__(
        self,
        seed: int,
        *,
        depth: int = 3,
        terms: int = 4,
        arithmetic: float = 0.3,
        shifts: float = 0.12,
        unions: float = 0.04,
        tunnels: float = 0.08,
        tunnel: Sequence[str] = ("geneve",),
        any_vlan: float = 0.0,
        sets: Mapping[str, str] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.depth, self.terms = depth, terms
        self.arithmetic, self.shifts, self.unions = arithmetic, shifts, unions
        self.any_vlan, self.sets = any_vlan, sets or {}
        self.tunnels, self.tunnel = tunnels, tunnel
        self.mpls = self.ppp = self.in_tunnel = False  # stands in the text so far

    def __call__(self) -> str:
        self.mpls = self.ppp = self.in_tunnel = False
        start = ""
        if self.random.random() < self.tunnels:
            return self.in_a_tunnel()
        if self.any_vlan and self.random.random() < self.any_vlan:
            start = "vlan any" + self.operator()
        return start + self.expression(self.random.randrange(self.depth + 1))

    def in_a_tunnel(self) -> str:
        """What is in a tunnel is joined to it by `and`: libpcap leaves it undefined otherwise."""
        before = ""
        if self.random.random() < 0.3:
            shifts = ["vlan ", "vlan 5 ", "ip ", "host 10.0.0.1 ", "ip6 ", "pppoes "]
            before = self.pick(*shifts) + self.pick("and ", "&& ")
        parts = []
        for _ in range(self.random.choice((1, 1, 1, 2))):
            number = self.pick("", "", self.number(self.random.choice(VNIS)))
            parts.append(f"{self.pick(*self.tunnel)} {number}".rstrip())
        self.in_tunnel = True
        kind = self.random.random()
        if kind < 0.2:
            return before + self.pick("", "not ") + parts[0] if len(parts) < 2 else before + " and ".join(parts)
        inner = self.expression(self.random.randrange(self.depth + 1))
        return before + " and ".join([*parts, f"({inner})"])

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def operator(self) -> str:
        return self.pick(" and ", " or ", " && ", " || ", " and ", " or ")

    def expression(self, depth: int) -> str:
        parts = [self.term(depth)]
        for _ in range(self.random.randrange(self.terms) if depth else 0):
            parts.append(self.operator())
            parts.append(self.term(depth))
        return "".join(parts)

    def term(self, depth: int) -> str:
        prefix = self.pick("", "", "", "not ", "!")
        if depth and self.random.random() < 0.3:
            return f"{prefix}({self.expression(depth - 1)})"
        return prefix + self.primitive()

    def primitive(self) -> str:
        kind = self.random.random()
        if kind < self.arithmetic:
            return self.relation()
        kind -= self.arithmetic
        if kind < self.shifts:
            return self.shift()
        kind -= self.shifts
        if kind < self.unions:
            return self.union()
        make = [self.protocol, self.protocol, self.host4, self.host4, self.host6, self.net, self.port, self.port]
        make += [self.proto, self.cast, self.rare]
        if not self.ppp:
            make += [self.station, self.llc]
        if self.sets:
            make += [self.named, self.named]
        return self.random.choice(make)()

    # Headers

    def protocol(self) -> str:
        if self.mpls:
            return self.pick("ip", "ip6", *OVER_IP)
        return self.pick("ip", "ip", "ip6", "ip6", *OVER_IP, *LINK_TYPES, self.pick(*PDUS), self.pick("pppoed", "arp"))

    def proto(self) -> str:
        kind = self.random.random()
        if kind < 0.2 and not self.in_tunnel:
            values = ["6", "17", "44", "0", "51", "58", "59", "300"]
            return self.pick("ip ", "ip6 ", "") + "protochain " + self.values(values)
        if kind < 0.5 or (self.mpls and kind < 0.9):
            values = ["6", "17", "0x11", "44", "50", "89", "112", "1", "300", "0"]
            return self.pick("ip ", "ip6 ", "") + "proto " + self.values(values)
        if self.mpls:
            return "ether proto " + self.pick("0x800", "0x86dd", "\\ip", "\\ip6")
        if kind < 0.8:
            numbers = [*ETHERTYPES, *SAPS, 0x800, 0x86DD, 0x8100, 0x8847, 0x8864]
            names = ["\\" + name for name in ETHER_NAMES]
            return "ether proto " + self.values([*map(self.number, self.random.sample(numbers, 3)), self.pick(*names)])
        return self.pick("iso proto ", "isis proto ") + self.values(["0x81", "0x83", "15", "18", "27", "130"])

    def shift(self) -> str:
        kinds = ["mpls", "mpls"]
        if not self.mpls:
            kinds.append("pppoes")
            if not self.ppp:
                kinds += ["vlan"] * 4
        kind = self.pick(*kinds)
        self.mpls, self.ppp = self.mpls or kind == "mpls", self.ppp or kind == "pppoes"
        numbers = {"vlan": VLANS, "mpls": LABELS, "pppoes": SESSIONS}[kind]
        number = self.pick("", "", self.number(self.random.choice(numbers)))
        return f"{kind} {number}".rstrip()

    def llc(self) -> str:
        return "llc" + self.pick("", " " + self.pick(*LLC), " " + self.pick(*LLC))

    def cast(self) -> str:
        if self.ppp:
            return self.pick("ip multicast", "ip6 multicast")
        return self.pick("ip ", "ip6 ", "ether ", "") + "multicast" if self.random.random() < 0.7 else "broadcast"

    def rare(self) -> str:
        number = self.number(self.random.choice((0, 20, 34, 60, 64, 100, 1500, 0xFFFFFFFF)))
        index = str(self.random.choice((0, 6, 12, 13, 14, 23, 200)))
        return self.pick(
            f"less {number}",
            f"greater {number}",
            f"len {self.pick('<', '<=', '>', '>=', '=', '!=')} {number}",
            f"byte {index} {self.pick('=', '<', '>')} {self.random.choice((0, 2, 8, 69, 255))}",
        )

    # Addresses and ports

    def direction(self) -> str:
        return self.pick("", "", "src ", "dst ", "src or dst ", "src and dst ", "dst and src ", "dst or src ")

    def values(self, values: Sequence[str]) -> str:
        """One value, or several that share the qualifiers."""
        chance = self.random
        first, *more = chance.sample(values, min(len(values), chance.choice((1, 1, 1, 2, 3))))
        if more and chance.random() < 0.3:
            return f"({self.operator().join([first, *more])})"
        return first + "".join(self.operator() + self.pick("", "", "not ") + value for value in more)

    def of4(self) -> str:
        return self.pick("", "ip ") if self.mpls else self.pick("", "", "ip ", "arp ", "rarp ")

    def host4(self) -> str:
        kind = self.pick("host ", "host ", "")
        direction = self.direction() if kind else self.pick("src ", "dst ", "src or dst ")
        return self.of4() + direction + kind + self.values([*V4, "10.0", "192.168.7"])

    def host6(self) -> str:
        return self.pick("", "ip6 ") + self.direction() + "host " + self.values(V6)

    def net(self) -> str:
        if self.random.random() < 0.3:
            return self.pick("", "ip6 ") + self.direction() + "net " + self.values(NETS6)
        return self.of4() + self.direction() + "net " + self.values(NETS)

    def station(self) -> str:
        kind = self.pick("host ", "host ", "")
        return "ether " + (self.direction() if kind else self.pick("src ", "dst ")) + kind + self.values(STATIONS)

    def of_port(self) -> str:
        return self.pick("", "", "tcp ", "udp ", "sctp ") + self.direction()

    def port(self) -> str:
        kind = self.random.random()
        values = self.values(RANGES if kind < 0.3 else [str(port) for port in PORTS])
        return self.of_port() + ("portrange " if kind < 0.3 else "port ") + values

    def union(self) -> str:
        """A long list of values that packets have, and of others."""
        chance = self.random
        count = chance.choice((8, 9, 12, 20, 40))
        kind = self.pick("host4", "host6", "net", "port", "portrange", *([] if self.ppp else ["station"]))
        match kind:
            case "host4":
                start = self.of4() + self.direction() + "host"
                pool = [*V4, *(f"10.{number >> 8}.{number & 255}.7" for number in chance.sample(range(1 << 16), count))]
            case "host6":
                start = self.pick("", "ip6 ") + self.direction() + "host"
                pool = [*V6, *(f"2001:db8::{number:x}:9" for number in chance.sample(range(1, 1 << 16), count))]
            case "net":
                start = self.direction() + "net"
                numbers = chance.sample(range(256), count)
                pool = [*NETS, *(f"172.16.{number}.0/{chance.randrange(24, 32)}" for number in numbers)]
                pool += [*NETS6, *(f"fd00:{number:x}::/{chance.randrange(32, 128)}" for number in numbers)]
            case "port":
                start = self.of_port() + "port"
                pool = [*map(str, PORTS), *map(str, chance.sample(range(1 << 16), count))]
            case "portrange":
                start = self.of_port() + "portrange"
                pool = [*RANGES[3:], *(f"{port}-{port + 9}" for port in chance.sample(range(65000), count))]
            case _:
                start = "ether " + self.direction() + "host"
                pool = [*STATIONS, *(f"02:00:00:00:01:{number:02x}" for number in chance.sample(range(256), count))]
        listed = chance.sample(pool, min(len(pool), count))
        if chance.random() < 0.2:  # each on its own, none of them wanted
            return "(" + " and ".join(f"not {start} {one}" for one in listed) + ")"
        joined = " or ".join(listed)
        return f"{start} ({joined})" if chance.random() < 0.5 else f"({start} {joined})"

    def named(self) -> str:
        """One of the sets that were given."""
        name = self.random.choice(list(self.sets))
        family = self.sets[name]
        match family:
            case "port":
                return f"{self.of_port()}port in @{name}"
            case "ether":
                return f"ether {self.direction()}host in @{name}" if not self.ppp else "ip"
            case "ip6":
                return f"{self.pick('', 'ip6 ')}{self.direction()}host in @{name}"
            case _:
                return f"{self.of4()}{self.direction()}host in @{name}"

    # Relations and arithmetic

    def number(self, value: int) -> str:
        """The number in any base."""
        return self.pick(str(value), str(value), hex(value), f"0{value:o}" if value < 1 << 30 else str(value))

    def relation(self) -> str:
        kind = self.random.random()
        if kind < 0.3:
            return self.pick(*(OFTEN_BEHIND_MPLS if self.mpls else OFTEN))
        relation = self.pick(" == ", "=", " != ", " > ", " >= ", " < ", "<=")
        if kind < 0.7:
            left = self.field()
            if self.random.random() < 0.5:
                left += f" & {self.number(self.random.choice(MASKS))}"
                if self.random.random() < 0.2:
                    left = f"({left})"
            return left + relation + self.number(self.random.choice(NUMBERS))
        return self.value(2) + relation + self.value(self.random.choice((0, 0, 1, 2)))

    def field(self, depth: int = 1) -> str:
        protocols = FIELDS if self.mpls else FIELDS + LINK_FIELDS
        index = self.number(self.random.choice(OFFSETS[:12] if self.random.random() < 0.9 else OFFSETS))
        if depth and self.random.random() < 0.1:
            index = self.value(1, depth - 1)
        return f"{self.pick(*protocols)}[{index}{self.pick('', ':1', ':2', ':4', ' : 2')}]"

    def value(self, depth: int, fields: int = 1) -> str:
        """Arithmetic; `fields` deep in indices."""
        chance = self.random
        kind = chance.random()
        if not depth or kind < 0.2:
            kind = chance.random()
            if kind < 0.5:
                return self.field(fields)
            return "len" if kind < 0.6 else self.number(chance.choice(NUMBERS))
        if kind < 0.3:
            return f"-{self.pick('', ' ')}{self.value(depth - 1, fields)}"
        left = self.value(depth - 1, fields)
        operator = self.pick("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")
        if operator in ("/", "%", "<<", ">>"):  # tcpdump checks the first number on the right, be it an index
            right = self.number(chance.choice((1, 2, 3, 8, 31)))
            if chance.random() < 0.3:
                right = f"{self.pick('ip', 'tcp', 'ether')}[{right}]"
        else:
            right = self.value(depth - 1, fields)
        gap = " " if operator == "-" or chance.random() < 0.8 else ""  # len-1 is a name
        value = f"{left}{gap}{operator}{gap}{right}"
        return f"({value})" if chance.random() < 0.6 else value
