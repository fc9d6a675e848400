# SPDX-License-Identifier: Apache-2.0
"""Opening and closing leaves nothing behind, however often, from any thread, even if the user forgets to close."""

from __future__ import annotations

import errno
import gc
import re
import resource
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

import offramp
from offramp.bpf import Map
from offramp.errors import Closed, InterfaceBusy, KernelError, NotSupported
from offramp.ramp.interface import Interface
from offramp.ramp.ramp import Ramp
from offramp.testing import Lab, Wire
from tests.rigs.bytecode import load
from tests.rigs.leftovers import has_xdp, orphans, usage
from tests.rigs.threads import finish
from tests.rigs.traffic import MATCH, claims, datagrams

pytestmark = [pytest.mark.speed, pytest.mark.usefixtures("nothing_is_left")]  # thousands of rounds

ROUNDS = 1000
UMEM = 8 << 10  # KiB, of one queue by default


def test_a_warning_that_the_user_has_made_an_error_is_told_when_all_is_closed(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Interface, "give_back", lambda *_: ["mtu: not back"])
    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("error")
        ramp = offramp.open("eth0", MATCH)
        with pytest.raises(offramp.OfframpWarning, match="mtu: not back"):
            ramp.close()
        assert not has_xdp(wire.b)
        assert ramp.ledger().known
        assert [event.kind for event in ramp.events] == ["not-given-back"]
        monkeypatch.undo()
        with offramp.open("eth0", MATCH):  # the lock and the queues are free
            pass


def test_what_is_left_is_found(wire: Wire) -> None:
    """These tests would notice: a program that was attached by netlink outlives its descriptor."""
    with wire.b.host.netlink() as route:
        with load(name="offramp_left") as program:
            route.link("set", index=wire.b.ifindex, xdp_fd=program.fd)
            identity = program.id
        assert ("prog_id", identity) in orphans()
        route.link("set", index=wire.b.ifindex, xdp_fd=-1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_a_thousand_rounds(wire: Wire, opening: Callable[[str, str], Ramp]) -> None:
    rounds = ROUNDS if opening is offramp.open else ROUNDS // 10
    with wire.b.host:
        for _ in range(20):
            opening("eth0", MATCH).close()
        gc.collect()
        before = usage()
        for _ in range(rounds):
            opening("eth0", MATCH).close()
        gc.collect()
        after = usage()
    assert (after.descriptors, after.threads) == (before.descriptors, before.threads)
    assert after.mappings <= before.mappings + 2  # the allocator's own
    assert after.resident <= before.resident + UMEM
    assert after.size <= before.size + 2 * UMEM


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_rounds_with_traffic(wire: Wire) -> None:
    with wire.b.host, datagrams(wire):
        for _ in range(20):
            offramp.open("eth0", MATCH).close()
        before = usage()
        for _ in range(10 * ROUNDS):
            with offramp.open("eth0", MATCH) as ramp:
                assert claims(ramp)
        after = usage()
    assert after.descriptors == before.descriptors
    assert after.resident <= before.resident + 4 * UMEM


def test_failures_leave_nothing(wire: Wire) -> None:
    with wire.b.host:
        before = usage().descriptors
        for _ in range(10):
            with pytest.raises(NotSupported):
                offramp.open("eth0", MATCH, copying="zero-copy")
        with offramp.attach("eth0", MATCH):
            for _ in range(10):
                with pytest.raises(InterfaceBusy):
                    offramp.open("eth0", MATCH, mode="generic")
                with pytest.raises(NotSupported):
                    offramp.open("eth0", MATCH, copying="zero-copy")
        assert usage().descriptors == before


# -- close -------------------------------------------------------------------------------------------------------------


def test_closed_twice(wire: Wire) -> None:
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        ramp.close()
        ramp.close()
        assert ramp.closed
        assert ramp.ledger().exact
        for attempt in (
            lambda: ramp.rx(0),
            lambda: ramp.send(bytes(60)),
            lambda: ramp.queues[0].rx(0),
            lambda: iter(ramp),
            lambda: iter(ramp.queues[0]),
            lambda: ramp.__enter__(),
        ):
            with pytest.raises(Closed):
                attempt()


def test_closed_when_the_counters_cannot_be_read(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed all the same, and its ledger does not pretend to know."""

    def fails(_: Map) -> None:
        raise KernelError("reading the counters", errno.ENOMEM)

    with wire.b.host:
        ramp = offramp.open("eth0", MATCH)
        monkeypatch.setattr(Map, "sum", fails)
        with pytest.raises(KernelError, match="ENOMEM"):
            ramp.close()
    assert ramp.closed
    assert not has_xdp(wire.b)
    assert (ramp.ledger().known, ramp.ledger().exact) == (False, False)
    assert str(ramp.ledger()).startswith("unknown")


@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_closed_when_no_descriptor_is_left(wire: Wire, opening: Callable[[str, str], Ramp]) -> None:
    """The program is detached first, whatever else fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with wire.b.host:
        ramp = opening("eth0", MATCH)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with suppress(KernelError, OSError):
                ramp.close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not has_xdp(wire.b)
        ramp.close()
        opening("eth0", MATCH).close()  # the lock is free


def read_all(ramp: Ramp) -> None:
    with suppress(Closed):  # before it began
        list(ramp)


def test_closed_while_another_thread_receives(wire: Wire) -> None:
    with wire.b.host:
        for wait in (0.0, 0.01, 0.2):
            ramp = offramp.open("eth0", MATCH)
            reader = threading.Thread(target=read_all, args=(ramp,))
            reader.start()
            time.sleep(wait)
            ramp.close()
            assert not has_xdp(wire.b)
            assert finish(reader)


def test_closed_by_many_threads_at_once(wire: Wire) -> None:
    """While others read the ledger: none of them sees an error, and all see the same in the end."""
    errors: list[BaseException] = []

    def look(ramp: Ramp) -> None:
        while not ramp.closed:
            ramp.ledger()

    def guarded(work: Callable[[Ramp], object]) -> Callable[[Ramp], None]:
        def run(ramp: Ramp) -> None:
            try:
                work(ramp)
            except BaseException as error:
                errors.append(error)

        return run

    with wire.b.host, datagrams(wire):
        for _ in range(10):
            ramp = offramp.open("eth0", MATCH)
            work = [guarded(each) for each in (look, look, Ramp.close, Ramp.close)]
            threads = [threading.Thread(target=each, args=(ramp,)) for each in work]
            for thread in threads:
                thread.start()
            assert finish(*threads, seconds=8.0)
    assert errors == []


def test_a_thread_for_each_queue(lab: Lab) -> None:
    """One of them raises: the others go on, until the ramp is closed."""
    wire = lab.wire(lab.host("c"), lab.host("d"), queues=4, neighbours=True)
    raised, received = threading.Event(), threading.Event()

    def handle(place: int) -> None:
        for _ in ramp.queues[place]:
            if not raised.is_set():
                raised.set()
                raise ValueError("the handler's own")
            received.set()

    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        readers = [threading.Thread(target=handle, args=(place,)) for place in (0, 1, 2, 3) * 2]  # two for each
        with pytest.MonkeyPatch.context() as patch, datagrams(wire):
            patch.setattr(threading, "excepthook", lambda report: None)
            for reader in readers:
                reader.start()
            assert raised.wait(1.0)
            assert received.wait(1.0)
    assert finish(*readers, seconds=8.0)
    assert ramp.ledger().exact


# -- forgotten ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [offramp.open, offramp.attach])
def test_forgotten(wire: Wire, opening: Callable[[str, str], Ramp]) -> None:
    with wire.b.host:
        ramp = opening("eth0", MATCH)
        assert has_xdp(wire.b)
        with pytest.warns(ResourceWarning, match=r"<\w+ \w+ on eth0, native: udp dst port 4321> was never closed"):
            del ramp
        assert not has_xdp(wire.b)


@pytest.mark.parametrize("opening", ["open", "attach"])
def test_forgotten_until_the_end_of_the_process(wire: Wire, opening: str) -> None:
    """One warning, not one for each map and link of it."""
    code = f"import offramp; ramp = offramp.{opening}('eth0', 'udp dst port 4321')"
    run = wire.b.host.run([sys.executable, "-X", "dev", "-c", code])
    assert run.stderr.count("ResourceWarning") == 1
    assert re.search(r"<\w+ \w+ on eth0, native: udp dst port 4321> was never closed", run.stderr)
    assert not has_xdp(wire.b)


def test_forgotten_in_a_cycle(wire: Wire) -> None:
    class Application:
        def __init__(self) -> None:
            self.me = self
            self.ramp = offramp.open("eth0", MATCH)

    with wire.b.host:
        Application()
        assert has_xdp(wire.b)
        with pytest.warns(ResourceWarning, match="was never closed"):
            gc.collect()
        assert not has_xdp(wire.b)


def test_forgotten_with_its_readers(wire: Wire) -> None:
    """Threads that have only a queue are not left to wait for ever."""
    with wire.b.host:
        ramp = offramp.open("eth0", MATCH)
        reader = threading.Thread(target=list, args=(ramp.queues[0],))
        reader.start()
        with pytest.warns(ResourceWarning, match="was never closed"):
            del ramp
        assert finish(reader)


def test_a_loop_keeps_its_ramp(wire: Wire) -> None:
    """`for batch in offramp.open(...)`: there is no other reference to the ramp than the loop's."""

    def loop() -> None:
        for number, batch in enumerate(offramp.open("eth0", MATCH)):
            assert len(batch)
            if number == 5:
                return

    with wire.b.host, datagrams(wire), pytest.warns(ResourceWarning, match="was never closed"):
        loop()


# -- packets that outlive their ramp -----------------------------------------------------------------------------------


def test_views_outlive_the_ramp(wire: Wire) -> None:
    """And the memory goes with the last of them."""
    frames = 1 << 14  # 32 MiB: nobody else maps that much meanwhile
    with wire.b.host, datagrams(wire), offramp.open("eth0", MATCH, frames=frames) as ramp:
        batch = ramp.rx(1.0)
        assert batch is not None
        views, contents, ports = [batch[0], batch[-1]], bytes(batch[0]), batch.udp.dport
        half = batch.select([True] * len(batch))
    whole = usage().size
    assert bytes(views[0]) == contents
    assert bytes(half[0]) == contents
    del batch, half
    assert bytes(views.pop(0)) == contents
    assert usage().size == pytest.approx(whole, abs=UMEM)
    assert len(bytes(views.pop())) == len(contents)
    assert usage().size == pytest.approx(whole - frames * 2, abs=UMEM)
    assert (ports == 4321).all()


def test_a_closed_ramp_is_not_kept_by_its_views(wire: Wire) -> None:
    with wire.b.host, datagrams(wire), offramp.open("eth0", MATCH) as ramp:
        batch = ramp.rx(1.0)
        assert batch is not None
        view = batch[0]
    gone = weakref.ref(ramp)
    del ramp, batch
    gc.collect()
    assert gone() is None
    assert len(view)
