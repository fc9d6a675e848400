# SPDX-License-Identifier: Apache-2.0
"""What a NIC brings: for each driver a superset of the match, in a model of its receive side, and no entry of others.

The program checks every packet again, with the match itself, so packets that the NIC brings in excess are passed on
and never claimed. These tests are about packets that the NIC might miss.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from offramp.errors import NotSupported
from offramp.facts.capabilities import Capabilities, Ntuple, Rss
from offramp.facts.knobs import check
from offramp.facts.records import DRIVERS, record
from offramp.match import Node, parse
from offramp.planner import Options, Plan, Situation, make_plan
from offramp.planner.bucket import buckets
from offramp.planner.steer import Steered, steered
from offramp.planner.typed import CannotSteer
from offramp.planner.widen import widened
from offramp.steering import Rule, equal
from offramp.testing.software_nic import KEY
from offramp.verdict import Verdict
from tests.generators.aim import Aim
from tests.generators.expressions import Expressions
from tests.generators.packets import Packets
from tests.generators.steerable import Steerable, elsewhere, inside, matching_frames, plan_for, steering_of, stray

MATCHES = 160  # of each of two kinds, for each driver


def matches(seed: int, count: int = MATCHES) -> list[str]:
    steerable, anything = Steerable(seed), Expressions(seed, shifts=0.06, any_vlan=0.1)
    return [make() for _ in range(count) for make in (steerable, anything)]


# -- no packet is missed -----------------------------------------------------------------------------------------------


def test_the_flows_hold_every_matching_packet() -> None:
    """Before any driver: what is in a frame's headers is in one of the flows."""
    packets, aim = Packets(1), Aim(1)
    counted: Counter[str] = Counter()
    for text in matches(11, 500):
        node = parse(text)
        wide = widened(node)
        if wide.flows is None:
            counted["too wide"] += 1
            continue
        for _, frame in matching_frames(node, packets, aim, 10):
            why = stray(frame, arp=wide.arp)
            counted[why] += 1
            assert why or any(inside(flow, frame) for flow in wide.flows), (text, frame.hex())
    assert counted[""] > 800
    assert counted["too wide"] > 100


def plan_or_reason(node: Node, driver: str, layout: str) -> Plan | None:
    """A layout that was asked for may be refused, in one line."""
    if layout == "auto":
        return plan_for(node, driver)
    try:
        return plan_for(node, driver, layout=layout)
    except NotSupported as error:
        told = str(error)
    assert told.startswith("a hidden queue on eth2: ")
    assert "\n" not in told
    return None


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_plan_or_a_reason_and_no_claimed_packet_elsewhere(driver: str) -> None:
    able, _ = elsewhere(driver)
    is_other = [able.ntuple.ip_is_other] if able.ntuple.ip_is_other is not None else [True, False]
    packets, aim = Packets(2), Aim(2)
    counted: Counter[str] = Counter()
    for text in matches(12):
        node = parse(text)
        for layout in ("auto", "hidden-queue"):
            plan = plan_or_reason(node, driver, layout)
            if plan is None:
                counted["refused"] += 1
                continue
            counted[plan.layout] += 1
            assert plan.why
            assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
            if plan.layout == "in-driver" or layout == "auto":
                continue
            arp = widened(node).arp
            models = [steering_of(plan, able, ip_is_other=other) for other in is_other]
            for _, frame in matching_frames(node, packets, aim, 25):
                why = stray(frame, arp=arp)
                counted["frames"] += not why
                for model in models:
                    assert why or model.queue_of(frame) == plan.hidden_queue, (text, plan.rules, frame.hex())
    assert counted["in-driver"] > 0
    if able.ntuple.flows and driver not in ("igb", "gve"):
        assert counted["hidden-queue"] > MATCHES / 4
        assert counted["frames"] > 100


def test_what_stands_behind_extension_headers_is_not_compared() -> None:
    """A NIC reports the protocol behind them, and never their own numbers."""
    (flow,) = widened(parse("ip6 proto 44 and src host ::1")).flows or ()
    assert (flow.version, flow.protocol) == (6, None)


def test_an_unknown_driver_is_tried_with_what_most_can() -> None:
    able = Capabilities(
        interface="eth2",
        driver="new",
        bus="0000:02:00.0",
        rss=Rss(table=tuple(equal(128, 8)), symmetric=False),
        ntuple=Ntuple(supported=True, slots=64),
    )
    rules = steered(widened(parse("dst host 10.0.0.1")).flows or (), able.ntuple, 7, "new").rules
    assert [str(rule) for rule in rules] == [
        f"flow-type {flow} dst-ip 10.0.0.1 action 7 loc {location}"
        for flow, location in (("ip4", 63), ("tcp4", 62), ("udp4", 61))
    ]


# -- rules -------------------------------------------------------------------------------------------------------------


def rules_of(text: str, driver: str, **changed: object) -> Steered:
    known = record(driver)
    assert known is not None
    return steered(widened(parse(text)).flows or (), replace(known.ntuple, **changed), 7, driver)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "driver", "words"),
    [
        ("ip and udp dst port 4321", "ixgbe", ["udp4 dst-port 4321"]),
        ("udp dst port 4321", "i40e", ["udp4 dst-port 4321", "udp6 dst-port 4321"]),
        ("host 10.0.0.1", "mlx5", ["ip4 dst-ip 10.0.0.1", "ip4 src-ip 10.0.0.1"]),
        ("src net 10.0.0.0/8", "ixgbe", ["ip4 src-ip 10.0.0.0 m 0.255.255.255"]),
        ("src net 10.0.0.0/31 and udp", "ice", ["udp4 src-ip 10.0.0.0", "udp4 src-ip 10.0.0.1"]),
        ("ip proto 47 and src host 10.0.0.1", "mlx5", ["ip4 src-ip 10.0.0.1 l4proto 47"]),
        ("ip proto 47 and src host 10.0.0.1", "ixgbe", ["ip4 src-ip 10.0.0.1"]),
        ("src host 10.0.0.1 and (udp port 53 or icmp)", "ixgbe", ["ip4 src-ip 10.0.0.1"]),
        ("ether proto 0x88b5", "igb", ["ether proto 0x88b5"]),
        ("ip and ether dst 02:00:00:00:00:01", "igb", ["ether dst 02:00:00:00:00:01 proto 0x800"]),
        ("udp dst portrange 53-54 and ip", "mlx5", ["udp4 dst-port 53", "udp4 dst-port 54"]),
        ("udp dst portrange 52-55 and ip", "mlx5", ["udp4 dst-port 52 m 0x3"]),
    ],
)
def test_rules_in_ethtools_words(text: str, driver: str, words: list[str]) -> None:
    assert [str(rule).removeprefix("flow-type ").split(" action")[0] for rule in rules_of(text, driver).rules] == words


@pytest.mark.parametrize(
    ("text", "driver", "reason"),
    [
        ("tcp", "mlx5", "its rules would have to bring all packets of flow type tcp4"),
        ("src net 10.0.0.0/8", "i40e", "its rules would have to bring all packets of flow type tcp4"),
        ("udp dst port 53", "ixgbe", "the match is also about IPv6, and ixgbe's rules see only IPv4"),
        ("udp dst port 53", "igb", "igb's rules do not see IP packets"),
        ("ether proto 0x88b5", "i40e", "i40e's rules compare IP packets only"),
        (
            "ip and udp port 53",
            "i40e",
            "its rules for udp4 all have to compare the same fields, and the parts of the match have none in common",
        ),
        (
            "host 10.0.0.1",
            "ixgbe",
            "its rules all have to compare the same fields, and the parts of the match have none in common",
        ),
    ],
)
def test_reasons(text: str, driver: str, reason: str) -> None:
    with pytest.raises(CannotSteer) as caught:
        rules_of(text, driver)
    assert caught.value.reason == reason


def test_more_rules_than_there_is_room_for_are_made_wider() -> None:
    hosts = " or ".join(f"10.0.{number}.7" for number in range(64))
    assert len(rules_of(f"src host ({hosts})", "ixgbe").rules) == 64
    few = rules_of(f"src host ({hosts})", "ixgbe", slots=4)
    assert [str(rule).split()[3:6] for rule in few.rules] == [
        [f"10.0.{number}.0", "m", "0.0.15.255"] for number in (0, 16, 32, 48)
    ]
    assert few.left_out == ("the source address",)
    with pytest.raises(CannotSteer, match="the match needs 64 rules, and only 3 can be added"):
        rules_of(f"src host ({hosts}) and udp", "i40e", slots=3)


def test_whole_parts_are_dropped_where_masks_are_not_taken() -> None:
    ports = " or ".join(map(str, range(1, 40)))
    few = rules_of(f"src host 10.0.0.1 and ip and udp dst port ({ports})", "i40e", slots=8)
    assert [str(rule) for rule in few.rules] == ["flow-type udp4 src-ip 10.0.0.1 action 7 loc 7"]


def test_rules_that_are_there() -> None:
    """They keep their locations and, where there is one mask, impose it."""
    there = ("flow-type udp4 dst-port 53 action 1 loc 2045", "flow-type udp4 dst-port 4321 action 2 loc 3")
    made = rules_of("ip and udp dst port 4321 and src host 10.0.0.1", "ixgbe", rules=there)
    assert [str(rule) for rule in made.rules] == ["flow-type udp4 dst-port 4321 action 7 loc 2044"]
    assert made.left_out == ("the source address",)
    assert made.first == there[1:]
    with pytest.raises(
        CannotSteer, match="all its rules have to compare the same fields, and it already has flow-type udp4"
    ):
        rules_of("ip and udp src port 4321", "ixgbe", rules=there)
    full = tuple(f"flow-type udp4 dst-port {port} action 1 loc {port}" for port in range(16))
    with pytest.raises(CannotSteer, match="the match needs 1 rules, and only 0 can be added"):
        rules_of("ip and udp dst port 4321", "i40e", rules=full)


def test_the_rules_of_others_are_never_overwritten() -> None:
    for text in matches(13, 40):
        wide = widened(parse(text))
        there = tuple(f"flow-type udp4 dst-port {at} action 1 loc {at}" for at in range(0, 32, 3))
        try:
            made = steered(wide.flows or (), Ntuple(slots=32, rules=there, one_mask_per="rule"), 7, "new")
        except CannotSteer:
            continue
        locations = [rule.location for rule in made.rules]
        assert len(locations) == len(set(locations))
        assert all(location is not None and location % 3 and location < 32 for location in locations)


# -- entries of the RSS table ------------------------------------------------------------------------------------------

RSS = Rss(table=tuple(equal(128, 8)), key=KEY, symmetric=False, fields={"tcp4": "sdfn", "udp4": "sd", "ip4": "sd"})
OTHERS = ("tcp4", "udp4", "sctp4", "ah4", "esp4")
PAIR = "src host 10.0.0.1 and dst host 192.168.7.9"


def entries(text: str, **changed: object) -> tuple[int, ...]:
    return buckets(widened(parse(text)).flows or (), replace(RSS, **changed), "new")  # type: ignore[arg-type]


def test_entries_of_flows_that_are_hashed_by_what_the_match_says() -> None:
    one = entries(f"udp and {PAIR}")
    assert len(one) == 1
    assert entries(f"ip proto 47 and {PAIR}") == one  # the same input
    both = entries("udp and host 10.0.0.1 and host 192.168.7.9")
    assert len(both) == 2
    assert set(one) < set(both)
    assert len(entries(f"tcp and {PAIR} and src port 5 and dst port 6")) == 1


def test_entries_for_a_driver_that_may_give_its_key_late() -> None:
    """Seen of virtio-net in Linux 6.12.95: ethtool -x shows `key`, and what is sent here arrives by entry 19."""
    key = (
        "f2:ba:0f:70:08:4b:65:13:59:e5:10:8d:0e:76:92:9d:96:d4:74:4d:"
        "86:64:05:68:34:d4:c4:70:7e:8f:b0:e2:02:73:a2:ec:d5:d3:7d:1d"
    )
    flow = "udp and src host 10.77.0.1 and dst host 10.77.0.2 and src port 1024 and dst port 4321"
    told = {"key": key, "fields": {"udp4": "sdfn"}}
    assert entries(flow, **told) == (54,)
    assert entries(flow, **told, late_key=True) == (19, 54)


@pytest.mark.parametrize(
    ("text", "changed", "reason"),
    [
        (f"tcp and {PAIR}", {}, "RSS hashes tcp4 by its source port too, and the match leaves several possible"),
        (
            "udp and dst host 192.168.7.9",
            {},
            "RSS hashes udp4 by its source address too, and the match leaves several possible",
        ),
        (f"udp and {PAIR}", {"symmetric": True}, "its RSS hash is not Microsoft's Toeplitz, so it cannot be predicted"),
        (f"udp and {PAIR}", {"function": "xor"}, "its RSS hash is not Microsoft's Toeplitz, so it cannot be predicted"),
        (f"udp and {PAIR}", {"key": None}, "its RSS key is not known"),
        (f"udp and {PAIR}", {"table": None}, "new shows no RSS table"),
        (f"udp and {PAIR}", {"fields": {"udp4": ""}}, "udp4 is not hashed"),
        (f"ip and {PAIR}", {"fields": dict.fromkeys(OTHERS, "sd") | {"ip4": ""}}, "ip4 is not hashed"),
        (f"udp and {PAIR}", {"fields": {"udp4": "vsd"}}, "udp4 is hashed by more than addresses and ports"),
        ("ether proto 0x88b5", {}, "RSS hashes IP packets only, and the match is about other packets"),
        (
            f"udp and {PAIR}",
            {"table": (0, 1, 0, 1)},
            "1 of 4 entries of its RSS table would bring too much of all other traffic",
        ),
    ],
)
def test_reasons_against_entries(text: str, changed: dict[str, object], reason: str) -> None:
    with pytest.raises(CannotSteer) as caught:
        entries(text, **changed)
    assert caught.value.reason == reason


def test_flows_without_rules_arrive_by_their_hash() -> None:
    """igb and virtio-net: exact flows on the hidden queue, and no other entry of the table has changed."""
    packets, aim = Packets(3), Aim(3)
    found = 0
    for driver in ("igb", "virtio-net"):
        able, link = elsewhere(driver)
        able = replace(able, ntuple=Ntuple(supported=False))
        base = able.rss.table or ()
        for text in [Steerable(seed)() for seed in range(400)]:
            node = parse(text)
            plan = make_plan(Situation(node, Verdict.CLAIM, link, Options(), None, able))
            if plan.layout != "hidden-queue":
                continue
            first, last = (change.value for change in plan.changes if change.knob == "rss.table")
            queue = plan.hidden_queue
            assert queue is not None
            assert queue not in first
            assert all(new == old for old, new in zip(base, first, strict=True) if old != queue)
            assert [at for at, (one, two) in enumerate(zip(first, last, strict=True)) if one != two] == list(
                plan.buckets
            )
            model = steering_of(plan, able, ip_is_other=False)
            for _, frame in matching_frames(node, packets, aim, 25):
                if not stray(frame, arp=widened(node).arp):
                    found += 1
                    assert model.queue_of(frame) == queue, (text, frame.hex())
    assert found > 40


# -- to the byte -------------------------------------------------------------------------------------------------------

_PLANS = """
import json
from offramp.match import parse
from offramp.facts.knobs import check
from offramp.facts.records import DRIVERS
from tests.generators.steerable import plan_for
from tests.unit.planner.test_steer import matches
for text in matches(15, 12):
    for driver in DRIVERS:
        print(json.dumps(plan_for(parse(text), driver).to_dict()))
"""


def test_the_same_inputs_give_the_same_bytes_whatever_the_order_of_sets() -> None:
    def plans(seed: str) -> bytes:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", _PLANS], check=True, capture_output=True, env=environment, cwd=os.getcwd()
        ).stdout

    assert plans("1") == plans("2") != b""


def test_rules_are_what_the_nic_room_takes() -> None:
    for text in matches(16, 30):
        for change in plan_for(parse(text), "mlx5").changes:
            assert check(change.knob, change.value) == change.value
            if change.knob.startswith("rule."):
                assert Rule.from_value(change.value).queue == 7
