# SPDX-License-Identifier: Apache-2.0
"""Ports, tested on the null port: waiting, threads, closing, Ctrl-C, and impossible arguments."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from offramp.errors import Closed, OptionError
from offramp.ports.port import Port
from tests.generators.frames import FRAMES, ledger, only
from tests.rigs.port_views import everywhere
from tests.rigs.ports import DEADLINE
from tests.rigs.threads import finish

# -- waiting, threads, closing -----------------------------------------------------------------------------------------


def test_not_waiting_and_waiting_for_a_while() -> None:
    port = Port.null()
    start = time.monotonic()
    assert port.rx(timeout=0) is None
    assert time.monotonic() - start < DEADLINE
    assert port.rx(timeout=0.05) is None
    assert time.monotonic() - start >= 0.05
    assert port.queues[0].rx(timeout=0) is None


def test_discarding() -> None:
    port = Port.null(FRAMES)
    packets = port.discard(0.02)
    assert packets == ledger(port).received > 0
    assert ledger(port).application == 0
    assert Port.null().discard(0) == 0


@pytest.mark.parametrize("packets", [[], FRAMES], ids=["idle", "busy"])
def test_iteration_ends_when_another_thread_closes(packets: list[bytes]) -> None:
    port = Port.null(packets)
    reader = threading.Thread(target=lambda: [None for _ in port], daemon=True)
    reader.start()
    time.sleep(0.05)
    assert reader.is_alive()
    port.close()
    assert finish(reader, seconds=DEADLINE)


def test_a_thread_for_each_queue() -> None:
    port = Port.null(FRAMES, queues=3)
    counts, places = [0, 0, 0], set()

    def read(place: int) -> None:
        for batch in port.queues[place]:
            counts[place] += len(batch)
            places.add((place, batch.queue))
            assert batch.eth.present.all()
            with contextlib.suppress(Closed):  # between the last batch and this
                assert port.queues[place].send(batch[0]) == 1

    readers = [threading.Thread(target=read, args=(place,), daemon=True) for place in range(3)]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + DEADLINE
    while min(counts) < 5000 and time.monotonic() < deadline:
        time.sleep(0.01)
    ledgers_live = port.ledgers()
    port.close()
    assert finish(*readers, seconds=DEADLINE)
    assert min(counts) >= 5000
    assert places == {(0, 0), (1, 1), (2, 2)}
    assert all(everywhere(queue) == 4096 for queue in ledgers_live)


def test_all_queues_have_their_turn() -> None:
    port = Port.null(FRAMES, queues=2)
    turns = [batch.queue for batch, _ in zip(port, range(10), strict=False)]
    assert turns == [0, 1] * 5


def test_one_queue_in_two_threads_loses_nothing() -> None:
    port = Port.null(FRAMES)
    counts, enough = [0, 0], threading.Event()

    def read(place: int) -> None:
        for batch in port:
            counts[place] += len(batch)
            if enough.is_set():
                return

    readers = [threading.Thread(target=read, args=(place,), daemon=True) for place in range(2)]
    for reader in readers:
        reader.start()
    time.sleep(0.1)
    enough.set()
    assert finish(*readers, seconds=DEADLINE)
    assert ledger(port).received == sum(counts)
    assert min(counts) > 0


def test_after_closing() -> None:
    port, batch = only()
    queue = port.queues[0]
    port.close()
    port.close()
    attempts: tuple[Callable[[], object], ...] = (
        lambda: port.rx(),
        lambda: port.rx(timeout=0),
        lambda: list(port),
        lambda: list(queue),
        lambda: port.__enter__(),
        lambda: queue.rx(),
        lambda: port.tx(batch),
        lambda: port.send(b"x"),
        lambda: port.flush(),
        lambda: queue.zero_copy,
    )
    for attempt in attempts:
        with pytest.raises(Closed, match="the port was closed"):
            attempt()


INTERRUPTED = """
import sys, time
from offramp.ports import Port
port = Port.null()
print("waiting", flush=True)
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    "wait", ["port.rx()", "port.rx(timeout=60)", "[None for _ in port]", "port.queues[0].rx()", "port.discard(60)"]
)
def test_control_c_is_prompt(wait: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED.format(wait=wait)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        try:
            assert waiting.stdout.readline() == "waiting\n"
            time.sleep(0.1)
            os.kill(waiting.pid, signal.SIGINT)
            output, _ = waiting.communicate(timeout=DEADLINE)
            assert (output, waiting.returncode) == ("interrupted\n", 0)
        finally:
            waiting.kill()


def test_an_empty_frame_is_refused_and_nothing_is_lost() -> None:
    """The kernel would keep it for ever."""
    with Port.null() as port:
        with pytest.raises(OptionError, match="packet 1 is empty: not from 1 to 2048 bytes"):
            port.send([bytes(60), b""])
        assert port.send([bytes(60)]) == 1
        assert port.flush() == 0


# -- wrong arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ring": 3}, "ring=3: not a power of two"),
        ({"ring": 0}, "ring=0: not a power of two"),
        ({"frame_size": 1000}, "frame_size=1000: not a power of two"),
        ({"frame_size": -2048}, "frame_size=-2048: not a power of two"),
        ({"queues": 0}, "queues=0: not from 1 to 1024"),
        ({"frames": 0}, "frames=0: not from 1 to 1048576"),
        ({"frames": -1}, "frames=-1: not from 1 to 1048576"),
        ({"frames": 1 << 40}, "frames=1099511627776: not from 1 to 1048576"),
        ({"ring": "2048"}, "ring='2048': not a whole number"),
        ({"ring": 1 << 40}, "ring=1099511627776: not a power of two up to 65536"),
        (
            {"frame_size": 512},
            "null: packet 0 has 1000 bytes, larger than a frame of the packet memory: not from 0 to 256",
        ),
    ],
)
def test_ports_that_cannot_be(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OptionError) as caught:
        Port.null([bytes(1000)], **options)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("packets", [100, [100], b"one packet", "text", ["text"], None])
def test_packets_that_cannot_be(packets: Any) -> None:
    with pytest.raises(OptionError, match=r"packets=.*: not a list of packets, each of them bytes"):
        Port.null(packets)


def test_packets_that_are_no_batch_cannot_be_sent_on() -> None:
    for wrong in (None, 7, [bytes(60)]):
        with pytest.raises(OptionError, match="not a Batch"):
            Port.null().tx(wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="queue='0': not a whole number"):
        Port.null().send(b"x", queue="0")  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf"), 1e300, "1", [], 1j])
def test_times_that_cannot_be(seconds: Any) -> None:
    port, batch = only()
    attempts = (
        lambda: port.rx(timeout=seconds),
        lambda: port.queues[0].rx(seconds),
        lambda: port.tx(batch, timeout=seconds),
        lambda: port.send(b"x", timeout=seconds),
        lambda: port.flush(seconds),
        lambda: port.discard(seconds),
    )
    for attempt in attempts:
        with pytest.raises(OptionError, match=r"a wait of .*seconds"):
            attempt()


@pytest.mark.parametrize("seconds", [1e6, 1e15])
def test_long_times(seconds: float) -> None:
    port, batch = only()
    assert port.rx(timeout=seconds) is not None
    assert port.send(b"x", timeout=seconds) == 1
    assert port.tx(batch, timeout=seconds) == len(batch)
    assert port.flush(timeout=seconds) == 0


@pytest.mark.parametrize("queue", [1, -1, 1 << 40])
def test_queues_that_are_not_there(queue: int) -> None:
    with pytest.raises(OptionError, match=f"queue {queue}: the port has queues 0 to 0"):
        Port.null().send(b"x", queue=queue)
