# SPDX-License-Identifier: Apache-2.0
"""The knobs of real drivers, turned and given back; what they do to others; what is refused, by name."""

from __future__ import annotations

import errno
import json
import os
import signal
import time

import pytest

from offramp.errors import KernelError, NotSupported
from offramp.facts.knobs import Value
from offramp.journal import transaction
from offramp.match import parse
from offramp.nic import read
from offramp.nic.live import LiveNic, open_nic
from offramp.planner import Options, Situation, make_plan
from offramp.testing import Wire
from offramp.verdict import Verdict
from tests.rigs.processes import forked
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.usefixtures("state")

RULE = {"flow-type": "udp4", "dst-port": 4321, "action": 1}


def get(wire: Wire, device: LiveNic, knob: str) -> Value:
    with wire.b.host:
        return device.get(knob)


def ethtool_says(wire: Wire, *arguments: str) -> str:
    return str(wire.b.host.run(["ethtool", *arguments]).stdout)


def other_table(table: list[int]) -> list[int]:
    """The same queues, in another order."""
    return [*table[1:], table[0]]


@pytest.mark.nic("igb", "virtio-net")
def test_the_rss_table_is_changed_and_given_back(wire: Wire, device: LiveNic) -> None:
    before = get(wire, device, "rss.table")
    assert len(before) == 128
    with wire.b.host, transaction(device) as change:
        change.set("rss.table", other_table(before))
        assert device.get("rss.table") == other_table(before)
        rows = [line.split(":")[1].split() for line in ethtool_says(wire, "-x", wire.b.name).splitlines()[1:17]]
        assert [int(queue) for row in rows for queue in row] == other_table(before)
    assert get(wire, device, "rss.table") == before


@pytest.mark.nic("igb", "virtio-net")
def test_the_rss_table_comes_back_when_its_process_is_killed(wire: Wire, device: LiveNic) -> None:
    before = get(wire, device, "rss.table")

    def change_and_wait() -> None:
        with transaction(open_nic(wire.b.name)) as change:
            change.set("rss.table", other_table(before))
            signal.pause()

    with forked(wire.b.host, change_and_wait) as pid:
        assert eventually(lambda: get(wire, device, "rss.table") == other_table(before), 5.0)
        time.sleep(1)  # the journal says that it was done
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        assert eventually(lambda: get(wire, device, "rss.table") == before)
        print(f"the table was back after {time.monotonic() - killed:.2f} s")


@pytest.mark.nic
@pytest.mark.parametrize("name", ["rx-gro", "tx-generic-segmentation", "rx-vlan-hw-parse", "tx-tcp-segmentation"])
def test_a_feature_is_switched_and_given_back(wire: Wire, device: LiveNic, name: str) -> None:
    knob = f"feature.{name}"
    with wire.b.host:
        state = device.capabilities().features[name]  # type: ignore[index]
        if state.fixed:
            with pytest.raises(KernelError, match=name):
                device.set(knob, not state.on)
            return
        with transaction(device) as change:
            change.set(knob, not state.on)
            assert device.get(knob) is not state.on
        assert device.get(knob) is state.on


@pytest.mark.nic("igb", "virtio-net")
def test_channels_move_the_table(wire: Wire, device: LiveNic) -> None:
    with wire.b.host:
        channels, table = device.get("channels"), device.get("rss.table")
        assert channels["combined"] == 2
        assert set(table) == {0, 1}
        with transaction(device) as change:
            change.set(
                "rss.table", [0] * len(table)
            )  # or the kernel refuses: a table that somebody chose names queue 1
            change.set("channels", channels | {"combined": 1}, moves=["rss.table"])
            assert device.get("channels")["combined"] == 1
        assert device.get("channels") == channels
        assert device.get("rss.table") == table


@pytest.mark.nic("igb", "virtio-net")
def test_fewer_channels_than_a_chosen_table_names_are_refused(wire: Wire, device: LiveNic) -> None:
    with wire.b.host, transaction(device) as change:
        change.set("rss.table", other_table(device.get("rss.table")))
        with pytest.raises(KernelError, match="its RSS table names queue 1: change that first"):
            change.set("channels", device.get("channels") | {"combined": 1})


@pytest.mark.nic("igb")
def test_rings_and_mtu(wire: Wire, device: LiveNic) -> None:
    with wire.b.host:
        before = device.get("rings"), device.get("mtu")
        with transaction(device) as change:
            change.set("rings", {"rx": 512, "tx": 128})
            change.set("mtu", 3000)
            assert (device.get("rings"), device.get("mtu")) == ({"rx": 512, "tx": 128}, 3000)
        assert (device.get("rings"), device.get("mtu")) == before


@pytest.mark.nic("igb")
def test_virtual_functions_are_made_and_taken_away(wire: Wire, device: LiveNic) -> None:
    with wire.b.host:
        assert device.get("vf.count") == 0
        with transaction(device) as change:
            change.set("vf.autoprobe", False)
            change.set("vf.count", 2)
            change.set("vf.1.mac", "02:00:00:00:00:31")
            change.set("vf.1.vlan", 7)
            change.set("vf.1.spoof_check", False)
            (shown,) = json.loads(wire.b.host.run(["ip", "-j", "link", "show", wire.b.name]).stdout)
            first, second = shown["vfinfo_list"]
            assert second["address"] == device.get("vf.1.mac") == "02:00:00:00:00:31"
            assert second["vlan_list"][0]["vlan"] == device.get("vf.1.vlan") == 7
            assert (first["spoofchk"], second["spoofchk"]) == (True, False)
            assert device.capabilities().vfs.in_use == 2
        assert device.get("vf.count") == 0
        assert device.get("vf.autoprobe") is True


@pytest.mark.nic
def test_a_rule_is_refused_by_name(wire: Wire, device: LiveNic) -> None:
    """None of the emulated NICs has rules that act: an 82576 has none for flows, virtio-net and e1000e none at all."""
    with wire.b.host:
        with pytest.raises(KernelError, match=r"rule") as refused:
            device.set("rule.0", RULE)
        assert refused.value.errno == errno.EOPNOTSUPP
        assert wire.b.name in str(refused.value)
        print(refused.value)


@pytest.mark.nic
def test_a_hidden_queue_is_refused_before_anything_is_changed(wire: Wire, device: LiveNic) -> None:
    """igb reports room for 16 rules, and takes none."""
    with wire.b.host:
        able, link = device.capabilities(), read(wire.b.name)
        with pytest.raises(NotSupported) as refused:
            make_plan(
                Situation(parse("udp dst port 4321"), Verdict.CLAIM, link, Options(layout="hidden-queue"), None, able)
            )
        print(refused.value)
