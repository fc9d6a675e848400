# SPDX-License-Identifier: Apache-2.0
"""`offramp nic` on a veth: the page, as text and as JSON, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from offramp.testing import Host, Lab, Wire


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"), queues=3)


def offramp(host: Host, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return host.run([sys.executable, "-m", "offramp", "nic", *arguments], check=check)


def test_the_page(wire: Wire) -> None:
    page = offramp(wire.b.host, "eth0").stdout
    assert page.startswith(f"eth0  veth, {wire.b.mac}, up, MTU 1500\n")
    for part in ("queues    rx 3 of 3, tx 3 of 3\n", "RSS       no table", "VFs       none", "a second received"):
        assert part in page


def test_the_page_as_json(wire: Wire) -> None:
    shown = json.loads(offramp(wire.b.host, "eth0", "--json").stdout)
    assert shown["identity"]["ifindex"] == wire.b.ifindex
    assert shown["capabilities"]["queues"]["rx"] == 3
    assert shown["rates"]["seconds"] > 0.9


def test_watching_goes_on(wire: Wire) -> None:
    argv = [sys.executable, "-m", "offramp", "nic", "eth0", "--watch", "--json"]
    watching = wire.b.host.popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert watching.stdout is not None
        first, second = watching.stdout.readline(), watching.stdout.readline()
    finally:
        wire.b.host.kill(watching)
    assert json.loads(first)["identity"] == json.loads(second)["identity"]


def test_no_such_change_and_no_such_thing(wire: Wire) -> None:
    failed = offramp(wire.b.host, "eth0", "rss", "equal", "2", check=False)
    assert (failed.returncode, failed.stderr) == (
        1,
        "offramp: eth0 has no RSS table (offramp nic shows what it has)\n",
    )
    failed = offramp(wire.b.host, "eth0", "paint", "red", check=False)
    assert (failed.returncode, failed.stderr) == (
        2,
        "offramp: paint: no such change: not one of rss, steer, vf, bind\n",
    )
    for words, what in (("vf count 2", "vf.count"), ("bind vfio-pci", "pci.driver")):
        failed = offramp(wire.b.host, "eth0", *words.split(), check=False)
        assert (failed.returncode, failed.stdout) == (1, ""), "what was not done is not told as done"
        assert f"{what} of eth0: Operation not supported" in failed.stderr
        assert "no such setting" in failed.stderr or "it is not a PCI device" in failed.stderr
    failed = offramp(wire.b.host, "eth0", "steer", "flow-type", "udp4", "dst-port", "53", "action", "0", check=False)
    assert (failed.returncode, failed.stderr) == (
        1,
        "offramp: eth0 takes no n-tuple rules (offramp nic shows what it has)\n",
    )
