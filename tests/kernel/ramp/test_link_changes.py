# SPDX-License-Identifier: Apache-2.0
"""What happens to the interface while a ramp is open: its reader is told within a second, and closing always works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

import offramp
from offramp.errors import InterfaceDown, InterfaceGone, OfframpError
from offramp.ramp.ramp import Ramp
from offramp.testing import Flood, Host, Lab, Wire
from tests.rigs.leftovers import has_xdp, kernel_objects, orphans
from tests.rigs.traffic import MATCH, claims, datagrams, frame
from tests.rigs.waiting import eventually


def end_namespace(lab: Lab, wire: Wire) -> None:
    """Of the other end, and that with it."""
    away = lab.host("c")
    wire.a.move_to(away)
    away.close()


AWAY: dict[str, Callable[[Lab, Wire], None]] = {
    "removed": lambda lab, wire: wire.b.delete(),
    "peer removed": lambda lab, wire: wire.a.delete(),
    "moved": lambda lab, wire: wire.b.move_to(lab.host("c")),
    "namespace of the peer ended": end_namespace,
}


@pytest.fixture
def ramp(wire: Wire) -> Iterator[Ramp]:
    before = kernel_objects()
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        yield ramp
    assert ramp.ledger().exact
    assert kernel_objects() == before
    assert eventually(lambda: not orphans())


def raises(expected: type[Exception], receive: Callable[[], object], within: float = 1.0) -> bool:
    """Whether `receive`, called again and again, raises it in time, and nothing else before."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            receive()
        except expected:
            return True
    return False


def test_down_and_up_again(wire: Wire, ramp: Ramp) -> None:
    with datagrams(wire):
        assert claims(ramp)
        wire.b.down()
        assert raises(InterfaceDown, lambda: ramp.rx(1.0))
        assert raises(InterfaceDown, lambda: ramp.rx(1.0))
        with pytest.raises(InterfaceDown):
            ramp.send(frame(wire))
        wire.b.up()
        assert claims(ramp, 2.0)
    assert ramp.send(frame(wire)) == 1
    assert ramp.flush() == 0


def test_set_down_while_a_reader_sleeps(wire: Wire, ramp: Ramp) -> None:
    """Not only the next `rx`: the one that waits is woken."""
    down = threading.Timer(0.2, wire.b.down)
    down.start()
    start = time.monotonic()
    with pytest.raises(InterfaceDown, match="is down"):
        ramp.rx(5.0)
    down.join()
    assert time.monotonic() - start < 3


def test_down_when_nobody_looked(wire: Wire, ramp: Ramp) -> None:
    """Down and up between two looks is no event: traffic goes on."""
    with datagrams(wire):
        wire.b.down()
        wire.b.up()
        assert claims(ramp, 2.0)


def test_a_peer_that_is_down_is_only_silence(wire: Wire, ramp: Ramp) -> None:
    wire.a.down()
    assert ramp.rx(0.3) is None
    wire.a.up()
    with datagrams(wire):
        assert claims(ramp, 2.0)


@pytest.mark.parametrize("event", AWAY)
def test_gone(lab: Lab, wire: Wire, ramp: Ramp, event: str) -> None:
    with datagrams(wire):
        assert claims(ramp)
        AWAY[event](lab, wire)
        assert raises(InterfaceGone, lambda: ramp.rx(1.0))
    for attempt in (lambda: ramp.rx(0.5), lambda: ramp.send(bytes(60)), lambda: ramp.queues[0].rx(0.5)):
        assert raises(InterfaceGone, attempt)
    ramp.close()
    ramp.close()


def until_it_ends(work: Callable[[], object]) -> type[Exception] | None:
    """The error that ends it."""
    try:
        while True:
            work()
    except OfframpError as error:
        return type(error)


AT_WORK: dict[str, Callable[[Ramp, bytes], Callable[[], object]]] = {
    "reading": lambda ramp, frame: lambda: [None for _ in ramp],
    "waiting": lambda ramp, frame: ramp.rx,
    "polling": lambda ramp, frame: lambda: ramp.rx(0),
    "sending": lambda ramp, frame: lambda: ramp.send(frame),
    "flushing": lambda ramp, frame: lambda: (ramp.send(frame), ramp.flush()),
}


def removed_at_work(event: str, work: str, rounds: int) -> None:
    """An interface is down for a moment before it is gone, and nobody is told that it is down."""
    for number in range(rounds):
        with Lab() as lab:
            wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
            with ExitStack() as stack:
                stack.enter_context(wire.b.host)
                ramp = stack.enter_context(offramp.open("eth0", MATCH))
                if work == "reading":
                    stack.enter_context(datagrams(wire))
                told = stack.enter_context(ThreadPoolExecutor(1)).submit(
                    until_it_ends, AT_WORK[work](ramp, frame(wire))
                )
                time.sleep(0.003 * (number % 7))
                AWAY[event](lab, wire)
                assert told.result(5.0) is InterfaceGone, number


@pytest.mark.parametrize("work", AT_WORK)
@pytest.mark.parametrize("event", AWAY)
def test_what_is_removed_is_gone_and_never_down(event: str, work: str) -> None:
    removed_at_work(event, work, rounds=2)


@pytest.mark.soak
@pytest.mark.parametrize("work", AT_WORK)
@pytest.mark.parametrize("event", AWAY)
def test_what_is_removed_is_gone_fifty_times(event: str, work: str) -> None:
    removed_at_work(event, work, rounds=50)


def test_gone_while_every_queue_has_a_reader(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=3)
    with wire.b.host, offramp.open("eth0", MATCH) as ramp, ThreadPoolExecutor() as readers:
        told = [readers.submit(raises, InterfaceGone, partial(queue.rx, 1.0), 2.0) for queue in ramp.queues]
        time.sleep(0.1)
        wire.b.delete()
        assert [each.result(2.0) for each in told] == [True] * 3


def test_moved_under_flood(lab: Lab, wire: Wire) -> None:
    """The program goes along with the interface, the sockets do not; after the close it is gone there, too."""
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        with Flood(wire.a, frame(wire), rate=50_000):
            assert claims(ramp)
            away = lab.host("c")
            wire.b.move_to(away)
            assert raises(InterfaceGone, lambda: ramp.rx(1.0))
        assert runs_xdp(away)
    assert not runs_xdp(away)
    assert ramp.ledger().exact


def test_attached_and_down(wire: Wire) -> None:
    """It has no reader to be told; the program stays where it is, and acts again when the interface is up."""
    with wire.b.host, offramp.attach("eth0", MATCH) as guard, datagrams(wire):
        wire.b.down()
        before = guard.ledger().claimed
        wire.b.up()
        assert eventually(lambda: guard.ledger().claimed > before)


def test_renamed(wire: Wire, ramp: Ramp) -> None:
    """To be renamed, an interface may have to be down for a moment: then that is all that a reader is told."""
    with datagrams(wire):
        assert claims(ramp)
        wire.b.down()
        wire.b.host.run(["ip", "link", "set", "eth0", "name", "wan0"])
        assert raises(InterfaceDown, lambda: ramp.rx(1.0))
        wire.b.up()
        assert claims(ramp, 2.0)


def test_renamed_at_any_moment(wire: Wire, ramp: Ramp) -> None:
    """Flags are asked by name: whoever looks between two names must not take the interface for removed."""
    done = threading.Event()

    def rename() -> None:
        with wire.b.host.netlink() as route:
            index, name = wire.b.ifindex, "eth0"
            while not done.is_set():
                name = "wan0" if name == "eth0" else "eth0"
                route.link("set", index=index, ifname=name)

    wire.b.down()
    with ThreadPoolExecutor(1) as threads:
        renaming = threads.submit(rename)
        try:
            until = time.monotonic() + 4  # some thousand times, on a fast machine
            while time.monotonic() < until:
                with pytest.raises(InterfaceDown):
                    ramp.rx(1.0)
        finally:
            done.set()
        renaming.result()
    wire.b.up()
    with datagrams(wire):
        assert claims(ramp, 2.0)


def test_attached_and_removed(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        wire.b.delete()
        assert guard.ledger().exact
    assert eventually(lambda: not orphans())


def test_attached_and_moved(lab: Lab, wire: Wire) -> None:
    away = lab.host("c")
    with wire.b.host, offramp.attach("eth0", MATCH):
        wire.b.move_to(away)
        assert runs_xdp(away)
    assert not runs_xdp(away)


def test_other_interfaces_do_not_matter(lab: Lab, wire: Wire, ramp: Ramp) -> None:
    other = lab.wire(wire.a.host, wire.b.host)
    other.b.down()
    other.b.delete()
    with datagrams(wire):
        assert claims(ramp)
    assert has_xdp(wire.b)


def runs_xdp(host: Host) -> bool:
    """As the administrator sees it; in another namespace the interface may have another number."""
    return "xdp" in host.run(["ip", "link", "show", "eth0"]).stdout
