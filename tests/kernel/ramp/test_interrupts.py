# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in the middle of opening, replacing and closing: a handler that raises, closes or opens, the
collector, a fork. Nothing is left on the interface, and another ramp there goes on.

Ordinarily at a fixed sample of places; `-m soak` at each of them.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import offramp
from offramp.errors import Closed, OfframpError
from offramp.gen.packets import eth, ip, udp
from offramp.ramp.interface import _in_use
from offramp.testing import Wire
from tests.rigs.interrupts import Alarm, Interrupt, at, count, sample
from tests.rigs.leftovers import has_xdp, kernel_objects, orphans
from tests.rigs.traffic import MATCH, frame, kernel_socket
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender

pytestmark = [
    pytest.mark.speed,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

OTHER = "udp dst port 53"
BESIDE = 77  # the port of the ramp that is there all the time
PLACES = 10  # of each verb and act, ordinarily
EACH_PLACE = [pytest.mark.soak, pytest.mark.timeout(7200)]

Work = Callable[[], object]


@pytest.fixture(params=[PLACES, pytest.param(1 << 30, marks=EACH_PLACE)])
def most(request: pytest.FixtureRequest) -> int:
    places: int = request.param
    return places


@pytest.fixture(autouse=True)
def here(wire: Wire) -> Iterator[None]:
    with wire.b.host, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def descriptors() -> list[str]:
    """Of this process, but for those of the lab: what it has before is what it has after."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return sorted(name for name in found if not name.startswith("/proc/"))


def held() -> Counter[str]:
    gc.collect()
    return Counter([*kernel_objects(), *descriptors()])


class Rig:
    """One verb, done again and again, each time with something in the middle."""

    def __init__(self, wire: Wire, opening: Callable[..., offramp.Attachment], stack: ExitStack, *, beside: bool):
        self.wire = wire
        self.opening = opening
        self.guard: offramp.Attachment | None = None
        self._send = stack.enter_context(Sender(wire.a))
        self._kernel = stack.enter_context(kernel_socket(wire))
        self.own = kernel_objects()
        self.beside = stack.enter_context(offramp.attach("eth0", f"udp dst port {BESIDE}")) if beside else None

    def open(self) -> None:
        self.guard = self.opening("eth0", MATCH)

    def close(self) -> None:
        assert self.guard is not None
        self.guard.close()

    def is_closed(self) -> bool:
        return self.guard is not None and self.guard.closed

    def leave(self) -> None:
        assert self.guard is not None
        with self.guard:
            pass

    def replace(self) -> None:
        assert self.guard is not None
        self.guard.replace(OTHER)

    def end(self) -> None:
        """As a user does who was interrupted."""
        if self.guard is not None:
            self.guard.close()
        self.guard = None

    def ready(self, verb: str) -> Work:
        if verb != "open":
            self.open()
        return {"open": self.open, "close": self.close, "leave": self.leave, "replace": self.replace}[verb]

    def places(self, verb: str, most: int) -> list[int]:
        for _ in range(2):  # once, so that modules are loaded and programs compiled
            work = self.ready(verb)
            passed = count(work)
            self.end()
        return sample(passed, most)

    def goes_to(self, guard: offramp.Attachment, port: int) -> bool:
        """Whether it takes a packet to this port."""
        before = guard.ledger().claimed
        datagram = udp(sport=9, dport=port)
        self._send([eth(ip(datagram, src=self.wire.a.ip, dst=self.wire.b.ip), dst=self.wire.b.mac)])
        return eventually(lambda: guard.ledger().claimed == before + 1)

    def check(self, where: str) -> None:
        """The ramp is closed: nobody else notices, and the kernel has its packets."""
        if self.beside is None:
            assert not has_xdp(self.wire.b), where
            assert not _in_use, where
        else:
            assert self.goes_to(self.beside, BESIDE), where
            assert self._kernel_has_it(), where
        assert offramp.ramps() == ([] if self.beside is None else [self.beside]), where

    def _kernel_has_it(self) -> bool:
        self._send([frame(self.wire)])
        return eventually(lambda: bool(select.select([self._kernel], [], [], 0)[0])) and bool(self._kernel.recv(2048))


PAIRS = [("attach", True), ("open", False)]
MORE = [pytest.param(pair, marks=pytest.mark.soak) for pair in (("attach", False), ("open", True))]


@pytest.fixture(params=[*PAIRS, *MORE], ids=lambda pair: f"{pair[0]}-{'beside' if pair[1] else 'alone'}")
def rig(request: pytest.FixtureRequest, wire: Wire) -> Iterator[Rig]:
    opening, beside = request.param
    with wire.b.host, ExitStack() as stack:
        yield Rig(wire, getattr(offramp, opening), stack, beside=beside)


VERBS = ["open", "replace", "close"]


@pytest.mark.parametrize("kind", [Interrupt, pytest.param(Alarm, marks=pytest.mark.soak)])
@pytest.mark.parametrize("verb", [*VERBS, pytest.param("leave", marks=pytest.mark.soak)])
def test_a_handler_that_raises(rig: Rig, verb: str, most: int, kind: type[BaseException]) -> None:
    def interrupt() -> None:
        raise kind

    places = rig.places(verb, most)
    before = held()
    for place in places:
        kept: list[BaseException] = []
        work = rig.ready(verb)
        try:
            where = at(place, interrupt, work, kept)
        except OfframpError:
            if kind is Interrupt:  # else it is an OSError, which some step has taken for its own
                raise
            where = f"place {place}"
        if verb == "replace" and rig.guard is not None:
            assert rig.goes_to(rig.guard, 53 if rig.guard.plan.match == str(offramp.Match(OTHER)) else 4321), where
        rig.end()
        rig.check(where)
        kept.clear()
        assert not held() - before, where
    rig.open()  # the lock is free
    rig.end()


@pytest.mark.parametrize("verb", ["replace", "close"])
def test_a_handler_that_closes(rig: Rig, verb: str, most: int) -> None:
    places = rig.places(verb, most)
    before = held()
    for place in places:
        work = rig.ready(verb)
        try:
            where = at(place, rig.close, work)
        except Closed:  # of what was going to be replaced
            where = f"place {place}"
        if where:  # else it was passed before: some work depends on how long it takes
            assert eventually(rig.is_closed), where
            rig.check(where)
        rig.end()
        assert not held() - before, where


@pytest.mark.parametrize("verb", VERBS)
def test_a_handler_that_opens(rig: Rig, verb: str, most: int) -> None:
    """Another one, on the same interface: it acts, whatever becomes of the first; or it is told why it cannot."""
    others: list[offramp.Attachment] = []
    refused: list[str] = []

    def another() -> None:
        try:
            others.append(offramp.attach("eth0", "udp dst port 99"))
        except OfframpError as error:
            refused.append(str(error))

    places = rig.places(verb, most)
    before = held()
    for place in places:
        others.clear()
        where = at(place, another, rig.ready(verb))
        assert all(rig.goes_to(other, 99) for other in others), where
        rig.end()
        for other in others:
            assert rig.goes_to(other, 99), where
            other.close()
        rig.check(where)
        assert not held() - before, where
    assert refused
    assert all("this signal handler interrupts its thread in opening, replacing or closing" in text for text in refused)


def close(guard: offramp.Attachment) -> None:
    guard.close()


def read_the_ledger(guard: offramp.Attachment) -> None:
    guard.ledger()
    len(guard.events)


def replace(guard: offramp.Attachment) -> None:
    with suppress(Closed):
        guard.replace(OTHER)


def open_another(guard: offramp.Attachment) -> None:
    offramp.attach("eth0", "udp dst port 99").close()


DEEDS = (close, read_the_ledger, replace, open_another)


@pytest.mark.parametrize("turn", [0, *(pytest.param(turn, marks=pytest.mark.soak) for turn in range(1, len(DEEDS)))])
@pytest.mark.parametrize("verb", ["replace", "close", pytest.param("leave", marks=pytest.mark.soak)])
def test_another_thread(rig: Rig, verb: str, most: int, turn: int) -> None:
    """It waits for its turn, or it does not have to: nobody waits for ever, and nobody finds anything half done."""
    raised: list[BaseException] = []
    threads: list[threading.Thread] = []

    def there(guard: offramp.Attachment) -> None:
        try:
            with rig.wire.b.host:
                deed(guard)
        except BaseException as error:
            raised.append(error)

    def meanwhile() -> None:
        threads.append(threading.Thread(target=there, args=(rig.guard,)))
        threads[-1].start()
        threads[-1].join(0.005)

    places = rig.places(verb, most)
    before = held()
    for number, place in enumerate(places):
        deed = DEEDS[(number + turn) % len(DEEDS)]
        work = rig.ready(verb)
        where = f"place {place}"
        with suppress(Closed):  # of what was going to be replaced
            where = at(place, meanwhile, work) or where
        while threads:
            threads[-1].join(20)
            assert not threads.pop().is_alive(), where
        assert raised == [], where
        rig.end()
        rig.check(where)
        assert not held() - before, where


@pytest.mark.parametrize("verb", VERBS)
def test_the_collector_finds_a_forgotten_one(rig: Rig, verb: str, most: int) -> None:
    def forget() -> None:
        cycle: list[object] = [offramp.attach("eth0", "tcp dst port 9")]
        cycle.append(cycle)

    places = rig.places(verb, most)
    before = held()
    for place in places:
        work = rig.ready(verb)
        forget()
        where = at(place, gc.collect, work)
        rig.end()
        assert eventually(lambda: not held() - before), where  # a thread closes what is found in the middle
        rig.check(where)
    assert eventually(lambda: not orphans())


@pytest.mark.parametrize("verb", VERBS)
def test_a_fork(rig: Rig, verb: str, most: int, tmp_path: Path) -> None:
    """The child holds nothing, once it is out of what it was in the middle of; the parent goes on."""
    statuses: list[int] = []
    said, parent = tmp_path / "said", os.getpid()

    def fork() -> None:
        child = os.fork()
        if child == 0:
            raise Interrupt
        statuses.append(os.waitpid(child, 0)[1])

    def end_of_child() -> None:
        gc.collect()
        found = [each for each in kernel_objects() if each not in rig.own]
        said.write_text(f"{found}")
        os._exit(bool(found))

    places = rig.places(verb, most)
    before = held()
    for place in places:
        work = rig.ready(verb)
        try:
            where = at(place, fork, work)
        finally:
            if os.getpid() != parent:
                end_of_child()
        assert not where or statuses.pop() == 0, f"{where}: {said.read_text()}"
        assert has_xdp(rig.wire.b) == (verb != "close" or rig.beside is not None), where
        rig.end()
        rig.check(where)
        assert not held() - before, where
    assert eventually(lambda: not orphans())


@pytest.mark.parametrize("turns", [25, pytest.param(165, marks=pytest.mark.soak)])
def test_alarms_that_close_at_any_moment(wire: Wire, turns: int) -> None:
    """As a program does that ends what it has when its time is over."""
    before = held()
    late: list[BaseException] = []

    def over(number: int, frame: object) -> None:
        for guard in offramp.ramps():
            try:
                guard.close()
            except BaseException as error:
                late.append(error)

    previous = signal.signal(signal.SIGALRM, over)
    try:
        for turn in range(turns):
            signal.setitimer(signal.ITIMER_REAL, 0.0003 + 0.03 * turn / turns)
            guard = offramp.open("eth0", MATCH) if turn % 2 else offramp.attach("eth0", MATCH)
            with suppress(Closed), guard:
                guard.replace(OTHER)
            signal.setitimer(signal.ITIMER_REAL, 0)
            guard.close()
            assert guard.closed
            assert eventually(lambda: not has_xdp(wire.b))
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert late == []
    assert not held() - before
