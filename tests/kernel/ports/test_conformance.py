# SPDX-License-Identifier: Apache-2.0
"""The port of a ramp, AF_XDP on veth, through the cases that every port passes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

import offramp
from offramp._native import LinkWatch
from offramp.ports import Port
from offramp.ramp.ramp import Ramp
from offramp.testing import Lab, Wire
from tests.rigs.port_cases import CASES
from tests.rigs.ports import Oversized, Rig
from tests.rigs.traffic import MATCH

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: threads, and fork

GAP = 0.0002  # seconds between two packets: a reader that reads keeps up


class AfXdp:
    """The packets come from the other end of a wire. Nobody waits for a slow reader."""

    lossless = False
    oversized: Oversized = "never"  # by the interface's MTU

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._ramp: Ramp | None = None

    @contextmanager
    def open(self, arriving: Sequence[bytes], **options: Any) -> Iterator[Port]:
        over = threading.Event()
        with self._wire.a.host:
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sender.bind(("eth0", 0))

        def feed() -> None:
            for frame in arriving:
                sender.send(frame)
                if over.wait(GAP):
                    return

        options.pop("frame_size", None)  # a ramp chooses it by the MTU
        with sender, self._wire.b.host, offramp.open("eth0", MATCH, **options) as ramp:
            self._ramp = ramp
            feeder = threading.Thread(target=feed)
            feeder.start()
            try:
                yield ramp.port
            finally:
                over.set()
                feeder.join()

    def close(self, port: Port) -> None:
        assert self._ramp is not None
        self._ramp.close()


@pytest.fixture
def rig(lab: Lab) -> Rig:
    return AfXdp(lab.wire(lab.host("a"), lab.host("b"), neighbours=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_port(rig: Rig, case: Callable[[Rig], None]) -> None:
    case(rig)


def test_a_bare_socket_sends_at_once(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    with wire.b.host:
        receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        receiver.bind(("eth0", 0x88B5))
    content = bytes(12) + b"\x88\xb5" + b"from a bare socket".ljust(46, b"\0")
    with receiver, wire.a.host, offramp.open_port("af_xdp:eth0,copying=copy") as port:
        assert repr(port) == "<Port af_xdp:eth0, 1 queue, copy>"
        receiver.settimeout(10)
        assert port.send(content) == 1
        assert port.flush() == 0
        assert receiver.recv(2048) == content
        assert port.rx(timeout=0) is None


def test_what_happens_to_the_interface_is_told(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    with wire.b.host, offramp.open_port("af_xdp:eth0,copying=copy") as port:
        assert _kinds(port, lambda kinds: True) == []
        wire.a.down()
        assert "carrier-lost" in _kinds(port, lambda kinds: "carrier-lost" in kinds)
        wire.a.up()
        assert "carrier-back" in _kinds(port, lambda kinds: "carrier-back" in kinds)
        wire.b.down()
        assert "down" in _kinds(port, lambda kinds: "down" in kinds)
        wire.b.delete()
        assert "gone" in _kinds(port, lambda kinds: "gone" in kinds)


def test_a_reader_that_stalled_is_told_so(lab: Lab) -> None:
    wire = lab.wire(lab.host("a"), lab.host("b"), neighbours=True)
    with wire.b.host, offramp.open("eth0", MATCH, stall=0.2) as ramp:
        ramp.rx(timeout=0)
        ramp.port._native.events()
        time.sleep(0.3)
        ramp.rx(timeout=0)
        (event,) = ramp.port._native.events()
        assert (event["kind"], event["queue"]) == ("stalled", 0)
        assert event["nanoseconds"] > 0.2e9


def test_a_watch_for_those_who_have_no_reader(lab: Lab) -> None:
    wire, elsewhere = lab.wire(lab.host("a"), lab.host("b"), neighbours=True), lab.host("c")
    with wire.b.host:
        watch = LinkWatch(wire.b.ifindex)
    wire.b.move_to(elsewhere)
    told = watch.events()
    deadline = time.monotonic() + 10
    while not any(event["kind"] == "moved" for event in told) and time.monotonic() < deadline:
        told += watch.events()
    assert isinstance(told[-1]["netns"], int)
    assert abs(told[-1]["time"] - time.time_ns()) < 60e9
    watch.close()
    assert watch.events() == []


def _kinds(port: Port, enough: Callable[[list[str]], bool]) -> list[str]:
    kinds: list[str] = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        kinds += [event["kind"] for event in port._native.events()]
        if enough(kinds):
            break
        time.sleep(0.01)
    return kinds
