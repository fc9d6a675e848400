# SPDX-License-Identifier: Apache-2.0
"""What is taken from under those who wait: each cause, each who waits, in each mode; and what has to come of it.

    step(cause, who, mode)      one of them, in a lab of its own; raises AssertionError if it does not come

A cause ends a ramp with one error, or the flow goes on. Both are told as an event of one kind. Nobody waits in vain.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import offramp
from offramp.errors import Detached, InterfaceDown, InterfaceGone, KernelError
from offramp.nic import ethtool
from offramp.ramp.events import EventKind
from offramp.testing import Lab, Wire
from tests.rigs import taker
from tests.rigs.traffic import MATCH, send
from tests.rigs.waiting import eventually

__all__ = ["CAUSES", "QUEUES", "STEPS", "WAITERS", "Cause", "channels", "shrunk", "step"]

MODES = ("native", "generic")
QUEUES = 2
PATIENCE = 5.0  # seconds


@dataclass(frozen=True)
class Cause:
    """`ends`: with which error; None: the flow goes on. `kind`: of the event; None: nothing has happened."""

    name: str
    act: Callable[[Lab, Wire], object]
    ends: type[Exception] | None
    kind: EventKind | None
    claims: bool | None = None  # only for ramps, or only for attachments


def refused(act: Callable[[], object]) -> None:
    """The kernel does not let anybody do this."""
    try:
        act()
    except (KernelError, OSError):
        return
    raise AssertionError("it was done")


def shrunk(lab: Lab) -> Wire:
    """A wire whose end b has two receive queues, and could have one or four."""
    wire = lab.wire(lab.host("a"), lab.host("b"), queues=2 * QUEUES, neighbours=True)
    wire.a.host.call(ethtool.set_channels, "eth0", QUEUES, 1, 0)  # b must read as many as a sends on
    channels(wire, QUEUES)
    return wire


def channels(wire: Wire, rx: int) -> None:
    wire.b.host.call(ethtool.set_channels, wire.b.name, rx, QUEUES, 0)


def raised(wire: Wire, mtu: int) -> None:
    wire.a.set_mtu(mtu)
    wire.b.set_mtu(mtu)


def moved(lab: Lab, wire: Wire, *, back: bool) -> None:
    away = lab.host("c")
    wire.b.move_to(away)
    if back:
        with away.netlink() as route:
            (index,) = route.link_lookup(ifname="eth0")
            route.link("set", index=index, net_ns_fd=wire.b.host.fileno())


def namespace_ended(lab: Lab, wire: Wire) -> None:
    away = lab.host("c")
    wire.a.move_to(away)
    away.close()


def made_anew(wire: Wire, *, index: bool) -> None:
    number = ["index", str(wire.b.ifindex)] if index else []
    wire.b.delete()
    wire.b.host.run(["ip", "link", "add", "eth0", *number, "type", "veth", "peer", "name", "eth9"])
    wire.b.host.run(["ip", "link", "set", "eth0", "up"])


def flapped(wire: Wire) -> None:
    wire.b.down()
    time.sleep(0.1)
    wire.b.up()


def renamed(wire: Wire) -> None:
    wire.b.down()  # before Linux 6.2 it has to be
    wire.b.host.run(["ip", "link", "set", "eth0", "name", "wan0"])
    wire.b.up()


def socket_taken_out(wire: Wire) -> None:
    (sockets,) = taker.maps_of(wire.b, "offramp_socks")
    refused(lambda: taker.delete_from_map(sockets))
    refused(lambda: taker.change_map(sockets, bytes(4)))


def counters_changed(wire: Wire) -> None:
    for counters in taker.maps_of(wire.b, "offramp_counts"):
        refused(lambda counters=counters: taker.change_map(counters, bytes(1 << 16)))  # type: ignore[misc]


def heartbeats_changed(wire: Wire, value: bytes) -> None:
    """Those of a reader that lives beat again at once."""
    (beats,) = taker.maps_of(wire.b, "offramp_beats")
    taker.change_map(beats, value * 8 * QUEUES)


CAUSES = (
    Cause("link detached", lambda lab, wire: taker.detach(wire.b), Detached, EventKind.DETACHED),
    Cause("program replaced", lambda lab, wire: taker.put_another(wire.b), Detached, EventKind.DETACHED),
    Cause("socket taken out", lambda lab, wire: socket_taken_out(wire), None, None, claims=True),
    Cause("counters changed", lambda lab, wire: counters_changed(wire), None, None),
    Cause("beats of the past", lambda lab, wire: heartbeats_changed(wire, b"\0"), None, None, claims=True),
    Cause("beats of the future", lambda lab, wire: heartbeats_changed(wire, b"\x7f"), None, None, claims=True),
    Cause("fewer queues than are read", lambda lab, wire: refused(lambda: channels(wire, 1)), None, None, claims=True),
    Cause("fewer queues", lambda lab, wire: channels(wire, 1), None, EventKind.QUEUES_CHANGED, claims=False),
    Cause("more queues", lambda lab, wire: channels(wire, 4), None, EventKind.QUEUES_CHANGED),
    Cause("MTU raised", lambda lab, wire: raised(wire, 3000), None, EventKind.MTU_CHANGED),
    Cause("MTU lowered", lambda lab, wire: raised(wire, 1000), None, EventKind.MTU_CHANGED),
    Cause("down and up", lambda lab, wire: flapped(wire), None, EventKind.DOWN),
    Cause("renamed", lambda lab, wire: renamed(wire), None, EventKind.RENAMED),
    Cause("moved", lambda lab, wire: moved(lab, wire, back=False), InterfaceGone, EventKind.MOVED),
    Cause("moved and back", lambda lab, wire: moved(lab, wire, back=True), InterfaceGone, EventKind.MOVED),
    Cause("deleted", lambda lab, wire: wire.b.delete(), InterfaceGone, EventKind.GONE),
    Cause("peer deleted", lambda lab, wire: wire.a.delete(), InterfaceGone, EventKind.GONE),
    Cause("peer's namespace ended", lambda lab, wire: namespace_ended(lab, wire), InterfaceGone, EventKind.GONE),
    Cause("same name", lambda lab, wire: made_anew(wire, index=False), InterfaceGone, EventKind.GONE),
    Cause("same number", lambda lab, wire: made_anew(wire, index=True), InterfaceGone, EventKind.GONE),
)


# -- who waits ---------------------------------------------------------------------------------------------------------


@dataclass
class Waiter:
    """Something open, and a thread that waits with it until an error ends that. An interface may be down meanwhile."""

    ramp: Any
    turn: Callable[[], object]
    beside: Any = None
    ended: list[BaseException] = field(default_factory=list)

    def wait(self, end: threading.Event) -> None:
        while not end.is_set() and not self.ended:
            try:
                self.turn()
            except InterfaceDown:
                time.sleep(0.01)
            except offramp.OfframpError as error:
                self.ended.append(error)

    def handled(self) -> int:
        """Packets of the flow that our program has seen."""
        ledger = self.ramp.ledger()
        return int(ledger.claimed + ledger.redirect_failed + ledger.stalled)


def iterate(ramp: Any) -> Callable[[], object]:
    def turn() -> None:
        for _ in ramp:
            pass

    return turn


def stand_by(guard: Any) -> Callable[[], object]:
    def turn() -> None:
        guard.check()
        time.sleep(0.01)

    return turn


WAITERS: dict[str, tuple[Any, Callable[[Any], Callable[[], object]]]] = {
    "iterates": (offramp.open, iterate),
    "waits": (offramp.open, lambda ramp: ramp.rx),
    "waits at a queue": (offramp.open, lambda ramp: lambda: [queue.rx(0.02) for queue in ramp.queues]),
    "polls": (offramp.open, lambda ramp: lambda: ramp.rx(0.001)),
    "discards": (offramp.open, lambda ramp: lambda: ramp.port.discard(0.05)),
    "is attached": (offramp.attach, stand_by),
    "is beside another": (offramp.open, iterate),
}


@contextmanager
def waiting(who: str, mode: str) -> Iterator[Waiter]:
    opening, turned = WAITERS[who]
    with another(who, mode) as beside, opening("eth0", MATCH, mode=mode) as ramp:
        waiter, end = Waiter(ramp, turned(ramp), beside), threading.Event()
        thread = threading.Thread(target=waiter.wait, args=(end,))
        thread.start()
        try:
            yield waiter
        finally:
            end.set()
            ramp.close()
            thread.join()


@contextmanager
def another(who: str, mode: str) -> Iterator[Any]:
    """Another one on the same interface, if who waits is beside one."""
    if who != "is beside another":
        yield None
        return
    with offramp.attach("eth0", "udp dst port 99", mode=mode) as beside:  # type: ignore[arg-type]
        yield beside


def step(cause: Cause, who: str, mode: str) -> None:
    with Lab() as lab:
        wire = shrunk(lab)
        with wire.b.host, waiting(who, mode) as waiter:
            acts(wire, waiter)
            cause.act(lab, wire)
            told = [waiter, *([Waiter(waiter.beside, lambda: None)] if waiter.beside else [])]
            if cause.ends is None:
                acts(wire, waiter)
            else:
                assert eventually(lambda: bool(waiter.ended), PATIENCE), "nobody was told"
                assert type(waiter.ended[0]) is cause.ends, waiter.ended
            for each in told:
                assert_told(each, cause)


def acts(wire: Wire, waiter: Waiter) -> None:
    """Whether the program sees the flow, from now on."""
    before = waiter.handled()

    def seen() -> bool:
        with suppress(OSError):  # the wire may be down for a moment
            send(wire, 1)
        return waiter.handled() > before

    assert eventually(seen, PATIENCE), waiter.ramp.ledger()
    assert not waiter.ended, waiter.ended


def assert_told(waiter: Waiter, cause: Cause) -> None:
    ramp, kinds = waiter.ramp, set[str]()

    def told() -> bool:
        kinds.update(event.kind for event in ramp.events)
        return cause.kind is None or cause.kind in kinds

    assert eventually(told, PATIENCE), kinds
    assert (EventKind.DETACHED in kinds) is (cause.ends is Detached)
    assert ("detached" in repr(ramp)) is (cause.ends is Detached), ramp
    assert bool(ramp.ledger().detached) is (cause.ends is Detached), ramp.ledger()
    if cause.ends is None:
        ramp.check()
    else:
        raises(cause.ends, ramp.check)


def raises(expected: type[Exception], work: Callable[[], object]) -> None:
    try:
        work()
    except expected:
        return
    raise AssertionError(f"no {expected.__name__}")


def applies(cause: Cause, who: str) -> bool:
    opening, _ = WAITERS[who]
    return cause.claims is None or cause.claims is (opening is offramp.open)


STEPS = [each for each in product(CAUSES, WAITERS, MODES) if applies(each[0], each[1])]
