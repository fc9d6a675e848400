# SPDX-License-Identifier: Apache-2.0
"""A reader that does not read: after `stall` the kernel has the flow, until the reader is back."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import offramp
from offramp.bpf import clock
from offramp.testing import Lab, Wire
from tests.rigs import reader
from tests.rigs.traffic import MATCH, claims, datagrams, kernel_receives, kernel_socket
from tests.rigs.waiting import eventually

STALL = 0.3  # seconds


@pytest.fixture
def kernel(wire: Wire) -> Iterator[socket.socket]:
    """A socket on the same port as the flow that runs meanwhile."""
    with kernel_socket(wire) as receiver, datagrams(wire):
        assert kernel_receives(receiver)
        yield receiver


def read_elsewhere(wire: Wire, stall: float, *within: str) -> subprocess.Popen[str]:
    """A process that receives the flow, started by the command `within`."""
    argv = [*within, sys.executable, str(Path(reader.__file__)), str(stall)]
    process: subprocess.Popen[str] = wire.b.host.popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def stops_and_goes_on(process: subprocess.Popen[str], kernel: socket.socket) -> None:
    """The flow is the reader's, and the kernel's while it is stopped."""
    assert eventually(lambda: not kernel_receives(kernel, 0.1), 2.0)
    process.send_signal(signal.SIGSTOP)
    assert kernel_receives(kernel, STALL + 1.0)
    assert kernel_receives(kernel, 0.2)
    process.send_signal(signal.SIGCONT)


def test_a_stopped_reader(wire: Wire, kernel: socket.socket) -> None:
    process = read_elsewhere(wire, STALL)
    for _ in range(3):
        stops_and_goes_on(process, kernel)
    assert eventually(lambda: not kernel_receives(kernel, 0.1), 2.0)
    wire.b.host.kill(process)


@pytest.mark.speed
@pytest.mark.parametrize("seconds", [1000, -1000, 0, 10**8])
def test_a_stopped_reader_in_a_time_namespace(wire: Wire, kernel: socket.socket, seconds: int) -> None:
    """Its own clock is another one than the program's, in either direction."""
    if seconds < 0 and time.monotonic() < 2 - seconds:
        pytest.skip("this machine is not up for so long, and no clock is negative")
    process = read_elsewhere(wire, STALL, "unshare", "-T", "--monotonic", str(seconds))
    try:
        stops_and_goes_on(process, kernel)
        assert eventually(lambda: not kernel_receives(kernel, 0.1), 2.0)
    finally:
        wire.b.host.kill(process)


def test_the_machines_clock_is_asked_only_in_a_time_namespace() -> None:
    """Here it is ahead by nothing; measured, too, as exactly as the clock ticks."""
    assert clock.machine_is_ahead() == 0
    assert abs(clock.measure()) <= 20_000_000


def test_a_slow_reader(wire: Wire, kernel: socket.socket) -> None:
    """It holds batches for longer than `stall`: a look for packets, with or without success, is what counts."""
    with wire.b.host, offramp.open("eth0", MATCH, stall=STALL) as ramp:
        for _ in range(2):
            assert claims(ramp)
            assert kernel_receives(kernel, STALL + 1.0)
        ledger = ramp.ledger()
        assert ledger.stalled > 0
    assert eventually(lambda: kernel_receives(kernel, 0.2))


def test_a_reader_that_finds_nothing_is_awake(wire: Wire) -> None:
    """Waiting for packets that do not come is not stalling: the first one is claimed."""
    with wire.b.host, offramp.open("eth0", MATCH, stall=0.2) as ramp:
        assert ramp.rx(1.0) is None
        with datagrams(wire):
            assert claims(ramp)
            for _ in range(100):
                ramp.rx(0.01)
        assert ramp.ledger().stalled == 0


def test_one_queue_sleeps(lab: Lab) -> None:
    """Each queue has a heartbeat of its own: reading one does not keep the others' flows."""
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2, neighbours=True)
    with (
        wire.b.host,
        offramp.open("eth0", MATCH, stall=STALL) as ramp,
        kernel_socket(wire) as kernel,
        datagrams(wire),
    ):
        assert claims(ramp)
        (used,) = [queue.place for queue in ramp.queues if queue.ledger().received]
        deadline = time.monotonic() + 3 * STALL
        while time.monotonic() < deadline:
            ramp.queues[1 - used].rx(0.01)
        assert kernel_receives(kernel)
        while ramp.queues[used].rx(0):
            pass
        assert claims(ramp)


def test_never(wire: Wire, kernel: socket.socket) -> None:
    """stall=None: the flow waits in the ring for its reader, and what does not fit is lost, and counted."""
    with wire.b.host, offramp.open("eth0", MATCH, stall=None, ring=64, frames=128) as ramp:
        assert claims(ramp)
        assert not kernel_receives(kernel, 1.5)
        assert eventually(lambda: ramp.ledger().lost > 0)
        assert claims(ramp)
        ledger = ramp.ledger()
        assert ledger.stalled == 0


def test_the_account_of_a_stall_is_exact(wire: Wire) -> None:
    with wire.b.host, offramp.open("eth0", MATCH, stall=0.1) as ramp:
        with datagrams(wire):
            assert claims(ramp)
            time.sleep(0.5)
            assert claims(ramp)
        assert ramp.ledger().exact
    assert ramp.ledger().stalled > 0
