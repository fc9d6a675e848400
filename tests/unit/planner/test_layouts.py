# SPDX-License-Identifier: Apache-2.0
"""Layouts: which one, why, in which steps, with which warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from offramp.errors import InterfaceBusy, InterfaceDown, InterfaceError, NotSupported, OptionError
from offramp.facts.capabilities import Capabilities, Feature, Ntuple, Queues, Rss, Vf, Vfs
from offramp.facts.imagined import imagined
from offramp.match import parse
from offramp.planner import Beside, Change, Options, Plan, Situation, make_plan
from offramp.steering import Rule
from offramp.verdict import Verdict
from tests.generators.steerable import MATCH, PAIR, elsewhere, of, plan, told

# -- which one ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "match", "layout", "why"),
    [
        ("ixgbe", MATCH, "hidden-queue", "1 n-tuple rule brings the match's flows to a queue of their own"),
        ("i40e", "udp dst port 53", "hidden-queue", "2 n-tuple rules bring the match's flows to a queue of their own"),
        (
            "ixgbe",
            "udp dst port 53",
            "in-driver",
            (
                "no hidden queue: the match is also about IPv6, and ixgbe's rules see only IPv4; "
                "RSS hashes udp4 by its source address too, and the match leaves several possible "
                "(`ip and udp dst port 53` can be brought)"
            ),
        ),
        (
            "virtio-net",
            PAIR,
            "hidden-queue",
            "no n-tuple rules, but the match fixes all that RSS hashes (its driver takes no n-tuple rules)",
        ),
        (
            "ena",
            PAIR,
            "in-driver",
            (
                "no hidden queue: its driver takes no n-tuple rules; "
                "it is not known whether its RSS hash is Microsoft's Toeplitz"
            ),
        ),
        ("mlx5", "", "in-driver", "no hidden queue: every packet matches"),
        (
            "mlx5",
            "len > 100",
            "in-driver",
            "no hidden queue: the match names no flow that a NIC could tell from others",
        ),
        ("mlx5", "ip and ip6", "in-driver", "no hidden queue: no packet can match"),
        ("veth", MATCH, "in-driver", "no hidden queue: a virtual interface has no NIC"),
    ],
)
def test_the_planner_chooses_and_says_why(driver: str, match: str, layout: str, why: str) -> None:
    made = plan(of(driver), match)
    assert (made.layout, made.why) == (layout, why)


def test_what_is_not_known_is_tried_only_if_asked_for() -> None:
    assert plan(of("ena"), f"{PAIR} and src port 5 and dst port 6").layout == "in-driver"
    assert plan(of("ena"), f"{PAIR} and src port 5 and dst port 6", layout="hidden-queue").buckets
    assert plan(of("gve"), MATCH).layout == "in-driver"
    assert plan(of("gve"), MATCH, layout="hidden-queue").rules


def test_a_way_that_had_no_effect_is_not_taken_again() -> None:
    able = of("ixgbe")
    assert plan(able, PAIR).rules
    refused = {"rules": "were refused: no space"}
    assert plan(able, PAIR, refused=refused).buckets
    made = plan(able, PAIR, refused={**refused, "buckets": "were taken, but none arrived"})
    assert made.why == (
        "no hidden queue: n-tuple rules were refused: no space; "
        "entries of the RSS table that lead to a hidden queue were taken, but none arrived"
    )
    made = plan(able, PAIR, refused={"table": "were refused: busy"})
    assert made.why == "no hidden queue: entries of the RSS table that leave a queue out were refused: busy"


def test_steps_say_what_a_driver_may_refuse() -> None:
    assert [step.steers for step in plan(of("ixgbe")).steps if step.steers] == ["rules", "table", "rules"]
    assert [step.steers for step in plan(of("virtio-net"), PAIR).steps if step.steers] == ["table", "buckets"]
    assert not any(step.steers for step in plan(of("ixgbe"), layout="in-driver").steps)


def test_the_user_decides() -> None:
    able = of("ixgbe")
    assert (plan(able, layout="in-driver").layout, plan(able, layout="in-driver").why) == ("in-driver", "as asked")
    assert plan(able, queues=(0, 1)).why == "the queues to listen on were named"
    assert plan(able, hidden_queue=2).hidden_queue == 2
    assert plan(able, mode="generic").layout == "in-driver"
    generic = plan(able, mode="generic", layout="hidden-queue")
    assert (generic.hidden_queue, generic.copying) == (7, "copy")
    assert plan(able, verdict=Verdict.DROP).why == "packets end in the driver, on the queue where they arrive"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_queue": 9}, "hidden_queue=9: eth2 has queues 0 to 7"),
        (
            {"hidden_queue": 1, "layout": "in-driver"},
            "hidden_queue=1 in layout in-driver: it is for layout hidden-queue",
        ),
        ({"hidden_queue": 1, "vf": 1}, "vf=1 in layout hidden-queue: it is for layout vf"),
        ({"hidden_queue": 1, "queues": (1,)}, "queues=(1,) in layout hidden-queue: it is for layout in-driver"),
        ({"vf": 1, "queues": (1,)}, "queues=(1,) in layout vf: it is for layout in-driver"),
        ({"layout": "best"}, "layout='best': not one of auto, hidden-queue, in-driver, vf"),
        ({"hidden_queue": -1}, "hidden_queue=-1: not 0 or more"),
        ({"share": 2}, "share=2: not from 0 to 1"),
        ({"share": float("nan")}, "share=nan: not from 0 to 1"),
        ({"vf": 3}, "vf=3: eth2 has no VFs yet (layout vf, without a number, makes one)"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    assert told(OptionError, of("ixgbe"), **options) == message


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"queues": Queues(1, 1, 8, 8, combined=True)},
            "it has only one receive queue (ethtool -L eth2 combined 2)",
        ),
        ({"rss": Rss()}, "it shows no RSS table that could leave a queue out"),
        ({"rss": Rss(table=(7, 7))}, "its RSS table names only queue 7"),
        (
            {"rss": Rss(table=(0, 1), table_with_vfs=False), "vfs": Vfs(8, 2)},
            "its RSS table cannot be changed while there are VFs",
        ),
        (
            {"ntuple": Ntuple(supported=True, needs_feature=True, on=False), "rss": Rss(table=(0, 1), symmetric=True),
             "features": {"rx-ntuple-filter": Feature(False, True), "rx-vlan-hw-parse": Feature(False, False)}},
            (
                "its n-tuple rules are off and cannot be switched on; "
                "its RSS hash is not Microsoft's Toeplitz, so it cannot be predicted"
            ),
        ),
    ],
)  # fmt: skip
def test_a_hidden_queue_that_cannot_be(changed: dict[str, Any], message: str) -> None:
    able = replace(of("igb"), driver="new", **changed)
    assert told(NotSupported, able, layout="hidden-queue") == f"a hidden queue on eth2: {message}"
    assert plan(able).why.startswith(f"no hidden queue: {message.partition(' (')[0]}")


def test_a_hidden_queue_or_a_vf_without_sockets() -> None:
    for layout in ("hidden-queue", "vf"):
        message = f"layout {layout} without sockets: packets end in the driver"
        assert told(OptionError, of("ixgbe"), layout=layout, verdict=Verdict.DROP) == message


def test_without_capabilities_nothing_of_the_nic_is_changed() -> None:
    _, link = elsewhere("ixgbe")
    with pytest.raises(NotSupported, match="a hidden queue on eth2: what its NIC can do is not known"):
        make_plan(Situation(parse(MATCH), Verdict.CLAIM, link, Options(layout="hidden-queue"), None))
    quiet = replace(link, rx_vlan_offload=False)
    assert make_plan(Situation(parse(MATCH), Verdict.CLAIM, quiet, Options(), None)).changes == ()


# -- steps -------------------------------------------------------------------------------------------------------------


def acts(made: Plan) -> list[str]:
    return [step.act for step in made.steps]


def test_the_steps_of_a_hidden_queue() -> None:
    made = plan(of("ixgbe"))
    assert acts(made) == ["change", "change", "attach", "change", "bind", "change", "observe", "connect"]
    assert [change.knob for change in made.changes] == [
        "feature.rx-vlan-hw-parse", "feature.rx-ntuple-filter", "rss.table", "rule.2045"
    ]  # fmt: skip
    assert made.changes[-1] == Change("rule.2045", {"flow-type": "udp4", "dst-port": 4321, "action": 7})
    assert (made.queues, made.all_queues, made.hidden_queue) == ((7,), 8, 7)
    assert made.rules == ("flow-type udp4 dst-port 4321 action 7 loc 2045",)
    assert [step.flap != "" for step in made.steps] == [True, True, True, True, False, True, False, False]
    assert all(step.what and step.why and step.undo for step in made.steps)


def test_the_steps_of_entries_of_the_table() -> None:
    made = plan(of("virtio-net"), PAIR)
    assert acts(made)[-6:] == ["attach", "change", "bind", "change", "observe", "connect"]
    first, last = (change.value for change in made.changes if change.knob == "rss.table")
    assert [at for at, (one, two) in enumerate(zip(first, last, strict=True)) if one != two] == list(made.buckets)


def test_a_table_that_leaves_the_queue_out_already() -> None:
    able = of("ixgbe")
    able = replace(able, rss=replace(able.rss, table=tuple([0, 1, 2] * 40)))
    step = next(step for step in plan(able).steps if "out of the RSS table" in step.what)
    assert step.what.endswith("0 of 120 entries move")
    assert step.flap == ""


def test_features_that_hide_the_wire_are_switched_off_where_they_can_be() -> None:
    able = of("mlx5")
    assert [c.knob for c in plan(able).changes if c.knob.startswith("feature.")] == []  # it tells tags beside the frame
    fixed = replace(of("ixgbe"), features={"rx-vlan-hw-parse": Feature(on=True, fixed=True)})
    assert told(InterfaceError, fixed) == (
        "eth2 strips VLAN tags before XDP sees them: tagged packets would look untagged (ethtool -K eth2 rxvlan off)"
    )
    both = {name: Feature(on=True, fixed=False) for name in ("rx-gro", "rx-lro", "rx-vlan-hw-parse")}
    made = plan(replace(able, features=both), mode="generic", verdict=Verdict.DROP)
    assert [c.knob for c in made.changes] == ["feature.rx-gro", "feature.rx-lro", "feature.rx-vlan-hw-parse"]
    assert all(change.value is False for change in made.changes)


def test_an_mtu_that_the_driver_does_not_take_with_xdp() -> None:
    assert told(InterfaceError, replace(of("ixgbe"), mtu=3500)) == (
        "eth2 has an MTU of 3500: with XDP a packet has to fit one buffer: at most 3050 "
        '(ip link set eth2 mtu 3050, or mode="generic")'
    )


def test_xdp_and_virtual_functions_that_exclude_each_other() -> None:
    able = replace(of("ixgbe"), vfs=Vfs(63, 2, ()))
    assert plan(able).mode == "generic"
    assert told(NotSupported, able, mode="native").endswith("its driver lacks XDP with virtual functions")


def test_warnings() -> None:
    found = plan(of("ixgbe"), "host 10.0.0.1 and host 10.0.0.2").warnings
    assert any(warning.startswith("attaching and detaching XDP resets the link of eth2") for warning in found)
    assert any("IP fragments" in warning and "ARP of the match's addresses" in warning for warning in found)
    assert any(warning.startswith("protected packets of the flow") for warning in found)
    assert any(warning.startswith("VLAN stripping is off") for warning in found)
    assert not any("ARP of" in warning or "protected packets" in warning for warning in plan(of("ixgbe")).warnings)
    bucket = plan(of("virtio-net"), PAIR).warnings
    assert "2/128 of all other flows also arrive on the hidden queue, and are passed on to the kernel" in bucket
    more = plan(of("ixgbe"), f"{MATCH} and len > 100")
    assert more.left_out == ("len > 100",)
    assert (
        "the NIC also brings packets that do not match to the hidden queue; they are passed on to the kernel"
        in more.warnings
    )
    assert any("queue 0 of eth2, the hidden one" in warning for warning in plan(of("ixgbe"), hidden_queue=0).warnings)


# -- virtual functions -------------------------------------------------------------------------------------------------


def test_a_vf_by_rules() -> None:
    made = plan(of("ixgbe"), layout="vf", mac="02:00:00:00:00:0f")
    assert acts(made) == ["change", "change", "change", "change", "open-vf"]
    assert [(change.knob, change.value) for change in made.changes] == [
        ("feature.rx-ntuple-filter", True),
        ("vf.autoprobe", False),
        ("vf.count", 1),
        ("vf.0.mac", "06:00:00:00:00:0f"),
        ("vf.0.spoof_check", False),
        ("rule.2045", {"flow-type": "udp4", "dst-port": 4321, "vf": 0, "queue": 0}),
        ("vf.0.driver", "ixgbevf"),
    ]
    assert Rule.from_value(made.changes[-2].value).action == 4294967296
    assert (made.vf, made.queues, made.mode) == (0, (), "native")
    assert any("no XDP while there are VFs" in warning for warning in made.warnings)


def test_a_vf_by_its_address() -> None:
    made = plan(of("igb"), "ether dst 02:00:00:00:00:10 and udp", layout="vf")
    assert [c.knob for c in made.changes] == ["vf.autoprobe", "vf.count", "vf.0.mac", "vf.0.driver"]
    assert [c.value for c in made.changes[-2:]] == ["02:00:00:00:00:10", "igbvf"]
    assert (
        made.why
        == "as asked; by destination address, because there are no rules: its rules can only lead to its own queues"
    )
    assert any(warning.startswith("only packets to the address") for warning in made.warnings)
    own = told(NotSupported, of("igb"), "ether dst 02:00:00:00:00:10", layout="vf", mac="02:00:00:00:00:10")
    assert own.endswith("and 02:00:00:00:00:10 is the address of eth2 itself")


def test_a_vf_that_is_there() -> None:
    able = replace(of("ixgbe"), vfs=Vfs(63, 2, driver="ixgbevf"))
    assert told(InterfaceBusy, able, layout="vf") == (
        "eth2 has 2 virtual functions: changing their number would remove all of them for a moment"
        " (if nobody uses it, vf=0 to 1 uses one of them)"
    )
    made = plan(able, vf=1)
    assert "vf.count" not in [change.knob for change in made.changes]
    assert made.rules[0].endswith("vf 1 queue 0 loc 2045")
    assert told(OptionError, able, vf=2) == "vf=2: eth2 has VFs 0 to 1"


def test_a_vf_is_taken_from_its_driver_to_get_its_address() -> None:
    function = Vf("ixgbevf", "eth7", up=False)
    vfs = Vfs(63, 1, driver="ixgbevf", now=(function,))
    made = plan(replace(of("ixgbe"), vfs=vfs), vf=0)
    changes = [(change.knob, change.value) for change in made.changes if change.knob == "vf.0.driver"]
    assert changes == [("vf.0.driver", None), ("vf.0.driver", "ixgbevf")]
    free = plan(replace(of("ixgbe"), vfs=replace(vfs, now=(Vf("", "", up=False),))), vf=0)
    assert [change.value for change in free.changes if change.knob == "vf.0.driver"] == ["ixgbevf"]
    used = replace(of("ixgbe"), vfs=replace(vfs, now=(replace(function, up=True),)))
    assert told(InterfaceBusy, used, vf=0) == (
        "VF 0 of eth2: in use: its interface eth7 is up (if nobody needs it: ip link set eth7 down)"
    )
    taken = replace(of("ixgbe"), vfs=replace(vfs, now=(Vf("vfio-pci", "", up=False),)))
    assert told(InterfaceBusy, taken, vf=0) == (
        "VF 0 of eth2: it is bound to vfio-pci and has no interface in this network namespace"
        " (if nobody uses it elsewhere: offramp nic PCI-ADDRESS bind none)"
    )


def test_a_vf_without_rules_that_were_refused() -> None:
    made = plan(of("ixgbe"), layout="vf", refused={"rules": "were refused: no space"})
    assert made.rules == ()
    assert (
        made.why == "as asked; by destination address, because there are no rules: n-tuple rules were refused: no space"
    )


def test_a_vf_beside_other_ramps() -> None:
    beside = Beside(queues=frozenset({3}))
    assert told_beside(of("ixgbe"), beside, layout="vf").startswith("eth2 is in use by another ramp of this process")
    assert plan(replace(of("ixgbe"), vfs=Vfs(63, 1, driver="ixgbevf")), beside=beside, vf=0).vf == 0


def told_beside(able: Capabilities, beside: Beside, **options: Any) -> str:
    with pytest.raises(InterfaceBusy) as caught:
        plan(able, beside=beside, **options)
    return str(caught.value)


def test_vfs_that_there_are_not() -> None:
    tagged = told(NotSupported, of("ixgbe"), f"vlan 7 and {MATCH}", layout="vf")
    assert tagged == "a VF on eth2: the match names a VLAN, and a VF gets no tagged packets"
    unknown = replace(of("ixgbe"), vfs=Vfs(63, 0))
    assert told(NotSupported, unknown, layout="vf") == "a VF on eth2: it is not known which driver its VFs have"
    able = of("ixgbe")
    with pytest.raises(InterfaceDown, match="eth2 has no carrier: its VFs would receive nothing either"):
        make_plan(
            Situation(
                parse(MATCH), Verdict.CLAIM, replace(imagined(able), carrier=False), Options(layout="vf"), None, able
            )
        )
    assert told(NotSupported, of("ena"), layout="vf") == "a VF on eth2: it has no virtual functions"


def test_the_mode_is_that_of_the_ramps_that_are_there() -> None:
    """Their program becomes one that asks this ramp, too."""
    generic, native = Beside(mode="generic"), Beside(mode="native")
    assert plan(of("ixgbe"), beside=native).mode == "native"
    shared = plan(of("ixgbe"), beside=generic)
    assert shared.mode == "generic"
    assert "generic mode, because another ramp of this process uses it: " in "; ".join(shared.warnings)
    assert told_beside(of("ixgbe"), generic, mode="native") == (
        "eth2 in native mode: another ramp of this process has it in generic"
    )
    zero_copy = frozenset({"zero-copy"})
    assert told_beside(of("ixgbe"), generic, require=zero_copy).startswith("eth2 in native mode: another ramp")
    assert told_beside(of("ixgbe"), native, mode="generic").startswith("eth2 in generic mode: another ramp")


def test_a_group_address_is_no_vfs() -> None:
    said = told(NotSupported, of("igb"), "ether broadcast and udp", layout="vf")
    assert said.endswith("and ff:ff:ff:ff:ff:ff is a group address, which a VF cannot have")


def test_a_queue_that_can_be_in_the_table_is_hidden() -> None:
    """The table of an 82599 has four bits for each entry."""
    able, link = of("ixgbe"), replace(imagined(of("ixgbe")), rx_queues=32)
    made = make_plan(
        Situation(parse(PAIR), Verdict.CLAIM, link, Options(), None, able, refused={"rules": "were refused"})
    )
    assert made.hidden_queue == 15


def test_a_pf_with_jumbo_packets() -> None:
    """The frames of a VF are its own: none is as large as those of the PF."""
    able = of("igb")
    link = replace(imagined(able), mtu=9000)
    assert make_plan(Situation(parse(MATCH), Verdict.CLAIM, link, Options(layout="vf"), None, able)).frame_size == 0
    with pytest.raises(InterfaceError, match="an MTU of 9000"):
        make_plan(Situation(parse(MATCH), Verdict.CLAIM, link, Options(), None, able))
