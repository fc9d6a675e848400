# SPDX-License-Identifier: Apache-2.0
"""Kinds of events, and their page; the queue without an interface."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from offramp.ports.events import WORDS
from offramp.ramp.events import Event, EventKind, Events, News
from tests.rigs.interrupts import Interrupt, at, count
from tests.rigs.waiting import eventually

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "events.md"


def test_the_page_lists_every_kind() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert sorted(kind for row in rows for kind in re.findall("`([a-z-]+)`", row)) == sorted(EventKind)


def test_what_the_data_plane_notices_is_a_kind_with_words_and_in_the_stub() -> None:
    source = (ROOT / "crates/offramp-io/src/events.rs").read_text()
    noticed = set(re.findall(r'Self::\w+(?: \{ \.\. \})? => "([a-z-]+)"', source))
    assert noticed == set(WORDS), "Happening::name in Rust, WORDS in Python"
    stub = (ROOT / "python/offramp/_native.pyi").read_text()
    listed = re.search(r"`kind` is one of\n\n(.*?)\n\n", stub + "\n\n", re.DOTALL)
    assert listed is not None
    kinds = [line.strip().split("  ")[0] for line in listed[1].split('"""')[0].splitlines() if line.strip()]
    assert {kind for line in kinds for kind in line.split(", ")} == noticed


def test_those_that_are_told_are_gone_and_those_that_wait_can_be_looked_at() -> None:
    events = Events("eth0")
    events.put(News(EventKind.REPLACED, "one"), News(EventKind.RENAMED, "two", {"name": "wan0"}))
    events.put(News(EventKind.REPLACED, "three", time_ns=7))
    assert [str(event) for event in events.waiting()] == ["eth0: one", "eth0: two", "wan0: three"]
    assert events.wait(0)
    *_, last = events
    assert last.time_ns == 7
    assert not events.wait(0)


def test_nothing_comes_after_the_end() -> None:
    events = Events("eth0")
    events.close()
    assert not events.wait(None)
    events.close()


# -- what a signal's handler does in the middle ------------------------------------------------------------------------


class Told:
    """A source of one event for each look, and a listener."""

    def __init__(self) -> None:
        self.events = Events("eth0")
        self.events.watch(self)
        self.looks = 0
        self.closed = self.abandoned = False
        self.texts: list[str] = []
        self.threads: set[int] = set()

    def look(self) -> list[News]:
        self.looks += 1
        return [News(EventKind.REPLACED, f"look {self.looks}")]

    def close(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        self.abandoned = True

    def hear(self, event: Event) -> None:
        self.texts.append(event.text)
        self.threads.add(threading.get_ident())

    def listen(self) -> None:
        self.events.listen(self.hear)

    def has_heard(self, number: int) -> bool:
        return eventually(lambda: len(self.texts) >= number)

    def end(self) -> None:
        self.events.close()
        self.events.join()


def raises() -> None:
    raise Interrupt


def test_an_interrupt_anywhere_does_not_end_looking() -> None:
    for place in range(1, count(Told().events.look) + 1):
        told = Told()
        where = at(place, raises, told.events.look)
        before = told.looks
        assert len(told.events) >= 1, where
        assert told.looks == before + 1, where


def test_a_handler_that_looks_is_not_in_the_way() -> None:
    told = Told()
    look = told.events.look
    for place in range(1, count(look) + 1):
        where = at(place, look, look)
        before = told.looks
        look()
        assert told.looks == before + 1, where
    numbers = [int(event.text.removeprefix("look ")) for event in told.events]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("act", ["raise", "listen"])
def test_a_handler_anywhere_while_one_begins_to_listen(act: str) -> None:
    """All are told, each event, in one thread."""
    told = Told()
    places = count(told.listen)
    told.end()
    for place in range(1, places + 1):
        told = Told()
        where = at(place, raises if act == "raise" else told.listen, told.listen)
        told.listen()
        assert told.has_heard(3), where
        told.end()
        assert len(told.threads) == 1, where
        assert set(told.texts) == {f"look {number + 1}" for number in range(told.looks)}, where


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_an_end_that_is_interrupted_anywhere_can_be_done_again(end: str) -> None:
    for place in range(1, count(getattr(Told().events, end)) + 1):
        told = Told()
        where = at(place, raises, getattr(told.events, end))
        getattr(told.events, end)()
        assert told.closed or told.abandoned, where
        assert not told.events._sources, where
