# SPDX-License-Identifier: Apache-2.0
"""A virtual function: what is checked first, what is undone on the PF, what the plan says in the end."""

from __future__ import annotations

import errno
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import offramp
from offramp.errors import KernelError, NotSupported, OptionError, PrivilegeError
from offramp.facts.capabilities import Vf
from offramp.facts.knobs import Value
from offramp.journal import listed
from offramp.nic import pci
from offramp.planner import Options, Plan, explain
from offramp.ramp import virtual_function
from offramp.ramp.interface import Use
from offramp.steering import equal
from offramp.testing.software_nic import SoftwareNic
from tests.generators.steerable import MATCH, of, plan
from tests.rigs.interfaces import Nobody, in_use, section_of

pytestmark = pytest.mark.usefixtures("state")


def a_nic(queues: int = 3, **options: Any) -> SoftwareNic:
    """Somebody has chosen so many channels; its driver chooses 2 when it makes VFs, and 4 when it takes them away."""
    nic = SoftwareNic(queues=queues, **options)
    nic.set("feature.rx-ntuple-filter", False)

    def moved(knob: str, value: Value) -> None:
        if knob == "vf.count":
            now = 2 if value else 4
            nic.knobs |= {"channels": {"rx": 0, "tx": 0, "combined": now}, "rss.table": equal(128, now)}

    nic.on_set = moved
    return nic


@pytest.mark.parametrize("queues", [3, 2], ids=["moved both times", "moved only when they go"])
def test_a_plan_whose_kth_change_fails_leaves_nothing_on_the_pf(queues: int) -> None:
    made = plan(a_nic(queues).capabilities(), layout="vf")
    assert len(made.changes) == 7
    for count in range(1, len(made.changes) + 2):
        nic = a_nic(queues)
        before = dict(nic.knobs)
        if count <= len(made.changes):
            nic.fail_at(count)
        with in_use(nic) as (interface, user), suppress(KernelError):
            section = section_of(made)
            try:
                for step in made.steps:
                    interface.changes.change(step.changes, section)
                assert count > len(made.changes)
                assert nic.get("vf.0.driver") == "ixgbevf"
            finally:
                interface.give_back(section, user)
                assert nic.get("channels") == before["channels"], count
        assert nic.knobs == before, count
        assert not listed()


def test_a_vf_beside_another_ramp_takes_its_own_changes_back_alone() -> None:
    nic = SoftwareNic(queues=4)
    nic.set("vf.autoprobe", False)
    nic.set("vf.count", 1)
    before = dict(nic.knobs)
    with in_use(nic) as (interface, user), closing(Use()) as other:
        other.share(interface)
        hidden = plan(nic.capabilities())
        first = section_of(hidden)
        first.hidden = hidden.hidden_queue
        interface.program.sections[(owner := Nobody())] = first
        interface.changes.change(hidden.changes, first)
        between = dict(nic.knobs)
        of_vf = plan(nic.capabilities(), "ip and udp dst port 53", vf=0, beside=interface.beside())
        second = section_of(of_vf)
        interface.changes.change(of_vf.changes, second)
        assert nic.get("vf.0.driver") == "ixgbevf"
        interface.give_back(second, other)
        assert nic.knobs == between
        del interface.program.sections[owner]
        interface.give_back(first, user)
    assert nic.knobs == before


def test_a_bound_vf_gets_its_driver_and_its_address_back() -> None:
    nic = SoftwareNic()
    nic.set("vf.count", 2)
    nic.set("vf.1.mac", "02:00:00:00:00:31")
    before = dict(nic.knobs)
    assert nic.capabilities().vfs.now == (Vf("ixgbevf", "vf0", up=False), Vf("ixgbevf", "vf1", up=False))
    made = plan(nic.capabilities(), vf=1)
    with in_use(nic) as (interface, user):
        section = section_of(made)
        for step in made.steps:
            interface.changes.change(step.changes, section)
        assert nic.get("vf.1.mac") != before["vf.1.mac"]
        interface.give_back(section, user)
        assert {knob: value for knob, value in nic.knobs.items() if knob.startswith("vf.")} == {
            knob: value for knob, value in before.items() if knob.startswith("vf.")
        }


# -- before anything is changed ----------------------------------------------------------------------------------------


def check(made: Plan) -> None:
    with in_use(SoftwareNic()) as (interface, _):
        virtual_function.check(interface, made, ())


def test_a_driver_that_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pci, "is_loaded", lambda name: False)
    with pytest.raises(NotSupported) as caught:
        check(plan(of("igb"), layout="vf"))
    assert str(caught.value) == "opening VF 0 of eth2: its driver igbvf is not loaded (modprobe igbvf)"


def test_files_that_may_not_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pci, "is_loaded", lambda name: True)
    monkeypatch.setattr(pci, "PCI", tmp_path)  # where there is none
    with pytest.raises(PrivilegeError, match=r"opening VF 0 of eth2.*root is needed, and a writable /sys") as caught:
        check(plan(of("igb"), layout="vf"))
    assert caught.value.errno == errno.EACCES


def test_a_vf_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="vf=1 in layout hidden-queue"):
        offramp.open("lo", MATCH, vf=1, hidden_queue=1)
    with pytest.raises(NotSupported, match="a VF on lo: a virtual interface has no NIC"):
        offramp.open("lo", MATCH, layout="vf")


# -- afterwards --------------------------------------------------------------------------------------------------------


def test_the_plan_of_both_interfaces() -> None:
    outer = plan(of("ixgbe"), layout="vf")
    asked = Options(layout="vf", vf=0, share=0.5)
    assert virtual_function.options(asked) == Options(layout="in-driver", share=0.5)
    inner = plan(of("igb"), layout="in-driver")
    made = virtual_function.whole(outer, inner)
    assert (made.layout, made.vf, made.pf, made.rules) == ("vf", 0, "eth2", outer.rules)
    assert made.steps == outer.steps + inner.steps
    assert (made.queues, made.mode) == (inner.queues, inner.mode)
    text = explain(made)
    assert "virtual function 0, by rules" in text
    assert "XDP in the driver" in text
