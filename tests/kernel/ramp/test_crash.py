# SPDX-License-Identifier: Apache-2.0
"""However a process with a ramp ends, the kernel gets every packet again, and nothing is left."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import offramp
from offramp.errors import CompileError, KernelError
from offramp.llvm import child as llvm
from offramp.testing import Flood, Host, Lab, Wire
from tests.rigs import reader
from tests.rigs.leftovers import has_xdp, kernel_objects, orphans
from tests.rigs.processes import line_of, piped
from tests.rigs.traffic import MATCH, claims, datagrams, frame, kernel_receives, kernel_socket
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # of starting an interpreter, many times

READER = str(Path(reader.__file__))


@pytest.fixture
def wire(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    wire.b.gro(True)  # or a flood does not arrive when no program is attached
    return wire


@pytest.fixture
def kernel(wire: Wire) -> Iterator[socket.socket]:
    """Sees the flow whenever the kernel has it; in the end it has it, and nothing else is left."""
    with kernel_socket(wire) as receiver, datagrams(wire):
        yield receiver
        assert kernel_receives(receiver)
    assert not has_xdp(wire.b)
    assert eventually(lambda: not orphans())


def read_on(host: Host, *arguments: str) -> subprocess.Popen[str]:
    return piped(host, READER, *arguments)


# -- kill -9 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_killed_while_it_receives_a_flood(wire: Wire, seed: int) -> None:
    """At any moment: while it opens as well as later."""
    moment = random.Random(seed).uniform(0.0, 0.8)
    with kernel_socket(wire) as kernel, Flood(wire.a, frame(wire), rate=50_000):
        assert kernel_receives(kernel)
        process = read_on(wire.b.host)
        time.sleep(moment)
        process.kill()
        assert kernel_receives(kernel), f"killed after {moment:.3f} s"
        process.wait()
        assert eventually(lambda: not has_xdp(wire.b)), f"killed after {moment:.3f} s"
        assert eventually(lambda: not orphans()), f"killed after {moment:.3f} s"
        with wire.b.host, offramp.open("eth0", MATCH) as ramp:
            assert claims(ramp)
        wire.b.host.kill(process)


def test_killed_in_a_namespace_of_its_own(wire: Wire) -> None:
    """The namespace ends with the process, and with it the wire: sockets and programs do not hold it."""
    host = wire.b.host
    process = host.popen(
        ["unshare", "--net", sys.executable, READER, "--wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    home = os.stat(f"/proc/{os.getpid()}/ns/net").st_ino, os.fstat(host.fileno()).st_ino
    assert eventually(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino not in home, 5.0)
    with host.netlink() as route:
        route.link("set", index=wire.b.ifindex, net_ns_pid=process.pid)
    print(file=process.stdin, flush=True)
    assert line_of(process) == "open"
    with wire.a.host:
        assert socket.if_nametoindex("eth0") == wire.a.ifindex
        process.kill()
        assert eventually(lambda: [name for _, name in socket.if_nameindex()] == ["lo"], 5.0)
    assert eventually(lambda: not orphans())
    host.kill(process)


# -- other ends --------------------------------------------------------------------------------------------------------


def test_interrupted(wire: Wire, kernel: socket.socket) -> None:
    process = read_on(wire.b.host)
    assert line_of(process) == "open"
    assert eventually(lambda: not kernel_receives(kernel, 0.1))
    process.send_signal(signal.SIGINT)
    assert process.wait(1.0) == 3
    assert line_of(process) == "interrupted"
    wire.b.host.kill(process)


def test_interrupted_while_nothing_arrives(wire: Wire) -> None:
    """`rx` without a timeout sleeps, but not through a signal."""
    process = read_on(wire.b.host)
    assert line_of(process) == "open"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(1.0) == 3
    assert not has_xdp(wire.b)
    wire.b.host.kill(process)


def test_terminated(wire: Wire, kernel: socket.socket) -> None:
    process = read_on(wire.b.host)
    assert line_of(process) == "open"
    process.terminate()
    assert process.wait(1.0) == -signal.SIGTERM
    wire.b.host.kill(process)


def test_an_exception_inside_the_block(wire: Wire, kernel: socket.socket) -> None:
    before, opened = kernel_objects(), []

    def work() -> None:
        with wire.b.host, offramp.open("eth0", MATCH) as ramp:
            opened.append(ramp)
            for batch in ramp:
                len(batch) // 0

    with pytest.raises(ZeroDivisionError):
        work()
    (ramp,) = opened
    assert ramp.closed
    assert ramp.ledger().received > 0
    assert kernel_objects() == before


@pytest.mark.parametrize(
    "script",
    [
        "ramp = offramp.open('eth0', 'udp')",
        "ramp = offramp.open('eth0', 'udp'); batches = iter(ramp)",
        "ramp = offramp.open('eth0', 'udp'); threading.Thread(target=ramp.rx, daemon=True).start()",
        "ramp = offramp.open('eth0', 'udp'); threading.Thread(target=list, args=(ramp,), daemon=True).start()",
        "ramp = offramp.open('eth0', 'udp'); ramp.me = ramp",
        "guard = offramp.attach('eth0', 'udp')",
    ],
)
def test_the_interpreter_ends_without_a_close(wire: Wire, script: str) -> None:
    done = wire.b.host.run([sys.executable, "-c", f"import threading, offramp; {script}"])
    assert (done.stdout, done.stderr) == ("", "")
    assert eventually(lambda: not has_xdp(wire.b))
    assert eventually(lambda: not orphans())


# -- the compiler ------------------------------------------------------------------------------------------------------


def children() -> str:
    return "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))


@pytest.fixture
def no_child() -> Iterator[None]:
    llvm.stop()  # the one that is left for the next request
    before = children()
    yield
    llvm.stop()
    assert children() == before


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize("text", ["not LLVM IR", "", 'target triple = "bpfel"', "define i32 @f() { ret i64 1 }"])
def test_bad_code(text: str) -> None:
    with pytest.raises(CompileError, match=r"compiling: .*a bug in offramp"):
        llvm.bpf_code(text)


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "LLVM ended with signal 9"),
        ("import os; os.abort()", "LLVM ended with signal 6"),
        ("import sys; sys.exit('LLVM ERROR: no')", "LLVM ended with exit status 1: LLVM ERROR: no"),
        ("import signal; signal.alarm(1); signal.pause()", "LLVM has not finished in 60 s"),
        ("", "LLVM ended with exit status 0"),
    ],
)
def test_a_worker_that_dies(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: str, said: str
) -> None:
    """open() fails with it, and leaves nothing."""
    (tmp_path / "worker.py").write_text(worker)
    monkeypatch.setattr(llvm, "_WORKER", tmp_path / "worker.py")
    unseen = f"udp src port {1000 + len(worker)}"  # what was compiled before would not be compiled again
    before = kernel_objects()
    with wire.b.host, pytest.raises(CompileError, match=said):
        offramp.open("eth0", unseen)
    assert kernel_objects() == before
    assert not has_xdp(wire.b)
    monkeypatch.undo()
    with wire.b.host:
        offramp.open("eth0", unseen).close()  # nor is a failure remembered


@pytest.mark.usefixtures("no_child")
def test_a_worker_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(llvm, "_WORKER", tmp_path / "worker.py")
    monkeypatch.setattr(llvm, "GRACE", 1)
    monkeypatch.setattr(llvm, "TIMEOUT", 0)
    with pytest.raises(CompileError, match="LLVM has not finished"):
        llvm.bpf_code("anything, in time")


@pytest.mark.usefixtures("no_child")
def test_no_interpreter_to_compile_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(KernelError, match="starting the compiler, /nonexistent/python: No such file"):
        llvm.bpf_code("anything")
