# SPDX-License-Identifier: Apache-2.0
"""What happens while a ramp or an attachment is open: told in order, once, with a time, and never by waiting."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import offramp
from offramp.journal import guardian
from offramp.nic import ethtool
from offramp.ramp.events import WAITING, Event, EventKind, Events, News
from offramp.testing import Lab, Wire
from tests.rigs.processes import in_child
from tests.rigs.traffic import MATCH, claims, datagrams
from tests.rigs.waiting import eventually

OPENING: list[Callable[..., Any]] = [offramp.attach, offramp.open]


def kinds(events: Events, *wanted: str) -> bool:
    """Whether these have come, in this order, the last ones."""
    found: list[str] = []

    def come() -> bool:
        found.extend(event.kind for event in events)
        return found[-len(wanted) :] == list(wanted)

    return eventually(come, 2.0)


@pytest.mark.parametrize("opening", OPENING)
def test_carrier_and_state(wire: Wire, opening: Callable[..., Any]) -> None:
    with wire.b.host, opening("eth0", MATCH) as ramp:
        assert list(ramp.events) == []
        before = time.time_ns()
        wire.a.down()
        assert kinds(ramp.events, "carrier-lost")
        wire.a.up()
        assert kinds(ramp.events, "carrier-back")
        wire.b.down()
        assert ramp.events.wait(1.0)
        (event, *_) = ramp.events
        assert (event.kind, event.interface) == (EventKind.DOWN, "eth0")
        assert before < event.time_ns < time.time_ns()
        assert str(event) == "eth0: it is down: nothing arrives until it is up again"
        wire.b.up()
        assert eventually(lambda: EventKind.UP in [event.kind for event in ramp.events])


@pytest.mark.parametrize("opening", OPENING)
def test_renamed(wire: Wire, opening: Callable[..., Any]) -> None:
    with wire.b.host, opening("eth0", MATCH) as ramp:
        wire.b.down()
        wire.b.host.run(["ip", "link", "set", "eth0", "name", "wan0"])
        wire.b.up()
        assert ramp.events.wait(1.0)
        found = {event.kind: event for event in ramp.events}
        assert found[EventKind.RENAMED].details == {"name": "wan0"}
        assert ramp.events.interface == "wan0"


@pytest.mark.parametrize("opening", OPENING)
@pytest.mark.parametrize("how", ["gone", "moved"])
def test_gone_and_moved(lab: Lab, wire: Wire, opening: Callable[..., Any], how: str) -> None:
    with wire.b.host, opening("eth0", MATCH) as ramp:
        if how == "gone":
            wire.b.delete()
        else:
            wire.b.move_to(lab.host("c"))
        assert eventually(lambda: how in [event.kind for event in ramp.events])


@pytest.mark.speed
def test_a_reader_that_was_asleep(wire: Wire) -> None:
    with wire.b.host, datagrams(wire), offramp.open("eth0", MATCH, stall=0.2) as ramp:
        assert claims(ramp)
        time.sleep(0.5)
        assert kinds(ramp.events, "reader-stalled")
        assert claims(ramp)
        found = {event.kind: event for event in ramp.events}
        assert found[EventKind.READER_BACK].details["seconds"] > 0.2
        assert list(ramp.events) == []


def test_what_was_replaced(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        guard.replace("udp dst port 53")
        (event,) = guard.events
        assert event.kind is EventKind.REPLACED
        assert event.details == {"match": guard.plan.match, "verdict": "DROP"}
        assert event.to_dict()["text"].startswith("DROP udp dst port 53 in the place of udp dst port 4321")


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_what_was_given_back(wire: Wire) -> None:
    wire.b.gro(True)
    wire.b.rx_vlan_offload(False)
    with wire.b.host, offramp.attach("eth0", MATCH, mode="generic") as guard:
        assert [change.knob for change in guard.plan.changes] == ["feature.rx-gro"]
    (event,) = guard.events
    assert (event.kind, event.details) == (EventKind.GIVEN_BACK, {"changes": ["feature.rx-gro"]})


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_a_setting_that_somebody_changes_is_told_and_left_alone(wire: Wire) -> None:
    wire.b.gro(True)
    wire.b.rx_vlan_offload(False)
    with wire.b.host, offramp.attach("eth0", MATCH, mode="generic") as guard:
        wire.b.gro(True)
        assert guard.events.wait(5.0)
        (event,) = guard.events
        assert (event.kind, event.details) == (EventKind.SETTING_CHANGED, {"knob": "feature.rx-gro", "value": True})
        assert event.text == "feature.rx-gro is on now: somebody has changed it from off"
        wire.b.gro(False)
        assert guard.events.wait(5.0)
        assert [event.text for event in guard.events] == ["feature.rx-gro is off again"]


def test_they_are_there_when_all_is_closed(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        wire.a.down()
        assert guard.events.wait(2.0)
    assert [event.kind for event in guard.events] == [EventKind.CARRIER_LOST]
    assert list(guard.events) == []
    assert not guard.events.wait(None), "no more will come"


@pytest.mark.parametrize("opening", OPENING)
def test_a_listener_ends_with_its_ramp(wire: Wire, opening: Callable[..., Any]) -> None:
    heard: list[Event] = []
    before = threading.active_count()
    with wire.b.host, opening("eth0", MATCH) as ramp:
        ramp.events.listen(heard.append)
        ramp.events.listen(lambda event: heard.append(event))
        assert threading.active_count() == before + 1
        wire.a.down()
        assert eventually(lambda: len(heard) == 2, 2.0)
    assert threading.active_count() == before
    assert [event.kind for event in ramp.events] == [EventKind.CARRIER_LOST], "it waits for others as well"


def test_a_listener_that_raises_is_shown_and_goes_on(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        guard.events.listen(lambda event: 1 // 0)
        guard.replace("udp")
        guard.replace("tcp")
    assert len(shown) == 2


def test_a_listener_may_close(wire: Wire) -> None:
    """As one does that ends when the interface is gone."""
    with wire.b.host:
        guard = offramp.attach("eth0", MATCH)
    guard.events.listen(lambda event: guard.close())
    wire.a.down()
    assert eventually(lambda: guard.closed, 2.0)


def test_a_forgotten_one_ends_its_listener(wire: Wire) -> None:
    before = threading.active_count()
    with wire.b.host:
        guard = offramp.attach("eth0", MATCH)
        guard.events.listen(lambda event: None)
        with pytest.warns(ResourceWarning, match="never closed"):
            del guard
    assert eventually(lambda: threading.active_count() == before)


def test_a_forked_child_hears_nothing(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        guard.events.listen(lambda event: None)

        def hears_nothing() -> None:
            assert list(guard.events) == []
            assert not guard.events.wait(None)

        assert in_child(hears_nothing) == 0
        wire.a.down()
        assert kinds(guard.events, "carrier-lost")


def test_the_oldest_go_and_are_counted() -> None:
    events = Events("eth0")
    for number in range(WAITING + 10):
        events.put(News(EventKind.REPLACED, str(number)))
    assert events.dropped == 10
    assert [event.text for event in events] == [str(number) for number in range(10, WAITING + 10)]
    assert len(events) == 0


def test_all_that_is_open_in_order(wire: Wire) -> None:
    assert offramp.ramps() == []
    with wire.b.host, offramp.attach("eth0", "tcp") as one, offramp.open("eth0", MATCH) as two:
        assert offramp.ramps() == [one, two]
        one.close()
        assert offramp.ramps() == [two]

        def has_none() -> None:
            assert offramp.ramps() == []

        assert in_child(has_none) == 0
    assert offramp.ramps() == []


@pytest.mark.filterwarnings("ignore::offramp.OfframpWarning")
def test_a_guardian_that_was_killed(wire: Wire) -> None:
    wire.b.gro(True)  # which generic mode switches off
    with wire.b.host, offramp.attach("eth0", MATCH, mode="generic") as guard:
        assert guard.plan.changes
        assert list(guard.events) == []
        assert guardian._guardian is not None
        os.kill(guardian._guardian._process.pid, signal.SIGKILL)
        assert kinds(guard.events, "guardian-gone")
        assert list(guard.events) == []
    assert wire.b.host.call(ethtool.gro, "eth0")
