# SPDX-License-Identifier: Apache-2.0
"""What happens to a port's interface, as `_native.Port` and `_native.LinkWatch` tell it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

import offramp
from offramp._native import LinkWatch
from offramp.errors import InterfaceDown
from offramp.lab.end import Interface
from offramp.testing import Lab, Wire
from tests.rigs.traffic import MATCH


class Teller(Protocol):
    """Who tells of events."""

    def events(self) -> Any: ...


@contextmanager
def _port(wire: Wire) -> Iterator[Teller]:
    with offramp.open_port("af_xdp:eth0,copying=copy") as port:
        yield port._native


@contextmanager
def _watch(wire: Wire) -> Iterator[Teller]:
    watch = LinkWatch(wire.b.name, wire.b.ifindex)
    yield watch
    watch.close()


def _events(teller: Teller, last: str) -> list[Any]:
    """Events until one of that kind."""
    events: list[Any] = []
    deadline = time.monotonic() + 10
    while not any(event["kind"] == last for event in events) and time.monotonic() < deadline:
        events += teller.events()
        time.sleep(0.01)
    return events


def _told(teller: Teller, last: str) -> list[str]:
    """Their kinds."""
    return [event["kind"] for event in _events(teller, last)]


@pytest.fixture(params=[_port, _watch])
def teller(request: pytest.FixtureRequest, wire: Wire) -> Iterator[Teller]:
    with wire.b.host, request.param(wire) as teller:
        yield teller


def rename(end: Interface, name: str) -> None:
    with end.host.netlink() as route:
        route.link("set", index=end.ifindex, ifname=name)


def test_a_carrier_that_is_lost_and_comes_back(wire: Wire, teller: Teller) -> None:
    assert teller.events() == []
    wire.a.down()
    assert _told(teller, "carrier-lost") == ["carrier-lost"]
    wire.a.up()
    assert _told(teller, "carrier-back") == ["carrier-back"]


def test_down_and_up(wire: Wire, teller: Teller) -> None:
    wire.b.down()
    assert _told(teller, "down") == ["down"]
    wire.b.up()
    assert _told(teller, "up")[0] == "up"  # the carrier may take its time


def test_renamed(wire: Wire, teller: Teller) -> None:
    wire.b.down()  # before Linux 6.2 it has to be
    rename(wire.b, "wan0")
    events = _events(teller, "renamed")
    assert [event["kind"] for event in events] == ["down", "renamed"]
    assert events[-1]["name"] == "wan0"
    assert abs(events[-1]["time"] - time.time_ns()) < 60e9
    assert teller.events() == []


def test_moved_to_another_namespace(lab: Lab, wire: Wire, teller: Teller) -> None:
    wire.b.move_to(lab.host("c"))
    events = _events(teller, "moved")
    assert [event["kind"] for event in events] == ["down", "moved"]
    assert isinstance(events[-1]["netns"], int)
    assert teller.events() == []


def test_removed(wire: Wire, teller: Teller) -> None:
    wire.b.delete()
    assert _told(teller, "gone") == ["down", "gone"]
    assert teller.events() == []


def test_all_of_it_in_order_when_asked_late(lab: Lab, wire: Wire, teller: Teller) -> None:
    wire.b.down()
    rename(wire.b, "wan0")
    wire.b.up()
    wire.b.wait_for_carrier()
    wire.b.move_to(lab.host("c"))
    told = [kind for kind in _told(teller, "moved") if not kind.startswith("carrier")]
    assert told == ["down", "renamed", "up", "down", "moved"]


def test_the_oldest_go_for_the_newest_and_are_counted(wire: Wire) -> None:
    with wire.b.host, offramp.open_port("af_xdp:eth0,copying=copy") as port:
        wire.b.down()
        for number in range(270):
            rename(wire.b, f"wan{number}")
            with pytest.raises(InterfaceDown):
                port.rx(timeout=0)  # notices it, and tells nobody
        events = port._native.events()
        assert [event["name"] for event in events] == [f"wan{number}" for number in range(14, 270)]
        assert port._native.events_dropped == 15  # "down" and 14 names
        assert port._native.events() == []


def test_a_port_that_was_opened_by_name_tells_them(wire: Wire) -> None:
    with wire.b.host, offramp.open_port("trace,file=/dev/null+af_xdp:eth0,copying=copy") as port:
        assert port.events() == []
        wire.b.down()
        rename(wire.b, "wan0")
        down, renamed = port.events()
        assert (down.kind, down.details) == ("down", {})
        assert (renamed.kind, renamed.details, str(renamed)) == ("renamed", {"name": "wan0"}, "its name is wan0 now")
        assert down.time_ns <= renamed.time_ns
        assert abs(renamed.time_ns - time.time_ns()) < 60e9
        assert port.events() == []


def test_a_reader_that_stalled_is_told_so(wire: Wire) -> None:
    with wire.b.host, offramp.open("eth0", MATCH, stall=0.2) as ramp:
        ramp.rx(timeout=0)
        ramp.port._native.events()
        time.sleep(0.3)
        ramp.rx(timeout=0)
        (event,) = ramp.port._native.events()
        assert (event["kind"], event["queue"]) == ("reader-back", 0)
        assert event["nanoseconds"] > 0.2e9


def test_a_watch_that_was_closed_tells_nothing(wire: Wire) -> None:
    with wire.b.host:
        watch = LinkWatch(wire.b.name, wire.b.ifindex)
    wire.b.down()
    watch.close()
    watch.close()
    assert watch.events() == []
