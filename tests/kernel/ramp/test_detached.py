# SPDX-License-Identifier: Apache-2.0
"""The program is taken off the interface, or another one is put in its place: who is told, and what still works."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import offramp
from offramp import DROP
from offramp.errors import Detached, InterfaceError, KernelError
from offramp.ramp.events import EventKind
from offramp.ramp.sources import ProgramSource
from offramp.testing import Wire
from tests.rigs import taker
from tests.rigs.leftovers import has_xdp
from tests.rigs.processes import in_child
from tests.rigs.traffic import MATCH, claims, datagrams, kernel_receives, kernel_socket, send
from tests.rigs.waiting import eventually

pytestmark = [pytest.mark.speed, pytest.mark.usefixtures("nothing_is_left")]
TAKING: dict[str, Callable[[Wire], None]] = {
    "detached": lambda wire: taker.detach(wire.b),
    "replaced": lambda wire: taker.put_another(wire.b),
}
REASONS = {"detached": "somebody has detached its link", "replaced": "'stranger' was put in its place"}


@pytest.fixture(params=TAKING)
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_reader_without_a_timeout_is_told(wire: Wire, how: str) -> None:
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        later = threading.Timer(0.2, TAKING[how], (wire,))
        later.start()
        began = time.monotonic()
        with pytest.raises(Detached, match=REASONS[how]) as told:
            ramp.rx()
        later.join()
        assert time.monotonic() - began < 3
        assert isinstance(told.value, InterfaceError)
        assert str(told.value).startswith("XDP on eth0: ")
        assert "open again" in told.value.hint
        (event,) = ramp.events
        assert (event.kind, REASONS[how] in event.details["reason"]) == (EventKind.DETACHED, True)
        assert list(ramp.events) == [], "it is told once"
        with pytest.raises(Detached):
            next(iter(ramp))


def test_the_kernel_has_the_flow_then(wire: Wire, how: str) -> None:
    with wire.b.host, kernel_socket(wire) as kernel, offramp.open("eth0", MATCH) as ramp, datagrams(wire):
        assert claims(ramp)
        TAKING[how](wire)
        assert kernel_receives(kernel)


def test_an_attachment_says_so_wherever_one_looks(wire: Wire, how: str) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        send(wire, 3)
        guard.check()
        assert (guard.ledger().claimed, guard.ledger().detached) == (3, "")
        TAKING[how](wire)
        assert "detached" in repr(guard)
        assert "native" not in repr(guard)
        with pytest.raises(Detached, match=REASONS[how]):
            guard.check()
        with pytest.raises(Detached, match=REASONS[how]):
            guard.replace("tcp")
        assert guard.events.wait(None)
        assert [event.kind for event in guard.events] == [EventKind.DETACHED]
        assert REASONS[how] in guard.ledger().detached
    last = guard.ledger()
    assert (last.claimed, last.exact, REASONS[how] in last.detached) == (3, True, True)
    assert REASONS[how] in str(last).splitlines()[-1]
    assert "closed" in repr(guard)
    assert not has_xdp(wire.b)


def test_one_that_was_never_looked_at_knows_when_it_is_closed(wire: Wire, how: str) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        TAKING[how](wire)
    assert REASONS[how] in guard.ledger().detached
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        pass
    assert guard.ledger().detached == ""


def test_a_listener_is_told(wire: Wire, how: str) -> None:
    heard: list[EventKind] = []
    with wire.b.host, offramp.attach("eth0", MATCH) as guard:
        guard.events.listen(lambda event: heard.append(event.kind))
        TAKING[how](wire)
        assert eventually(lambda: heard == [EventKind.DETACHED], 2.0)


def test_all_ramps_on_the_interface_are_told(wire: Wire, how: str) -> None:
    with (
        wire.b.host,
        offramp.open("eth0", MATCH) as ramp,
        offramp.attach("eth0", "udp dst port 53") as guard,
    ):
        TAKING[how](wire)
        with pytest.raises(Detached):
            ramp.rx(1.0)
        ramp.close()
        with pytest.raises(Detached):
            guard.check()


def test_after_a_detached_link_another_one_can_be_attached(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH) as one, offramp.attach("eth0", "udp dst port 53") as two:
        taker.detach(wire.b)
        with offramp.attach("eth0", "udp dst port 54", DROP) as third:
            for lost in (one, two):
                with pytest.raises(Detached):
                    lost.check()
            one.close()
            send(wire, 3, 54)
            assert eventually(lambda: third.ledger().claimed == 3)
            third.check()
        assert not has_xdp(wire.b)
        with pytest.raises(Detached):
            two.check()


def test_nothing_is_put_over_a_program_that_took_the_place(wire: Wire) -> None:
    with wire.b.host, offramp.attach("eth0", MATCH):
        taker.put_another(wire.b)
        with pytest.raises(Detached, match="stranger"):
            offramp.attach("eth0", "udp dst port 53")


def test_another_program_of_ours_is_no_loss(wire: Wire) -> None:
    """While others look all the time."""
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        trouble: list[BaseException] = []
        end = threading.Event()

        def look() -> None:
            try:
                while not end.is_set():
                    ramp.check()
                    assert "native" in repr(ramp)
                    time.sleep(0.001)
            except BaseException as error:
                trouble.append(error)

        looking = [threading.Thread(target=look) for _ in range(2)]
        for thread in looking:
            thread.start()
        for number in range(8):
            with offramp.attach("eth0", f"udp dst port {number}"):
                ramp.replace(f"{MATCH} and src portrange {number}-65535")
        end.set()
        for thread in looking:
            thread.join()
        assert trouble == []


def test_a_forked_child_is_told_nothing(wire: Wire) -> None:
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        taker.detach(wire.b)

        def child() -> None:
            assert "closed" in repr(ramp)
            assert list(ramp.events) == []
            assert not ramp.ledger().known

        assert in_child(child) == 0
        with pytest.raises(Detached):
            ramp.check()


def test_what_asks_for_a_reader_keeps_nothing_alive(wire: Wire) -> None:
    def sources() -> int:
        gc.collect()
        return sum(type(each) is ProgramSource for each in gc.get_objects())

    before = sources()
    with wire.b.host, offramp.open("eth0", MATCH) as ramp:
        ramp.rx(0.2)
        assert sources() == before + 1
    del ramp
    assert sources() == before


def test_heartbeats_and_sets_are_all_that_another_process_can_write(wire: Wire) -> None:
    """And those only by a mapping or by number, as root."""
    names = {"offramp_socks", "offramp_counts", "offramp_beats"}
    with wire.b.host, offramp.open("eth0", MATCH):
        found = {name: taker.maps_of(wire.b, name) for name in names}
        assert all(len(numbers) == 1 for numbers in found.values())
        for name in ("offramp_socks", "offramp_counts"):
            with pytest.raises(KernelError, match="EPERM"):
                taker.change_map(found[name][0], bytes(1 << 16))
        with pytest.raises(KernelError, match="EPERM"):
            taker.delete_from_map(found["offramp_socks"][0])


@pytest.mark.parametrize("kind", [offramp.HashSet, offramp.PrefixSet])
def test_a_set_that_root_overwrites_has_other_elements_and_no_packet_is_lost(wire: Wire, kind: Any) -> None:
    """No map that this process writes can be frozen."""
    chosen, generator = kind(["192.0.2.1", "198.51.100.7"]), random.Random(7)
    with wire.b.host, offramp.attach("eth0", offramp.Match("src host in @s", s=chosen)) as guard:
        (number,) = taker.maps_of(wire.b, "offramp_set")
        for count in range(1, 6):
            taker.change_map(number, generator.randbytes(chosen.nbytes))
            send(wire, 20)
            assert eventually(lambda count=count: guard.ledger().seen >= 20 * count)  # type: ignore[misc]
        assert guard.ledger().exact
        guard.check()
