# SPDX-License-Identifier: Apache-2.0
"""What goes back: only what is still as we set it."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from offramp.errors import (
    InterfaceGone,
    OfframpWarning,
    PrivilegeError,
)
from offramp.journal import listed, restore, transaction
from offramp.journal.record import Changed
from offramp.journal.store import Store
from offramp.journal.undo import decide, undo
from tests.rigs.fake_nics import FRESH, STEPS, DictNic, identity, left_behind


def test_what_somebody_else_changed_is_left_alone(nic: DictNic, store: Store) -> None:
    change = transaction(nic)
    change.set_all(STEPS, moves=["rss.table"])
    nic.knobs["mtu"] = 9000
    del nic.knobs["rule.5"]
    nic.knobs["rings"] = FRESH["rings"]
    with pytest.warns(OfframpWarning, match=r"mtu: left at 9000: somebody has changed it from 3000"), change:
        pass
    assert nic.knobs == {**FRESH, "mtu": 9000}
    outcomes = {undone.knob: undone.outcome for undone in change.close().knobs}
    assert outcomes["mtu"] == "left alone"
    assert outcomes["rings"] == outcomes["rule.5"] == "as before"
    assert store.names() == []


def test_somebody_else_between_two_changes(nic: DictNic) -> None:
    change = transaction(nic)
    change.set("mtu", 3000)
    nic.knobs["mtu"] = 9000
    change.set("mtu", 4000)
    with pytest.warns(OfframpWarning, match="left at 9000"), change:
        pass
    assert nic.knobs["mtu"] == 9000


@pytest.mark.parametrize("how", ["refused", "unread", "idle"])
@pytest.mark.parametrize("place", range(len(STEPS)))
def test_a_knob_that_fails_does_not_stop_the_others(
    nic: DictNic, store: Store, how: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    knob, value = STEPS[place]
    steps = [step for step in STEPS if step[0] not in ("channels", "rss.table") or step[0] == knob]
    change = transaction(nic)
    change.set_all(steps)
    setattr(nic, how, [knob])
    with pytest.warns(OfframpWarning, match=f"{knob}: not back to "), change:
        pass
    left = {**FRESH, knob: value}
    if knob == "channels":
        left["rss.table"] = nic.knobs["rss.table"]
    assert nic.knobs == left
    (entry,) = listed()
    assert entry.state == "left behind"
    assert entry.record is not None
    (still,) = entry.record.changes
    assert still.knob == knob
    assert still.reason
    setattr(nic, how, [])
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    (report,) = restore([entry.journal])
    assert report.state == "given back"
    assert nic.knobs[knob] == FRESH[knob] if knob in FRESH else knob not in nic.knobs
    assert store.names() == []


def test_gone_and_back(nic: DictNic, store: Store) -> None:
    with transaction(nic) as change:
        change.set("mtu", 3000)
        nic.gone = True
        with pytest.raises(InterfaceGone):
            change.set("mtu", 4000)
        nic.gone = False
    assert nic.knobs == FRESH


@pytest.mark.parametrize(("bus", "stays"), [("", False), ("0000:02:00.0", True)])
def test_gone_for_good(store: Store, monkeypatch: pytest.MonkeyPatch, bus: str, stays: bool) -> None:
    """A virtual interface takes its settings with it; hardware comes back."""
    monkeypatch.setattr("offramp.journal.recover.other_namespaces", lambda: iter(()))
    nic = DictNic(identity(bus=bus))
    with transaction(nic) as change:
        change.set("mtu", 3000)
        nic.gone = True
    assert change.close().state == "gone"
    assert bool(store.names()) is stays
    assert [report.state for report in restore()] == ["gone"] * stays


@pytest.mark.parametrize(("now", "stays"), [(True, True), (False, False)])
def test_gone_where_we_may_not_look(
    nic: DictNic, store: Store, monkeypatch: pytest.MonkeyPatch, now: bool, stays: bool
) -> None:
    """It may be there, with our settings; but not after a reboot."""

    def refuse() -> Iterator[int]:
        raise PrivilegeError("looking at /proc/1/task/1/ns/net", errno.EACCES)
        yield

    monkeypatch.setattr("offramp.journal.recover.other_namespaces", refuse)
    left_behind(nic, store, namespace=1, **({} if now else {"device": identity(boot="another")}))
    (report,) = restore()
    assert report.state == "gone"
    assert ("looking at /proc/1/task/1/ns/net: Permission denied" in report.reason) is stays
    assert bool(store.names()) is stays


VALUES = some.integers(0, 3)
KNOBS = some.sampled_from(["mtu", "vf.count", "rule.1"])


@given(some.lists(some.tuples(KNOBS, VALUES, some.booleans()), max_size=12), some.data())
def test_only_what_is_still_ours_goes_back(steps: list[tuple[str, int, bool]], data: some.DataObject) -> None:
    """Against a model: the changes of ours at the end of a knob's history go back, up to the last one of others."""
    fresh = {"mtu": 0, "vf.count": 0, "rule.1": 0}
    nic, changes, expected = DictNic(knobs=dict(fresh)), [], dict(fresh)
    for knob, value, ours in steps:
        before = nic.knobs[knob]
        if before == value:
            continue
        if ours:
            changes.append(Changed(knob, before, value))
        else:
            expected[knob] = value
        nic.knobs[knob] = value
    theirs_last = {knob for knob, value in nic.knobs.items() if value == expected[knob]}
    undone, left = undo(changes, nic)
    assert left == []
    assert len(undone) == len(changes)
    for knob in theirs_last:
        if not any(change.knob == knob for change in changes):
            assert nic.knobs[knob] == expected[knob]
    if all(ours for _, _, ours in steps):
        assert nic.knobs == fresh
    again, _ = undo(changes, DictNic(knobs=dict(fresh)))
    assert len(again) == len(changes)


@pytest.mark.parametrize(
    ("now", "pending", "same_boot", "outcome"),
    [
        (3000, False, True, "restored"),
        (1500, False, True, "as before"),
        (9000, False, True, "left alone"),
        (9000, True, True, "restored"),
        (3000, True, True, "restored"),
        (1500, True, True, "as before"),
        (9000, True, False, "left alone"),
        (3000, True, False, "restored"),
        (3000, False, False, "restored"),
        (None, False, True, "left alone"),
    ],
)
def test_decisions(now: object, pending: bool, same_boot: bool, outcome: str) -> None:
    change = Changed("mtu", 1500, 3000, pending)
    assert decide([change], {"mtu": now}, same_boot=same_boot) == [(outcome, now)]
