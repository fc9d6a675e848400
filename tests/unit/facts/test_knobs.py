# SPDX-License-Identifier: Apache-2.0
"""Knobs, identities, capabilities and the shipped records: values, without an interface."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from importlib.resources import files
from inspect import signature
from typing import Any

import pytest

from offramp.errors import InterfaceGone, KernelError, OptionError
from offramp.facts.capabilities import Capabilities, Ntuple, Rss, with_record
from offramp.facts.identity import Identity
from offramp.facts.knobs import _FLOWS, _KNOBS, Value, check
from offramp.facts.records import DRIVERS, from_dict, record
from offramp.nic import live, rss, vf
from offramp.nic.live import LiveNic
from offramp.steering.fields import FLOWS
from offramp.testing.software_nic import SoftwareNic

RULE = {"flow-type": "udp4", "dst-port": 53, "action": 3}


KNOBS: list[tuple[str, Value]] = [
    ("mtu", 1500),
    ("up", False),
    ("channels", {"rx": 0, "tx": 0, "combined": 4}),
    ("rings", {"rx": 512, "tx": 512}),
    ("feature.rx-gro", True),
    ("rss.table", [0, 1, 2]),
    ("rss.key", "6d:5a"),
    ("rss.function", "toeplitz"),
    ("rss.fields.udp4", "sdfn"),
    ("rss.fields.tcp6", ""),
    ("rule.0", RULE),
    ("rule.1023", None),
    ("vf.count", 0),
    ("vf.autoprobe", False),
    ("vf.0.mac", "02:00:00:00:00:01"),
    ("vf.12.vlan", 5 | 3 << 13),
    ("vf.0.trust", True),
    ("vf.0.spoof_check", False),
    ("vf.0.driver", "igbvf"),
    ("pci.driver", "vfio-pci"),
    ("pci.driver", None),
]
"""Each knob, with a value of its form."""


@pytest.mark.parametrize(("knob", "value"), KNOBS)
def test_values_of_knobs(knob: str, value: object) -> None:
    assert check(knob, value) == value
    assert check(knob, json.loads(json.dumps(value))) == value


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in _KNOBS])
def test_each_knob_is_among_those_that_are_tried(pattern: re.Pattern[str]) -> None:
    """So both kinds of NIC are asked for a new one, below. Words that a pattern spells out are names of knobs."""
    words = set(re.findall("[a-z_]{2,}", re.sub(r"\[.*?\]", "", pattern.pattern.replace(_FLOWS, ""))))
    tried = [knob for knob, _ in KNOBS if pattern.fullmatch(knob)]
    assert tried
    assert words <= {word for knob in tried for word in knob.split(".")}


@pytest.mark.parametrize(("knob", "value"), KNOBS)
def test_each_knob_has_its_case_in_a_live_nic(knob: str, value: Value) -> None:
    """Of a device that is not here, which is found out in each case, and before anything is changed."""
    nic = LiveNic(Identity("gone0", 0, "", "", "", 0, "boot"))
    with suppress(InterfaceGone):
        assert nic.get(knob) is None
    with pytest.raises((InterfaceGone, KernelError)):
        nic.set(knob, value)


def test_the_parts_of_knobs_are_read_and_set_by_name() -> None:
    parts = [knob.split(".") for knob, _ in KNOBS]
    of_vf = {part[2] for part in parts if len(part) == 3 and part[0] == "vf"} - {"driver"}
    assert of_vf == set(live._SET_VF)
    assert of_vf <= {field.name for field in fields(vf.Vf)}
    of_rss = {part[1] for part in parts if part[0] == "rss"} - {"fields"}
    assert of_rss <= set(signature(rss.set_rss).parameters)
    assert of_rss <= {field.name for field in fields(rss.RssState)}


@pytest.mark.parametrize(("knob", "value"), KNOBS)
def test_each_knob_is_one_of_a_software_nic(knob: str, value: Value) -> None:
    nic = SoftwareNic(vfs=16)
    nic.set("vf.count", 13)
    nic.set("rule.0", RULE)
    assert nic.get(knob) is not None or value is None
    if nic.get(knob) is not None and knob not in ("rss.table", "rss.key"):  # these have the size that it has
        nic.set(knob, value)
        assert nic.get(knob) == value


@pytest.mark.parametrize(
    "knob",
    [
        *("", "mtu2", "feature.", "feature.RX", "rss", "rss.fields.udp", "rss.fields.gre4", "rule.x", "rule.-1"),
        *("rule.01", "rule.9999999999", "vf.0", "vf.x.mac", "vf.0.rate", "pci", "pci.driver_override", "mtu\n"),
        "../mtu",
    ],
)
def test_what_is_no_knob(knob: str) -> None:
    with pytest.raises(OptionError, match="offramp does not change such a setting"):
        check(knob, None)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("mtu", "1500"),
        ("mtu", True),
        ("mtu", -1),
        ("mtu", 1.5),
        ("up", 1),
        ("channels", {"rx": 1}),
        ("channels", {"rx": 1, "tx": 1, "combined": "1"}),
        ("channels", [1, 2, 3]),
        ("rss.table", []),
        ("rss.table", [1, -1]),
        ("rss.table", [True]),
        ("rss.table", (1,)),
        ("rss.table", [0] * 70000),
        ("rss.key", "6d5"),
        ("rss.key", "6d:5"),
        ("rss.key", ""),
        ("rss.fields.udp4", "sdx"),
        ("rule.1", {"flow-type": "udp4"}),
        ("rule.1", {"flow-type": "udp4", "action": 1, "loc": 3}),
        ("rule.1", {"flow-type": "udp4", "action": [1]}),
        ("rule.1", "flow-type udp4 action 1"),
        ("vf.0.mac", "02:00:00:00:00"),
        ("vf.0.vlan", 1 << 16),
        ("pci.driver", "../../x"),
        ("pci.driver", ""),
    ],
)
def test_what_is_no_value(knob: str, value: object) -> None:
    with pytest.raises(OptionError):
        check(knob, value)


def test_values_have_one_form() -> None:
    assert check("rss.key", "6D:5a") == "6d:5a"
    assert check("vf.0.mac", "02:AA:00:00:00:01") == "02:aa:00:00:00:01"
    masked = {"flow-type": "udp4", "src-ip": "10.0.0.9", "src-ip-mask": "0.0.0.255", "dst-port": "53", "action": "3"}
    once = {"flow-type": "udp4", "src-ip": "10.0.0.0", "src-ip-mask": "0.0.0.255", "dst-port": 53, "action": 3}
    assert check("rule.5", masked) == once == check("rule.5", once)


# -- identity ----------------------------------------------------------------------------------------------------------

PCI = Identity("eth0", 3, "02:00:00:00:00:01", "0000:02:00.0", "igb", 1, "boot")
VETH = Identity("eth0", 3, "02:00:00:00:00:01", "", "veth", 1, "boot")


def test_a_device_on_a_bus_stays_the_same() -> None:
    assert PCI.same_device(replace(PCI, name="lan0", ifindex=9, netns=2, boot="another"))
    assert PCI.same_device(replace(PCI, name="", ifindex=0, mac="", driver="vfio-pci"))
    assert not PCI.same_device(replace(PCI, bus="0000:02:00.1"))
    assert not PCI.same_device(replace(PCI, mac="02:00:00:00:00:02"))  # another card in its slot
    assert not PCI.same_device(replace(PCI, bus=""))


def test_a_virtual_interface_is_its_number() -> None:
    assert VETH.same_device(replace(VETH, name="lan0", mac="02:00:00:00:00:99"))
    assert VETH.same_device(replace(VETH, netns=2))
    assert not VETH.same_device(replace(VETH, netns=2, mac="02:00:00:00:00:99"))
    assert not VETH.same_device(replace(VETH, ifindex=4))  # made anew
    assert not VETH.same_device(replace(VETH, boot="another"))


# -- capabilities ------------------------------------------------------------------------------------------------------


def facts(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all that is known."""
    for field in fields(value):
        part = getattr(value, field.name)
        if not path and field.name in ("driver", "hardware", "interface", "sources"):
            continue
        where = f"{path}{field.name}"
        if is_dataclass(part):
            yield from facts(part, f"{where}.")
        elif part is not None:
            yield where


def has_source(path: str, sources: Mapping[str, str]) -> bool:
    return any(path == source or path.startswith(f"{source}.") for source in sources)


def test_each_record_has_its_name_and_no_name_is_without_one() -> None:
    there = {each.name for each in files("offramp.facts").joinpath("drivers").iterdir()}
    assert there == {f"{driver}.toml" for driver in DRIVERS}


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_fact_of_a_record_has_its_source(driver: str) -> None:
    found = record(driver)
    assert found is not None
    known = list(facts(found))
    assert [path for path in known if not has_source(path, found.sources)] == []
    unused = [
        source for source in found.sources if not any(path == source or path.startswith(f"{source}.") for path in known)
    ]
    assert unused == []
    assert found.driver == driver


@pytest.mark.parametrize("driver", DRIVERS)
def test_records_name_flow_types_and_fields_that_exist(driver: str) -> None:
    found = record(driver)
    assert found is not None
    for flow, fields_ in (found.ntuple.flows or {}).items():
        assert set(fields_) <= set(FLOWS[flow].fields), flow
    for flow, choices in (found.rss.field_choices or {}).items():
        for letters in choices:
            assert check(f"rss.fields.{flow}", letters) == letters


@pytest.mark.parametrize("driver", DRIVERS)
def test_capabilities_survive_json(driver: str) -> None:
    found = record(driver)
    assert found is not None
    assert from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_names_that_ethtool_shows() -> None:
    assert record("mlx5_core") == record("mlx5")
    assert record("virtio_net") == record("virtio-net")
    assert record("e1000") is None
    assert record(None) is None
    assert record("../../etc/passwd") is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "capabilities of schema None"),
        ({"schema": 2}, "capabilities of schema 2: this version of offramp reads schema 1"),
        ({"schema": 1, "colour": "red"}, "capabilities.colour: not one of interface"),
        ({"schema": 1, "mtu": "1500"}, "capabilities.mtu: '1500': not int"),
        ({"schema": 1, "mtu": True}, "capabilities.mtu: True: not int"),
        ({"schema": 1, "rss": []}, "capabilities.rss: []: not an object"),
        ({"schema": 1, "rss": {"table": [0, "1"]}}, "capabilities.rss.table: '1': not int"),
        ({"schema": 1, "ntuple": {"one_mask_per": "day"}}, "capabilities.ntuple.one_mask_per: 'day': not rule or"),
        ({"schema": 1, "ntuple": {"flows": {"udp4": {"dst-port": "some"}}}}, "flows.udp4.dst-port: 'some': not any or"),
        ({"schema": 1, "features": {"rx-gro": {"on": 1}}}, "capabilities.features.rx-gro.on: 1: not bool"),
    ],
)
def test_capabilities_that_cannot_be(value: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError) as error:
        from_dict(value)
    assert said in str(error.value)


def test_what_is_not_told_is_taken_from_the_record() -> None:
    live = Capabilities(driver="ixgbe", mtu=9000, rss=Rss(table_size=64), ntuple=Ntuple(on=False, slots=8190))
    filled = with_record(live, record("ixgbe"))
    assert (filled.mtu, filled.rss.table_size, filled.rss.key_size) == (9000, 64, 40)
    assert (filled.ntuple.on, filled.ntuple.slots, filled.ntuple.one_mask_per) == (False, 8190, "table")
    assert with_record(live, None) is live


def test_a_software_nics_capabilities_are_whole() -> None:
    found = SoftwareNic(queues=4).capabilities()
    assert from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert (found.queues.rx, found.rss.table_size, found.ntuple.slots) == (4, 128, 8)
