# SPDX-License-Identifier: Apache-2.0
"""Connections that others make cost nobody else the protection of theirs, nor much time: real processes and packets."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

import offramp
from offramp.errors import OfframpWarning
from offramp.facts.found import Session
from offramp.gen.packets import eth, ip, tcp
from offramp.nic import find
from offramp.testing import Host, Lab, Wire
from tests.rigs.processes import line_of
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender, Tap

pytestmark = pytest.mark.speed  # it would take long in a slow guest

PORT = 2200  # of no SSH server that can be found
NOBODY = 65534

CLIENT = """
import resource, socket, sys

name, address, port, count, first = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
open("/proc/self/comm", "wb").write(name.encode("latin-1"))
held = []
for number in range(count):
    held.append(socket.socket())
    if first:
        held[-1].bind(("", first + number))
    held[-1].connect((address, port))
    print(held[-1].getsockname()[1], flush=True)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def not_logged_in_by_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return lab.wire(lab.host("a"), lab.host("b"))


@pytest.fixture
def far(wire: Wire) -> Iterator[socket.socket]:
    """A server on the other host, that accepts by its backlog alone."""
    wire.a.host.sysctl("net.core.somaxconn", 8192)
    with wire.a.host, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((wire.a.ip, PORT))
        listener.listen(8192)
        yield listener


def connect(host: Host, address: str, *, user: int, count: int = 1, first: int = 0, name: str = "ssh") -> list[int]:
    """Connections of a process of that user. Returns their local ports."""
    argv = [sys.executable, "-c", CLIENT, name, address, str(PORT), str(count), str(first)]
    if user:
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv]
    argv = ["prlimit", "--nofile=10000", *argv]
    process = host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ports = []
    while (line := line_of(process)) != "ready":
        assert line, process.poll()
        ports.append(int(line))
    return ports


def session(wire: Wire, port: int) -> Session:
    return Session(wire.b.ip, port, wire.a.ip, PORT)


@pytest.mark.parametrize("count", [64, 1500])
def test_roots_session_is_protected_whatever_others_open(wire: Wire, far: socket.socket, count: int) -> None:
    """Theirs begin first, and have the lowest ports."""
    connect(wire.b.host, wire.a.ip, user=NOBODY, count=count, first=1024)
    (ours,) = connect(wire.b.host, wire.a.ip, user=0, first=60000)
    told = f"{min(count, 253) - 16} or more SSH or BGP sessions of user 65534"
    with wire.b.host, pytest.warns(OfframpWarning, match=told):
        guard = offramp.attach(wire.b.name, "tcp")
    with guard:
        assert "17 SSH sessions on other ports" in guard.plan.protected
        answers = {
            port: eth(ip(tcp(sport=PORT, dport=port, flags=0x10), src=wire.a.ip, dst=wire.b.ip), dst=wire.b.mac)
            for port in (ours, 1024, 1024 + 40)
        }
        kernel: list[bytes] = []
        with Tap(wire.b) as tap, Sender(wire.a) as send:
            send(answers.values())

            def settled() -> bool:
                kernel.extend(tap())
                return guard.ledger().claimed >= 1 and answers[ours] in kernel

            assert eventually(settled), guard.ledger()
        assert answers[1024 + 40] not in kernel


def test_limits_are_for_each_user_and_roots_come_first(wire: Wire, far: socket.socket) -> None:
    users = range(2000, 2006)
    ports = {user: connect(wire.b.host, wire.a.ip, user=user, count=20) for user in users}
    ports[0] = connect(wire.b.host, wire.a.ip, user=0, count=70)
    with wire.b.host:
        found = find()
    kept = {user: sum(session(wire, port) in found.sessions for port in those) for user, those in ports.items()}
    assert kept[0] == 64
    assert sum(kept.values()) == 128
    assert {kept[user] for user in users} == {10, 11}  # 64 in turns
    assert dict(found.left_out) == {0: 6} | {user: 20 - kept[user] for user in users}


def test_one_user_has_at_most_sixteen(wire: Wire, far: socket.socket) -> None:
    ports = connect(wire.b.host, wire.a.ip, user=2000, count=17) + connect(wire.b.host, wire.a.ip, user=2000, count=17)
    with wire.b.host:
        found = find()
    assert sum(session(wire, port) in found.sessions for port in ports) == 16
    assert found.left_out == ((2000, 18),)


def test_what_is_covered_by_a_port_counts_for_nothing(wire: Wire, far: socket.socket) -> None:
    with wire.a.host, socket.create_server((wire.a.ip, 22)) as listener:
        held = []
        with wire.b.host:
            held = [socket.create_connection((wire.a.ip, 22)) for _ in range(70)]
        with wire.b.host:
            assert find().left_out == ()
            assert find().sessions == ()
        for each in (*held, listener):
            each.close()


@pytest.mark.parametrize("name", ["\xff\xfe", "ssh\n", "sshd", "", "\x1b[2J"])
def test_any_name_of_a_process_will_do(wire: Wire, far: socket.socket, name: str) -> None:
    connect(wire.b.host, wire.a.ip, user=NOBODY, name=name)
    with wire.b.host:
        assert len(find().sessions) == (name == "ssh\n")  # nobody's sshd is no server


def test_thousands_of_connections_do_not_hold_up_the_open(wire: Wire, far: socket.socket) -> None:
    for first in range(2000, 10_000, 2000):
        connect(wire.b.host, wire.a.ip, user=NOBODY, count=2000, first=first)
    with wire.b.host:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            found = find()
            times.append(time.perf_counter() - start)
    assert len(found.sessions) == 16
    assert min(times) < 2.0  # a deadline, no speed


# -- BGP ---------------------------------------------------------------------------------------------------------------


def test_who_is_taken_for_a_daemon_of_bgp(wire: Wire) -> None:
    b = wire.b.host
    listen = "import socket, sys; s = socket.create_server(('', 179)); print('ready', flush=True); sys.stdin.read()"

    def found(*prefix: str) -> tuple[str, ...]:
        process = b.popen(
            [*prefix, sys.executable, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert line_of(process) == "ready"
        with b:
            names = find().daemons
        b.kill(process)
        return names

    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    able = (*as_nobody, "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service")
    assert found() == ("BGP",)
    assert found(*able) == ("BGP",)  # a privileged port
    b.sysctl("net.ipv4.ip_unprivileged_port_start", 100)
    assert found(*as_nobody) == ()  # which is none here
    assert found() == ("BGP",)


def test_a_session_of_bgp_without_a_listener(wire: Wire) -> None:
    with wire.a.host, socket.create_server((wire.a.ip, 179)), wire.b.host:
        with socket.create_connection((wire.a.ip, 179)):
            assert find().daemons == ("BGP",)  # root's
        assert find().daemons == ()


def test_who_calls_chooses_the_port_and_so_it_tells_nothing(wire: Wire) -> None:
    with wire.b.host:
        listener = socket.create_server((wire.b.ip, 8080))
    with listener, wire.a.host, socket.create_connection(listener.getsockname(), source_address=(wire.a.ip, 179)):
        accepted, _ = listener.accept()
        with accepted, wire.b.host:
            assert find().daemons == ()
