# SPDX-License-Identifier: Apache-2.0
"""Kinds of events, and their page; the queue without an interface."""

from __future__ import annotations

import re
from pathlib import Path

from offramp.ramp.events import EventKind, Events, News
from offramp.ramp.sources import WORDS

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
