# SPDX-License-Identifier: Apache-2.0
"""Changing and giving back, on a NIC that is a dictionary."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from offramp.errors import (
    Closed,
    InterfaceError,
    KernelError,
    OptionError,
)
from offramp.journal import apply, guardian, listed, restore, transaction
from offramp.journal import change as journal_change
from offramp.journal.record import Changed
from offramp.journal.store import Store
from tests.rigs.journals import FRESH, STEPS, PlainNic


def test_changed_and_given_back(nic: PlainNic, store: Store) -> None:
    with transaction(nic) as change:
        for knob, value in STEPS:
            change.set(knob, value, moves=["rss.table"] if knob == "channels" else [])
            assert nic.get(knob) == value
    assert nic.knobs == FRESH
    assert store.names() == []
    assert change.closed
    report = change.close()
    assert report.state == "given back"
    assert {undone.outcome for undone in report.knobs} == {"restored"}


@pytest.mark.parametrize("k", range(len(STEPS) + 1))
@pytest.mark.parametrize("at_once", [False, True])
def test_undo_of_the_first_k_steps(nic: PlainNic, store: Store, k: int, at_once: bool) -> None:
    """The step after them fails: an error, and everything is as before."""
    if k < len(STEPS):
        nic.fail_at(k + 1)
    moves = ["rss.table"]

    def work() -> None:
        with transaction(nic) as change:
            if at_once:
                change.set_all(STEPS, moves=moves)
            for knob, value in () if at_once else STEPS:
                change.set(knob, value, moves=moves if knob == "channels" else [])

    if k < len(STEPS):
        with pytest.raises(KernelError, match=rf"{STEPS[k][0]} of soft0: .*EIO"):
            work()
    else:
        work()
    assert nic.knobs == FRESH
    assert store.names() == []


@pytest.mark.parametrize("k", range(len(STEPS)))
def test_accepted_without_effect(nic: PlainNic, store: Store, k: int) -> None:
    nic.ignore(STEPS[k][0])
    with transaction(nic) as change:
        with pytest.raises(InterfaceError, match=r"setting .* of soft0 to .*: accepted without effect: it is "):
            change.set_all(STEPS, moves=["rss.table"])
        assert nic.knobs == FRESH
    assert nic.knobs == FRESH
    assert store.names() == []


def test_a_value_that_the_driver_rounds(nic: PlainNic) -> None:
    """It is no more what was asked for, and no less ours to take back."""

    class Rounding(PlainNic):
        def set(self, knob: str, value: object) -> None:
            super().set(knob, 1024 if value == 1000 else value)

    rounding = Rounding()
    with transaction(rounding) as change:
        with pytest.raises(InterfaceError, match="it is 1024"):
            change.set("mtu", 1000)
        assert rounding.knobs == FRESH
        assert change.changes == ()


def test_the_journal_comes_first(nic: PlainNic, store: Store, watched: dict[str, int]) -> None:
    """When a knob is turned, the guardian watches, and the journal says it."""
    seen = []

    class Watching(PlainNic):
        def set(self, knob: str, value: object) -> None:
            if self.knobs[knob] != value and value == 3000:
                (name,) = store.names()
                found = store.read(name)
                assert found is not None
                seen.append((list(watched), found[0].changes))
            super().set(knob, value)

    with transaction(Watching()) as change:
        change.set("mtu", 3000)
        (name,) = store.names()
        assert seen == [([f"{store.directory}/{name}"], (Changed("mtu", 1500, 3000, pending=True),))]
        found = store.read(name)
        assert found is not None
        assert found[0].changes == (Changed("mtu", 1500, 3000),)
        assert (found[0].pid, found[0].kept) == (os.getpid(), False)
    assert watched == {}


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_without_a_journal_nothing_is_changed(
    nic: PlainNic, monkeypatch: pytest.MonkeyPatch, store: Store, failing: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with transaction(nic) as change:
        monkeypatch.setattr(os, failing, full)
        with pytest.raises(KernelError, match="No space left on device"):
            change.set("mtu", 3000)
        monkeypatch.undo()
        assert nic.changes == []
        assert nic.knobs == FRESH
    assert not Path(store.directory).exists() or store.names() == []


def test_a_disk_that_fills_up_between_change_and_confirmation(
    nic: PlainNic, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:  # file and directory of the intention
            raise OSError(errno.ENOSPC, "full")
        sync(descriptor)

    with transaction(nic) as change:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(KernelError, match="No space left on device"):
            change.set("mtu", 3000)
        assert nic.knobs == FRESH
        monkeypatch.setattr(os, "fsync", sync)
    assert store.names() == []


def test_without_a_guardian_nothing_is_changed(nic: PlainNic, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(journal: str, namespace: int) -> None:
        raise KernelError("starting the guardian", errno.EAGAIN)

    monkeypatch.setattr(guardian, "watch", fail)
    with transaction(nic) as change:
        with pytest.raises(KernelError, match="starting the guardian"):
            change.set("mtu", 3000)
        assert nic.changes == []


def test_what_is_so_already_is_not_written(nic: PlainNic, store: Store, watched: dict[str, int]) -> None:
    with transaction(nic) as change:
        change.set_all([("mtu", 1500), ("up", True)])
        assert not watched
        assert store.names() == []
    assert nic.changes == []


@pytest.mark.parametrize(("knob", "value"), [("mut", 1), ("mtu", "1500"), ("mtu", True), ("vf.0.address", 1)])
def test_no_knob_or_no_value(nic: PlainNic, knob: str, value: object) -> None:
    with transaction(nic) as change, pytest.raises(OptionError):
        change.set_all([("up", False), (knob, value)])
    assert nic.changes == []


def test_an_exception_inside_the_block(nic: PlainNic, store: Store) -> None:
    def work() -> None:
        with transaction(nic) as change:
            change.set("mtu", 3000)
            nic.knobs["mtu"] // 0

    with pytest.raises(ZeroDivisionError):
        work()
    assert nic.knobs == FRESH
    assert store.names() == []


def test_interrupted_in_the_middle_of_a_change(store: Store) -> None:
    class Interrupting(PlainNic):
        def set(self, knob: str, value: object) -> None:
            super().set(knob, value)
            if value == 3000:
                raise KeyboardInterrupt

    nic = Interrupting()
    with pytest.raises(KeyboardInterrupt), transaction(nic) as change:
        change.set("mtu", 3000)
    assert nic.knobs == FRESH
    assert store.names() == []


def test_a_knob_turned_often_is_one_change(nic: PlainNic) -> None:
    nic.knobs["feature.rx-ntuple-filter"] = True
    with transaction(nic) as change:
        for mtu in range(2000, 3000):
            change.set("mtu", mtu)
        assert change.changes == (Changed("mtu", 1500, 2999),)
        change.set("mtu", 1500)
        assert not change.changes
        for queue in range(1, 8):
            change.set("rss.table", [queue] * 8)
            change.set(f"rule.{queue}", {"flow-type": "udp4", "action": queue})
        assert [entry.knob for entry in change.changes] == ["rss.table", *(f"rule.{queue}" for queue in range(1, 8))]
    assert nic.knobs == {**FRESH, "feature.rx-ntuple-filter": True}


def test_a_part_is_given_back(nic: PlainNic, store: Store) -> None:
    with transaction(nic) as change:
        change.set_all(STEPS, moves=["rss.table"])
        undone = change.undo("rule.5", "rule.6")
        assert [(each.knob, each.outcome) for each in undone] == [("rule.6", "restored"), ("rule.5", "restored")]
        assert "rule.5" not in nic.knobs
        assert nic.knobs["mtu"] == 3000
        change.undo()
        assert nic.knobs == FRESH
        assert store.names() == []
        change.set("mtu", 2000)
    assert nic.knobs == FRESH


def test_closed_is_closed(nic: PlainNic) -> None:
    change = transaction(nic)
    change.set("mtu", 2000)
    first = change.close()
    assert change.close() is first
    for attempt in (lambda: change.set("mtu", 3000), lambda: change.undo(), lambda: change.keep()):
        with pytest.raises(Closed, match="the journal of soft0 was closed"):
            attempt()
    assert nic.knobs == FRESH
    assert "closed" in repr(change)


def test_for_some_time(nic: PlainNic, store: Store) -> None:
    report = apply(nic, [("mtu", 3000)], for_=0.01)
    assert report is not None
    assert str(report) == "soft0: given back\n  mtu: 3000 -> 1500"
    assert nic.knobs == FRESH
    assert store.names() == []


def test_to_stay(nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for mtu in (2000, 3000, 4000):
        assert apply(nic, [("mtu", mtu)]) is None
    assert nic.knobs["mtu"] == 4000
    assert [entry.state for entry in listed()] == ["kept"] * 3
    with transaction(nic) as change:
        assert change.found == []  # that is not a leftover
        change.set("mtu", 5000)
    assert nic.knobs["mtu"] == 4000
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    assert [str(report) for report in restore()] == [
        "soft0: given back\n  mtu: 4000 -> 3000",
        "soft0: given back\n  mtu: 3000 -> 2000",
        "soft0: given back\n  mtu: 2000 -> 1500",
    ]
    assert nic.knobs == FRESH
    assert restore() == []


def test_without_a_descriptor_the_lock_is_let_go(nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted() -> int:
        raise KernelError("this thread's network namespace", errno.EMFILE)

    monkeypatch.setattr(journal_change, "namespace_file", exhausted)
    with pytest.raises(KernelError, match="EMFILE"):
        transaction(nic)
    assert list(Path(store.directory).glob("*.lock")) == []
