# SPDX-License-Identifier: Apache-2.0
"""Changing and giving back, on a NIC that is a dictionary."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from offramp.errors import (
    Closed,
    InterfaceBusy,
    InterfaceError,
    InterfaceGone,
    KernelError,
    OfframpWarning,
    OptionError,
    PrivilegeError,
)
from offramp.journal import InterfaceLock, apply, guardian, leftovers, listed, restore, transaction
from offramp.journal.record import Change, Record
from offramp.journal.recover import give_back
from offramp.journal.store import Store
from offramp.journal.undo import decide, undo
from offramp.netns import namespace_cookie
from tests.knobs import FRESH, DictNic, identity

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: threads, and fork

STEPS = (
    ("feature.rx-gro", False),
    ("channels", {"rx": 0, "tx": 0, "combined": 4}),
    ("rss.table", [0, 1, 2, 0, 1, 2, 0, 1]),
    ("feature.rx-ntuple-filter", True),
    ("rule.5", {"flow-type": "udp4", "dst-port": 53, "action": 3}),
    ("rule.6", {"flow-type": "tcp4", "dst-port": 80, "action": 3}),
    ("mtu", 3000),
    ("rings", {"rx": 1024, "tx": 512}),
)
RULE = {"flow-type": "udp4", "action": 1}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("OFFRAMP_STATE_DIR", str(tmp_path / "state"))
    yield Store()
    assert not (tmp_path / "state").exists() or not list((tmp_path / "state").glob("*.lock"))


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the guardian was told to watch; there is none, since it takes its time to start."""
    told: dict[str, int] = {}
    monkeypatch.setattr(guardian, "watch", told.__setitem__)
    monkeypatch.setattr(guardian, "done", lambda journal: told.pop(journal, None))
    return told


@pytest.fixture
def nic() -> DictNic:
    return DictNic()


# -- change and give back ----------------------------------------------------------------------------------------------


def test_changed_and_given_back(nic: DictNic, store: Store) -> None:
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
def test_undo_of_the_first_k_steps(nic: DictNic, store: Store, k: int, at_once: bool) -> None:
    """The step after them fails: an error, and everything is as before."""
    nic.fail_at = k if k < len(STEPS) else None
    moves = ["rss.table"]

    def work() -> None:
        with transaction(nic) as change:
            if at_once:
                change.set_all(STEPS, moves=moves)
            for knob, value in () if at_once else STEPS:
                change.set(knob, value, moves=moves if knob == "channels" else [])

    if k < len(STEPS):
        with pytest.raises(KernelError, match=f"setting {STEPS[k][0]}: Invalid argument"):
            work()
    else:
        work()
    assert nic.knobs == FRESH
    assert store.names() == []


@pytest.mark.parametrize("k", range(len(STEPS)))
def test_accepted_without_effect(nic: DictNic, store: Store, k: int) -> None:
    nic.idle = [STEPS[k][0]]
    with transaction(nic) as change:
        with pytest.raises(InterfaceError, match=r"setting .* of dict0 to .*: accepted without effect: it is "):
            change.set_all(STEPS, moves=["rss.table"])
        assert nic.knobs == FRESH
    assert nic.knobs == FRESH
    assert store.names() == []


def test_a_value_that_the_driver_rounds(nic: DictNic) -> None:
    """It is no more what was asked for, and no less ours to take back."""

    class Rounding(DictNic):
        def set(self, knob: str, value: object) -> None:
            super().set(knob, 1024 if value == 1000 else value)

    rounding = Rounding()
    with transaction(rounding) as change:
        with pytest.raises(InterfaceError, match="it is 1024"):
            change.set("mtu", 1000)
        assert rounding.knobs == FRESH
        assert change.changes == ()


def test_the_journal_comes_first(nic: DictNic, store: Store, watched: dict[str, int]) -> None:
    """When a knob is turned, the guardian watches, and the journal says it."""
    seen = []

    class Watching(DictNic):
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
        assert seen == [([f"{store.directory}/{name}"], (Change("mtu", 1500, 3000, pending=True),))]
        found = store.read(name)
        assert found is not None
        assert found[0].changes == (Change("mtu", 1500, 3000),)
        assert (found[0].pid, found[0].kept) == (os.getpid(), False)
    assert watched == {}


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_without_a_journal_nothing_is_changed(
    nic: DictNic, monkeypatch: pytest.MonkeyPatch, store: Store, failing: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with transaction(nic) as change:
        monkeypatch.setattr(os, failing, full)
        with pytest.raises(KernelError, match="No space left on device"):
            change.set("mtu", 3000)
        monkeypatch.undo()
        assert nic.calls == []
        assert nic.knobs == FRESH
    assert not Path(store.directory).exists() or store.names() == []


def test_a_disk_that_fills_up_between_change_and_confirmation(
    nic: DictNic, monkeypatch: pytest.MonkeyPatch, store: Store
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


def test_without_a_guardian_nothing_is_changed(nic: DictNic, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(journal: str, namespace: int) -> None:
        raise KernelError("starting the guardian", errno.EAGAIN)

    monkeypatch.setattr(guardian, "watch", fail)
    with transaction(nic) as change:
        with pytest.raises(KernelError, match="starting the guardian"):
            change.set("mtu", 3000)
        assert nic.calls == []


def test_what_is_so_already_is_not_written(nic: DictNic, store: Store, watched: dict[str, int]) -> None:
    with transaction(nic) as change:
        change.set_all([("mtu", 1500), ("up", True)])
        assert not watched
        assert store.names() == []
    assert nic.calls == []


@pytest.mark.parametrize(("knob", "value"), [("mut", 1), ("mtu", "1500"), ("mtu", True), ("vf.0.address", 1)])
def test_no_knob_or_no_value(nic: DictNic, knob: str, value: object) -> None:
    with transaction(nic) as change, pytest.raises(OptionError):
        change.set_all([("up", False), (knob, value)])
    assert nic.calls == []


def test_an_exception_inside_the_block(nic: DictNic, store: Store) -> None:
    def work() -> None:
        with transaction(nic) as change:
            change.set("mtu", 3000)
            nic.knobs["mtu"] // 0

    with pytest.raises(ZeroDivisionError):
        work()
    assert nic.knobs == FRESH
    assert store.names() == []


def test_interrupted_in_the_middle_of_a_change(store: Store) -> None:
    class Interrupting(DictNic):
        def set(self, knob: str, value: object) -> None:
            super().set(knob, value)
            if value == 3000:
                raise KeyboardInterrupt

    nic = Interrupting()
    with pytest.raises(KeyboardInterrupt), transaction(nic) as change:
        change.set("mtu", 3000)
    assert nic.knobs == FRESH
    assert store.names() == []


def test_a_knob_turned_often_is_one_change(nic: DictNic) -> None:
    with transaction(nic) as change:
        for mtu in range(2000, 3000):
            change.set("mtu", mtu)
        assert change.changes == (Change("mtu", 1500, 2999),)
        change.set("mtu", 1500)
        assert not change.changes
        for queue in range(1, 8):
            change.set("rss.table", [queue] * 8)
            change.set(f"rule.{queue}", {"flow-type": "udp4", "action": queue})
        assert [entry.knob for entry in change.changes] == ["rss.table", *(f"rule.{queue}" for queue in range(1, 8))]
    assert nic.knobs == FRESH


def test_a_part_is_given_back(nic: DictNic, store: Store) -> None:
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


def test_closed_is_closed(nic: DictNic) -> None:
    change = transaction(nic)
    change.set("mtu", 2000)
    first = change.close()
    assert change.close() is first
    for attempt in (lambda: change.set("mtu", 3000), lambda: change.undo(), lambda: change.keep()):
        with pytest.raises(Closed, match="the journal of dict0 was closed"):
            attempt()
    assert nic.knobs == FRESH
    assert "closed" in repr(change)


def test_for_some_time(nic: DictNic, store: Store) -> None:
    report = apply(nic, [("mtu", 3000)], for_=0.01)
    assert report is not None
    assert str(report) == "dict0: given back\n  mtu: 3000 -> 1500"
    assert nic.knobs == FRESH
    assert store.names() == []


def test_to_stay(nic: DictNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "dict0: given back\n  mtu: 4000 -> 3000",
        "dict0: given back\n  mtu: 3000 -> 2000",
        "dict0: given back\n  mtu: 2000 -> 1500",
    ]
    assert nic.knobs == FRESH
    assert restore() == []


# -- undo --------------------------------------------------------------------------------------------------------------


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
            changes.append(Change(knob, before, value))
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
    change = Change("mtu", 1500, 3000, pending)
    assert decide([change], {"mtu": now}, same_boot=same_boot) == [(outcome, now)]


# -- restore -----------------------------------------------------------------------------------------------------------


def left_behind(nic: DictNic, store: Store, *changes: Change, **given: object) -> str:
    """A journal as a dead process leaves it."""
    record = Record(nic.identity, namespace_cookie(), 999, "gone", 5, False, changes or (Change("mtu", 1500, 3000),))
    journal = store.new()
    journal.write(replace(record, **given))  # type: ignore[arg-type]
    journal.release()
    nic.knobs["mtu"] = 3000
    return journal.name


def test_the_next_one_gives_back_what_is_left(nic: DictNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    left_behind(nic, store)
    other = left_behind(nic, store, device=identity(ifindex=7))
    with transaction(nic) as change:
        assert [report.state for report in change.found] == ["given back"]
        assert nic.knobs == FRESH
        assert store.names() == [other]
        change.set("mtu", 2000)
        with transaction(nic) as second:  # the first one's journal is not a leftover
            assert second.found == []
            assert nic.knobs["mtu"] == 2000
    assert leftovers(nic.identity) == []


def test_a_living_owner_is_not_touched(nic: DictNic, store: Store) -> None:
    with transaction(nic) as change:
        change.set("mtu", 3000)
        (report,) = restore()
        assert (report.state, report.dealt_with) == ("in use", True)
        assert f"(pid {os.getpid()})" in report.reason
        assert [entry.state for entry in listed()] == ["in use"]
        assert nic.knobs["mtu"] == 3000
    assert nic.knobs == FRESH


def test_after_a_reboot_only_what_is_as_we_set_it(nic: DictNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    changes = (
        Change("mtu", 1500, 3000),
        Change("vf.count", 0, 4, pending=True),
        Change("feature.rx-gro", True, False),
        Change("up", False, True),
    )
    left_behind(nic, store, *changes, device=identity(boot="another", bus="0000:02:00.0"))
    nic.knobs["vf.count"] = 2  # configured at this boot
    (report,) = restore()
    assert {undone.knob: undone.outcome for undone in report.knobs} == {
        "mtu": "restored",
        "vf.count": "left alone",
        "feature.rx-gro": "as before",
        "up": "restored",
    }
    assert store.names() == []


def test_refused_journals_harm_nothing(nic: DictNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    good, *bad = (left_behind(nic, store) for _ in range(4))
    paths = [Path(store.directory, name) for name in bad]
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    paths[1].write_bytes(paths[1].read_bytes().replace(b'journal": 1', b'journal": 9'))
    paths[2].chmod(0o640)
    states = {report.journal: report.state for report in restore()}
    assert states == {good: "given back", **dict.fromkeys(bad, "refused")}
    assert nic.knobs == FRESH
    assert all(path.exists() for path in paths)
    assert not any(report.dealt_with for report in restore())
    with transaction(nic) as change:
        assert change.found == []


def test_two_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each journal is given back by one of them, and no knob is turned twice."""
    meet = threading.Barrier(2)
    nic = DictNic()
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    names = {left_behind(nic, store, Change(f"rule.{place}", None, RULE), moment=place) for place in range(8)}
    nic.knobs.update({"mtu": 1500, **{f"rule.{place}": RULE for place in range(8)}})
    reports = []

    def work() -> None:
        meet.wait()
        reports.extend(restore())

    both = [threading.Thread(target=work) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert {report.journal for report in reports if report.knobs} == names
    assert all(report.dealt_with for report in reports)
    assert nic.knobs == FRESH
    assert len(nic.calls) == len(names)
    assert store.names() == []


def test_what_cannot_be_rewritten_stays_as_it_was(nic: DictNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    left_behind(nic, store, Change("up", False, True), Change("mtu", 1500, 3000))
    nic.refused = ["up"]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    (report,) = restore()
    assert report.state == "failed"
    assert nic.knobs["mtu"] == 1500
    nic.refused = []
    (report,) = restore()
    assert report.state == "given back"
    assert nic.knobs["up"] is False


def test_a_journal_that_cannot_be_removed(nic: DictNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    left_behind(nic, store)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        (report,) = restore()
    assert report.state == "given back"
    assert "Read-only file system [EROFS]" in report.reason
    assert nic.knobs == FRESH
    (report,) = restore()
    assert [undone.outcome for undone in report.knobs] == ["as before"]
    assert store.names() == []


def test_given_back_twice_at_the_same_time(nic: DictNic, store: Store) -> None:
    """By the owner and its guardian: the one who comes second finds it done."""
    change = transaction(nic)
    change.set_all(STEPS, moves=["rss.table"])
    seized = store.seize(store.names()[0])
    assert seized is not None
    assert give_back(*seized, nic).state == "given back"
    assert {undone.outcome for undone in change.close().knobs} == {"as before"}
    assert nic.knobs == FRESH


# -- forks, other processes --------------------------------------------------------------------------------------------


def child(work: object) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_has_nothing_to_do_with_it(nic: DictNic, store: Store) -> None:
    with transaction(nic) as change:
        change.set("mtu", 3000)

        def work() -> None:
            assert change.closed
            assert change.close().state == "in use"
            with pytest.raises(Closed):
                change.set("mtu", 4000)
            with pytest.raises(InterfaceBusy, match=rf"dict0: in use by .* \(pid {os.getppid()}\)"):
                transaction(nic)
            assert nic.knobs["mtu"] == 3000

        assert child(work) == 0
        assert child(lambda: sys.exit(0)) == 1  # through `finally`, and the interpreter's own end
        assert [entry.state for entry in listed()] == ["in use"]
        change.set("mtu", 4000)
    assert nic.knobs == FRESH


def test_the_second_process_is_refused(nic: DictNic) -> None:
    """With the pid of the first; and it may when the first has ended, however."""
    code = (
        "import sys\n"
        "from offramp.journal import InterfaceLock\n"
        "from tests.knobs import identity\n"
        "lock = InterfaceLock(identity())\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    for _ in range(2):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == "locked\n"
            with pytest.raises(InterfaceBusy) as caught:
                transaction(nic)
            assert str(caught.value).startswith("dict0: in use by python")
            assert f"(pid {first.pid}) (one offramp process per interface)" in str(caught.value)
            first.kill()
            first.wait()
        transaction(nic).close()


def test_ramps_of_one_process_share_the_lock(nic: DictNic, store: Store) -> None:
    first = InterfaceLock(identity(ifindex=7))
    with InterfaceLock(identity(ifindex=7)), InterfaceLock(identity(ifindex=8, bus="0000:02:00.0")):
        first.close()
        first.close()
        assert len(list(Path(store.directory).glob("*-7.lock"))) == 1
        assert Path(store.directory, "0000:02:00.0.lock").exists()

        def refused() -> None:
            with pytest.raises(InterfaceBusy):
                InterfaceLock(identity(ifindex=7))

        assert child(refused) == 0
        assert child(refused) == 0  # the child's end has not unlocked it
    assert list(Path(store.directory).glob("*.lock")) == []


def test_threads_that_lock_and_unlock(nic: DictNic, store: Store) -> None:
    def work() -> None:
        for _ in range(200):
            with InterfaceLock(identity(ifindex=7)):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(Path(store.directory).glob("*.lock")) == []
