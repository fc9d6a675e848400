# SPDX-License-Identifier: Apache-2.0
"""Names that others have chosen, of interfaces and of processes: each verb works, and no terminal obeys them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import offramp
from offramp.bpf import owner
from offramp.errors import InterfaceBusy
from offramp.journal import listed, restore, transaction
from offramp.nic.found import find
from offramp.nic.live import open_nic
from offramp.syscalls import netlink
from offramp.testing import Wire
from offramp.text import decoded
from tests.kernel.journal.changes import guardian_of, marks
from tests.rigs.hostile import INTERFACES, PROCESSES, is_safe, process_called
from tests.rigs.processes import fork, forked, holder
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # it would take long in a slow guest

IFNAME = 3
CLI = "import sys; from offramp.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(autouse=True)
def state(state: Path) -> Path:
    return state


def run(wire: Wire, *words: str | bytes, ascii_only: bool = False) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "COLUMNS": "200", **({"PYTHONIOENCODING": "ascii:strict"} if ascii_only else {})}
    command = [sys.executable, "-c", CLI, *words]
    return wire.b.host.call(lambda: subprocess.run(command, capture_output=True, timeout=60, env=environment))


def renamed(wire: Wire, name: bytes) -> str:
    wire.b.gro(True)
    wire.b.down()
    with wire.b.host:
        netlink.set_link(wire.b.ifindex, "a name", netlink.attribute(IFNAME, name + b"\0"))
        netlink.set_link(wire.b.ifindex, "up", flags=1, change=1)
    return decoded(name)


@pytest.fixture(params=INTERFACES, ids=ascii)
def named(request: pytest.FixtureRequest, wire: Wire) -> str:
    return renamed(wire, request.param)


def test_an_interface_of_any_name(wire: Wire, named: str) -> None:
    with wire.b.host:
        nic = open_nic(named)
        assert nic.identity.name == named
        assert nic.get("feature.rx-gro") is True
        with offramp.attach(named, "udp dst port 9", mode="generic") as attachment:
            assert attachment.plan.interface == named
            assert is_safe(repr(attachment))
            assert nic.get("feature.rx-gro") is False
        assert nic.get("feature.rx-gro") is True
        with offramp.open(named, "udp dst port 9") as ramp:
            ramp.rx(0)
            assert is_safe(repr(ramp))
        assert marks(wire.b.host) == []


def test_killed_and_restored(wire: Wire, named: str) -> None:
    def work() -> None:
        transaction(open_nic(named)).set("mtu", 4000)
        signal.pause()

    with wire.b.host:
        with forked(wire.b.host, work) as pid:
            assert eventually(lambda: open_nic(named).get("mtu") == 4000, 10.0)
            watcher = guardian_of(pid)
            os.kill(watcher, signal.SIGSTOP)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.kill(watcher, signal.SIGKILL)
        (entry,) = listed()
        assert entry.record is not None
        assert entry.record.device.name == named
        assert is_safe(str(entry))
        if named == decoded(INTERFACES[0]):  # it takes its time
            told = run(wire, "restore", "--list")
            assert told.returncode == 0
            assert is_safe(told.stdout.decode())
        (report,) = restore()
        assert report.state == "given back"
        assert is_safe(str(report))
        assert open_nic(named).get("mtu") == 1500
        assert marks(wire.b.host) == []


VERBS = (
    ["plan", "IT", "udp"],
    ["nic", "IT"],
    ["doctor", "IT"],
    ["doctor"],
    ["run", "IT", "udp", "--do", "drop", "--for", "0.1"],
)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_each_verb(wire: Wire, verb: list[str], ascii_only: bool) -> None:
    name = "é\u202e\x1b[2J".encode() + b"\xff"
    renamed(wire, name)
    words = [name if word == "IT" else word for word in verb] + ["--json"] * ascii_only
    done = run(wire, *words, ascii_only=ascii_only)
    assert done.returncode == 0, done.stderr
    for said in (done.stdout, done.stderr):
        assert is_safe(said.decode("ascii" if ascii_only else "utf-8")), said
    if ascii_only:
        assert json.loads(done.stdout)


def test_a_name_that_is_nobodys(wire: Wire) -> None:
    for name in (b"\x1b[2J", b"\xff" * 127):
        done = run(wire, "plan", name, "udp")
        assert done.returncode == 2
        assert is_safe(done.stderr.decode())
        assert b"no interface" in done.stderr


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROCESSES, ids=ascii)
def test_a_process_of_any_name(wire: Wire, name: bytes) -> None:
    with process_called(name), wire.b.host:
        find()
        with offramp.open(wire.b.name, "udp dst port 9"):
            pass


def test_the_lock_and_the_program_of_a_process_of_any_name(wire: Wire) -> None:
    name = "\x1b[2J\n\udcff"

    def work() -> None:
        Path("/proc/self/comm").write_bytes(name.encode(errors="surrogateescape"))
        transaction(open_nic("eth0")).set("mtu", 4000)
        with offramp.attach("eth0", "udp dst port 9"):
            signal.pause()

    with forked(wire.b.host, work) as pid, wire.b.host:
        assert eventually(lambda: bool(owner.describe(wire.b.ifindex)), 10.0)
        assert r"\x1b[2J\x0a\xff (pid" in owner.describe(wire.b.ifindex)
        with pytest.raises(InterfaceBusy) as caught:
            offramp.open("eth0", "udp dst port 9")
        assert is_safe(str(caught.value))
        assert f"(pid {pid})" in str(caught.value)
        (entry,) = listed()
        assert is_safe(str(entry))


@pytest.mark.parametrize("held", [True, False])
def test_the_owner_among_very_many_descriptors(wire: Wire, held: bool) -> None:
    """Processes with very many are looked at last, and not for longer than a second."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    process, program = holder(wire.b.host, "a_program")
    crowd = fork()
    if crowd == 0:
        most = min(limit[1], 100_000)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, limit[1]))
        for number in range(10, most):
            os.dup2(0, number)
        signal.pause()
        os._exit(0)
    try:
        began = time.monotonic()
        found = owner.owner(program if held else 0)
        assert time.monotonic() - began < 10
        assert found.pid == (process.pid if held else None)
    finally:
        os.kill(crowd, signal.SIGKILL)
        os.waitpid(crowd, 0)
        wire.b.host.kill(process)
