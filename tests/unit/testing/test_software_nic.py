# SPDX-License-Identifier: Apache-2.0
"""The software NIC: it behaves as it is told to, and its frames go where its knobs say."""

from __future__ import annotations

import errno

import pytest

from offramp.errors import InterfaceGone, KernelError, OptionError
from offramp.facts.knobs import Nic, Value
from offramp.gen.packets import eth, ip, udp
from offramp.steering import equal, weighted, without
from offramp.testing.software_nic import SoftwareNic

RULE = {"flow-type": "udp4", "dst-port": 53, "action": 2}
QUERY = eth(ip(udp(sport=5000, dport=53), src="10.0.0.1", dst="10.0.0.2"))


def fails(nic: Nic, knob: str, value: Value, code: int) -> None:
    before = nic.get(knob)
    with pytest.raises(KernelError) as error:
        nic.set(knob, value)
    assert error.value.errno == code
    assert nic.get(knob) == before


def test_what_is_set_is_read_back() -> None:
    nic = SoftwareNic()
    values: dict[str, Value] = {
        "mtu": 9000,
        "up": False,
        "rings": {"rx": 64, "tx": 128},
        "feature.rx-gro": False,
        "rss.fields.udp4": "sdfn",
        "rss.table": weighted(128, [1, 1, 2]),
        "rule.3": RULE,
        "vf.count": 2,
        "vf.1.mac": "02:00:00:00:00:10",
        "pci.driver": "vfio-pci",
    }
    for knob, value in values.items():
        nic.set(knob, value)
    assert {knob: nic.get(knob) for knob in values} == values
    assert nic.changes == list(values.items())
    nic.set("rule.3", None)
    assert nic.get("rule.3") is None


def test_what_is_read_is_a_copy() -> None:
    nic = SoftwareNic()
    nic.get("rss.table").clear()
    nic.get("channels")["combined"] = 99
    assert (len(nic.get("rss.table")), nic.get("channels")["combined"]) == (128, 4)


@pytest.mark.parametrize(
    ("knob", "value", "code"),
    [
        ("mtu", 60000, errno.EINVAL),
        ("channels", {"rx": 0, "tx": 0, "combined": 17}, errno.EINVAL),
        ("channels", {"rx": 1, "tx": 0, "combined": 4}, errno.EINVAL),
        ("rss.table", [0] * 127, errno.EINVAL),
        ("rss.table", [4] * 128, errno.EINVAL),
        ("rss.key", "00:11", errno.EINVAL),
        ("rule.8", RULE, errno.EINVAL),
        ("rule.1", RULE | {"action": 4}, errno.EINVAL),
        ("rule.1", {"flow-type": "udp4", "vf": 0, "queue": 0}, errno.EINVAL),
        ("rule.1", None, errno.ENOENT),
        ("vf.count", 5, errno.ERANGE),
        ("vf.0.mac", "02:00:00:00:00:10", errno.EINVAL),
        ("feature.rx-fcs", True, errno.EOPNOTSUPP),
    ],
)
def test_what_its_driver_refuses(knob: str, value: Value, code: int) -> None:
    fails(SoftwareNic(), knob, value, code)


def test_rules_are_not_overwritten_and_fill_up() -> None:
    nic = SoftwareNic(slots=2)
    nic.set("rule.0", RULE)
    nic.set("rule.0", RULE)
    fails(nic, "rule.0", RULE | {"action": 1}, errno.EEXIST)
    nic.set("rule.1", RULE | {"dst-port": 54})
    fails(nic, "rule.2", RULE | {"dst-port": 55}, errno.ENOSPC)


def test_rules_need_their_feature() -> None:
    nic = SoftwareNic()
    nic.set("rule.1", RULE)
    nic.set("feature.rx-ntuple-filter", False)
    fails(nic, "rule.2", RULE, errno.EOPNOTSUPP)
    assert nic.queue_of(QUERY) != 2


def test_refusing_ignoring_failing() -> None:
    nic = SoftwareNic()
    nic.refuse("rule.")
    fails(nic, "rule.1", RULE, errno.EOPNOTSUPP)
    nic.ignore("rss.")
    nic.set("rss.table", equal(128, 2))
    assert nic.get("rss.table") == equal(128, 4)
    nic.fail_at(2, errno.EBUSY)
    nic.set("mtu", 1400)
    fails(nic, "mtu", 1300, errno.EBUSY)
    nic.set("mtu", 1300)
    nic.fail_at(1, keep=True)
    fails(nic, "mtu", 1200, errno.EIO)
    fails(nic, "up", False, errno.EIO)
    nic.hide("rings")
    with pytest.raises(KernelError, match=r"rings of soft0: .*EIO"):
        nic.get("rings")
    nic.behave()
    assert nic.get("rings") == {"rx": 512, "tx": 512}
    nic.set("rule.1", RULE)
    nic.set("rss.table", equal(128, 2))
    assert nic.get("rss.table") == equal(128, 2)


def test_a_hook_before_each_change() -> None:
    nic, seen = SoftwareNic(), []
    nic.on_set = lambda knob, value: seen.append((knob, value))
    nic.set("mtu", 1400)
    assert seen == [("mtu", 1400)]


def test_gone_and_renamed() -> None:
    nic = SoftwareNic()
    before = nic.identity
    nic.rename("lan0")
    assert nic.identity.name == "lan0"
    assert nic.identity.same_device(before)
    nic.gone = True
    with pytest.raises(InterfaceGone, match="lan0"):
        nic.get("mtu")
    with pytest.raises(InterfaceGone):
        nic.set("mtu", 1400)


def test_nothing_else_is_removed() -> None:
    with pytest.raises(OptionError, match="cannot be removed"):
        SoftwareNic().set("mtu", None)


def test_channels_move_a_table_that_nobody_chose() -> None:
    nic = SoftwareNic(queues=4)
    nic.set("channels", {"rx": 0, "tx": 0, "combined": 2})
    assert nic.get("rss.table") == equal(128, 2)
    nic.set("channels", {"rx": 0, "tx": 0, "combined": 8})
    nic.set("rss.table", without(equal(128, 8), {3}))
    fails(nic, "channels", {"rx": 0, "tx": 0, "combined": 4}, errno.EINVAL)


def test_a_hidden_queue_gets_its_flow_and_nothing_else() -> None:
    nic = SoftwareNic(queues=4)
    nic.set("rss.table", without(nic.get("rss.table"), {3}))
    nic.set("rule.7", RULE | {"action": 3})
    flows = [(port, dport) for port in range(1000, 1100) for dport in (53, 80)]
    queues = {
        flow: nic.queue_of(eth(ip(udp(sport=flow[0], dport=flow[1]), src="10.0.0.1", dst="10.0.0.2"))) for flow in flows
    }
    assert all((queue == 3) == (dport == 53) for (_, dport), queue in queues.items())


def test_a_mask_for_each_value_is_given_back() -> None:
    nic = SoftwareNic()
    nic.set("rule.1", {"flow-type": "udp4", "src-ip": "10.0.0.7", "src-ip-mask": "0.0.0.255", "action": 1})
    assert nic.get("rule.1") == {"flow-type": "udp4", "src-ip": "10.0.0.0", "src-ip-mask": "0.0.0.255", "action": 1}
    assert nic.queue_of(QUERY) == 1


def test_virtual_functions_come_and_go() -> None:
    nic = SoftwareNic()
    assert nic.get("vf.0.mac") is None
    nic.set("vf.count", 2)
    nic.set("rule.1", {"flow-type": "udp4", "vf": 1, "queue": 0})
    assert (nic.get("vf.1.trust"), nic.queue_of(QUERY)) == (False, None)
    nic.set("vf.count", 0)
    assert nic.get("vf.1.trust") is None
