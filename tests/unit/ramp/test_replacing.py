# SPDX-License-Identifier: Apache-2.0
"""From one plan to another on the present layout: which rules come and go, and what does not fit. On a software NIC."""

from __future__ import annotations

from typing import Any

import pytest

from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.errors import NotSupported
from offramp.matcher import Match
from offramp.planner import Plan
from offramp.ramp.replacing import Succession, succession
from offramp.ramp.section import Section
from offramp.testing.software_nic import SoftwareNic
from offramp.verdict import Verdict
from tests.generators.steerable import MATCH, PAIR, plan
from tests.rigs.interfaces import in_use

OTHER = "ip and udp dst port 53"
BOTH = "ip and udp and (dst port 4321 or dst port 53)"


def in_force(nic: SoftwareNic, match: str = MATCH, **options: Any) -> Plan:
    made = plan(nic.capabilities(), match, **options)
    for change in made.changes:
        nic.set(change.knob, change.value)
    return made


def to(nic: SoftwareNic, old: Plan, match: str) -> Succession:
    options: dict[str, Any] = (
        {"hidden_queue": old.hidden_queue} if old.layout == "hidden-queue" else {"layout": old.layout}
    )
    return succession(old, plan(nic.capabilities(), match, **options))


def test_a_rule_for_another() -> None:
    nic = SoftwareNic(queues=4)
    old = in_force(nic)
    there = to(nic, old, OTHER)
    (before,) = (change for change in old.changes if change.knob.startswith("rule."))
    (added,) = there.add
    assert there.drop == (before.knob,)
    assert added.knob != before.knob, "both are there for a moment"
    assert added.value["dst-port"] == 53
    assert there.plan.rules != old.rules
    assert [change for change in there.plan.changes if change.knob.startswith("rule.")] == [added]
    assert there.plan.hidden_queue == old.hidden_queue


def test_what_both_need_stays() -> None:
    nic = SoftwareNic(queues=4)
    old = in_force(nic)
    there = to(nic, old, BOTH)
    assert there.drop == ()
    assert len(there.add) == 1
    assert len(there.plan.rules) == 2
    back = succession(there.plan, old)
    assert (back.add, len(back.drop)) == ((), 1)


def test_the_same_again_is_no_change() -> None:
    nic = SoftwareNic(queues=4)
    old = in_force(nic)
    there = to(nic, old, MATCH)
    assert (there.add, there.drop, there.plan.rules) == ((), (), old.rules)


@pytest.mark.parametrize(
    ("old", "options", "reason"),
    [
        (
            PAIR,
            {"refused": {"rules": "were refused"}},
            "other entries of the RSS table bring its|rules bring the packets of one",
        ),
    ],
)
def test_what_does_not_fit(old: str, options: dict[str, Any], reason: str) -> None:
    nic = SoftwareNic(queues=4)
    there = in_force(nic, old, **options)
    with pytest.raises(NotSupported, match=f"another match on .*, in place: .*{reason}"):
        to(nic, there, MATCH)


def test_carried_out_on_a_nic_and_given_back() -> None:
    """As replacing.put_in_place does, but for the program."""
    nic = SoftwareNic(queues=4)
    before = dict(nic.knobs)
    match = Match(MATCH)
    section = Section(Spec(MatchBody(match.lowered(), Verdict.CLAIM)), match.state, {})
    with in_use(nic) as (interface, user):
        old = plan(nic.capabilities())
        section.hidden = old.hidden_queue
        for step in old.steps:
            interface.changes.change(step.changes, section)
        there = to(nic, old, OTHER)
        interface.changes.change(there.add, section)
        assert {*there.drop, *(each.knob for each in there.add)} <= nic.knobs.keys()
        assert interface.changes.remove(there.drop, section) == []
        assert section.knobs == [each.knob for each in there.add]
        assert interface.give_back(section, user) == []
    assert nic.knobs == before
