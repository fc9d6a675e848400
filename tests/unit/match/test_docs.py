# SPDX-License-Identifier: Apache-2.0
"""docs/match.md tells the truth: each example means what libpcap says, and there are packets for it and against it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from offramp import HashSet, Match, MatchError, PrefixSet
from tests.generators.aim import Aim
from tests.generators.packets import Packet, Packets
from tests.oracles.libpcap import Filter, Refused
from tests.oracles.reference import Reference

PAGE = Path(__file__).parents[3] / "docs/match.md"
SHORTEST = 14  # bytes of a frame
SETS: dict[str, HashSet | PrefixSet] = {
    "blocked": PrefixSet(["203.0.113.0/24"]),
    "friends": HashSet(["10.0.0.1"]),
    "ports": HashSet([53, 443]),
    "stations": HashSet(["02:00:00:00:00:01"]),
}


def examples(kind: str) -> list[str]:
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def packets(expression: str) -> list[Packet]:
    """Of all kinds, and some that were made for the expression."""
    pool, aim, reference = Packets(1).pool(300), Aim(1), Reference(expression)
    aimed = [aim(reference.lowered.expr, packet.data, hold=index % 3 > 0) for index, packet in enumerate(pool)]
    return pool + [Packet(data, len(data)) for data in aimed]


@pytest.mark.parametrize("expression", examples("match"))
def test_an_example_means_what_libpcap_says(expression: str) -> None:
    data, lengths = zip(*packets(expression), strict=True)
    verdicts = Match(expression).verdicts(data, lengths).tolist()
    with Filter(expression, optimize=False) as oracle:
        assert verdicts == list(map(oracle, data, lengths))
    assert {True, False} == set(verdicts)


@pytest.mark.parametrize("expression", examples("match-extension"))
def test_an_extension_is_none_of_tcpdump(expression: str) -> None:
    with pytest.raises(Refused):
        Filter(expression)
    named = {name: table for name, table in SETS.items() if f"@{name}" in expression}
    match = Match(expression, **named)
    assert Match(str(match), **named) == match


@pytest.mark.parametrize("expression", examples("match-impossible"))
def test_what_no_packet_can_match(expression: str) -> None:
    assert not Match(expression).can_match()
    on_interfaces = [packet.data for packet in packets(expression) if len(packet.data) >= SHORTEST]
    assert not any(map(Reference(expression), on_interfaces))


def test_the_other_examples_can_match() -> None:
    for expression in examples("match"):
        assert Match(expression).can_match(), expression


def refused() -> list[str]:
    """The expressions of the table of what is refused."""
    table = PAGE.read_text().partition("## What is refused")[2].partition("##")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return [expression for row in rows for expression in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("expression", refused())
def test_what_is_refused(expression: str) -> None:
    with pytest.raises(MatchError):
        Match(expression)


def test_the_page_has_an_example_of_each_word() -> None:
    words = set(re.findall(r"[a-z0-9]+", " ".join(examples("match"))))
    wanted = "host net src dst port portrange mask ether ip ip6 arp rarp tcp udp sctp icmp icmp6 igmp pim vrrp esp ah"
    wanted += " proto vlan mpls pppoed pppoes broadcast multicast less greater len and or not stp"
    assert set(wanted.split()) <= words
