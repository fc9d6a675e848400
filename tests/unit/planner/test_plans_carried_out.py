# SPDX-License-Identifier: Apache-2.0
"""What plans do to a software NIC, forwards and back; plans for other machines; what packets cost."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offramp.errors import InterfaceBusy, KernelError, NotSupported, OptionError
from offramp.facts.capabilities import Capabilities
from offramp.facts.knobs import Value
from offramp.facts.records import record
from offramp.gen.packets import eth, ip, tcp, udp
from offramp.journal import listed, transaction
from offramp.match import parse
from offramp.planner import Change, Plan, assume, explain, needed
from offramp.planner.cost import ARTICLE, COPY, DRIVER, HAND_BACK, READ, STACK, break_even, cores, cost
from offramp.steering import equal, hiding
from offramp.testing.software_nic import SoftwareNic
from tests.generators.steerable import MATCH, PAIR, of, plan, plan_for, told
from tests.rigs.interfaces import Nobody, in_use, section_of

FLOW = eth(ip(udp(sport=5, dport=4321), src="10.0.0.1", dst="10.0.0.2"))
OTHERS = [eth(ip(udp(sport=port, dport=53), src="10.0.0.1", dst=f"10.0.{port}.2")) for port in range(50)] + [
    eth(ip(tcp(sport=port, dport=80), src="10.0.0.1", dst="10.0.0.2")) for port in range(50)
]


# -- a NIC of software, forwards and back ------------------------------------------------------------------------------

PLANS: list[tuple[str, dict[str, Any]]] = [
    (MATCH, {}),
    (MATCH, {"hidden_queue": 1}),
    ("src host (10.0.0.1 or 10.0.0.2) and ip and udp", {}),
    (PAIR, {"refused": {"rules": "were refused"}}),
    (MATCH, {"layout": "vf"}),
    (MATCH, {"layout": "in-driver"}),
]


def carry_out(nic: SoftwareNic, changes: Iterable[Change]) -> list[tuple[str, Value]]:
    """As the journal does: each change after what was there is known. What to write to take it all back."""
    before = []
    for change in changes:
        before.append((change.knob, nic.get(change.knob)))
        nic.set(change.knob, change.value)
        assert nic.get(change.knob) == change.value
    return before


def a_nic() -> SoftwareNic:
    nic = SoftwareNic(queues=4)
    nic.set("feature.rx-ntuple-filter", False)
    return nic


@pytest.mark.parametrize(("match", "options"), PLANS)
def test_the_first_steps_of_a_plan_undone(match: str, options: dict[str, Any]) -> None:
    nic = a_nic()
    before = dict(nic.knobs)
    made = plan(nic.capabilities(), match, **options)
    assert made.changes
    for count in range(len(made.changes) + 1):
        undo = carry_out(nic, made.changes[:count])
        for knob, value in reversed(undo):
            nic.set(knob, value)
        assert nic.knobs == before, count


@pytest.mark.parametrize(("match", "options"), PLANS)
def test_a_plan_whose_kth_change_fails_is_undone_by_the_journal(
    match: str, options: dict[str, Any], state: Path
) -> None:
    changes = plan(a_nic().capabilities(), match, **options).changes
    for count in range(1, len(changes) + 2):
        nic = a_nic()
        before = dict(nic.knobs)
        made = plan(nic.capabilities(), match, **options)
        if count <= len(changes):
            nic.fail_at(count)
        with transaction(nic) as journal, suppress(KernelError):
            for step in made.steps:
                journal.set_all((change.knob, change.value) for change in step.changes)
            assert count > len(changes)
            assert all(nic.get(change.knob) == change.value for change in changes[-1:])
        assert nic.knobs == before, count
        assert not listed()


@pytest.mark.parametrize("how", [{}, {"refused": {"rules": "were refused"}}])
@pytest.mark.parametrize("spread_over", [4, 1])
def test_ramps_side_by_side_on_one_nic(how: dict[str, Any], spread_over: int, state: Path) -> None:
    """The RSS table is what it was before, without the queues that are hidden now: always computed anew."""
    nic = a_nic()
    nic.set("rss.table", equal(128, spread_over))
    before, base = dict(nic.knobs), nic.get("rss.table")
    sections, plans, owners = [], [], []
    with in_use(nic) as (interface, user):
        for host in (9, 10, 11):
            match = f"udp and src host 10.0.0.1 and dst host 192.168.7.{host}"
            plans.append(plan(nic.capabilities(), match, beside=interface.beside(), **how))
            sections.append(section_of(plans[-1]))
            owners.append(Nobody())
            interface.program.sections[owners[-1]] = sections[-1]
            interface.changes.change(plans[-1].changes, sections[-1])
        assert [made.hidden_queue for made in plans] == [3, 2, 1]
        for gone in (1, 0, 2):
            for each, made in zip(sections, plans, strict=True):
                if each in interface.program.sections.values():
                    assert nic.queue_of(a_flow(made)) == made.hidden_queue
            here = {
                made.hidden_queue: made.buckets
                for each, made in zip(sections, plans, strict=True)
                if each in interface.program.sections.values() and made.hidden_queue is not None
            }
            assert nic.get("rss.table") == hiding(base, here)
            del interface.program.sections[owners[gone]]
            interface.give_back(sections[gone], user)
        assert nic.get("rss.table") == base
        assert not nic.rules()
        assert nic.get("feature.rx-ntuple-filter") is False
    assert nic.knobs == before


def test_rules_that_were_refused_leave_nothing_switched_on(state: Path) -> None:
    """The interface stays in use: another way is taken next."""
    nic = a_nic()
    nic.refuse("rule.", errno.ENOSPC)
    before, made = dict(nic.knobs), plan(nic.capabilities())
    with in_use(nic) as (interface, user):
        section = section_of(made)
        with suppress(KernelError):
            for step in made.steps:
                interface.changes.change(step.changes, section)
        assert nic.get("feature.rx-ntuple-filter") is True
        interface.give_back(section, user)
        assert {knob for knob, value in before.items() if nic.get(knob) != value} == {"feature.rx-vlan-hw-parse"}


def a_flow(made: Plan) -> bytes:
    return eth(ip(udp(sport=5, dport=6), src="10.0.0.1", dst=made.match.split()[-1]))


@pytest.mark.parametrize(("match", "options"), PLANS[:4])
def test_the_flow_arrives_on_the_hidden_queue_and_nothing_else_does(match: str, options: dict[str, Any]) -> None:
    nic = a_nic()
    before = {frame: nic.queue_of(frame) for frame in OTHERS}
    made = plan(nic.capabilities(), match, **options)
    carry_out(nic, made.changes)
    flow = FLOW if match != PAIR else eth(ip(udp(sport=5, dport=6), src="10.0.0.1", dst="192.168.7.9"))
    assert nic.queue_of(flow) == made.hidden_queue
    if match == MATCH:
        assert all(nic.queue_of(frame) != made.hidden_queue for frame in OTHERS)
        assert all(nic.queue_of(frame) == queue for frame, queue in before.items() if queue != made.hidden_queue)


def test_the_flow_goes_to_the_vf() -> None:
    nic = a_nic()
    carry_out(nic, plan(nic.capabilities(), layout="vf").changes)
    assert nic.queue_of(FLOW) is None
    assert all(nic.queue_of(frame) is not None for frame in OTHERS)


def test_a_second_plan_on_the_same_nic_stays_beside_the_first() -> None:
    nic = a_nic()
    carry_out(nic, plan(nic.capabilities()).changes)
    second = plan(nic.capabilities(), "ip and udp dst port 53")
    assert second.hidden_queue == 2
    assert second.rules == ("flow-type udp4 dst-port 53 action 2 loc 6",)
    carry_out(nic, second.changes)
    assert set(nic.get("rss.table")) == {0, 1}
    assert nic.queue_of(FLOW) == 3


# -- elsewhere ---------------------------------------------------------------------------------------------------------


def test_what_is_known_of_an_interface_is_never_assumed() -> None:
    known = SoftwareNic().capabilities()
    again, said = assume(known, known.interface)
    assert (again, said) == (known, ())
    veth, said = assume(record("veth") or Capabilities(), "eth2")
    assert (veth.queues.rx, said) == (1, ("1 receive queue", "an MTU of 1500"))


def test_plans_survive_json() -> None:
    for driver in ("ixgbe", "igb", "ena", "veth"):
        for options in ({}, {"layout": "in-driver"}):
            made = plan_for(parse(PAIR), driver, **options)
            again = Plan.from_dict(json.loads(json.dumps(made.to_dict())))
            assert (again, hash(again), str(again)) == (made, hash(made), str(made))
    with pytest.raises(OptionError, match=r"plan\.colour: not one of interface"):
        Plan.from_dict(made.to_dict() | {"colour": "red"})
    with pytest.raises(OptionError, match=r"plan\.verdict"):
        Plan.from_dict(json.loads(json.dumps(made.to_dict() | {"verdict": "EAT"})))


def test_a_program_that_is_there_is_named_elsewhere_too() -> None:
    able = of("ixgbe")
    able = replace(able, xdp=replace(able.xdp, program="7 guard (native)"))
    assert told(InterfaceBusy, able).startswith("eth2 already runs XDP program 7 'guard' in native mode")


# -- copying and cost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "options", "match", "copying"),
    [
        ("ixgbe", {}, MATCH, "auto"),
        ("ixgbe", {"copying": "copy"}, MATCH, "copy"),
        ("ixgbe", {"layout": "in-driver"}, MATCH, "copy"),
        ("ixgbe", {"layout": "in-driver", "share": 0.9}, MATCH, "auto"),
        ("ixgbe", {"layout": "in-driver", "share": 0.5}, MATCH, "copy"),
        ("ixgbe", {"layout": "in-driver"}, "", "auto"),
        ("ena", {"share": 1}, "", "copy"),
        ("igb", {"share": 1}, "", "copy"),
        ("igb", {}, PAIR, "auto"),
    ],
)
def test_zero_copy_where_it_is_cheaper(driver: str, options: dict[str, Any], match: str, copying: str) -> None:
    assert plan(of(driver), match, **options).copying == copying


def test_zero_copy_that_a_driver_does_not_have() -> None:
    message = (
        "eth2: no zero-copy with ena: it does not support it (if zero-copy is not asked for, the kernel copies packets)"
    )
    assert told(NotSupported, of("ena"), require=frozenset({"zero-copy"})) == message


def test_the_model_agrees_with_what_was_published() -> None:
    assert pytest.approx(24e6, rel=0.02) == 1e9 / DRIVER  # the XDP paper's drop
    assert pytest.approx(4.8e6, rel=0.02) == 1e9 / STACK  # and iptables'
    assert 1e9 / cost("native", "zero-copy", hidden=True).matching == pytest.approx(20e6, rel=0.1)  # its section 6.7
    assert 0.42 <= DRIVER / (DRIVER + COPY) <= 0.48  # what planner/cost.py says was measured
    assert pytest.approx(1.4e6) == 1e9 / (STACK * ARTICLE)  # the article
    assert 8 < cores(12e6, STACK * ARTICLE) < 9  # of its cores for its 12 Mpps
    assert break_even() == HAND_BACK / (HAND_BACK + COPY)
    assert cost("native", None, hidden=False).matching == DRIVER
    assert cost("generic", "copy", hidden=False).matching == STACK + COPY + READ
    assert cost("native", "zero-copy", hidden=False).other == HAND_BACK + cost("native", "copy", hidden=False).other


def test_cores_at_a_rate() -> None:
    made = plan(of("ixgbe"))
    assert needed(made, 12e6) == {
        "cores": 0.65, "kernel_alone": 2.5, "cores_article": 2.23, "kernel_alone_article": 8.57
    }  # fmt: skip
    assert "12,000,000 matching packets per second take 0.65 cores" in explain(made, 12e6)
    assert "one queue takes at most 23,809,524 per second: the rest is lost" in explain(made, 30e6)
    assert "one queue takes" not in explain(made, 12e6)
