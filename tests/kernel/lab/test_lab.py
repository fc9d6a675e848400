# SPDX-License-Identifier: Apache-2.0
"""The lab itself: hosts, wires, processes, placement; nothing outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from offramp.errors import Closed, InterfaceGone, KernelError, OptionError
from offramp.testing import Host, Lab, Wire
from tests.rigs.processes import gone
from tests.rigs.waiting import eventually

ECHO_REQUEST, ECHO_REPLY, ECHO6_REQUEST, ECHO6_REPLY = 8, 0, 128, 129


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"))


def namespace(thread: str = "thread-self") -> str:
    return os.readlink(f"/proc/{thread}/ns/net")


def ping(host: Host, address: str) -> bool:
    """One ICMP echo; the kernel fills in ICMPv6 checksums, the IPv4 one is spelled out: ~(0x0800 + 0x0001 + 0x0001)."""
    if ":" in address:
        family, protocol, request, reply = socket.AF_INET6, socket.IPPROTO_ICMPV6, ECHO6_REQUEST, ECHO6_REPLY
    else:
        family, protocol, request, reply = socket.AF_INET, socket.IPPROTO_ICMP, ECHO_REQUEST, ECHO_REPLY
    with host, socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(2)
        sock.sendto(struct.pack("!BBHHH", request, 0, ~0x0802 & 0xFFFF, 1, 1), (address, 0))
        while True:
            answer = sock.recv(2048)
            if family == socket.AF_INET:
                answer = answer[20:]
            if answer[0] == reply:
                return answer[4:8] == struct.pack("!HH", 1, 1)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_hosts_ping_each_other_at_once(wire: Wire) -> None:
    assert (wire.a.ip, wire.b.ip) == ("10.77.0.1", "10.77.0.2")
    assert (wire.a.ip6, wire.b.ip6) == ("fd77::1", "fd77::2")
    assert ping(wire.a.host, wire.b.ip)
    assert ping(wire.b.host, wire.a.ip6)
    assert ping(wire.b.host, "127.0.0.1")


def test_a_real_client_fetches_from_a_real_server(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("over the wire\n")
    server = [sys.executable, "-u", "-m", "http.server", "--bind", wire.b.ip, "--directory", str(tmp_path), "8000"]
    process = wire.b.host.popen(server, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert "Serving" in first_line(process)
    page = wire.a.host.run(["curl", "--silent", "--show-error", "--max-time", "5", f"http://{wire.b.ip}:8000/page"])
    assert page.stdout == "over the wire\n"
    assert process.poll() is None


def test_entering_nests_and_restores(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    home = namespace()
    with a:
        in_a = namespace()
        with b:
            assert namespace() not in (home, in_a)
        assert namespace() == in_a
        with pytest.raises(ZeroDivisionError), b:
            1 / 0  # noqa: B018
        assert namespace() == in_a == a.call(namespace)
    assert namespace() == home


def test_wires_do_not_clash(lab: Lab) -> None:
    a, b, c = (lab.host(name) for name in "abc")
    ab, bc, loop = lab.wire(a, b), lab.wire(b, c, neighbours=True), lab.wire(a, a)
    assert [end.name for wire in (ab, bc, loop) for end in (wire.a, wire.b)] == [
        "eth0",
        "eth0",
        "eth1",
        "eth0",
        "eth1",
        "eth2",
    ]
    assert len({end.mac for wire in (ab, bc, loop) for end in (wire.a, wire.b)}) == 6
    assert ping(b, ab.a.ip)
    assert ping(b, bc.b.ip)
    b.sysctl("net.ipv4.ip_forward", 1)
    a.run(["ip", "route", "add", "10.77.1.0/24", "via", ab.b.ip])
    c.run(["ip", "route", "add", "10.77.0.0/24", "via", bc.a.ip])
    assert ping(a, bc.b.ip)


def test_known_neighbours_keep_the_wire_quiet(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    before = wire.b.stats()["rx_packets"]
    assert ping(wire.a.host, wire.b.ip)
    neighbours = wire.a.host.run(["ip", "neigh"]).stdout
    assert f"{wire.b.ip} dev eth0 lladdr {wire.b.mac} PERMANENT" in neighbours
    assert wire.b.stats()["rx_packets"] - before <= 3  # the echo; perhaps reports of multicast groups joined


def test_queues_mtu_and_offloads_are_as_asked(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2, mtu=3000)
    queues = wire.b.host.call(lambda: sorted(path.name for path in Path("/sys/class/net/eth0/queues").iterdir()))
    assert queues == ["rx-0", "rx-1", "tx-0", "tx-1"]
    assert wire.b.host.call(Path("/sys/class/net/eth0/mtu").read_text) == "3000\n"
    wire.a.set_mtu(1400)
    assert wire.a.host.call(Path("/sys/class/net/eth0/mtu").read_text) == "1400\n"

    def features() -> str:
        return wire.a.host.run(["ethtool", "-k", "eth0"]).stdout

    for switch, feature in (
        (wire.a.gro, "generic-receive-offload"),
        (wire.a.gso, "generic-segmentation-offload"),
        (wire.a.tso, "tx-tcp-segmentation"),
        (wire.a.tx_vlan_offload, "tx-vlan-offload"),
        (wire.a.rx_vlan_offload, "rx-vlan-offload"),
        (wire.a.tx_checksum_offload, "tx-checksumming"),
    ):
        for on in (False, True):
            switch(on)
            assert f"{feature}: {'on' if on else 'off'}" in features()


@pytest.mark.since("6.7")  # before, threads are found by name, and each host has an eth0
def test_napi_threads_are_found_and_pinned(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2)
    with pytest.raises(KernelError, match="attach XDP, or gro"):
        wire.b.set_threaded_napi(True)
    wire.b.gro(True)
    assert len(wire.b.set_threaded_napi(True)) == 2
    cpu = max(os.sched_getaffinity(0))
    threads = wire.b.pin_napi(cpu)
    assert len(set(threads)) == 2
    for pid in threads:
        assert Path(f"/proc/{pid}/comm").read_text().startswith("napi/eth0-")
        assert os.sched_getaffinity(pid) == {cpu}
    assert wire.a.napi_threads() == []
    assert ping(wire.a.host, wire.b.ip)
    wire.b.set_threaded_napi(False)
    assert ping(wire.a.host, wire.b.ip)


def test_two_nics_and_their_cable_are_borrowed(lab: Lab) -> None:
    home = lab.host("home")
    home.run(["ip", "link", "add", "nic0", "type", "veth", "peer", "name", "nic1"])
    with home, Lab() as inner:
        wire = inner.cable(inner.host("a"), "nic0", inner.host("b"), "nic1")
        assert ping(wire.a.host, wire.b.ip)
        assert wire.a.mac != wire.b.mac
        assert {name for _, name in socket.if_nameindex()} == {"lo"}
    with home:
        assert {name for _, name in socket.if_nameindex()} == {"lo", "nic0", "nic1"}


def test_a_link_goes_down_moves_and_vanishes(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"))
    wire.b.down()
    with pytest.raises(OSError, match="timed out"):
        ping(wire.a.host, wire.b.ip)
    wire.b.up()
    wire.b.wait_for_carrier()
    assert ping(wire.a.host, wire.b.ip)
    c = lab.host("c")
    wire.b.move_to(c)
    with pytest.raises(InterfaceGone, match="eth0 is no longer on host b"):
        wire.b.up()
    assert "eth0" in c.run(["ip", "link"]).stdout
    wire.a.delete()
    assert "eth0" not in c.run(["ip", "link"]).stdout


def test_programs_that_fail_say_why(lab: Lab) -> None:
    a = lab.host("a")
    with pytest.raises(subprocess.CalledProcessError) as failure:
        a.run(["ip", "link", "show", "nothing0"])
    assert "nothing0" in failure.value.__notes__[0]
    assert a.run(["ip", "link", "show", "nothing0"], check=False).returncode == 1
    assert a.run(["cat"], input="text").stdout == "text"
    with pytest.raises(OptionError, match="no such program"):
        a.run(["no-such-program"])
    with pytest.raises(subprocess.TimeoutExpired):
        a.run(["sleep", "60"], timeout=0.1)


def test_closing_ends_processes_and_hosts() -> None:
    lab = Lab()
    with lab:
        host = lab.host("a")
        shell = host.popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
        sleeper = int(first_line(shell))
        daemon = int(host.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"]).stdout)
        assert not gone(daemon, seconds=0.05)
        with pytest.raises(OptionError, match="host a exists"):
            lab.host("a")
    assert shell.returncode == -signal.SIGKILL
    assert gone(sleeper)
    assert gone(daemon)
    with pytest.raises(Closed):
        host.fileno()
    lab.close()


VICTIM = """
import os, subprocess, time
from offramp.testing import Lab
lab = Lab()
a, b = lab.host("a"), lab.host("b")
wire = lab.wire(a, b)
sleeper = b.popen(["sleep", "60"])
print(sleeper.pid, a.fileno(), b.fileno(), flush=True)
time.sleep(60)
"""


def test_kill_9_leaves_nothing(lab: Lab) -> None:
    """A witness holds one end of a wire into the victim's namespace: it vanishes together with that namespace."""
    witness = lab.host("witness")
    with subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE, text=True) as victim:
        try:
            sleeper, *namespaces = (int(word) for word in first_line(victim).split())
            fds = [os.open(f"/proc/{victim.pid}/fd/{namespace}", os.O_RDONLY) for namespace in namespaces]
            names = [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]
            with witness.netlink() as route:
                route.link("add", ifname="probe", kind="veth", peer={"ifname": "probe", "net_ns_fd": fds[1]})
            for fd in fds:
                os.close(fd)
            assert "probe" in witness.run(["ip", "link"]).stdout
        finally:
            victim.kill()
    assert gone(sleeper)
    assert eventually(lambda: "probe" not in witness.run(["ip", "link"]).stdout), "the namespace is still there"
    assert not set(names) & set(namespaces_in_use())


def namespaces_in_use() -> list[str]:
    used = []
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            used.append(os.readlink(link))
    return used
