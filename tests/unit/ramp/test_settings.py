# SPDX-License-Identifier: Apache-2.0
"""What somebody else sets of a NIC under a ramp: each is told once, and told again when it is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from offramp import process
from offramp.ramp import settings
from offramp.ramp.events import EventKind, News
from offramp.ramp.settings import SettingsSource
from offramp.testing.software_nic import SoftwareNic
from tests.generators.steerable import MATCH, PAIR, plan
from tests.rigs.interfaces import Nobody, in_use, section_of

pytestmark = pytest.mark.usefixtures("state")


@contextmanager
def watched(nic: SoftwareNic, match: str = MATCH, **options: Any) -> Iterator[SettingsSource]:
    """A plan carried out on the NIC, with a source that looks whenever it is asked to."""
    made = plan(nic.capabilities(), match, **options)
    section = section_of(made)
    with in_use(nic) as (interface, user):
        interface.program.sections[Nobody()] = section
        interface.changes.change(made.changes, section)
        execution = SimpleNamespace(state="open", interface=interface, section=section, plan=made)
        execution.live = execution
        yield SettingsSource(cast(Any, execution))
        interface.program.sections.clear()
        interface.give_back(section, user)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_EVERY", 0.0)


def told(source: SettingsSource) -> list[tuple[EventKind, object]]:
    return [(news.kind, news.details.get("knob", "queues")) for news in source.look()]


def rule_of(nic: SoftwareNic) -> str:
    (rule,) = (knob for knob in nic.knobs if knob.startswith("rule."))
    return rule


def test_nothing_is_told_while_all_is_as_it_was_set() -> None:
    for match, options in ((MATCH, {}), (PAIR, {"refused": {"rules": "were refused"}}), (MATCH, {"layout": "vf"})):
        with watched(SoftwareNic(queues=4), match, **options) as source:
            assert [source.look() for _ in range(3)] == [[], [], []]


def test_a_rule_that_is_deleted() -> None:
    nic = SoftwareNic(queues=4)
    with watched(nic) as source:
        rule = rule_of(nic)
        value = nic.knobs.pop(rule)
        (news,) = source.look()
        assert (news.kind, dict(news.details)) == (EventKind.SETTING_CHANGED, {"knob": rule, "value": None})
        assert news.text.startswith(f"{rule} is none now: somebody has changed it from ")
        assert source.look() == [], "once"
        nic.knobs[rule] = value
        assert [news.text.endswith(" again") for news in source.look()] == [True]
        assert source.look() == []


def test_an_rss_table_that_is_rewritten_and_then_again() -> None:
    nic = SoftwareNic(queues=4)
    with watched(nic) as source:
        for table in ([0] * 128, [1] * 128):
            nic.knobs["rss.table"] = table
            assert told(source) == [(EventKind.SETTING_CHANGED, "rss.table")]
            assert told(source) == []


def test_virtual_functions_that_are_taken_away() -> None:
    nic = SoftwareNic(queues=4)
    with watched(nic, layout="vf") as source:
        nic.set("vf.count", 0)
        assert (EventKind.SETTING_CHANGED, "vf.count") in told(source)


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (5, "it has 5 receive queues now, and had 4 when this was opened"),
        (9, "it has 9 receive queues now, and had 4 when this was opened"),
        (1, "it has 1 receive queue now, and had 4 when this was opened"),
    ],
)
def test_another_number_of_queues(now: int, text: str) -> None:
    nic = SoftwareNic(queues=4)
    with watched(nic, layout="in-driver") as source:
        nic.knobs["channels"] = {"rx": 0, "tx": 0, "combined": now}
        (news,) = source.look()
        assert (news.kind, dict(news.details)) == (EventKind.QUEUES_CHANGED, {"queues": now})
        more = {5: ": matching packets on queue 4", 9: ": matching packets on queues 4 to 8"}.get(now, "")
        assert news.text == text + more + (" stay with the kernel, as redirect_failed" if more else "")
        nic.knobs["channels"] = {"rx": 0, "tx": 0, "combined": 4}
        assert told(source) == [(EventKind.QUEUES_CHANGED, "queues")], "and back"
        assert told(source) == []


def test_nobody_looks_in_the_middle_of_opening_or_closing() -> None:
    nic = SoftwareNic(queues=4)
    with watched(nic) as source:
        nic.knobs["rss.table"] = [0] * 128
        with process.alone():
            assert source.look() == []
        assert len(source.look()) == 1


def test_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_EVERY", 1.0)
    nic = SoftwareNic(queues=4)
    with watched(nic) as source:
        nic.knobs["rss.table"] = [0] * 128
        looked: list[News] = source.look()
        assert looked == []
