# SPDX-License-Identifier: Apache-2.0
"""The directory of journals: one file for each owner and interface. A file is complete, or it does not exist.

    /var/lib/offramp/            0700, only for its user; $OFFRAMP_STATE_DIR names another one
        4321-9f86d081884c7d65.json        0600; 4321 is the owner's pid, for people

A file is replaced, never changed: a new one is written beside it, synced, renamed over it, and the directory is synced.
So after kill -9 or a power failure there is either the old journal or the new one.

A process that may change a journal holds its lock (flock), from before the file's name exists. This is the owner, as
long as it lives, or a process that gives back what a dead owner has changed. The kernel releases the lock when the
process ends, in whichever pid namespace it was. (A child forked in C has a copy of the descriptor, and the lock with
it; in a child that Python forks, the copy is closed.)

Somebody else could have put a file there. So no symbolic link is followed, and the file has to be a regular one with
one name and a bounded size, and nobody else may own or write it.
Source: open(2), flock(2), rename(2), fsync(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from offramp.errors import JournalError, KernelError, OptionError, PrivilegeError
from offramp.journal.record import MOST_BYTES, Record, decode, encode
from offramp.nic.mark import PREFIX
from offramp.syscalls.failure import trying
from offramp.syscalls.kept import Kept

__all__ = ["DIRECTORY", "VARIABLE", "Journal", "Store", "failure"]

DIRECTORY = "/var/lib/offramp"
VARIABLE = "OFFRAMP_STATE_DIR"

_NAME = re.compile(r"[0-9]{1,10}-[0-9a-f]{16}\.json")
_UNFINISHED = re.compile(rf"\.{_NAME.pattern}\.new")
_STALE = 60.0  # seconds; writing a journal takes almost none
_FRESH = 1.0  # seconds in which its writer may not have locked it yet
_HINT = f"run as root, or set ${VARIABLE} to a directory of your own"


class Store:
    """The journals in a directory."""

    def __init__(self, directory: str | None = None) -> None:
        self.directory = os.path.abspath(directory or os.environ.get(VARIABLE) or DIRECTORY)

    @property
    def _what(self) -> str:
        return f"the directory of journals {self.directory}"

    def names(self) -> list[str]:
        """The names of all journals, unread. Errors, about the directory: PrivilegeError, KernelError, JournalError."""
        try:
            with self.opened() as directory, trying(self._what):
                return [name for name in os.listdir(directory) if _NAME.fullmatch(name)]
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return []
            raise

    def new(self) -> Journal:
        """A journal with a name that no other has or had. Its file appears when it is first written."""
        return Journal(self, f"{os.getpid()}-{os.urandom(8).hex()}.json")

    def journal(self, name: str) -> Journal:
        """The journal of that name, whether or not there is one."""
        return Journal(self, name)

    def read(self, name: str) -> tuple[Record, bool] | None:
        """What a journal says, and whether its owner lives (or somebody is restoring it now); None:
        it does not exist.
        """
        with self._open(name) as descriptor:
            if descriptor is None:
                return None
            return self._content(descriptor, name), not self._locked(descriptor, name)

    def claim(self, name: str, patience: float = 0.2) -> tuple[Journal, Record] | None:
        """Take over a journal that nobody holds. None if somebody holds it, or it is gone. Errors: JournalError.

        `patience`: seconds to wait for its lock, which others take for a moment to see whether they can.
        """
        deadline = time.monotonic() + patience
        while (claimed := self._claim(name)) is None and name in self.names() and time.monotonic() < deadline:
            time.sleep(0.01)
        return claimed

    def seize(self, name: str) -> tuple[Journal, Record] | None:
        """Take over a journal, whoever holds it: for a caller that has the interface's lock, as its owner would.
        A child that a dead owner has forked in C may still hold the journal. None: it is gone.
        """
        if (claimed := self.claim(name, 0.0)) is not None:
            return claimed
        found = self.read(name)
        return (Journal(self, name), found[0]) if found else None

    def _claim(self, name: str) -> tuple[Journal, Record] | None:
        with self._open(name) as descriptor:
            if descriptor is None or not self._locked(descriptor, name) or not self._is_current(descriptor, name):
                return None
            record = self._content(descriptor, name)
            journal = Journal(self, name)
            with trying(f"taking over the journal {self.directory}/{name}"):
                journal.held.keep(os.dup, descriptor)
            return journal, record

    def _locked(self, descriptor: int, name: str) -> bool:
        """Whether we have the journal's lock now."""
        with trying(f"locking {self.directory}/{name}"):
            return _is_locked(descriptor)

    @contextmanager
    def opened(self, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the directory, which has to be ours alone. With `make`, it is created with its parents."""
        try:
            if make:
                os.makedirs(self.directory, 0o700, exist_ok=True)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            directory = (kept := Kept()).keep(os.open, self.directory, flags)
        except OSError as error:
            raise failure(self._what, error) from error
        try:
            with trying(self._what):
                _private(os.fstat(directory), self.directory)
            yield directory
        finally:
            kept.close()

    def sweep(self) -> None:
        """Remove files that a crash left unfinished: the change was never made."""
        if not os.path.isdir(self.directory):
            return
        with self.opened() as directory:
            with trying(self._what):
                names = os.listdir(directory)
            for name in filter(_UNFINISHED.fullmatch, names):
                with suppress(OSError):
                    written = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime
                    age = abs(time.time() - written)
                    if age > _STALE or (age > _FRESH and _is_free(name, directory)):
                        os.unlink(name, dir_fd=directory)

    @contextmanager
    def _open(self, name: str) -> Iterator[int | None]:
        """The journal's descriptor; None if there is no such file (any more)."""
        if not _NAME.fullmatch(name):
            raise OptionError(f"journal {name!r}", reason="not a journal's name")
        descriptor, kept = None, Kept()
        with self.opened() as directory:
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would make us wait
                descriptor = kept.keep(partial(os.open, dir_fd=directory), name, flags)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise JournalError(f"{self.directory}/{name}", reason="a symbolic link") from None
                raise failure(f"{self.directory}/{name}", error) from error
        try:
            yield descriptor
        finally:
            kept.close()

    def _content(self, descriptor: int, name: str) -> Record:
        what = f"{self.directory}/{name}"
        with trying(f"reading {what}"):
            about = os.fstat(descriptor)
        _private(about, what)
        if not stat.S_ISREG(about.st_mode):
            raise JournalError(what, reason="not a regular file")
        if about.st_nlink > 1:
            raise JournalError(what, reason="it has another name: a hard link")
        with trying(f"reading {what}"), open(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
        return decode(content, what)

    def _is_current(self, descriptor: int, name: str) -> bool:
        """Whether the name still leads to this file: its owner may have replaced it since we opened it."""
        with self.opened() as directory, trying(f"{self.directory}/{name}"), suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.stat(name, dir_fd=directory, follow_symlinks=False))
        return False


class Journal:
    """A journal that we hold: nobody else touches its file."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.held = Kept()  # the lock; none while there is no file

    @property
    def mark(self) -> str:
        """The alternative name of the interface that this journal is about (nic/mark.py)."""
        return f"{PREFIX}{self.name.rpartition('-')[2][:8]}"

    def write(self, record: Record) -> None:
        """Replace its content; it is on the disk when this returns. Errors: KernelError (ENOSPC,
        ...), PrivilegeError.
        """
        content, unfinished = encode(record), f".{self.name}.new"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self.store.opened(make=True) as directory:
            held = Kept()
            try:
                with suppress(FileNotFoundError):
                    os.unlink(unfinished, dir_fd=directory)  # it is an earlier owner's
                descriptor = held.keep(partial(os.open, dir_fd=directory), unfinished, flags, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with open(descriptor, "wb", closefd=False) as file:
                    file.write(content)
                os.fsync(descriptor)
                os.rename(unfinished, self.name, src_dir_fd=directory, dst_dir_fd=directory)
                os.fsync(directory)
            except BaseException as error:
                with suppress(OSError):
                    os.unlink(unfinished, dir_fd=directory)
                held.close()
                if isinstance(error, OSError):
                    raise failure(f"writing the journal {self.store.directory}/{self.name}", error) from error
                raise
        self.held, before = held, self.held
        before.close()

    def remove(self) -> None:
        """Remove it, when everything that it lists is dealt with. Errors: KernelError."""
        with self.store.opened() as directory:
            try:
                os.unlink(self.name, dir_fd=directory)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise failure(f"removing the journal {self.store.directory}/{self.name}", error) from error
            with suppress(OSError):  # if a power failure brings it back, all that it lists will be found as before
                os.fsync(directory)
        self.release()

    def release(self) -> None:
        """Release the lock; the file stays."""
        self.held.close()


def _is_locked(descriptor: int) -> bool:
    """Whether we have the lock now. Errors: OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(name: str, directory: int) -> bool:
    """Whether nobody holds the file, as its writer does. Errors: OSError."""
    kept = Kept()
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return _is_locked(kept.keep(partial(os.open, dir_fd=directory), name, flags))
    finally:
        kept.close()


def _private(about: os.stat_result, what: str) -> None:
    if about.st_uid != os.geteuid():
        raise JournalError(what, reason=f"owned by user {about.st_uid}, not by user {os.geteuid()}")
    if about.st_mode & 0o077:
        raise JournalError(what, reason=f"others may use it (mode {stat.S_IMODE(about.st_mode):04o})", hint="chmod go=")


def failure(what: str, error: OSError) -> KernelError:
    """The error for a file that could not be used."""
    code = error.errno or 0
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PrivilegeError(what, code, hint=_HINT)
    return KernelError(what, code)
