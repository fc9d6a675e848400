# SPDX-License-Identifier: Apache-2.0
"""What offramp reads about interfaces and about SSH, against what the lab has made."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from offramp import nic
from offramp.bpf import XdpLink
from offramp.errors import InterfaceGone, NoSuchInterface
from offramp.facts.found import Session
from offramp.nic import ethtool, find
from offramp.nic.netdev import xdp_features
from offramp.testing import Host, Lab, Wire
from tests.rigs.bytecode import load
from tests.rigs.imported import loaded_by
from tests.rigs.processes import line_of, piped
from tests.rigs.threads import meanwhile
from tests.rigs.waiting import eventually

# -- interfaces --------------------------------------------------------------------------------------------------------


def test_everything_about_a_veth(wire: Wire) -> None:
    wire.b.gro(False)
    with wire.b.host:
        link = nic.read("eth0")
    assert (link.name, link.ifindex, link.mac) == ("eth0", wire.b.ifindex, wire.b.mac)
    assert (link.kind, link.driver) == ("veth", "veth")
    assert (link.up, link.carrier, link.operstate) == (True, True, "up")
    assert (link.mtu, link.min_mtu, link.max_mtu) == (1500, 68, 65535)
    assert (link.rx_queues, link.tx_queues) == (1, 1)
    assert (link.gro, link.rx_vlan_offload) == (False, "vlan-tag" in (link.rx_metadata or ()))  # else the lab ends it
    assert link.xdp is None


def test_what_changes_is_read_anew(wire: Wire) -> None:
    with wire.b.host:
        before = nic.read("eth0")
        wire.b.gro(True)
        wire.b.rx_vlan_offload(False)
        wire.b.set_mtu(1400)
        after = nic.read("eth0")
        assert after == replace(before, gro=True, rx_vlan_offload=False, mtu=1400, xdp_features=after.xdp_features)
        wire.a.down()
        without_carrier = nic.read("eth0")
        assert (without_carrier.up, without_carrier.carrier) == (True, False)
        wire.b.down()
        assert not nic.read("eth0").up


def test_queues_in_use(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=3)
    with wire.b.host:
        assert (nic.read("eth0").rx_queues, nic.read("eth0").tx_queues) == (3, 3)
        found = ethtool.channels("eth0")
        assert found is not None
        assert found.rx + found.combined == 3


def test_an_interface_without_ethtool_answers(lab: Lab) -> None:
    with lab.host("a"):
        link = nic.read("lo")
        assert (link.driver, link.rings, link.rx_queues, link.max_mtu) == (None, None, 1, None)
        assert ethtool.channels("lo") is None


def test_by_an_alternative_name(wire: Wire) -> None:
    long_name = "an-alternative-name-of-this-interface"
    with wire.b.host.netlink() as route:
        route.link("property_add", index=wire.b.ifindex, altname=[long_name])
    with wire.b.host:
        assert nic.read(long_name).name == "eth0"


def test_the_attached_program_and_its_owner(wire: Wire) -> None:
    with wire.b.host, load() as program:
        with XdpLink.attach(program, wire.b.ifindex):
            assert nic.read("eth0").xdp == nic.Xdp("native", program.id, "offramp_test", os.getpid(), "this process")
        assert nic.read("eth0").xdp is None


@pytest.mark.since("6.8")
def test_what_the_driver_can_do_with_xdp(wire: Wire) -> None:
    with wire.b.host:
        link = nic.read("eth0")
        if link.xdp_features is None or not link.rx_metadata:
            pytest.skip("the netdev family tells XDP features from Linux 6.3 on, and of VLAN tags from 6.8 on")
        assert {"basic", "redirect"} <= link.xdp_features
        assert "vlan-tag" in link.rx_metadata
        assert link.zero_copy_segments == 0
        assert xdp_features(4711) is None


def test_an_unknown_interface(wire: Wire) -> None:
    with wire.b.host:
        with pytest.raises(NoSuchInterface, match=r"'eth1'.*did you mean eth0"):
            nic.read("eth1")
        with pytest.raises(NoSuchInterface, match="the interfaces are lo, eth0"):
            nic.read("wlp3s0")


@pytest.mark.parametrize("name", ["", "eth0\0", "a/b", "x" * 500, "%d", "naïve", "\udcff"])
def test_names_that_no_interface_has(wire: Wire, name: str) -> None:
    with wire.b.host, pytest.raises(NoSuchInterface):
        nic.read(name)


def test_a_removed_interface(wire: Wire) -> None:
    with wire.b.host:
        wire.b.delete()
        with pytest.raises(InterfaceGone, match=str(wire.b.ifindex)):
            nic.counters(wire.b.ifindex)


def test_the_counters_are_those_of_the_kernel(wire: Wire) -> None:
    with wire.b.host:
        before = nic.counters(wire.b.ifindex)
    with wire.a.host, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0x88B5))  # a local experimental ethertype
        for _ in range(10):
            raw.send(bytes(12) + b"\x88\xb5" + bytes(46))
    with wire.b.host:
        after = nic.counters(wire.b.ifindex)
    assert after.rx_packets - before.rx_packets >= 10
    assert after.rx_bytes - before.rx_bytes >= 600
    known = wire.b.stats()
    assert {name: known[name] for name in ("rx_packets", "rx_missed_errors")} == {
        "rx_packets": after.rx_packets,
        "rx_missed_errors": after.rx_missed_errors,
    }


def test_reading_works_inside_an_event_loop(wire: Wire) -> None:
    async def ask() -> nic.Link:
        return nic.read("eth0")

    with wire.b.host:
        assert asyncio.run(ask()).ifindex == wire.b.ifindex


def test_importing_and_reading_is_light() -> None:
    loaded = loaded_by("from offramp import nic; nic.read('lo')")
    assert "offramp.nic.link" in loaded
    assert not {"numpy", "pyroute2", "llvmlite", "typer"} & loaded


def test_nothing_is_left_open(wire: Wire) -> None:
    before = os.listdir("/proc/self/fd")
    with wire.b.host:
        for _ in range(100):
            nic.read("eth0")
            nic.counters(wire.b.ifindex)
    find()
    assert os.listdir("/proc/self/fd") == before


# -- SSH ---------------------------------------------------------------------------------------------------------------

SERVER = """
import socket, sys
name, *places = sys.argv[1:]
open("/proc/self/comm", "w").write(name)
held = []
for place in places:
    address, port = place.rsplit("@", 1)
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    held.append(socket.create_server((address, int(port)), family=family, dualstack_ipv6=six))
print("ready", flush=True)
held += [server.accept()[0] for server in held[:1]]
sys.stdin.read()
"""


@contextlib.contextmanager
def server(host: Host, name: str, *places: str, code: str = SERVER) -> Iterator[subprocess.Popen[str]]:
    """A process of that name that listens on address@port, and accepts one connection on the first of them."""
    process = piped(host, "-c", code, name, *places)
    try:
        assert line_of(process) == "ready"
        yield process
    finally:
        host.kill(process)


@pytest.fixture(autouse=True)
def not_logged_in_by_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


def test_no_ssh_here(lab: Lab) -> None:
    with lab.host("a"):
        assert find() == nic.Found()


def test_a_server_on_its_own_port_and_its_session(wire: Wire) -> None:
    with (
        server(wire.b.host, "sshd", f"{wire.b.ip}@2222", "127.0.0.1@6010"),  # 6010: a forwarded display
        wire.a.host,
        socket.create_connection((wire.b.ip, 2222)),
        wire.b.host,
    ):
        assert find() == nic.Found((2222,))  # which covers the session


@pytest.mark.parametrize("six", [True, False])
def test_ipv6_and_ipv4_within(wire: Wire, six: bool) -> None:
    own, address = (wire.a.ip6, wire.b.ip6) if six else (wire.a.ip, wire.b.ip)
    with (
        server(wire.b.host, "sshd-session", "::@2022", code=SERVER.replace("held += ", "held[:] = ")),
        wire.a.host,
        socket.create_connection((address, 2022)) as client,
        wire.b.host,
    ):
        expected = nic.Found((), (Session(address, 2022, own, client.getsockname()[1]),))
        assert eventually(lambda: find() == expected), find()


CLIENT = """
import socket, sys
open("/proc/self/comm", "w").write(sys.argv[1])
held = socket.create_connection((sys.argv[2], int(sys.argv[3])))
print(held.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("name", "found"), [("ssh", True), ("dbclient", True), ("curl", False), ("ssh-agent", False)])
def test_a_session_of_a_client(wire: Wire, name: str, found: bool) -> None:
    """Whoever runs it: on a port that is not SSH's own only the client's name tells."""
    argv = [sys.executable, "-c", CLIENT, name, wire.a.ip, "2222"]
    with server(wire.a.host, "anything", f"{wire.a.ip}@2222"):
        nobody = ["setpriv", "--reuid=65534", "--clear-groups", *argv]
        process = wire.b.host.popen(nobody, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with wire.b.host:
            expected = (Session(wire.b.ip, port, wire.a.ip, 2222),) if found else ()
            assert find() == nic.Found((), expected)


def test_a_session_outlives_its_listener(wire: Wire) -> None:
    """sshd is restarted or stopped; the child that serves the session goes on."""
    argv = [sys.executable, "-c", SERVER.replace("held += ", "held[:] = "), "sshd", f"{wire.b.ip}@2222"]
    process = wire.b.host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    with wire.a.host, socket.create_connection((wire.b.ip, 2222)) as client, wire.b.host:
        expected = nic.Found((), (Session(wire.b.ip, 2222, wire.a.ip, client.getsockname()[1]),))
        assert eventually(lambda: find() == expected), find()


def test_this_login(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 2200")
    with lab.host("a"):
        assert find() == nic.Found((2200,), (Session("192.0.2.1", 2200, "192.0.2.7", 50000),))
        for nonsense in ("", "a b c d", "192.0.2.7 x 192.0.2.1 22", "192.0.2.7 1 192.0.2.1"):
            monkeypatch.setenv("SSH_CONNECTION", nonsense)
            assert find() == nic.Found()


def test_other_namespaces_are_not_ours(wire: Wire) -> None:
    with server(wire.a.host, "sshd", f"{wire.a.ip}@22"), wire.b.host:
        assert find() == nic.Found()


def test_vanishing_processes_do_no_harm(lab: Lab) -> None:
    def come_and_go(stop: threading.Event) -> None:
        while not stop.is_set():
            subprocess.run(["true"], check=True)

    with lab.host("a"), meanwhile(come_and_go):
        times = []
        for _ in range(20):
            start = time.perf_counter()
            assert find() == nic.Found()
            times.append(time.perf_counter() - start)
    assert min(times) < 1.0  # it begins again while it sees a process vanish, and has to end
