# SPDX-License-Identifier: Apache-2.0
"""Plans for links of every type, for MTUs, and for what the other end of a virtual wire is known to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from offramp.errors import InterfaceError, NotSupported
from offramp.facts.link import Link, Peer
from offramp.facts.link_types import ETHERNET, LOOPBACK, has_ethernet_header, type_name
from offramp.match import parse
from offramp.options import Options
from offramp.planner import Plan, Situation, explain, make_plan
from offramp.verdict import Verdict
from tests.unit.planner.test_planner import VETH

MATCH = parse("udp dst port 4321")
TYPES = range(1 << 16)


def plan(link: Link, verdict: Verdict = Verdict.DROP, **options: Any) -> Plan:
    return make_plan(Situation(MATCH, verdict, link, Options(**options)))


def test_only_two_types_have_an_ethernet_header() -> None:
    assert [number for number in TYPES if has_ethernet_header(number)] == [ETHERNET, LOOPBACK]


@pytest.mark.parametrize("verdict", [Verdict.CLAIM, Verdict.DROP, Verdict.PASS, Verdict.TX])
@pytest.mark.parametrize("mode", ["auto", "native", "generic"])
def test_every_other_type_is_refused_by_name(verdict: Verdict, mode: str) -> None:
    """Also while it is down, so that nobody sets it up in vain."""
    for number in (*range(900), 1100, 0xFFFE, 0xFFFF):
        if has_ethernet_header(number):
            continue
        for up in (True, False):
            link = replace(VETH, type=number, kind="tun", driver="tun", up=up, rx_vlan_offload=False)
            with pytest.raises(InterfaceError, match="no Ethernet header") as caught:
                plan(link, verdict, mode=mode)
            assert caught.value.what == f"eth0 is a link of type {type_name(number)} (tun)"


@pytest.mark.parametrize(
    ("number", "name"), [(1, "ether"), (772, "loopback"), (778, "gre"), (512, "ppp"), (0xFFFE, "none"), (4711, "4711")]
)
def test_names_are_those_of_ip_link(number: int, name: str) -> None:
    assert type_name(number) == name


@pytest.mark.parametrize(
    ("near", "peer", "mode"),
    [
        (1500, None, "native"),
        (3506, None, "native"),
        (3507, None, "generic"),
        (9000, 1500, "native"),  # veth goes by the other end
        (1500, 9000, "generic"),
        (1500, 3506, "native"),
    ],
)
def test_the_mtu_that_decides_is_the_peers(near: int, peer: int | None, mode: str) -> None:
    link = replace(VETH, mtu=near, rx_vlan_offload=False, peer=None if peer is None else Peer(mtu=peer))
    made = plan(link)
    assert made.mode == mode
    if mode == "generic":
        name = "PEER" if peer else "eth0"
        assert f"(ip link set {name} mtu 3506)" in made.warnings[0]
        with pytest.raises(InterfaceError, match='or mode="generic"'):
            plan(link, mode="native")


def test_queues_that_do_not_suit_the_peer() -> None:
    link = replace(VETH, xdp_features=frozenset(), rx_vlan_offload=False, rx_queues=2, peer=Peer(name="far"))
    assert "fewer receive queues (2) than its peer has transmit queues" in plan(link).warnings[0]
    with pytest.raises(NotSupported) as caught:
        plan(link, mode="native")
    assert caught.value.hint == "ethtool -L far tx 2"


def test_a_driver_that_says_why_it_refuses() -> None:
    link = replace(VETH, rx_vlan_offload=False)
    asked = Situation(MATCH, Verdict.DROP, link, Options(), native_refused=True, native_reason="it has few queues")
    assert make_plan(asked).warnings[0].startswith("generic mode, because it has few queues: ")


SEES = Peer(name="far", mtu=1500, xdp=False, segmentation=(), tags_beside=False)


@pytest.mark.parametrize(
    ("peer", "options", "verdict", "told"),
    [
        (
            None,
            {"mode": "generic"},
            Verdict.DROP,
            ["ethtool -K PEER tso off gso off tx-udp-segmentation off", "txvlan"],
        ),
        (SEES, {"mode": "generic"}, Verdict.DROP, []),
        (replace(SEES, segmentation=("tso",)), {"mode": "generic"}, Verdict.DROP, ["ethtool -K far tso off"]),
        (replace(SEES, tags_beside=True), {"mode": "generic"}, Verdict.DROP, ["ethtool -K far txvlan off"]),
        (SEES, {}, Verdict.TX, ["tx_failed"]),
        (None, {}, Verdict.TX, ["tx_failed"]),
        (replace(SEES, xdp=True), {}, Verdict.TX, []),
        (SEES, {"mode": "generic"}, Verdict.TX, []),
        (SEES, {}, Verdict.DROP, []),
    ],
)
def test_what_is_said_of_the_other_end(
    peer: Peer | None, options: dict[str, Any], verdict: Verdict, told: list[str]
) -> None:
    said = " ".join(plan(replace(VETH, rx_vlan_offload=False, peer=peer), verdict, **options).warnings)
    for text in told:
        assert text in said
    assert ("ethtool" in said) == any("ethtool" in text or "txvlan" in text for text in told)
    assert ("tx_failed" in said) == ("tx_failed" in told)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_tap_whose_user_writes_headers(mode: str) -> None:
    tap = replace(VETH, kind="tun", driver="tun", rx_vlan_offload=False, vnet_headers=True)
    assert "ethtool -K PEER tso off gso off tx-udp-segmentation off" in " ".join(plan(tap, mode=mode).warnings)
    assert "ethtool" not in " ".join(plan(replace(tap, vnet_headers=False), mode=mode).warnings)


def test_queues_that_send() -> None:
    link = replace(VETH, rx_queues=4, tx_queues=2)
    made = plan(link, Verdict.CLAIM)
    assert (made.queues, made.send_queues) == ((0, 1, 2, 3), (0, 1))
    assert "what came in on queues 2, 3 is sent from queue 0" in explain(made)
    alone = plan(link, Verdict.CLAIM, queues=(3,))
    assert alone.send_queues == ()
    assert "nothing can be sent" in explain(alone)
    assert "sent" not in explain(plan(replace(link, tx_queues=4), Verdict.CLAIM)).split("kernel")[0]
    assert plan(link).send_queues == ()


def test_an_interface_on_one_that_merges_packets() -> None:
    vlan = replace(VETH, kind="vlan", driver="802.1Q VLAN Support", rx_vlan_offload=False, xdp_features=frozenset())
    assert plan(vlan).mode == "generic"
    with pytest.raises(InterfaceError) as caught:
        plan(replace(vlan, merging_below=("eth9",)))
    assert caught.value.hint == "ethtool -K eth9 gro off lro off"
    assert plan(replace(VETH, merging_below=("eth9",))).mode == "native"


@pytest.mark.parametrize("kind", ["vxlan", "gretap", "geneve"])
def test_tunnels(kind: str) -> None:
    tunnel = replace(VETH, kind=kind, driver=kind, rx_vlan_offload=False, xdp_features=frozenset())
    assert "ethtool -K LOWER gro off" in plan(tunnel).warnings[0]
