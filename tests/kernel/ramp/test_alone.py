# SPDX-License-Identifier: Apache-2.0
"""Nobody plans, measures or forks while something is half done, and nobody is stopped by the collector."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import offramp
from offramp import journal
from offramp.options import Options
from offramp.ramp.flap import measure
from offramp.ramp.planned import plan_for
from offramp.testing import Wire
from offramp.verdict import Verdict
from tests.rigs.leftovers import has_xdp, kernel_objects
from tests.rigs.processes import piped
from tests.rigs.traffic import MATCH
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: threads, and fork


@contextmanager
def elsewhere(wire: Wire, work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Another thread does it, on the host."""

    def do() -> None:
        with wire.b.host:
            work()

    thread = threading.Thread(target=do)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def test_a_fork_while_another_thread_measures(wire: Wire) -> None:
    """A copy of the link in the child would keep the program on the interface."""
    before = kernel_objects()
    with elsewhere(wire, lambda: measure("eth0")):
        assert eventually(lambda: has_xdp(wire.b))
        pid = os.fork()
        if pid == 0:
            os._exit(kernel_objects() != before)
        assert os.waitpid(pid, 0)[1] == 0
    assert not has_xdp(wire.b)


def test_no_plan_sees_an_interface_that_is_half_made(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    half_made, go_on = threading.Event(), threading.Event()
    transaction = journal.transaction

    def slowly(*arguments: object) -> journal.Transaction:
        half_made.set()
        assert go_on.wait(10)
        return transaction(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "transaction", slowly)

    def plan() -> str:
        with wire.b.host:
            return plan_for("eth0", MATCH, Verdict.CLAIM, Options()).interface

    with elsewhere(wire, lambda: offramp.attach("eth0", MATCH).close()), ThreadPoolExecutor(1) as pool:
        try:
            assert half_made.wait(10)
            planned = pool.submit(plan)
            with pytest.raises(TimeoutError):
                planned.result(0.3)
        finally:
            go_on.set()
        assert planned.result(10) == "eth0"


def test_the_collector_may_come_while_events_are_taken(wire: Wire) -> None:
    """A finalizer that takes them, too, is not locked out."""
    script = (
        "import gc, sys\n"
        "from offramp import _native\n"
        "watch = _native.LinkWatch('eth0', int(sys.argv[1]))\n"
        "class Finalizer:\n"
        "    def __del__(self):\n"
        "        watch.events()\n"
        "def garbage():\n"
        "    it = Finalizer()\n"
        "    it.it = it\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "gc.set_threshold(1)\n"
        "garbage()\n"
        "assert watch.events()\n"
        "watch.close()\n"
    )
    with piped(wire.b.host, "-c", script, str(wire.b.ifindex)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for _ in range(20):
                wire.b.down()
                wire.b.up()
            out, _ = process.communicate("\n", timeout=20)
            assert process.returncode == 0, out
        finally:
            process.kill()
