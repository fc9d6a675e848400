# SPDX-License-Identifier: Apache-2.0
"""A fork while a ramp is open: the child holds nothing of it, and the parent goes on.

A copy of the link's descriptor in a child would keep the program on the interface after the parent has closed it, and a
copy of a socket, or of a mapping of its rings, would keep the queue. So the child has neither, from the start.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import offramp
from offramp.errors import Closed
from offramp.ramp.ramp import Ramp
from offramp.testing import Lab, Wire
from tests.rigs import first
from tests.rigs.leftovers import has_xdp, kernel_objects, orphans
from tests.rigs.processes import ends_with, fork
from tests.rigs.threads import finish
from tests.rigs.traffic import MATCH, claims, datagrams
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: threads, and fork


@pytest.fixture
def before(wire: Wire) -> list[str]:
    return kernel_objects()


@pytest.fixture
def ramp(wire: Wire, before: list[str]) -> Iterator[Ramp]:
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        yield ramp
    assert kernel_objects() == before
    assert eventually(lambda: not orphans())


@contextmanager
def child(work: Callable[[], None] = lambda: None) -> Iterator[int]:
    """A forked child that has done its work, and lives on; an exception in it fails the test."""
    (done, say_done), (end, say_end) = os.pipe(), os.pipe()

    def lives_on() -> None:
        work()
        os.write(say_done, b"x")
        os.close(say_end)
        os.read(end, 1)

    pid = fork()
    if pid == 0:
        ends_with(lives_on)
    os.close(say_done)
    os.close(end)
    try:
        os.read(done, 1)
        yield pid
    finally:
        os.close(say_end)
        os.close(done)
        assert os.waitpid(pid, 0)[1] == 0


def nothing_works(ramp: Ramp) -> None:
    """What the child of a ramp's owner is told."""
    attempts: list[Callable[[], object]] = [
        lambda: ramp.rx(1.0),
        lambda: ramp.rx(0),
        lambda: ramp.queues[0].rx(1.0),
        lambda: ramp.send(bytes(60)),
        lambda: ramp.queues[0].send(bytes(60)),
        lambda: ramp.flush(),
        lambda: ramp.queues[0].ledger(),
        lambda: iter(ramp),
        lambda: ramp.__enter__(),
    ]
    for attempt in attempts:
        with pytest.raises(Closed, match="forked child"):
            attempt()
    assert ramp.closed
    assert not ramp.ledger().known
    assert not ramp.ledger().exact
    ramp.close()
    gc.collect()


def test_the_child_holds_nothing(wire: Wire, ramp: Ramp, before: list[str]) -> None:
    with child() as pid:
        assert kernel_objects(pid) == before
        assert len(kernel_objects()) > len(before)
        with datagrams(wire):
            assert claims(ramp)
        ramp.close()
        assert not has_xdp(wire.b)
        with offramp.open("eth0", MATCH) as again, datagrams(wire):
            assert claims(again)


def test_a_child_with_the_same_number_is_told_too(wire: Wire) -> None:
    """Each is process 1 of its PID namespace."""
    command = ["unshare", "--pid", "--fork", sys.executable, str(Path(first.__file__))]
    assert wire.b.host.popen(command).wait(60) == 0
    assert not has_xdp(wire.b)


def test_the_child_is_told(wire: Wire, ramp: Ramp) -> None:
    with child(lambda: nothing_works(ramp)), datagrams(wire):
        assert has_xdp(wire.b)
        assert claims(ramp)
    assert ramp.ledger().exact


def test_the_child_may_open_what_it_likes(lab: Lab, wire: Wire, ramp: Ramp) -> None:
    other = lab.wire(wire.a.host, wire.b.host, neighbours=True)

    def open_other() -> None:
        with offramp.open(other.b.name, MATCH) as mine:
            assert mine.rx(0) is None

    with child(open_other), datagrams(wire):
        assert claims(ramp)
    assert not has_xdp(other.b)


def test_views_stay_readable_in_the_child(wire: Wire, ramp: Ramp) -> None:
    """Packet memory is copied at the fork; what the kernel writes from then on only the parent sees."""
    with datagrams(wire):
        batch = ramp.rx(1.0)
        assert batch is not None
        view, expected = batch[0], bytes(batch[0])

        def check() -> None:
            assert bytes(view) == expected

        with child(check):
            for _ in range(50):
                assert claims(ramp)


@pytest.mark.speed
def test_a_fork_while_threads_receive(wire: Wire) -> None:
    """A lock that a thread of the parent has at that moment stays locked in the child, for ever."""
    received = threading.Event()

    def receive() -> None:
        for _ in live:
            received.set()

    reader = threading.Thread(target=receive)
    with datagrams(wire):
        before = kernel_objects()
        with wire.b.host, offramp.open("eth0", MATCH) as live:
            reader.start()
            for _ in range(20):
                with child(lambda: nothing_works(live)) as pid:
                    assert kernel_objects(pid) == before
                    received.clear()
                    assert received.wait(1.0)
    assert finish(reader)


@pytest.mark.speed
def test_a_fork_while_another_thread_opens_and_closes(wire: Wire, before: list[str]) -> None:
    end = threading.Event()

    def open_and_close() -> None:
        with wire.b.host:
            while not end.is_set():
                with suppress(offramp.InterfaceBusy):  # a child that has not yet let go
                    offramp.open("eth0", MATCH).close()

    opener = threading.Thread(target=open_and_close)
    opener.start()
    try:
        for _ in range(30):
            with child() as pid:
                assert kernel_objects(pid) == before
            time.sleep(0.003)
    finally:
        end.set()
        opener.join()


def test_multiprocessing(wire: Wire, ramp: Ramp, before: list[str]) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=nothing_works, args=(ramp,))
    with datagrams(wire):
        process.start()
        assert claims(ramp)
        process.join(5.0)
    assert process.exitcode == 0
    process.close()


def test_attached_and_forked(wire: Wire, before: list[str]) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard, child(lambda: guard.close()) as pid:
        assert kernel_objects(pid) == before
        assert has_xdp(wire.b)
        guard.close()
        assert not has_xdp(wire.b)


def test_the_parent_ends_before_the_child(wire: Wire) -> None:
    script = (
        "import offramp, os, sys, time\n"
        "ramp = offramp.open('eth0', 'udp')\n"
        "if os.fork() == 0: sys.stdin.read(); os._exit(0)\n"
        "print('forked', flush=True)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = wire.b.host.popen([sys.executable, "-c", script], text=True, **pipes)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "forked\n"
    assert process.wait(5.0) == 0
    assert eventually(lambda: not has_xdp(wire.b))
    assert eventually(lambda: not orphans())
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        assert ramp.rx(0) is None
    process.stdin.close()
    assert process.stdout.read() == ""  # the child, which had it open, has ended
    process.stdout.close()


def test_a_program_that_is_run_inherits_nothing(ramp: Ramp, before: list[str]) -> None:
    process = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert kernel_objects(process.pid) == [name for name in before if name.startswith("pipe")]
    finally:
        process.kill()
        process.wait()
