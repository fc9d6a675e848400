# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in the middle of opening, replacing and closing: a handler that raises or closes, the collector, a
fork. Nothing is left on the interface, and nobody else is disturbed.

Ordinarily at a fixed sample of places; `-m soak` at each of them.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import offramp
from offramp.errors import Closed
from offramp.testing import Wire
from tests.rigs.interrupts import Interrupt, at, count, sample
from tests.rigs.leftovers import has_xdp, kernel_objects, orphans
from tests.rigs.traffic import MATCH
from tests.rigs.waiting import eventually

pytestmark = [
    pytest.mark.soak,  # what one thread does in the middle of another's work still depends on chance in a few places
    pytest.mark.speed,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

OTHER = "udp dst port 53"
PLACES = 40  # of each verb and act, ordinarily

Work = Callable[[], object]


@pytest.fixture(params=[PLACES, pytest.param(1 << 30, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
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

    def __init__(self, wire: Wire, opening: Callable[..., offramp.Attachment]) -> None:
        self.wire = wire
        self.opening = opening
        self.guard: offramp.Attachment | None = None

    def open(self) -> None:
        self.guard = self.opening("eth0", MATCH)

    def close(self) -> None:
        assert self.guard is not None
        self.guard.close()

    def replace(self) -> None:
        assert self.guard is not None
        self.guard.replace(OTHER)

    def end(self) -> None:
        """As a user does who was interrupted."""
        if self.guard is not None:
            self.guard.close()
        self.guard = None
        gc.collect()

    def ready(self, verb: str) -> Work:
        if verb != "open":
            self.open()
        return {"open": self.open, "close": self.close, "replace": self.replace}[verb]

    def places(self, verb: str, most: int) -> list[int]:
        for _ in range(2):  # once, so that modules are loaded and programs compiled
            work = self.ready(verb)
            passed = count(work)
            self.end()
        return sample(passed, most)


@pytest.fixture(params=["attach", "open"])
def rig(request: pytest.FixtureRequest, wire: Wire) -> Rig:
    return Rig(wire, getattr(offramp, request.param))


VERBS = ["open", "replace", "close"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_handler_that_raises(rig: Rig, verb: str, most: int) -> None:
    def interrupt() -> None:
        raise Interrupt

    places = rig.places(verb, most)
    before = held()
    for place in places:
        where = at(place, interrupt, rig.ready(verb))
        if verb == "replace" and rig.guard is not None:
            assert rig.guard.plan.match in (MATCH, OTHER), where
        rig.end()
        assert not has_xdp(rig.wire.b), where
        assert not held() - before, where
        assert offramp.ramps() == [], where
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
        except Closed:
            where = f"place {place}"
        assert rig.guard is not None
        assert rig.guard.closed or not where, where  # it was passed before: some work depends on how long it takes
        assert not has_xdp(rig.wire.b) or not where, where
        rig.end()
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
        assert not has_xdp(rig.wire.b), where
        assert not held() - before, where
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
        found = kernel_objects()
        said.write_text(f"{found}")
        os._exit(found != objects)

    places = rig.places(verb, most)
    before, objects = held(), kernel_objects()
    for place in places:
        work = rig.ready(verb)
        try:
            where = at(place, fork, work)
        finally:
            if os.getpid() != parent:
                end_of_child()
        assert not where or statuses.pop() == 0, f"{where}: {said.read_text()}"
        assert has_xdp(rig.wire.b) == (verb != "close"), where
        rig.end()
        assert not held() - before, where
    assert eventually(lambda: not orphans())
