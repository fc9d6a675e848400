# SPDX-License-Identifier: Apache-2.0
"""Hints are followed, literally: the match that one names is brought to a hidden queue, and means no other packets."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from offramp.errors import InterfaceBusy, NotSupported, OptionError
from offramp.facts.capabilities import Vf
from offramp.facts.records import DRIVERS
from offramp.lower.meaning import lower
from offramp.lower.possible import possible
from offramp.match import parse
from tests.generators.aim import Aim
from tests.generators.expressions import Expressions
from tests.generators.packets import Packets
from tests.generators.steerable import Steerable, matching_frames, of, plan, plan_for
from tests.oracles.reference import Reference


def hinted(match: str, driver: str) -> str | None:
    """The match that the refusal of a hidden queue names."""
    hint = ""
    try:
        plan_for(parse(match), driver, layout="hidden-queue")
    except NotSupported as error:
        hint = error.hint
    found = re.fullmatch("`(.*)` can be brought", hint)
    assert found or hint in ("", "reading it may need CAP_NET_ADMIN")
    return found[1] if found else None


@pytest.mark.parametrize(
    ("match", "narrower"),
    [
        ("udp dst port 53", "ip and udp dst port 53"),
        ("ip6 and udp dst port 53", None),
        ("ip6 and tcp dst port 80 and src host 2001:db8::1", None),
        ("udp dst port 53 or udp dst port 80", "ip and (udp dst port 53 or udp dst port 80)"),
        ("vlan 5 and udp dst port 53", "vlan 5 and udp dst port 53 and ip"),
        ("vlan 5 and (udp dst port 53 or tcp dst port 80)", "vlan 5 and (udp dst port 53 or tcp dst port 80) and ip"),
        ("vlan any and udp dst port 53", "vlan any and udp dst port 53 and ip"),
        ("udp port 53 or vlan and udp port 53", None),
        ("vxlan 100 and tcp", "ip and vxlan 100 and tcp"),
        ("geneve", "ip and geneve"),
        ("udp", None),
        ("icmp6", None),
        ("not udp", None),
        ("ip6 host 2001:db8::1 and udp", None),
        ("host 2001:db8::1", None),
    ],
)
def test_a_nic_that_sees_only_ipv4(match: str, narrower: str | None) -> None:
    assert hinted(match, "ixgbe") == narrower


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_a_hint_names_is_brought(driver: str) -> None:
    steerable, anything, packets, aim = Steerable(5), Expressions(5, shifts=0.1), Packets(5), Aim(5)
    counted: Counter[str] = Counter()
    for _ in range(120):
        for match in (steerable(), anything()):
            narrower = hinted(match, driver)
            if narrower is None:
                continue
            counted["named"] += 1
            made = plan_for(parse(narrower), driver, layout="hidden-queue")
            assert made.layout == "hidden-queue"
            if not possible(lower(parse(match))):
                continue
            before = Reference(match)
            for _, frame in matching_frames(parse(narrower), packets, aim, 4):
                counted["frames"] += 1
                assert before(frame), (match, narrower, frame.hex())
    assert driver != "ixgbe" or (counted["named"] > 10 and counted["frames"] > 10)


def test_the_vf_that_a_hint_names_is_free() -> None:
    able = of("ixgbe")
    for now, free in (
        ((Vf("ixgbevf", "eth3", True), Vf("ixgbevf", "eth4", False)), 1),
        ((Vf("vfio-pci", "", None), Vf("", "", None)), 1),
        ((Vf("ixgbevf", "eth3", True), Vf("vfio-pci", "", None)), None),
    ):
        held = replace(able, vfs=replace(able.vfs, total=8, in_use=2, now=now))
        with pytest.raises(InterfaceBusy) as caught:
            plan(held, layout="vf")
        if free is None:
            assert caught.value.hint == ""
            continue
        assert caught.value.hint == f"vf={free} uses one that nobody uses"
        assert plan(held, vf=free, mac="02:00:00:00:00:07").vf == free


def test_a_vf_without_a_number_is_made() -> None:
    able = replace(of("ixgbe"), vfs=replace(of("ixgbe").vfs, total=8, in_use=0))
    with pytest.raises(OptionError, match="layout vf, without a number, makes one"):
        plan(able, vf=3)
    assert plan(able, layout="vf", mac="02:00:00:00:00:07").vf == 0
