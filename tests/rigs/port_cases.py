# SPDX-License-Identifier: Apache-2.0
"""What every port must do, written once. A case is given a rig; a folder of tests runs all of them on its ports.

A new port needs a rig of a few lines, and one line where rigs of its kind are listed: docs/adding-a-port.md.
port_faults.py has what happens to packets and calls that meet faults.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from offramp.errors import BatchInUse, Closed, OptionError
from offramp.ports import Batch, Port
from tests.rigs.port_faults import FAULTS
from tests.rigs.port_views import batches, everywhere, ledger, lost
from tests.rigs.ports import DEADLINE, Rig, frame, numbers
from tests.rigs.processes import in_child
from tests.rigs.threads import finish

__all__ = ["CASES", "cases"]


def order_and_wrap_around(rig: Rig) -> None:
    """Packets arrive unchanged and in the order in which they were sent, many times round the rings."""
    count, sizes = 3000, itertools.cycle((60, 61, 590, 1400))
    frames = [frame(number, next(sizes)) for number in range(count)]
    with rig.open(frames, frames=256, ring=64) as port:
        seen: list[bytes] = []
        for batch in batches(port, count):
            assert (batch.length == [len(view) for view in batch]).all()
            seen += map(bytes, batch)
        assert len(seen) + lost(port) == count
        assert not lost(port) or not rig.lossless
        assert numbers(seen) == sorted(set(numbers(seen)))
        assert seen == [frames[number] for number in numbers(seen)]
        assert ledger(port).strays == 0


def nothing_to_read(rig: Rig) -> None:
    """It waits as long as it was told to, or it knows that the stream has ended."""
    with rig.open([]) as port:
        assert port.rx(timeout=0) is None
        start = time.monotonic()
        assert port.rx(timeout=0.1) is None
        assert port.ended or time.monotonic() - start >= 0.1


def a_full_ring(rig: Rig) -> None:
    """What has no room is not accepted; what was accepted is sent exactly once."""
    with rig.open([], frames=256, ring=64) as port:
        frames = [frame(number) for number in range(500)]
        accepted, deadline = 0, time.monotonic() + DEADLINE
        while accepted < len(frames) and time.monotonic() < deadline:
            taken = port.send(frames[accepted:], timeout=0.01)
            assert 0 <= taken <= len(frames) - accepted
            accepted += taken
        assert port.flush(DEADLINE) == 0
        assert (ledger(port).sent, ledger(port).completed) == (500, 500)
        assert everywhere(ledger(port)) == 256


def largest_and_impossible_frames(rig: Rig) -> None:
    """The largest frame is sent; a larger or an empty one is not, and then none of those beside it is."""
    with rig.open([]) as port:
        largest = port.facts.largest_frame
        assert port.facts.sends
        for wrong, complaint in ((bytes(largest + 1), f"has {largest + 1} bytes, .*to {largest}"), (b"", "is empty")):
            with pytest.raises(OptionError, match=f"packet 1 {complaint}"):
                port.send([frame(0), wrong])
        assert ledger(port).sent == 0
        assert port.send(frame(0, min(largest, 1514))) == 1


def close_while_another_thread_reads(rig: Rig) -> None:
    with rig.open([frame(number) for number in range(10)]) as port:
        reader = threading.Thread(target=lambda: [None for _ in port], daemon=True)
        reader.start()
        time.sleep(0.05)
        rig.close(port)
        assert finish(reader, seconds=DEADLINE)
        for attempt in (lambda: port.rx(), lambda: port.send(b"x"), lambda: port.flush()):
            with pytest.raises(Closed, match="the port was closed"):
                attempt()


def the_ledger_outlives_the_port(rig: Rig) -> None:
    """After closing, it is as it was when the port was closed."""
    with rig.open([frame(number) for number in range(10)], frames=256, ring=128) as port:
        held = list(batches(port, 10))
        before = ledger(port)
        rig.close(port)
        del held
        assert ledger(port) == before
        assert (before.received, everywhere(before)) == (10, 256)


def fork(rig: Rig) -> None:
    """The child is refused and can let go. The parent does not notice."""
    frames = [frame(number) for number in range(200)]
    with rig.open(frames, frames=256, ring=128) as port:
        first = next(batches(port, 1))
        view, content = first[0], bytes(first[0])

        def is_refused_and_lets_go() -> None:
            nonlocal view, first
            for attempt in (lambda: port.rx(), lambda: port.send(b"x"), lambda: list(port)):
                with pytest.raises(Closed, match="forked child"):
                    attempt()
            assert bytes(view) == content
            del view, first
            port.close()

        assert in_child(is_refused_and_lets_go) == 0
        seen = len(first) + sum(map(len, batches(port, len(frames) - len(first))))
        assert seen + lost(port) == len(frames)
        assert bytes(view) == content


def views_outlive_the_port(rig: Rig) -> None:
    with rig.open([frame(number) for number in range(5)]) as port:
        batch = next(batches(port, 1))
        view, array = batch[0], np.frombuffer(batch[0], np.uint8)
        ports = batch.udp.dport
        del batch
    del port
    assert bytes(view) == bytes(array) == frame(0)
    assert (ports == 4321).all()


def ledger_sums(rig: Rig) -> None:
    """Each frame is in one place, whatever was received, held, sent on or dropped."""
    with rig.open([frame(number) for number in range(300)], frames=512, ring=128) as port:
        received = sent = 0
        for number, batch in enumerate(batches(port, 300)):
            received += len(batch)
            if number % 2:
                sent += port.tx(batch, np.arange(len(batch)) % 3 == 0)
            assert ledger(port).application >= len(batch) - sent
            assert everywhere(ledger(port)) == 512
        del batch
        assert port.flush(DEADLINE) == 0
        now = ledger(port)
        assert (now.received, now.sent, now.completed, now.application) == (received, sent, sent, 0)


def an_application_that_holds_everything(rig: Rig) -> None:
    frames = [frame(number) for number in range(400)]
    with rig.open(frames, frames=128, ring=64) as port:
        held: list[Batch] = []
        with pytest.raises(BatchInUse):
            held.extend(batches(port, 400))
        assert 128 * 7 // 8 < sum(map(len, held)) <= 128  # the last of them may wait for packets
        held.clear()
        assert next(batches(port, 1))


def a_reader_slower_than_the_writer(rig: Rig) -> None:
    """Nothing is lost, or the ledger has it."""
    count = 1500
    with rig.open([frame(number) for number in range(count)], frames=128, ring=64) as port:
        seen: list[int] = []
        for batch in batches(port, count):
            seen += numbers(list(map(bytes, batch)))
            time.sleep(0.001)
            if len(seen) + lost(port) >= count:
                break
        assert seen == sorted(set(seen))
        now = ledger(port)
        assert now.received == len(seen)
        assert now.received + now.waiting + now.rx_dropped + now.rx_ring_full == count
        assert not rig.lossless or len(seen) == count


def end_of_stream(rig: Rig) -> None:
    """The end is a state: iteration stops, `rx` returns at once, and the port and its ledger say how it ended."""
    with rig.open([frame(number) for number in range(700)]) as port:
        assert port.ended is None
        assert ledger(port).ended is None
        assert sum(len(batch) for batch in port) == 700
        assert port.ended
        assert ledger(port).ended == port.ended
        assert port.rx() is None
        assert list(port) == []
        assert port.discard(DEADLINE) == 0
        assert port.queues[0].rx() is None


def truncated_frames(rig: Rig) -> None:
    """A packet that is larger than its room is either cut, and tells how long it was, or refused."""
    frames = [frame(0), frame(1, 1400), frame(2)]
    if rig.oversized == "refused":
        with pytest.raises(OptionError, match=r"packet 1 .* larger than a frame"), rig.open(frames, frame_size=1024):
            pass
        return
    with rig.open(frames, frame_size=1024) as port:
        seen = {numbers([bytes(view)])[0]: (len(view), length) for view, length in _with_lengths(port)}
        assert seen == {0: (60, 60), 1: (768 if rig.oversized == "cut" else 1400, 1400), 2: (60, 60)}


def _with_lengths(port: Port) -> Iterator[tuple[memoryview, int]]:
    for batch in batches(port, 3):
        yield from zip(batch, batch.length, strict=True)


Case = Callable[[Rig], None]

CASES: tuple[Case, ...] = (
    order_and_wrap_around,
    nothing_to_read,
    a_full_ring,
    largest_and_impossible_frames,
    close_while_another_thread_reads,
    the_ledger_outlives_the_port,
    fork,
    views_outlive_the_port,
    ledger_sums,
    an_application_that_holds_everything,
    a_reader_slower_than_the_writer,
    truncated_frames,
    end_of_stream,
    *FAULTS,
)


def cases(*kinds: type[Rig]) -> Sequence[Any]:
    """For parametrize: each kind of rig with each case that applies to it."""
    names = {case.__name__ for case in CASES}
    assert all(kind.without.keys() <= names for kind in kinds)
    return [
        pytest.param(kind, case, id=f"{kind.__name__.lower()}-{case.__name__}")
        for kind in kinds
        for case in CASES
        if case.__name__ not in kind.without
    ]
