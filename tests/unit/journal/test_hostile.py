# SPDX-License-Identifier: Apache-2.0
"""Other things in the directory of journals and locks: nothing hangs, nothing is followed, nothing is lost."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from offramp.errors import JournalError, OfframpError
from offramp.journal import InterfaceLock, listed, lock, restore, transaction
from offramp.journal.lock import path_of
from offramp.journal.store import Store
from tests.rigs.hostile import CONTENTS
from tests.rigs.journals import FRESH, PlainNic, identity

JOURNAL, LOCK = "4321-9f86d081884c7d65.json", "77-7.lock"
NOT_LOCKS = {name for name in CONTENTS if name not in ("another's file", "a file for all", "a huge file", "garbage")}
NOT_LOCKS -= {"deep JSON", "nothing"}

pytestmark = [pytest.mark.timeout(20), pytest.mark.skipif(os.geteuid() != 0, reason="makes devices: needs root")]


@pytest.fixture
def place(store: Store) -> Iterator[Path]:
    path = Path(store.directory)
    path.mkdir(0o700, parents=True)
    yield path
    for each in path.iterdir():
        each.rmdir() if stat.S_ISDIR(each.lstat().st_mode) else each.unlink()


@pytest.mark.parametrize("content", CONTENTS)
def test_as_a_journal(place: Path, nic: PlainNic, content: str) -> None:
    CONTENTS[content](place / JOURNAL)
    before = (place / JOURNAL).lstat()
    states = [entry.state for entry in listed()]
    assert states in (["refused"], [])  # a link to nothing may count as none
    assert [report.state for report in restore()] == states
    with transaction(nic) as change:
        change.set("mtu", 3000)
    assert nic.knobs == FRESH
    assert (place / JOURNAL).lstat() == before


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", [f".{JOURNAL}.new", "x.lock", "notes", "-1.json", ".json"])
def test_beside_the_journals(place: Path, nic: PlainNic, content: str, name: str) -> None:
    CONTENTS[content](place / name)
    assert listed() == []
    assert restore() == []
    with transaction(nic) as change:
        change.set("mtu", 3000)
    assert nic.knobs == FRESH


@pytest.mark.parametrize("content", CONTENTS)
def test_as_a_lock(place: Path, content: str) -> None:
    device = identity(ifindex=7)
    path = Path(path_of(device, 0x77))
    CONTENTS[content](path)
    before = path.lstat()
    if content in NOT_LOCKS:
        with pytest.raises(JournalError, match="not a regular file of one name"):
            InterfaceLock(device, namespace=0x77)
        lock.sweep()
        assert path.lstat() == before
    else:
        InterfaceLock(device, namespace=0x77).close()
        assert not path.exists()


def test_a_lock_with_another_name(place: Path) -> None:
    """If it were opened and closed again, the lock of the other name would be lost."""
    device = identity(ifindex=7)
    with InterfaceLock(device, namespace=0x77):
        os.link(path_of(device, 0x77), place / "78-8.lock")
        with pytest.raises(JournalError, match="not a regular file of one name"):
            InterfaceLock(identity(ifindex=8), namespace=0x78)
        lock.sweep()
        assert {each.name for each in place.iterdir()} == {"77-7.lock", "78-8.lock"}


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_a_directory_that_others_may_write_to(place: Path, mode: int) -> None:
    place.chmod(mode)
    with pytest.raises(OfframpError, match="others may"):
        InterfaceLock(identity(ifindex=7))
    with pytest.raises(OfframpError, match="others may"):
        Store().new().store.names()
    place.chmod(0o700)


def test_locks_that_nobody_holds_are_swept(place: Path) -> None:
    for number in range(300):
        (place / f"{number:x}-{number}.lock").touch(0o600)
    with InterfaceLock(identity(ifindex=7), namespace=0x77):
        lock.sweep()
        assert [each.name for each in place.iterdir()] == [LOCK]
    assert list(place.iterdir()) == []
