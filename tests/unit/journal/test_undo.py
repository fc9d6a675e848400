# SPDX-License-Identifier: Apache-2.0
"""What goes back: only what is still as we set it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from offramp.errors import (
    InterfaceGone,
    OfframpWarning,
    PrivilegeError,
)
from offramp.facts.knobs import Value
from offramp.journal import listed, restore, transaction
from offramp.journal.record import Changed
from offramp.journal.store import Store
from offramp.journal.undo import decide, undo
from tests.rigs.journals import FRESH, STEPS, PlainNic, identity, left_behind


def test_what_somebody_else_changed_is_left_alone(nic: PlainNic, store: Store) -> None:
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


def test_somebody_else_between_two_changes(nic: PlainNic) -> None:
    change = transaction(nic)
    change.set("mtu", 3000)
    nic.knobs["mtu"] = 9000
    change.set("mtu", 4000)
    with pytest.warns(OfframpWarning, match="left at 9000"), change:
        pass
    assert nic.knobs["mtu"] == 9000


@pytest.mark.parametrize("how", [PlainNic.refuse, PlainNic.hide, PlainNic.ignore])
@pytest.mark.parametrize("place", range(len(STEPS)))
def test_a_knob_that_fails_does_not_stop_the_others(
    nic: PlainNic, store: Store, how: Callable[[PlainNic, str], None], place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    knob, value = STEPS[place]
    steps = [step for step in STEPS if step[0] not in ("channels", "rss.table") or step[0] == knob]
    change = transaction(nic)
    change.set_all(steps)
    how(nic, knob)
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
    nic.behave()
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    (report,) = restore([entry.journal])
    assert report.state == "given back"
    assert nic.knobs[knob] == FRESH[knob] if knob in FRESH else knob not in nic.knobs
    assert store.names() == []


def test_gone_and_back(nic: PlainNic, store: Store) -> None:
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
    nic = PlainNic(identity(bus=bus))
    with transaction(nic) as change:
        change.set("mtu", 3000)
        nic.gone = True
    assert change.close().state == "gone"
    assert bool(store.names()) is stays
    assert [report.state for report in restore()] == ["gone"] * stays


@pytest.mark.parametrize(("now", "stays"), [(True, True), (False, False)])
def test_gone_where_we_may_not_look(
    nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch, now: bool, stays: bool
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


VALUES: dict[str, list[Value]] = {
    "mtu": [1500, 1600, 1700, 1800],
    "vf.count": [0, 1, 2, 3],
    "rings": [{"rx": size, "tx": 512} for size in (512, 1024, 2048, 4096)],
}
SETTINGS = some.sampled_from([(knob, value) for knob, values in VALUES.items() for value in values])


@given(some.lists(some.tuples(SETTINGS, some.booleans()), max_size=12))
def test_only_what_is_still_ours_goes_back(steps: list[tuple[tuple[str, Value], bool]]) -> None:
    """Against a model: the changes of ours at the end of a knob's history go back, up to the last one of others."""
    nic, changes, expected = PlainNic(), [], dict(FRESH)
    for (knob, value), ours in steps:
        before = nic.knobs[knob]
        if before == value:
            continue
        if ours:
            changes.append(Changed(knob, before, value))
        else:
            expected[knob] = value
        nic.knobs[knob] = value
    theirs_last = {knob for knob in VALUES if nic.knobs[knob] == expected[knob]}
    undone, left = undo(changes, nic)
    assert left == []
    assert len(undone) == len(changes)
    for knob in theirs_last:
        if not any(change.knob == knob for change in changes):
            assert nic.knobs[knob] == expected[knob]
    if all(ours for _, ours in steps):
        assert nic.knobs == FRESH
    again, _ = undo(changes, PlainNic())
    assert len(again) == len(changes)


def test_a_knob_that_needs_another_one_back_is_tried_again(nic: PlainNic) -> None:
    """A table names queues that are there only once the channels are: the driver refuses it before."""
    changes = [
        Changed("channels", FRESH["channels"], {"rx": 0, "tx": 0, "combined": 4}),
        Changed("rss.table", FRESH["rss.table"], [0, 1, 2, 0, 1, 2, 0, 1]),
    ]
    for change in changes:
        nic.set(change.knob, change.after)
    undone, left = undo(changes, nic)
    assert [(one.knob, one.outcome) for one in undone] == [("rss.table", "restored"), ("channels", "restored")]
    assert left == []
    assert nic.knobs == FRESH


def test_tried_again_it_goes_back_all_the_way(nic: PlainNic) -> None:
    """Not to what a newer change of the same knob had found."""
    changes = [Changed("mtu", 1500, 1600), Changed("mtu", 1600, 1700)]
    nic.knobs["mtu"] = 1700
    nic.fail_at(1)
    _, left = undo(changes, nic)
    assert left == []
    assert nic.knobs == FRESH


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
