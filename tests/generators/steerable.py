# SPDX-License-Identifier: Apache-2.0
"""Matches that NICs can often steer, frames that match them, and a model NIC for each record of a driver.

    steerable = Steerable(seed)
    steerable() -> "ip and udp and src host 10.0.0.1 and (dst port 53 or dst port 80)"

Random expressions over the whole language (expressions.py) seldom name a flow that is narrow enough for a rule.
`stray(frame)` says why a NIC need not bring a matching frame, as planner/widen.py documents it; "" if the NIC has to.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from offramp.errors import OfframpError
from offramp.facts.capabilities import Capabilities
from offramp.facts.found import Found
from offramp.facts.imagined import imagined
from offramp.facts.link import Link
from offramp.facts.records import record
from offramp.lower.evaluate import evaluate
from offramp.lower.expression import Const, Fixed, Lowered
from offramp.lower.meaning import lower
from offramp.match import Node, parse, set_names
from offramp.planner import Beside, Options, Plan, Situation, assume, make_plan
from offramp.planner.flow import Bits, Flow
from offramp.protection import Protection
from offramp.steering import Rss, Rule, Steering, parse_rule
from offramp.steering.headers import headers
from offramp.verdict import Verdict
from tests.generators.aim import Aim
from tests.generators.packets import PORTS, STATIONS, V4, V6, Packets

__all__ = [
    "MATCH",
    "PAIR",
    "Steerable",
    "elsewhere",
    "inside",
    "matching_frames",
    "of",
    "plan",
    "plan_for",
    "steering_of",
    "stray",
    "told",
]

_TAGS: Final = (0x8100, 0x88A8, 0x9100)
_EXTENSIONS: Final = (0, 43, 44, 60)
MATCH: Final = "ip and udp dst port 4321"
PAIR: Final = "udp and src host 10.0.0.1 and dst host 192.168.7.9"
NETS: Final = ["10.0.0.0/8", "10.0.0.0/24", "192.168.7.0/29", "10.0.0.0/31", "224.0.0.0/4"]
NETS6: Final = ["2001:db8::/32", "fe80::/97", "ff02::/16"]


class Steerable:
    """A generator; see the module."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self) -> str:
        chance = self.random
        version = chance.choice(("ip", "ip", "ip6", ""))
        parts = [version] if version else []
        protocol = chance.choice(("udp", "tcp", "sctp", "udp", "", "", "icmp" if version == "ip" else "ah"))
        parts += [protocol] if protocol else []
        kinds = chance.sample(
            ("src", "dst", "sport", "dport", "pair", "either", "rest", "tag"), chance.choice((1, 2, 2, 3))
        )
        parts += [part for kind in kinds for part in self.part(kind, version, protocol)]
        if "pair" in kinds and chance.random() < 0.7:
            parts += (
                [f"src port {self.port()}", f"dst port {self.port()}"] if protocol in ("udp", "tcp", "sctp") else []
            )
        return " and ".join(parts) or "udp dst port 53"

    def part(self, kind: str, version: str, protocol: str) -> list[str]:
        chance = self.random
        with_ports = protocol in ("udp", "tcp", "sctp", "")
        match kind:
            case "src" | "dst":
                return [self.of(lambda: f"{kind} {self.address(version)}")]
            case "sport" | "dport" if with_ports:
                return [self.of(lambda: f"{'src' if kind == 'sport' else 'dst'} {self.ports()}")]
            case "pair":
                return [f"src host {self.host(version)}", f"dst host {self.host(version)}"]
            case "either":
                return [self.of(lambda: f"{chance.choice(('', 'src or dst '))}{self.address(version)}")]
            case "rest":
                return [chance.choice(("len > 60", "not ether multicast", "ether[0] & 1 = 0", "greater 20"))]
            case "tag" if chance.random() < 0.3:
                return [f"ether dst host {chance.choice(STATIONS)}"]
        return []

    def of(self, make: object) -> str:
        assert callable(make)
        found = [make() for _ in range(self.random.choice((1, 1, 1, 2, 5)))]
        return found[0] if len(found) == 1 else f"({' or '.join(found)})"

    def host(self, version: str) -> str:
        return self.random.choice(V6 if version == "ip6" else V4)

    def address(self, version: str) -> str:
        if self.random.random() < 0.3:
            return f"net {self.random.choice(NETS6 if version == 'ip6' else NETS)}"
        return f"host {self.host(version)}"

    def port(self) -> int:
        return self.random.choice(PORTS)

    def ports(self) -> str:
        return (
            f"portrange {self.random.choice(('53-80', '4000-4400', '1024-65535'))}"
            if self.random.random() < 0.2
            else (f"port {self.port()}")
        )


def elsewhere(driver: str) -> tuple[Capabilities, Link]:
    """An interface of that driver, which is not on this machine."""
    known = record(driver)
    assert known is not None
    able, _ = assume(known, "eth2")
    return able, imagined(able)


def protection(node: Node) -> Protection:
    """What is protected where nothing was found; for a match with sets, as if it were every packet."""
    return Protection.of(Found(), Lowered(Const(True)) if set_names(node) else lower(node))


def plan_for(node: Node, driver: str, **options: Any) -> Plan:
    able, link = elsewhere(driver)
    return make_plan(Situation(node, Verdict.CLAIM, link, Options(**options), protection(node), able))


def of(driver: str) -> Capabilities:
    return elsewhere(driver)[0]


def plan(
    able: Capabilities, match: str = MATCH, verdict: Verdict = Verdict.CLAIM, mac: str = "", **options: Any
) -> Plan:
    """The plan for an interface with these capabilities. `mac`: its address; `refused`: what was refused, and why."""
    link = replace(imagined(able), mac=mac)
    refused, beside = options.pop("refused", {}), options.pop("beside", Beside())
    node, asked = parse(match), Options(**options)
    return make_plan(Situation(node, verdict, link, asked, protection(node), able, beside, refused=refused))


def told(kind: type[OfframpError], able: Capabilities, match: str = MATCH, **options: Any) -> str:
    """The text of the error, which has to be of exactly that kind."""
    with pytest.raises(kind) as caught:
        plan(able, match, **options)
    assert type(caught.value) is kind
    return str(caught.value)


def steering_of(plan: Plan, able: Capabilities, *, ip_is_other: bool) -> Steering:
    """The NIC when the plan is in force: its rules, and the RSS table that was written last."""
    tables = [change.value for change in plan.changes if change.knob == "rss.table"]
    key = bytes.fromhex((able.rss.key or "").replace(":", ""))
    rss = Rss(tuple(tables[-1] if tables else able.rss.table or (0,)), key, able.rss.fields or {})
    rules = [Rule.from_value(c.value, int(c.knob[5:])) for c in plan.changes if c.knob.startswith("rule.")]
    assert tuple(map(parse_rule, plan.rules)) == tuple(rules)
    return Steering(rss, tuple(rules), ip_is_other, frozenset(able.ntuple.flows) if able.ntuple.flows else None)


class _Ranges:
    def __init__(self, ranges: tuple[tuple[int, int], ...]) -> None:
        self.ranges = ranges

    def __contains__(self, number: object) -> bool:
        assert isinstance(number, int)
        return any(first <= number <= last for first, last in self.ranges)


def matching_frames(node: Node, packets: Packets, aim: Aim, count: int) -> Iterator[tuple[Lowered, bytes]]:
    """The matching frames among `count` random ones, mostly of plain IP, and as many that are aimed at the match."""
    lowered = lower(node, netmask=0)
    sets = [_Ranges(used.ranges) for used in lowered.sets if isinstance(used, Fixed)]
    for _ in range(count):
        frame = _frame(packets)
        for each in (frame, aim(lowered.expr, frame, sets=sets)):
            if evaluate(lowered.expr, each, sets=sets):
                yield lowered, each


def _frame(packets: Packets) -> bytes:
    if packets.random.random() < 0.2:
        return packets.frame()
    kind, payload = packets.random.choice((packets.ip, packets.ip, packets.ip6))()
    return bytes.fromhex("020000000002020000000001") + kind.to_bytes(2) + payload


def inside(flow: Flow, frame: bytes) -> bool:
    """Whether a NIC finds in the frame what the flow asks for."""
    found = headers(frame)
    four = found.first_four
    parts = Flow(
        ethertype=Bits(found.ethertype, 0xFFFF),
        vlan=None if found.vlan_ethertype is None else Bits(found.vlan_tci & 0xFFF, 0xFFF),
        protocol=None if found.protocol is None else Bits(found.protocol, 0xFF),
        src=_bits(found.src_ip),
        dst=_bits(found.dst_ip),
        sport=_bits(four[:2]),
        dport=_bits(four[2:]),
        esrc=_bits(found.src),
        edst=_bits(found.dst),
    )
    return all(
        wanted is None or (there is not None and there.value & wanted.mask == wanted.value)
        for wanted, there in zip(flow, parts, strict=True)
    )


def _bits(raw: bytes) -> Bits | None:
    return Bits(int.from_bytes(raw), (1 << 8 * len(raw)) - 1) if raw else None


def stray(frame: bytes, *, arp: bool) -> str:
    """Why the frame is a stray. `arp`: the match is also about ARP of addresses."""
    found = headers(frame)
    at = 12
    tags = []
    while (kind := int.from_bytes(frame[at : at + 2])) in _TAGS:
        tags.append(kind)
        at += 4
    if len(tags) > 1 or tags == [0x9100]:
        return "tags other than one 802.1Q tag"
    if arp and found.ethertype in (0x0806, 0x8035):
        return "ARP and RARP"
    if found.ethertype in (0x0800, 0x86DD) and not found.version:
        return "malformed"
    if found.version == 4 and frame[at + 2] & 15 < 5:
        return "malformed"
    if found.fragment:
        return "fragment"
    if found.version == 6 and frame[at + 2 + 6] in _EXTENSIONS:
        return "IPv6 with extension headers"
    if found.protocol in (6, 17, 132, 50, 51) and len(found.first_four) < 4:
        return "truncated"
    return ""
