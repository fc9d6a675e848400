# SPDX-License-Identifier: Apache-2.0
"""Kinds of events, and their page; the queue without an interface."""

from __future__ import annotations

import re
from pathlib import Path

from offramp.ramp.events import EventKind, Events, News

PAGE = Path(__file__).parents[3] / "docs" / "events.md"


def test_the_page_lists_every_kind() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert sorted(kind for row in rows for kind in re.findall("`([a-z-]+)`", row)) == sorted(EventKind)


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
