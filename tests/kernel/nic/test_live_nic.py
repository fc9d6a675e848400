# SPDX-License-Identifier: Apache-2.0
"""The knobs of real interfaces (veth, bridge, macvlan, tun) against what `ethtool` and `ip` show of them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import struct
import sys
import time

import pytest

from offramp import nic
from offramp.errors import InterfaceGone, KernelError, NoSuchInterface, OptionError
from offramp.facts.knobs import Nic, Value
from offramp.facts.records import from_dict
from offramp.nic import ethtool, features, qstats, rss, rules, stats, vf
from offramp.nic.live import LiveNic, find, open_nic
from offramp.nic.rates import RateMeter
from offramp.nic.stacked import lower_devices
from offramp.testing import Host, Lab, Wire
from tests.rigs.imported import loaded_by
from tests.rigs.traffic import send_unanswered

# What a veth really has: a knob, two values, and how ip or ethtool show the second.
KNOBS: list[tuple[str, Value, Value]] = [
    ("mtu", 1500, 1400),
    ("up", True, False),
    ("channels", {"rx": 3, "tx": 3, "combined": 0}, {"rx": 2, "tx": 1, "combined": 0}),
    ("feature.rx-gro", False, True),
    ("feature.tx-checksum-ip-generic", True, False),
    ("feature.tx-vlan-hw-insert", True, False),
    ("feature.rx-vlan-hw-parse", True, False),
    ("feature.tx-generic-segmentation", True, False),
]


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"), queues=3)


def ip_says(host: Host, name: str = "eth0") -> dict[str, object]:
    (found,) = json.loads(host.run(["ip", "-j", "-d", "link", "show", name]).stdout)
    return dict(found)


def ethtool_says(host: Host, *arguments: str) -> str:
    return str(host.run(["ethtool", *arguments]).stdout)


# -- changing and reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("knob", "before", "after"), KNOBS)
def test_there_and_back(wire: Wire, knob: str, before: Value, after: Value) -> None:
    with wire.b.host:
        device: Nic = open_nic("eth0")
        if "vlan" in knob:  # which the lab has switched off on a kernel where XDP cannot see tags
            device.set(knob, before)
        shown = shown_of(wire.b.host)
        assert device.get(knob) == before
        device.set(knob, after)
        assert device.get(knob) == after
        assert shown_of(wire.b.host) != shown
        device.set(knob, before)
        assert device.get(knob) == before
        assert shown_of(wire.b.host) == shown


def shown_of(host: Host) -> tuple[object, ...]:
    """All that ip and ethtool show of a veth's settings."""
    link = ip_says(host)
    up = "UP" in str(link["flags"])
    return link["mtu"], up, ethtool_says(host, "-l", "eth0"), ethtool_says(host, "-k", "eth0")


def test_what_ip_and_ethtool_see(wire: Wire) -> None:
    with wire.b.host:
        device = open_nic("eth0")
        device.set("mtu", 1300)
        device.set("channels", {"rx": 2, "tx": 1, "combined": 0})
        device.set("feature.rx-gro", True)
    assert ip_says(wire.b.host)["mtu"] == 1300
    current = ethtool_says(wire.b.host, "-l", "eth0").split("Current hardware settings:")[1]
    assert dict(re.findall(r"(RX|TX):\s+(\d+)", current)) == {"RX": "2", "TX": "1"}
    assert "generic-receive-offload: on" in ethtool_says(wire.b.host, "-k", "eth0")


def test_what_ethtool_has_set_is_read(wire: Wire) -> None:
    wire.b.host.run(["ethtool", "-K", "eth0", "gro", "on", "txvlan", "off"])
    wire.b.host.run(["ethtool", "-L", "eth0", "rx", "1"])
    wire.b.host.run(["ip", "link", "set", "eth0", "mtu", "1280", "down"])
    with wire.b.host:
        device = open_nic("eth0")
        assert device.get("feature.rx-gro") is True
        assert device.get("feature.tx-vlan-hw-insert") is False
        assert device.get("channels") == {"rx": 1, "tx": 3, "combined": 0}
        assert (device.get("mtu"), device.get("up")) == (1280, False)


def test_all_features_are_ethtools(wire: Wire) -> None:
    """ethtool -k names a few features in its own way; the others have to be the same."""
    with wire.b.host:
        ours = features.features("eth0")
    lines = re.findall(r"^\t?([\w-]+): (on|off)( \[fixed\])?", ethtool_says(wire.b.host, "-k", "eth0"), re.MULTILINE)
    theirs = {name: (state == "on", bool(fixed)) for name, state, fixed in lines}
    common = set(ours) & set(theirs)
    assert len(common) > 40
    assert {name: (ours[name].on, ours[name].fixed) for name in common} == {name: theirs[name] for name in common}


def test_statistics_are_ethtools(wire: Wire) -> None:
    with wire.b.host:
        ours = stats.statistics("eth0")
    theirs = re.findall(r"^\s+([\w .\[\]-]+): (\d+)$", ethtool_says(wire.b.host, "-S", "eth0"), re.MULTILINE)
    assert list(ours) == [name for name, _ in theirs]
    assert "peer_ifindex" in ours


def test_the_driver_is_ethtools(wire: Wire) -> None:
    shown = dict(line.split(": ", 1) for line in ethtool_says(wire.b.host, "-i", "eth0").splitlines() if ": " in line)
    with wire.b.host:
        found = ethtool.drvinfo("eth0")
    assert found is not None
    assert (found.name, found.version, found.bus) == (shown["driver"], shown["version"], shown.get("bus-info", ""))


# -- what a veth does not have -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knob",
    [
        *("rings", "rss.table", "rss.key", "rss.function", "rss.fields.udp4", "rule.5", "vf.count", "vf.autoprobe"),
        *("vf.0.mac", "pci.driver", "feature.no-such-thing"),
    ],
)
def test_what_is_not_there_is_none(wire: Wire, knob: str) -> None:
    with wire.b.host:
        assert open_nic("eth0").get(knob) is None


@pytest.mark.parametrize(
    ("knob", "value", "code"),
    [
        ("rings", {"rx": 64, "tx": 64}, errno.EOPNOTSUPP),
        ("rss.table", [0], errno.EOPNOTSUPP),
        ("rss.fields.udp4", "sdfn", errno.EOPNOTSUPP),
        ("rule.5", {"flow-type": "udp4", "action": 1}, errno.EOPNOTSUPP),
        ("rule.5", None, errno.EOPNOTSUPP),
        ("vf.count", 1, errno.EOPNOTSUPP),
        ("vf.0.mac", "02:00:00:00:00:10", errno.EOPNOTSUPP),
        ("pci.driver", "vfio-pci", errno.EOPNOTSUPP),
        ("mtu", 67, errno.EINVAL),
        ("channels", {"rx": 4, "tx": 1, "combined": 0}, errno.EINVAL),
        ("feature.rx-fcs", True, errno.EOPNOTSUPP),
    ],
)
def test_what_cannot_be_set_says_so_and_changes_nothing(wire: Wire, knob: str, value: Value, code: int) -> None:
    before = shown_of(wire.b.host)
    with wire.b.host:
        device = open_nic("eth0")
        with pytest.raises(KernelError) as error:
            device.set(knob, value)
    assert error.value.errno == code
    assert error.value.hint
    assert "eth0" in str(error.value) or "interface 2" in str(error.value)
    assert shown_of(wire.b.host) == before


def test_the_remedy_for_an_mtu(wire: Wire) -> None:
    with wire.b.host, pytest.raises(KernelError, match=r"mtu 70000 on eth0: .*\[EINVAL\] \(it takes 68 to 65535\)"):
        open_nic("eth0").set("mtu", 70000)


@pytest.mark.parametrize(("knob", "value"), [("mtu", None), ("mtu", "1500"), ("colour", 1), ("feature.no-such", True)])
def test_what_is_no_knob_or_no_value(wire: Wire, knob: str, value: Value) -> None:
    with wire.b.host, pytest.raises(OptionError):
        open_nic("eth0").set(knob, value)


def test_without_privileges(wire: Wire) -> None:
    program = (
        "from offramp.nic.live import open_nic\n"
        "device = open_nic('eth0')\n"
        "assert device.get('mtu') == 1500\n"
        "channels = {'rx': 1, 'tx': 1, 'combined': 0}\n"
        "for knob, value in (('mtu', 1400), ('feature.rx-gro', True), ('channels', channels)):\n"
        "    try: device.set(knob, value)\n"
        "    except PermissionError as error: print(error)\n"
    )
    said = wire.b.host.run(["setpriv", "--bounding-set", "-net_admin", sys.executable, "-c", program]).stdout
    assert said.count("(CAP_NET_ADMIN is needed)") == 3


# -- which device ------------------------------------------------------------------------------------------------------


def test_a_renamed_interface_is_the_same(wire: Wire) -> None:
    with wire.b.host:
        device = open_nic("eth0")
        wire.b.host.run(["ip", "link", "set", "eth0", "down"])
        wire.b.host.run(["ip", "link", "set", "eth0", "name", "lan0"])
        assert device.name == "lan0"
        device.set("mtu", 1400)
        assert device.get("mtu") == 1400
        again = find(device.identity)
        assert again is not None
        assert again.identity.name == "lan0"
        with pytest.raises(NoSuchInterface, match="the interfaces are lo, lan0"):
            open_nic("eth0")


def test_a_removed_interface_is_gone(wire: Wire) -> None:
    with wire.b.host:
        device = open_nic("eth0")
        wire.b.delete()
        for act in (lambda: device.get("mtu"), lambda: device.set("mtu", 1400), device.capabilities):
            with pytest.raises(InterfaceGone, match="eth0"):
                act()
        assert find(device.identity) is None


def test_an_interface_elsewhere_is_gone(wire: Wire) -> None:
    """Both hosts have an eth0, and their numbers may be the same."""
    with wire.b.host:
        device = open_nic("eth0")
    with wire.a.host:
        with pytest.raises(InterfaceGone, match="eth0: there is no such interface in this network namespace"):
            device.set("mtu", 1400)
        assert open_nic("eth0").get("mtu") == 1500
    assert ip_says(wire.b.host)["mtu"] == 1500


def test_an_interface_made_anew_is_another_one(wire: Wire) -> None:
    with wire.b.host:
        device = open_nic("eth0")
        wire.b.delete()
        wire.b.host.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])
        wire.b.host.run(["ip", "link", "set", "eth0", "address", device.identity.mac])
        assert not open_nic("eth0").identity.same_device(device.identity)


def test_by_an_alternative_name(wire: Wire) -> None:
    with wire.b.host.netlink() as route:
        route.link("property_add", index=wire.b.ifindex, altname=["an-alternative-name"])
    with wire.b.host:
        assert open_nic("an-alternative-name").identity.name == "eth0"
        with pytest.raises(NoSuchInterface, match="did you mean eth0"):
            open_nic("eth1")
        with pytest.raises(NoSuchInterface):
            open_nic("eth0\0")


# -- below a bridge and a macvlan --------------------------------------------------------------------------------------


def test_lower_devices(wire: Wire) -> None:
    host = wire.b.host
    host.run(["ip", "link", "add", "br0", "type", "bridge"])
    host.run(["ip", "link", "set", "eth0", "master", "br0"])
    host.run(["ip", "link", "add", "other", "type", "veth", "peer", "name", "far"])
    host.run(["ip", "link", "set", "other", "master", "br0"])
    host.run(["ip", "link", "add", "mac0", "link", "far", "type", "macvlan"])
    with host:
        assert lower_devices("br0") == ("eth0", "other")
        assert lower_devices("mac0") == ("far",)
        assert lower_devices("eth0") == ()
        assert open_nic("br0").capabilities().lower == ("eth0", "other")
        with pytest.raises(KernelError, match=r"EOPNOTSUPP|ENOTSUP") as error:
            open_nic("br0").set("rule.1", {"flow-type": "udp4", "action": 1})
    assert error.value.hint == "its driver has no n-tuple rules; try the interface below it: eth0, other"


# -- capabilities ------------------------------------------------------------------------------------------------------


def test_a_veths_capabilities(wire: Wire) -> None:
    with wire.b.host:
        found = open_nic("eth0").capabilities()
    assert (found.interface, found.driver, found.kind, found.bus, found.lower) == ("eth0", "veth", "veth", "", ())
    assert (found.queues.rx, found.queues.rx_max, found.queues.combined) == (3, 3, False)
    assert (found.ntuple.supported, found.rss.table_size, found.vfs.total) == (False, 0, 0)
    assert (found.xdp.max_mtu, found.xdp.resets_link, found.xdp.program) == (3506, False, "")
    assert found.features is not None
    assert found.features["rx-gro"].fixed is False
    assert from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_tuns_capabilities(lab: Lab) -> None:
    """A driver without a shipped record: what it does not say is not known."""
    host = lab.host("a")
    with host, open("/dev/net/tun", "rb+", buffering=0) as tun:
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tap0", 0x1002))  # TUNSETIFF, IFF_TAP | IFF_NO_PI
        found = open_nic("tap0").capabilities()
    assert (found.driver, found.sources) == ("tun", {})
    assert found.xdp.max_mtu is None
    assert found.ntuple.flows is None


def test_without_ethtool_answers(lab: Lab) -> None:
    with lab.host("a"):
        device = open_nic("lo")
        assert device.get("channels") is None
        assert device.capabilities().driver is None
        assert (rss.read("lo"), rules.table("lo"), vf.read("lo")) == (None, None, {})


# -- rates -------------------------------------------------------------------------------------------------------------


def test_rates(wire: Wire) -> None:
    with wire.b.host:
        meter = RateMeter("eth0", wire.b.ifindex)
    send_unanswered(wire, 500)
    with wire.b.host:
        rates = meter.rates()
        assert 500 <= round(rates.total * rates.seconds) < 600
        time.sleep(0.05)
        assert meter.rates().total * 0.05 < 100


def test_counters_by_queue_of_a_driver_without_them(wire: Wire) -> None:
    with wire.b.host:
        assert qstats.queue_packets(wire.b.ifindex) == {}
        assert qstats.queue_packets(4711) == {}


# -- small and tidy ----------------------------------------------------------------------------------------------------


def test_it_is_light() -> None:
    """The guardian of the journal imports it, and has a second to do its work in."""
    loaded = loaded_by("from offramp.nic.live import open_nic; open_nic('lo').get('mtu')")
    assert "offramp.nic.live" in loaded
    assert not {"numpy", "pyroute2", "llvmlite", "lark", "typer", "offramp.planner"} & loaded


def test_nothing_is_left_open(wire: Wire) -> None:
    before = os.listdir("/proc/self/fd")
    with wire.b.host:
        device: LiveNic = open_nic("eth0")
        for _ in range(50):
            device.get("mtu")
            device.set("feature.rx-gro", True)
            with pytest.raises(KernelError):
                device.set("rings", {"rx": 1, "tx": 1})
        device.capabilities()
        find(device.identity)
        nic.read("eth0")
    assert os.listdir("/proc/self/fd") == before
