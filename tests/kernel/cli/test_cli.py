# SPDX-License-Identifier: Apache-2.0
"""`offramp` as its users run it: real processes on lab hosts, real packets, signals, pipes, and no root."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from offramp import nic
from offramp.gen.packets import eth, ip, udp
from offramp.protection import PROTECTED
from offramp.testing import Flood, Host, Lab, Wire
from tests.rigs.traffic import PORT, send
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # of starting a command

OFFRAMP = str(Path(sys.executable).with_name("offramp"))
NOBODY = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--"]
BARE = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]  # who may start the interpreter, wherever it is
FLOW = ["eth0", "udp", "dst", "port", str(PORT)]


@pytest.fixture
def wire(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    for end in (wire.a, wire.b):
        end.tx_checksum_offload(False)
    return wire


def offramp(host: Host, *arguments: str, status: int = 0, by: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    result = host.run([*by, OFFRAMP, *arguments], check=False)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    return result


@contextmanager
def running(host: Host, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """`offramp run ARGUMENTS`, from when its program is attached."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = host.popen([OFFRAMP, "run", *arguments], **(pipes | options))
    try:
        wait_for_program(host, process)
        yield process
    finally:
        host.kill(process)


def wait_for_program(host: Host, process: subprocess.Popen[str]) -> None:
    with host:
        assert eventually(lambda: nic.read("eth0").xdp is not None or process.poll() is not None, 20.0)
    assert process.poll() is None, process.communicate()
    time.sleep(0.3)  # the program is attached before the sockets are in its map, and signals are awaited last


def end(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    return out, err


def figure(table: str, name: str) -> int:
    """The packets of a line of the final table."""
    (line,) = [line for line in table.splitlines() if line.split()[:1] == [name]]
    return int(line.split()[1].replace(",", ""))


def test_count_prints_a_line_a_second_and_the_ledger_at_ctrl_c(wire: Wire) -> None:
    with running(wire.b.host, *FLOW, "--do", "count") as process:
        send(wire, 100)
        send(wire, 10, port=PORT + 1)
        time.sleep(1.1)
        out, err = end(process)
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["s", "seen"]
    assert int(lines[1].split()[0]) == 1
    assert figure(out, "received") == 100
    assert figure(out, "passed") >= 10
    assert err == (
        f"offramp: eth0: udp dst port {PORT}: count, native, copy; Ctrl-C ends it\n"
        "offramp: always left to the kernel: nothing that can match\n"
    )


def test_drop_ends_at_sigterm_with_the_ledger(wire: Wire) -> None:
    with running(wire.b.host, *FLOW, "--do", "drop") as process:
        send(wire, 100)
        out, _ = end(process, signal.SIGTERM)
    assert figure(out, "dropped") == 100
    with wire.b.host:
        assert nic.read("eth0").xdp is None


def test_echo_answers_the_sender(wire: Wire) -> None:
    with running(wire.b.host, *FLOW, "--do", "echo", "--json") as process:
        with wire.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(b"are you there?", (wire.b.ip, PORT))
            assert client.recvfrom(100) == (b"are you there?", (wire.b.ip, PORT))
        out, _ = end(process)
    summary = json.loads(out)
    assert summary["packets"] == summary["ledger"]["sent"] == 1


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_echo_finishes_what_the_sender_left_to_its_nic(wire: Wire, six: bool) -> None:
    """A veth is no NIC: what it sends holds the pseudo-header's sum, and no receiver takes that from outside."""
    wire.a.tx_checksum_offload(True)
    family, address = (socket.AF_INET6, wire.b.ip6) if six else (socket.AF_INET, wire.b.ip)
    with running(wire.b.host, *FLOW, "--do", "echo") as process:
        with wire.a.host, socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            for size in (0, 1, 13, 1400):
                client.sendto(bytes(range(256))[:size], (address, PORT))
                assert client.recv(2000) == bytes(range(256))[:size]
        end(process)


@pytest.mark.parametrize("do", ["count", "drop", "pass"])
def test_json_is_one_object_and_nothing_else(wire: Wire, do: str) -> None:
    with running(wire.b.host, *FLOW, "--do", do, "--json", "--for", "1") as process:
        send(wire, 100)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    summary = json.loads(out)
    assert (summary["interface"], summary["match"], summary["mode"]) == ("eth0", f"udp dst port {PORT}", "native")
    assert summary["zero_copy"] is (False if do == "count" else None)
    row = {"count": "claimed", "drop": "dropped", "pass": "observed"}[do]
    assert summary["packets"] == summary["ledger"][row] == 100
    assert summary["ledger"]["exact"]
    assert summary["pps"] == pytest.approx(100 / summary["seconds"], rel=0.01)
    assert 1 <= summary["seconds"] < 5
    assert summary["plan"]["verdict"] == summary["ledger"]["verdict"]


def test_on_a_terminal_one_table_is_redrawn_and_stays(wire: Wire) -> None:
    ours, theirs = pty.openpty()
    pieces: list[bytes] = []
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    streams = {"stdout": theirs, "stderr": theirs, "text": False, "env": environment}
    with running(wire.b.host, *FLOW, "--do", "count", **streams) as process:
        os.close(theirs)
        reader = threading.Thread(target=read_all, args=(ours, pieces))
        reader.start()
        send(wire, 100)
        time.sleep(0.6)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        reader.join(10)
    os.close(ours)
    screen = b"".join(pieces).decode()
    assert screen.count("\x1b[2K") > 5  # lines erased to be drawn again
    last = screen.rpartition("\x1b[2K")[2]
    assert "count, native, copy" in last
    assert "redirect_lost" in last
    assert "Traceback" not in screen


def read_all(fd: int, pieces: list[bytes]) -> None:
    try:
        while piece := os.read(fd, 65536):
            pieces.append(piece)
    except OSError:  # EIO: nobody holds the other side any more
        pass


def test_a_broken_pipe_is_quiet_and_gives_the_interface_back(wire: Wire) -> None:
    command = f"{OFFRAMP} run {' '.join(FLOW)} --do count | head -n 1"
    result = wire.b.host.run(["bash", "-c", command])
    assert result.stdout.split()[:2] == ["s", "seen"]
    assert result.stderr.count("\n") == 2  # what it does and until when, and what stays
    with wire.b.host:
        assert nic.read("eth0").xdp is None


def test_a_second_one_is_refused_and_names_the_first(wire: Wire) -> None:
    with running(wire.b.host, *FLOW, "--do", "count") as process:
        error = offramp(wire.b.host, "run", "eth0", "tcp", "--do", "drop", status=1).stderr
        assert "in use by offramp (pid" in error
        assert f"(pid {process.pid})" in error
        found = checks(wire.b.host, status=1)
        assert found["XDP program"]["status"] == found["plan"]["status"] == "missing"
        assert f"(pid {process.pid})" in found["XDP program"]["text"]
        send(wire, 10)
        out, _ = end(process)
    assert figure(out, "received") == 10


@pytest.mark.parametrize("do", ["count", "echo", "drop"])
def test_an_interface_that_is_down_is_waited_for_and_may_have_another_name_then(wire: Wire, do: str) -> None:
    with running(wire.b.host, *FLOW, "--do", do) as process:
        send(wire, 10)
        time.sleep(0.3)
        wire.b.down()
        time.sleep(0.5)
        wire.b.host.run(["ip", "link", "set", "eth0", "name", "wan0"])
        wire.b.host.run(["ip", "link", "set", "wan0", "up"])
        wire.a.wait_for_carrier()
        send(wire, 20)
        time.sleep(0.3)
        out, err = end(process)
    assert figure(out, "dropped" if do == "drop" else "received") == 30
    told = err.splitlines()[2:]
    assert "offramp: eth0: it is down: nothing arrives until it is up again" in told
    assert any("its name is wan0 now" in line for line in told)
    assert any("it is up again" in line for line in told[1:])


def test_a_hangup_ends_with_the_ledger_too_unless_nohup_has_it_ignored(wire: Wire) -> None:
    heard, ignored = (
        {"preexec_fn": lambda action=action: signal.signal(signal.SIGHUP, action)}
        for action in (signal.SIG_DFL, signal.SIG_IGN)
    )
    with running(wire.b.host, *FLOW, "--do", "count", **heard) as process:
        send(wire, 10)
        out, _ = end(process, signal.SIGHUP)
    assert figure(out, "received") == 10
    with running(wire.b.host, *FLOW, "--do", "count", **ignored) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        end(process)


def test_packets_before_the_sockets_are_in_place_are_early(wire: Wire) -> None:
    """And not failures of anything."""
    frame = eth(ip(udp(sport=1, dport=PORT), src=wire.a.ip, dst=wire.b.ip), dst=wire.b.mac)
    ledger: dict[str, Any] = {"early": 0}
    for _ in range(5):  # it takes some milliseconds, in which a busy machine may not send
        with Flood(wire.a, frame, rate=500_000), running(wire.b.host, *FLOW, "--do", "count", "--json") as process:
            out, _ = end(process)
        ledger = json.loads(out)["ledger"]
        if ledger["early"]:
            break
    assert ledger["exact"]
    assert ledger["early"] > 0
    assert (ledger["stalled"], ledger["redirect_failed"]) == (0, 0)
    assert ledger["seen"] == sum(ledger[name] for name in ("protected", "passed", "early", "claimed"))


@pytest.mark.parametrize("do", ["count", "drop"])
def test_an_interface_that_is_removed_is_an_error_after_the_summary(wire: Wire, do: str) -> None:
    with running(wire.b.host, *FLOW, "--do", do) as process:
        send(wire, 10)
        time.sleep(0.2)
        wire.b.delete()
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert figure(out, "seen") >= 10
    assert err.splitlines()[-1] == "offramp: eth0 was removed, or moved to another network namespace"
    assert "Traceback" not in err


def test_an_interface_that_is_down_is_an_error(wire: Wire) -> None:
    wire.b.down()
    assert "ip link set eth0 up" in offramp(wire.b.host, "run", *FLOW, "--do", "drop", status=1).stderr
    found = checks(wire.b.host, status=1)
    assert (found["link"]["status"], found["link"]["remedy"]) == ("missing", "ip link set eth0 up")


@pytest.mark.parametrize("do", ["count", "drop"])
def test_without_privileges_they_are_named(wire: Wire, do: str) -> None:
    error = offramp(wire.b.host, "run", *FLOW, "--do", do, status=1, by=tuple(NOBODY)).stderr
    assert error.count("\n") == 1
    assert "CAP_BPF" in error
    assert "CAP_NET_ADMIN" in error


def test_a_required_mode_that_is_not_there_is_an_error(wire: Wire) -> None:
    error = offramp(wire.b.host, "run", *FLOW, "--do", "count", "--require", "zero-copy", status=1).stderr
    assert "no zero-copy" in error


def test_options_are_what_the_plan_says(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2)
    words = ["--queues", "1", "--stall", "500ms", "--frames", "1024", "--ring", "512", "--for", "300ms", "--json"]
    plan = json.loads(offramp(wire.b.host, "run", *FLOW, "--do", "count", *words).stdout)["plan"]
    assert (plan["queues"], plan["hidden_queue"], plan["layout"]) == ([1], None, "in-driver")
    assert (plan["stall"], plan["frames"], plan["ring"]) == (0.5, 1024, 512)
    both = offramp(wire.b.host, "plan", *FLOW, "--queues", "1", "--queues", "0", "--json")
    assert json.loads(both.stdout)["queues"] == [0, 1]
    error = offramp(wire.b.host, "run", *FLOW, "--do", "count", "--hidden-queue", "1", status=1).stderr
    assert error == "offramp: a hidden queue on eth0: a virtual interface has no NIC\n"


def test_generic_mode_is_said_loudly(wire: Wire) -> None:
    wire.b.rx_vlan_offload(False)
    result = offramp(wire.b.host, "run", *FLOW, "--do", "drop", "--mode", "generic", "--for", "0.1")
    assert "offramp: warning: eth0: generic mode" in result.stderr
    assert "drop, generic" in result.stdout


def test_plan_explains_without_root_and_changes_nothing(wire: Wire) -> None:
    text = offramp(wire.b.host, "plan", *FLOW, by=tuple(BARE)).stdout
    assert text.startswith(f"CLAIM on eth0: udp dst port {PORT}\n")
    assert "undo:" in text
    found = json.loads(offramp(wire.b.host, "plan", *FLOW, "--do", "drop", "--json").stdout)
    assert (found["verdict"], found["queues"]) == ("DROP", [])
    with wire.b.host:
        assert nic.read("eth0").xdp is None


def checks(host: Host, status: int, by: tuple[str, ...] = (), interface: str = "eth0") -> dict[str, dict[str, str]]:
    """What doctor finds out about an interface, by name."""
    found = json.loads(offramp(host, "doctor", interface, "--json", status=status, by=by).stdout)
    (seen,) = found["interfaces"]
    assert seen["ready"] is (status == 0)
    return {check["name"]: check for check in (*found["machine"], *seen["checks"])}


@pytest.mark.parametrize(("flags", "packets"), [((), 20), (("--protect", f"dst port {PORT}"), 0)])
def test_packets_of_ones_own_are_protected(wire: Wire, flags: tuple[str, ...], packets: int) -> None:
    with running(wire.b.host, wire.b.name, "udp", "--do", "drop", "--json", *flags) as process:
        send(wire, 20)
        out, _ = end(process)
    found = json.loads(out)
    assert found["packets"] == packets
    assert found["ledger"]["protected"] >= 20 - packets


def test_doctor_finds_a_veth_ready(wire: Wire) -> None:
    found = checks(wire.b.host, status=0)
    assert (found["BPF JIT compiler"]["status"], found["BPF JIT compiler"]["text"]) == ("ok", "tried")
    assert found["protected"]["text"] == PROTECTED
    assert found["privileges"]["status"] == found["native XDP"]["status"] == found["plan"]["status"] == "ok"
    assert found["zero-copy"]["status"] == "warn"
    assert found["MTU"]["text"].startswith("1500; at most 3506")
    text = offramp(wire.b.host, "doctor", "eth0").stdout
    assert text.endswith("eth0: ready for offramp run\n")


def test_doctor_without_root_says_what_it_could_not_find_out(wire: Wire) -> None:
    found = checks(wire.b.host, status=1, by=tuple(NOBODY))
    assert found["privileges"]["status"] == "missing"
    assert found["XDP programs"]["status"] == "unknown"
    assert found["native XDP"]["status"] == "ok"
    assert found["protected"]["status"] == "warn"


@pytest.mark.since("6.3")  # from there on drivers tell that they have no native XDP
def test_doctor_says_what_a_ramp_switches_off(wire: Wire) -> None:
    wire.b.host.run(["ip", "link", "set", "lo", "mtu", "1500"])
    found = checks(wire.b.host, status=0, interface="lo")
    assert (found["native XDP"]["status"], found["GRO"]["status"]) == ("warn", "ok")
    assert found["GRO"]["text"].endswith("merged packets; switched off while a ramp is open, and on again")
    assert found["GRO"]["remedy"] == ""


def test_doctor_names_an_mtu_that_is_too_large(wire: Wire) -> None:
    wire.b.set_mtu(9000)
    found = checks(wire.b.host, status=1)
    assert found["MTU"]["remedy"].startswith("ip link set eth0 mtu 3506")
    assert found["plan"]["status"] == "missing"


# -- what a new user types ---------------------------------------------------------------------------------------------


def test_pass_counts_and_the_kernel_keeps_every_packet(wire: Wire) -> None:
    with wire.b.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((wire.b.ip, PORT))
        listener.settimeout(5)
        with running(wire.b.host, *FLOW, "--do", "pass", "--for", "1s") as process:
            send(wire, 100)
            out, err = process.communicate(timeout=10)
        assert process.returncode == 0, err
        assert figure(out, "observed") == 100
        assert "claimed" not in out
        for _ in range(100):
            assert listener.recv(2000)
