# SPDX-License-Identifier: Apache-2.0
"""The directory of journals: whole files, locked by their owners, and nobody else's."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from offramp.errors import JournalError, KernelError, OptionError, PrivilegeError
from offramp.journal.record import MOST_BYTES, Changed, Record, encode
from offramp.journal.store import Journal, Store
from tests.rigs.journals import identity

RECORD = Record(identity(), 9, 4321, "offramp", 5, False, (Changed("mtu", 1500, 3000),))
OTHER = Record(identity(), 9, 4321, "offramp", 6, True, (Changed("mtu", 1500, 2000),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "deep" / "journals"))


@pytest.fixture
def journal(store: Store) -> Journal:
    journal = store.new()
    journal.write(RECORD)
    return journal


def path_of(journal: Journal) -> Path:
    return Path(journal.store.directory, journal.name)


def test_nothing_is_made_before_it_is_needed(store: Store) -> None:
    assert store.names() == []
    store.new()
    assert not os.path.exists(store.directory)


def test_written_and_read(store: Store, journal: Journal) -> None:
    assert store.names() == [journal.name]
    assert store.read(journal.name) == (RECORD, True)
    journal.write(OTHER)
    assert store.read(journal.name) == (OTHER, True)
    journal.release()
    assert store.read(journal.name) == (OTHER, False)
    assert os.stat(path_of(journal)).st_mode & 0o777 == 0o600
    assert os.stat(store.directory).st_mode & 0o777 == 0o700
    assert os.listdir(store.directory) == [journal.name]


def test_removed(store: Store, journal: Journal) -> None:
    journal.remove()
    assert store.names() == []
    assert store.read(journal.name) is None
    assert store.claim(journal.name) is None
    journal.remove()


def test_claimed_by_one_at_a_time(store: Store, journal: Journal) -> None:
    assert store.claim(journal.name, 0.0) is None
    journal.release()
    claimed = store.claim(journal.name)
    assert claimed is not None
    ours, record = claimed
    assert record == RECORD
    assert store.claim(journal.name, 0.0) is None
    ours.write(OTHER)
    assert store.claim(journal.name, 0.0) is None
    ours.release()
    assert store.read(journal.name) == (OTHER, False)


def test_seized_whoever_holds_it(store: Store, journal: Journal) -> None:
    seized = store.seize(journal.name)
    assert seized is not None
    seized[0].remove()
    assert store.seize(journal.name) is None
    journal.write(OTHER)  # its owner did not know
    assert store.read(journal.name) == (OTHER, True)
    journal.remove()


def test_the_lock_ends_with_the_process(store: Store) -> None:
    code = (
        "import sys\n"
        "from offramp.journal.store import Store\n"
        "from tests.unit.journal.test_store import RECORD\n"
        "journal = Store(sys.argv[1]).new()\n"
        "journal.write(RECORD)\n"
        "print(journal.name, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, store.directory]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        assert store.read(name) == (RECORD, True)
        assert store.claim(name, 0.0) is None
        owner.kill()
        owner.wait()
    claimed = store.claim(name)
    assert claimed is not None
    claimed[0].remove()


def test_a_crash_leaves_the_old_journal(store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, crash)
        with pytest.raises(KeyboardInterrupt):
            journal.write(OTHER)
        monkeypatch.undo()
        assert store.read(journal.name) == (RECORD, True)
    journal.write(OTHER)
    assert os.listdir(store.directory) == [journal.name]
    journal.release()


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_fails(store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(KernelError, match=r"writing the journal .*: No space left on device \[ENOSPC\]"):
        journal.write(OTHER)
    monkeypatch.undo()
    assert store.read(journal.name) == (RECORD, True)
    assert os.listdir(store.directory) == [journal.name]
    journal.release()


def test_what_a_crash_left_unfinished_is_swept(store: Store, journal: Journal) -> None:
    path = Path(store.directory, f".{journal.name}.new")
    for name, stays in ((path, False), (Path(store.directory, ".notes"), True)):
        name.write_text("half")
        store.sweep()
        assert name.exists()  # somebody may be writing it
        os.utime(name, (time.time() - 100,) * 2)
        store.sweep()
        assert name.exists() is stays
    journal.release()


# -- forged ------------------------------------------------------------------------------------------------------------


def to_symlink(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


def to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def to_large(path: Path) -> None:
    os.truncate(path, MOST_BYTES + 1)


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (to_symlink, "a symbolic link"),
        (lambda path: os.link(path, path.parent / "other"), "it has another name: a hard link"),
        (lambda path: path.chmod(0o644), "others may use it (mode 0644)"),
        (lambda path: path.chmod(0o602), "others may use it (mode 0602)"),
        (to_directory, "not a regular file"),
        (to_fifo, "not a regular file"),
        (to_large, f"{MOST_BYTES + 1} bytes, more than {MOST_BYTES}"),
        (lambda path: path.write_bytes(encode(RECORD)[:-20]), "not JSON, or cut off"),
        (lambda path: path.write_bytes(b""), "not JSON, or cut off"),
    ],
)
def test_a_forged_journal_is_refused(
    store: Store, journal: Journal, forge: Callable[[Path], None], reason: str
) -> None:
    journal.release()
    path = path_of(journal)
    forge(path)
    for read in (store.read, store.claim, store.seize):
        with pytest.raises(JournalError) as caught:
            read(journal.name)
        assert caught.value.reason.startswith(reason)
        assert str(path) in str(caught.value)
    assert os.path.lexists(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_journal_of_somebody_else(store: Store, journal: Journal) -> None:
    journal.release()
    os.chown(path_of(journal), 1234, -1)
    with pytest.raises(JournalError, match="owned by user 1234, not by user 0"):
        store.claim(journal.name)
    os.chown(store.directory, 1234, -1)
    with pytest.raises(JournalError, match=f"{store.directory}: owned by user 1234"):
        store.names()


def test_a_directory_that_others_may_use(store: Store, journal: Journal) -> None:
    os.chmod(store.directory, 0o755)
    with pytest.raises(JournalError, match=r"others may use it \(mode 0755\) \(chmod go=\)"):
        store.names()
    with pytest.raises(JournalError, match="others may use it"):
        journal.write(OTHER)
    journal.release()


def test_a_directory_that_is_a_link(store: Store, journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.directory)
    with pytest.raises(KernelError, match="the directory of journals"):
        Store(str(tmp_path / "link")).names()
    journal.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="has to become somebody else")
def test_without_permission(store: Store, journal: Journal) -> None:
    journal.release()
    os.chmod(Path(store.directory).parent, 0o700)
    os.seteuid(65534)
    try:
        with pytest.raises(PrivilegeError, match=r"run as root, or set \$OFFRAMP_STATE_DIR"):
            store.names()
        with pytest.raises(PrivilegeError):
            store.new().write(OTHER)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["../1-0123456789abcdef.json", "1-0123456789abcdef", "", "1-0123.json/..", "/etc"])
def test_other_names_are_no_journals(store: Store, journal: Journal, name: str) -> None:
    with pytest.raises(OptionError, match="not a journal's name"):
        store.read(name)
    journal.release()


def test_the_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OFFRAMP_STATE_DIR", raising=False)
    assert Store().directory == "/var/lib/offramp"
    monkeypatch.setenv("OFFRAMP_STATE_DIR", str(tmp_path))
    assert Store().directory == str(tmp_path)
