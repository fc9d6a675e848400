# SPDX-License-Identifier: Apache-2.0
"""Ports by name: `offramp.open_port`, what it refuses, loop:, the registry, and what wrappers do."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offramp
from offramp import _native
from offramp.errors import Closed, NoSuchInterface, OptionError
from offramp.ports import Facts, Port, QueueLedger, open_port
from tests.generators.frames import FRAMES, ledger, only
from tests.rigs.ports import DEADLINE, frame, numbers
from tests.rigs.threads import finish


def received(port: Port) -> list[bytes]:
    """What is there now."""
    batch = port.rx(timeout=0)
    return [] if batch is None else [bytes(view) for view in batch]


# -- names -------------------------------------------------------------------------------------------------------------


def test_it_is_public() -> None:
    assert offramp.open_port is open_port


@pytest.mark.parametrize(
    ("uri", "options", "complaint"),
    [
        ("", {}, 'port "": a name is missing before "" ([WRAPPER[,KEY=VALUE...]+]KIND:TARGET'),
        ("null", {}, 'port "null": no ":" after "null"'),
        ("nul:", {}, 'port "nul:": no "nul" among the kinds of ports (did you mean "null"? kinds: af_xdp, loop, null)'),
        ("tarce+null:", {}, '"tarce" among the wrappers of ports (did you mean "trace"? wrappers: faults, trace)'),
        (
            "null:,ques=1",
            {},
            'ques=: null: has no such option (did you mean "queues"? options: packets, repeat, queues',
        ),
        ("loop:a", {"queues": 2}, "queues=: loop: has no such option"),
        ("loop:a", {"packets": [b"x"]}, "packets=: loop: has no such option"),
        ("null:,packets=x", {}, 'packets="x": not a list of packets'),
        ("null:", {"packets": 7}, "packets=7: not a list of packets, each of them bytes"),
        ("null:", {"repeat": "maybe"}, 'repeat="maybe": not yes or no'),
        ("null:", {"ring": 7}, "ring=7: not a power of two up to 65536"),
        ("null:", {"frames": "many"}, 'frames="many": not a whole number'),
        ("faults,drop=1.5+null:", {}, "drop=1.5: not from 0 to 1"),
        ("af_xdp:nowhere,copying=zero", {}, 'copying="zero": not one of auto, copy, zero-copy'),
        ("af_xdp:nowhere,frame_size=1024", {}, "frame_size=1024: not a power of two from 2048 to "),
        ("af_xdp:nowhere,queue=1,queue=1", {}, "queue=1: given twice"),
    ],
)
def test_names_that_cannot_be(uri: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OptionError, match=re.escape(complaint)):
        open_port(uri, **options)
    with pytest.raises(OptionError, match="uri=7: not text"):
        open_port(7)  # type: ignore[arg-type]


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(
        NoSuchInterface, match=r'af_xdp:nowhere: no interface "nowhere" in this network namespace \(`ip'
    ):
        open_port("af_xdp:nowhere")


def test_the_registry_says_what_there_is() -> None:
    known = {entry["name"]: entry for entry in _native.ports()}
    assert list(known) == ["af_xdp", "loop", "null", "faults", "trace"]
    for entry in known.values():
        assert entry["syntax"].startswith(entry["name"])
        assert entry["about"]
        assert entry["usable"] == (entry["reason"] is None)
        assert all(option["about"] and option["allowed"] and option["default"] for option in entry["options"])
    assert known["loop"]["usable"]
    assert known["null"]["needs"] == "nothing"
    assert known["trace"]["needs"] is None


def test_defaults_are_as_they_are_told() -> None:
    (null,) = (entry for entry in _native.ports() if entry["name"] == "null")
    told = {option["name"]: option["default"] for option in null["options"]}
    with (
        Port.null() as port,
        open_port("null:", frames=told["frames"], ring=told["ring"], queues=told["queues"]) as other,
    ):
        assert port.ledgers() == other.ledgers()
        assert port.facts == other.facts
    with pytest.raises(OptionError, match="frames=0: not from 1 to 1048576"):
        Port.null(frames=0)


def test_ports_say_what_they_are() -> None:
    with open_port("faults+null:", queues=2) as port:
        assert port.facts == Facts("null", "", ("faults",), "poll", 2048, sends=True)
        assert repr(port) == "<Port null:, 2 queues, faults>"
        assert repr(port.queues[1]) == "<Queue 1 of null:, faults>"
    assert repr(port) == "<Port null:, closed>"
    with open_port("loop:facts,frame_size=4096") as port:
        assert port.facts == Facts("loop", "facts", (), "software", 4096 - 256, sends=True)


# -- the end of a stream ----------------------------------------------------------------------------------------------


def test_each_packet_arrives_once() -> None:
    port = Port.null(FRAMES, repeat=False, frames=32, ring=16)
    assert [bytes(view) for batch in port for view in batch] == FRAMES
    assert port.ended == "all packets have arrived"
    assert ledger(port) == QueueLedger(received=len(FRAMES), free=16, filling=16, ended=port.ended)
    assert port.rx() is None
    with pytest.raises(OptionError, match="repeat=1: neither True nor False"):
        Port.null(repeat=1)  # type: ignore[arg-type]


def test_it_has_ended_when_all_queues_have() -> None:
    port = Port.null(FRAMES, repeat=False, queues=2)
    for batch in port.queues[0]:
        assert batch.queue == 0
    assert port.queues[0].ended
    assert port.ended is None
    assert sum(map(len, port)) == len(FRAMES)
    assert port.ended
    assert [queue.ended for queue in port.ledgers()] == [port.ended] * 2


def test_a_port_that_repeats_never_ends() -> None:
    port, _ = only()
    assert port.ended is None
    assert ledger(port).ended is None


# -- loop: ------------------------------------------------------------------------------------------------------------


def test_what_is_sent_comes_back_with_its_time_and_length() -> None:
    with open_port("loop:") as port:
        before = time.time_ns()
        assert port.send(FRAMES) == len(FRAMES)
        batch = port.rx(timeout=DEADLINE)
        assert batch is not None
        assert [bytes(view) for view in batch] == FRAMES
        assert batch.timestamp_source == "software"
        assert batch.timestamp.dtype == np.uint64
        assert ((before <= batch.timestamp) & (batch.timestamp <= time.time_ns())).all()
        assert batch.length.tolist() == [len(frame) for frame in FRAMES]
        assert batch.select([2]).timestamp == batch.timestamp[2]
        port.tx(batch, [0])
        with pytest.raises(OptionError, match="were sent"):
            assert batch.timestamp.size
        assert batch.select([1]).timestamp.size == 1
        assert received(port) == FRAMES[:1]


def test_a_name_has_two_ends() -> None:
    with open_port("loop:two") as one, open_port("loop:two") as other:
        with pytest.raises(
            OptionError, match=r"loop:two: both ends of it were opened, and there is no third \(another"
        ):
            open_port("loop:two")
        one.send(b"there" * 12)
        other.send(b"back" * 15)
        assert (received(other), received(one)) == ([b"there" * 12], [b"back" * 15])
    with open_port("loop:two") as one:
        assert received(one) == []


def test_an_echo_in_a_thread_until_the_other_end_closes() -> None:
    count, ends = 5000, (open_port("loop:echo"), open_port("loop:echo"))
    near, far = ends

    def echo() -> None:
        with far:
            for batch in far:
                assert far.tx(batch, timeout=DEADLINE) == len(batch)

    thread = threading.Thread(target=echo)
    thread.start()
    seen: list[int] = []
    for start in range(0, count, 100):
        assert near.send([frame(number) for number in range(start, start + 100)], timeout=DEADLINE) == 100
        while len(seen) < start + 100:
            batch = near.rx(timeout=DEADLINE)
            assert batch is not None
            seen += numbers(iter(batch))
    assert seen == list(range(count))
    assert ledger(far).ended is None
    near.close()
    assert finish(thread, seconds=DEADLINE)
    assert far.ended == "the other end was closed"
    with pytest.raises(Closed):
        far.rx()


def test_batches_of_another_port_go_where_they_are_told() -> None:
    _, batch = only()
    with Port.null(queues=3) as other:
        assert other.tx(batch, [0, 1]) == 2
        assert other.tx(batch, [0], queue=2) == 1
        assert [queue.sent for queue in other.ledgers()] == [2, 0, 1]
        for wrong in (3, -1):
            with pytest.raises(OptionError, match=f"queue {wrong}: the port has queues 0 to 2"):
                other.tx(batch, queue=wrong)
    own = Port.null(FRAMES, queues=2)
    batch = next(iter(own.queues[1]))
    assert own.tx(batch, [0]) == 1
    assert [queue.sent for queue in own.ledgers()] == [0, 1]
    assert own.tx(batch, [1], queue=0) == 1  # a copy, so that the batch still has it
    assert bytes(batch[1]) == FRAMES[1]


# -- wrappers ---------------------------------------------------------------------------------------------------------


def test_a_trace_has_a_line_for_each_call(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    with open_port(f"trace,file={path}+null:", packets=[bytes(60), bytes(70)], repeat=False) as port:
        assert sum(map(len, port)) == 2
        port.send([bytes(64), bytes(65)])
    lines = path.read_text().splitlines()
    assert lines[:3] == ["queue 0 rx 2: 60 70", "queue 0 end: all packets have arrived", "queue 0 send 2/2: 64 65"]
    assert lines[-1].startswith("queue 0 closed: ")
    with pytest.raises(offramp.errors.KernelError, match="writing the trace"):
        open_port(f"trace,file={tmp_path}/no/where+null:")


def test_faults_that_are_injected_are_seen_and_come_again() -> None:
    frames = [frame(number) for number in range(200)]

    def arrive(faults: str) -> list[bytes]:
        with open_port(f"faults,{faults}+null:", packets=frames, repeat=False) as port:
            return [bytes(view) for batch in port for view in batch]

    lossy = arrive("drop=0.1,seed=7")
    assert 150 < len(lossy) < 200
    assert lossy == arrive("drop=0.1,seed=7") != arrive("drop=0.1,seed=8")
    assert numbers(lossy) == sorted(numbers(lossy))
    assert len(arrive("duplicate=0.1")) > 200
    assert sorted(numbers(arrive("reorder=0.5"))) == list(range(200)) != numbers(arrive("reorder=0.5"))
    assert sum(one != other for one, other in zip(arrive("corrupt=0.5"), frames, strict=True)) > 50


def test_a_truncated_packet_keeps_its_length_on_the_wire() -> None:
    with open_port("faults,truncate=1+null:", packets=[frame(0)], repeat=False) as port:
        batch = port.rx()
        assert batch is not None
        assert len(batch[0]) < 60
        assert batch.length.tolist() == [60]


def test_calls_fail_and_are_short() -> None:
    with open_port("faults,error=2,short=1+null:") as port:
        assert port.send([bytes(60)] * 10) < 10
        with pytest.raises(offramp.errors.KernelError, match=r"call 2 \(a fault that was injected\)"):
            port.send(bytes(60))


def test_what_has_no_room_is_counted_and_nobody_waits() -> None:
    """The other end does not read: with a timeout of 0 the reader goes on at once."""
    with open_port("loop:full", ring=64, frames=256), open_port("loop:full", ring=64, frames=256) as near:
        accepted = near.send([bytes(60)] * 1000, timeout=0)
        assert accepted < 1000
        assert near.ledgers()[0].tx_ring_full == 1000 - accepted
        assert near.flush(timeout=0) > 0
