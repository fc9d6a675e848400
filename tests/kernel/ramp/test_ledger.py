# SPDX-License-Identifier: Apache-2.0
"""No packet is lost silently: the ledger adds up over some ten million packets, whatever goes wrong meanwhile.

what the flood sent and the wire took == seen == protected + passed + stalled + redirect_failed + claimed
claimed == received + waiting + lost;   received is what the application counted
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Self

import numpy as np
import pytest

import offramp
from offramp import DROP
from offramp.errors import BatchInUse, Closed
from offramp.gen.packets import eth, ip, udp
from offramp.ports.batch import Batch
from offramp.ports.port import Port, Queue
from offramp.ramp.attachment import Attachment
from offramp.ramp.ledger import Ledger
from offramp.ramp.ramp import Ramp
from offramp.testing import Flood, Lab, Report, Wire
from tests.generators.corpus import corpus
from tests.rigs.port_views import everywhere
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender, Tap, hush, is_seen_by_taps

MILLION = 1 << 20  # a multiple of 65,536, so that every source port occurs equally often
MATCH = "udp dst port 4321"
HALF = f"{MATCH} and src portrange 0-32767"
ENOUGH = 60.0  # seconds for a flood, on a machine that does other things, too


@pytest.fixture
def wire(lab: Lab) -> Wire:
    wire = lab.wire(lab.host("a"), lab.host("b"))
    hush(wire)
    return wire


def flood(wire: Wire, count: int | None, *, seconds: float = ENOUGH, cpu: int = 0) -> Flood:
    """Datagrams from all source ports in turn."""
    template = eth(ip(udp(sport=0, dport=4321, payload=bytes(18)), src="198.18.0.1", dst=wire.b.ip), dst=wire.b.mac)
    return Flood(wire.a, template, vary="sport", count=count, seconds=seconds, cpu=cpu)


def at_rest(attachment: Attachment, *reports: Report) -> Ledger:
    """The ledger when all that entered the wire has been seen, checked."""
    entered = sum(report.sent - report.refused for report in reports)
    assert eventually(lambda: attachment.ledger().seen >= entered and attachment.ledger().exact), attachment.ledger()
    check(attachment.ledger(), attachment)
    assert attachment.ledger().seen == entered
    return attachment.ledger()


def check(ledger: Ledger, attachment: Attachment) -> None:
    """Everything that holds at rest."""
    to_kernel = ledger.protected + ledger.passed + ledger.early + ledger.stalled + ledger.redirect_failed
    assert ledger.exact
    assert ledger.redirect_lost == 0
    assert ledger.seen == to_kernel + ledger.claimed
    if ledger.queues:
        assert ledger.claimed == ledger.received + ledger.total("waiting") + ledger.lost
    for queue in ledger.queues:
        assert everywhere(queue) == attachment.plan.frames
        assert (queue.strays, queue.rx_invalid, queue.tx_invalid) == (0, 0, 0)


class Reader:
    """Counts in a thread of its own, which ends with the ramp or the context."""

    def __init__(self, queue: Ramp | Queue, slowly: Callable[[], object] = lambda: None) -> None:
        self.packets = 0
        self._queue, self._slowly = queue, slowly
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        with suppress(Closed):
            while not self._end.is_set():
                batch = self._queue.rx(timeout=0.02)
                if batch is not None:
                    self.packets += len(batch)
                    self._slowly()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def drain(ramp: Ramp) -> int:
    """How many packets were waiting."""
    count = 0
    while (batch := ramp.rx(timeout=0)) is not None:
        count += len(batch)
    return count


def open_ramp(wire: Wire, match: str = MATCH, stall: float | None = None, **options: int) -> Ramp:
    with wire.b.host:
        return offramp.open(wire.b.name, match, stall=stall, **options)  # type: ignore[arg-type]


# -- floods ------------------------------------------------------------------------------------------------------------


@pytest.mark.speed
def test_four_million_dropped_in_the_driver(wire: Wire) -> None:
    with wire.b.host:
        guard = offramp.attach(wire.b.name, HALF, DROP)
    with guard, flood(wire, 4 * MILLION) as source:
        ledger = at_rest(guard, source.wait())
    assert (ledger.seen, ledger.claimed, ledger.passed) == (4 * MILLION, 2 * MILLION, 2 * MILLION)
    assert guard.ledger() == ledger  # also when it is closed


@pytest.mark.speed
def test_three_million_received(wire: Wire) -> None:
    with open_ramp(wire) as ramp, Reader(ramp) as reader, flood(wire, 3 * MILLION) as source:
        ledger = at_rest(ramp, source.wait())
        assert eventually(lambda: reader.packets == ramp.ledger().received and not ramp.ledger().total("waiting"))
        ledger = at_rest(ramp, source.wait())
    assert ledger.seen == ledger.claimed == reader.packets + ledger.lost == 3 * MILLION
    assert reader.packets > 0


@pytest.mark.speed
def test_three_million_of_which_a_slow_reader_loses_most(wire: Wire) -> None:
    """The rings overflow, and that is counted; half of the packets are none of the ramp's business."""
    with open_ramp(wire, HALF, ring=64, frames=256) as ramp:
        with Reader(ramp, slowly=lambda: time.sleep(0.005)) as reader, flood(wire, 3 * MILLION) as source:
            report = source.wait()
        ledger = at_rest(ramp, report)
        assert ledger.lost > MILLION
        assert ledger.total("rx_ring_full") + ledger.total("rx_dropped") == ledger.lost
        assert reader.packets == ledger.received > 0
        assert drain(ramp) == ledger.total("waiting")
        ledger = at_rest(ramp, report)
    assert ledger.passed == report.sent // 2
    assert ledger.received + ledger.lost + ledger.passed == report.sent == 3 * MILLION


@pytest.mark.speed
def test_a_million_at_two_queues_at_once(lab: Lab) -> None:
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("a flood for each of two queues needs two CPUs")
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2)
    hush(wire)
    with ExitStack() as stack:
        ramp = stack.enter_context(open_ramp(wire))
        readers = [stack.enter_context(Reader(queue)) for queue in ramp.queues]
        sources = [stack.enter_context(flood(wire, MILLION // 2, cpu=cpu)) for cpu in cpus]
        for source in sources:
            source.wait()
        assert eventually(lambda: ramp.ledger().seen == MILLION - refused(wire))
        assert eventually(lambda: ramp.ledger().exact and not ramp.ledger().total("waiting"))
        ledger = ramp.ledger()
        check(ledger, ramp)
    assert [queue.received for queue in ledger.queues] == [reader.packets for reader in readers]
    assert all(reader.packets > 0 for reader in readers)


def refused(wire: Wire) -> int:
    """By the receiving end's ring."""
    return wire.a.stats()["tx_dropped"]


def test_a_reader_that_stalls_and_comes_back(wire: Wire) -> None:
    with open_ramp(wire, stall=0.1) as ramp, flood(wire, None) as source:
        assert eventually(lambda: ramp.ledger().stalled > 10_000)
        for _ in range(100):
            batch = ramp.rx(timeout=10)  # it is back, and has the flow again
            assert batch is not None
            del batch
        report = source.stop()
        drain(ramp)
        ledger = at_rest(ramp, report)
    assert ledger.stalled > 10_000
    assert 0 < ledger.received == ledger.claimed - ledger.lost


@pytest.mark.speed
def test_closing_in_the_middle_of_a_flood(wire: Wire) -> None:
    for _ in range(5):
        with flood(wire, None) as source, open_ramp(wire) as ramp, Reader(ramp) as reader:
            assert eventually(lambda reader=reader: reader.packets > 20_000)  # type: ignore[misc]
            ramp.close()
            final = ramp.ledger()
            assert source.running
        check(final, ramp)
        assert final == ramp.ledger()
        assert final.received == reader.packets


def test_a_live_ledger_is_never_ahead_of_itself(wire: Wire) -> None:
    """Packets in flight are missing from it; none is there twice."""
    with open_ramp(wire) as ramp, Reader(ramp), flood(wire, None) as source:
        for _ in range(300):
            ledger = ramp.ledger()
            assert ledger.redirect_lost >= 0
            assert all(everywhere(queue) == 4096 for queue in ledger.queues)
        at_rest(ramp, source.stop())


def test_holding_everything_under_a_flood_and_letting_go(wire: Wire) -> None:
    with open_ramp(wire, frames=512, ring=256) as ramp, flood(wire, None) as source:
        held: list[Batch] = []
        with pytest.raises(BatchInUse, match="of 512 frames"):
            hold_all(ramp, held)
        assert ramp.ledger().total("application") == sum(map(len, held)) > 256
        copies = [[bytes(view) for view in batch] for batch in held]
        assert eventually(lambda: ramp.ledger().lost > 10_000)
        assert [[bytes(view) for view in batch] for batch in held] == copies
        received = sum(map(len, held))
        held.clear()
        while received < 20_000:
            batch = ramp.rx(timeout=10)
            assert batch is not None
            received += len(batch)
            del batch
        report = source.stop()
        received += drain(ramp)
        ledger = at_rest(ramp, report)
    assert ledger.received == received
    assert ledger.total("application") == 0


def hold_all(ramp: Ramp, held: list[Batch]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        batch = ramp.rx(timeout=1)
        if batch is not None:
            held.append(batch)


# -- sending -----------------------------------------------------------------------------------------------------------


def parts(frames: list[bytes], size: int = 200) -> Iterator[list[bytes]]:
    """A veth's ring has 256 places, and what does not fit it is dropped."""
    return (frames[start : start + size] for start in range(0, len(frames), size))


def test_what_is_sent_arrives_exactly_once(wire: Wire) -> None:
    frames = list(filter(is_seen_by_taps, corpus(11, 4000)))
    seen = []
    with open_ramp(wire, "") as ramp, Tap(wire.a) as tap:
        for part in parts(frames):
            assert ramp.send(part) == len(part)
            assert ramp.flush() == 0
            seen += tap.take(len(part))
        ledger = ramp.ledger()
        check(ledger, ramp)
    assert seen == frames
    assert (ledger.total("sent"), ledger.total("completed"), ledger.total("sending")) == (len(frames), len(frames), 0)


@pytest.mark.filterwarnings("ignore:.*nothing is protected")
def test_what_is_echoed_comes_back_exactly_once(wire: Wire) -> None:
    frames = list(filter(is_seen_by_taps, corpus(12, 4000)))
    back = []
    with open_ramp(wire, "", protect=False) as ramp, Tap(wire.a) as tap, Sender(wire.a) as send:
        for part in parts(frames):
            send(part)
            left = len(part)
            while left:
                batch = ramp.rx(timeout=10)
                assert batch is not None
                batch.swap_addresses()
                assert ramp.tx(batch) == len(batch)
                left -= len(batch)
            assert ramp.flush() == 0
            back += tap.take(len(part))
        ledger = ramp.ledger()
        check(ledger, ramp)
    assert back == turned(frames)
    assert ledger.received == ledger.total("sent") == ledger.total("completed") == len(frames)
    assert ledger.total("application") == ledger.total("sending") == 0


def turned(frames: list[bytes]) -> list[bytes]:
    """The frames with their addresses swapped, in memory."""
    swapped: list[bytes] = []
    with Port.null(frames, frames=4096) as port:
        while len(swapped) < len(frames):
            batch = port.rx(timeout=1)
            assert batch is not None
            batch.swap_addresses()
            swapped += map(bytes, batch)
    return swapped[: len(frames)]


def test_a_ramp_at_each_end(wire: Wire) -> None:
    """One sends and counts what comes back, the other echoes it, but for every fourth packet, which it keeps."""
    count, returned = 20_000, 0
    packet = eth(ip(udp(sport=1, dport=4321, payload=b"to and fro"), src="198.18.0.1", dst="198.18.0.2"))
    with wire.a.host:
        client = offramp.open(wire.a.name, "udp src port 4321", stall=None)
    with client, open_ramp(wire) as server, Echo(server) as echo:
        for part in parts([packet] * count):
            assert client.send(part) == len(part)
            goal = returned + len(part) * 3 // 4
            while returned < goal:
                batch = client.rx(timeout=10)
                assert batch is not None
                assert (batch.udp.sport == 4321).all()
                returned += len(batch)
                del batch
        assert (client.flush(), server.flush()) == (0, 0)
        for ramp in (client, server):
            assert eventually(lambda ramp=ramp: ramp.ledger().exact)  # type: ignore[misc]
            check(ramp.ledger(), ramp)
        sent, received = server.ledger().total("sent"), server.ledger().received
    assert (received, sent, returned) == (count, count * 3 // 4, count * 3 // 4)
    assert echo.failure is None


class Echo(Reader):
    """Sends back three of four packets."""

    failure: AssertionError | None = None

    def _read(self) -> None:
        seen = 0
        with suppress(Closed):
            while not self._end.is_set():
                batch = self._queue.rx(timeout=0.02)
                if batch is None:
                    continue
                kept = (np.arange(seen, seen + len(batch)) % 4) == 3
                batch.swap_addresses()
                assert isinstance(self._queue, Ramp)
                if self._queue.tx(batch, ~kept) != (~kept).sum():
                    self.failure = AssertionError("not everything was accepted")
                seen += len(batch)
