# SPDX-License-Identifier: Apache-2.0
"""What a process has left, given back by another one."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from offramp.journal import leftovers, listed, restore, transaction
from offramp.journal.record import Changed
from offramp.journal.recover import give_back
from offramp.journal.store import Store
from tests.rigs.journals import FRESH, RULE, STEPS, PlainNic, identity, left_behind


def test_the_next_one_gives_back_what_is_left(nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_living_owner_is_not_touched(nic: PlainNic, store: Store) -> None:
    with transaction(nic) as change:
        change.set("mtu", 3000)
        (report,) = restore()
        assert (report.state, report.dealt_with) == ("in use", True)
        assert f"(pid {os.getpid()})" in report.reason
        assert [entry.state for entry in listed()] == ["in use"]
        assert nic.knobs["mtu"] == 3000
    assert nic.knobs == FRESH


def test_after_a_reboot_only_what_is_as_we_set_it(nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    changes = (
        Changed("mtu", 1500, 3000),
        Changed("vf.count", 0, 4, pending=True),
        Changed("feature.rx-gro", True, False),
        Changed("up", False, True),
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


def test_refused_journals_harm_nothing(nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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
    nic = PlainNic()
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    names = {left_behind(nic, store, Changed(f"rule.{place}", None, RULE), moment=place) for place in range(8)}
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
    assert len(nic.changes) == len(names)
    assert store.names() == []


def test_what_cannot_be_rewritten_stays_as_it_was(nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offramp.journal.recover.find", lambda device: nic)
    left_behind(nic, store, Changed("up", False, True), Changed("mtu", 1500, 3000))
    nic.refuse("up")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    (report,) = restore()
    assert report.state == "failed"
    assert nic.knobs["mtu"] == 1500
    nic.behave()
    (report,) = restore()
    assert report.state == "given back"
    assert nic.knobs["up"] is False


def test_a_journal_that_cannot_be_removed(nic: PlainNic, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_given_back_twice_at_the_same_time(nic: PlainNic, store: Store) -> None:
    """By the owner and its guardian: the one who comes second finds it done."""
    change = transaction(nic)
    change.set_all(STEPS, moves=["rss.table"])
    seized = store.seize(store.names()[0])
    assert seized is not None
    assert give_back(*seized, nic).state == "given back"
    assert {undone.outcome for undone in change.close().knobs} == {"as before"}
    assert nic.knobs == FRESH
