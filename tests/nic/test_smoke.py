# SPDX-License-Identifier: Apache-2.0
"""Each machine boots under each kernel, and offramp reads of its NIC what ethtool reads."""

from __future__ import annotations

import json
import re
import sys

import pytest

from offramp.nic.features import features
from offramp.nic.live import LiveNic
from offramp.testing import Wire

pytestmark = pytest.mark.nic()


def ethtool(wire: Wire, *arguments: str) -> str:
    return str(wire.b.host.run(["ethtool", *arguments, wire.b.name], check=False).stdout)


def test_packets_cross_the_wire(wire: Wire) -> None:
    assert "5 received" in wire.a.host.run(["ping", "-c", "5", "-i", "0.1", wire.b.ip]).stdout


def test_identity(wire: Wire, device: LiveNic) -> None:
    shown = dict(re.findall(r"^(\S+): (.*)$", ethtool(wire, "-i"), re.MULTILINE))
    assert (device.identity.driver, device.identity.bus) == (shown["driver"], shown["bus-info"])
    assert device.identity.mac == wire.b.mac


def test_features(wire: Wire) -> None:
    shown = re.findall(r"^\s*(\S+): (on|off)( \[fixed\])?", ethtool(wire, "-k"), re.MULTILINE)
    with wire.b.host:
        ours = features(wire.b.name)
    same = {name: (ours[name].on, ours[name].fixed) for name, _, _ in shown if name in ours}
    assert len(same) > 40
    assert same == {name: (state == "on", bool(fixed)) for name, state, fixed in shown if name in ours}


def test_channels(wire: Wire, device: LiveNic) -> None:
    with wire.b.host:
        ours = device.get("channels")
    now = ethtool(wire, "-l").partition("Current hardware settings")[2]
    shown = {name.lower(): int(count) for name, count in re.findall(r"^(RX|TX|Combined):\s+(\d+)", now, re.MULTILINE)}
    assert (ours or {}) == ({"rx": 0, "tx": 0, "combined": 0} | shown if shown else {})


def test_rss(wire: Wire, device: LiveNic) -> None:
    with wire.b.host:
        table, key = device.get("rss.table"), device.get("rss.key")
    shown = ethtool(wire, "-x")
    rows = re.findall(r"^\s+\d+:((?:\s+\d+)+)$", shown, re.MULTILINE)
    assert (table or []) == [int(queue) for row in rows for queue in row.split()]
    found = re.search(r"RSS hash key:\n([0-9a-f:]+)", shown)
    assert key == (found[1] if found else None)


@pytest.mark.nic("igb")  # starting a command takes ten seconds
def test_the_page(wire: Wire) -> None:
    shown = wire.b.host.run([sys.executable, "-m", "offramp", "nic", wire.b.name, "--json"]).stdout
    assert json.loads(shown)["identity"]["mac"] == wire.b.mac
