# SPDX-License-Identifier: Apache-2.0
"""One process per interface: a lock. A second process is refused, and told the pid of the first.

    /run/offramp/<network namespace>-<ifindex>.lock       a virtual interface
    /run/offramp/<PCI address>.lock                       a device, which may lose its interface and get another one

Whoever changes an interface holds its lock: its owner, the guardian, `offramp restore`. Nobody else changes anything.

It is a record lock of POSIX: the kernel releases it when the process ends, however that happens, and tells who has it.
A forked child does not have it, and cannot lose it for its parent. Several holders in one process share it; the last
releases it. It is also lost when the process closes another descriptor of the same file. So only this module opens it,
and there is never more than one descriptor of a path. Two bytes are locked:

    byte 0    the lock itself
    byte 1    its holder is at work for a moment, giving back or sweeping: wait for it, rather than be refused

What is held is told by two tables, in whatever place an interrupt comes, or a handler that locks and unlocks itself:

    _holders        who wants a path, from before it is locked until after it is to be let go of
    _descriptors    the one descriptor of a path, from before it is opened: locked by each holder anew, which is nothing
                    if it is; closed when nobody wants it, with no call in between, where a handler could want it

A holder that an interrupt has lost is collected, which lets go of it. The file is removed by whoever holds the lock;
that a path leads to the file that was locked is checked after locking. What a killed process leaves is swept alike.

Needs write access to /run/offramp, or to $OFFRAMP_STATE_DIR. Source: fcntl(2), "Advisory record locking".
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from offramp import process
from offramp.errors import InterfaceBusy, JournalError, OfframpError
from offramp.facts.identity import Identity
from offramp.journal.store import VARIABLE, failure
from offramp.syscalls.failure import trying
from offramp.syscalls.kept import Kept
from offramp.syscalls.netns import namespace_cookie
from offramp.syscalls.procfs import command

__all__ = ["InterfaceLock", "holder", "path_of", "sweep"]

_DIRECTORY = "/run/offramp"
_SUFFIX = ".lock"
_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid
_LOCK, _AT_WORK = 0, 1  # bytes
_PATIENCE = 5.0  # how long giving back may take, including a driver's reset; seconds
_TURN = 0.01
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_holders: dict[object, str] = {}  # token of a lock in this process: path
_descriptors: dict[str, Kept] = {}  # by path


class InterfaceLock:
    """The right to change an interface. A virtual one is in this thread's network namespace, or in that of the cookie
    `namespace`. A context manager.

    `briefly`: it is held for a moment, for which others wait; nobody else in this process may hold it.
    Errors: InterfaceBusy, naming the process that has it; PrivilegeError, KernelError, JournalError about the file.
    """

    _token: object = None  # of one whose __init__ did not get far
    _path = ""
    _briefly = False

    def __init__(self, device: Identity, *, namespace: int | None = None, briefly: bool = False) -> None:
        self._generation = process.generation()
        self._token = object()
        self._path = path_of(device, namespace)
        self._briefly = briefly
        name = device.name or device.bus
        with process.alone():
            if briefly and self._path in _holders.values():
                raise _busy(name, os.getpid())
            try:
                _holders[self._token] = self._path
                _take(self._path, name, briefly)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Let go. Closing twice is allowed."""
        if self._generation != process.generation():  # a forked child has nothing to let go of
            return
        with process.alone():
            _holders.pop(self._token, None)
            _let_go(self._path)
            self._path = ""  # what is closed has nothing to say about others' locks

    def __del__(self) -> None:
        if self._token in _holders or self._path in _descriptors:
            process.when_alone(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def path_of(device: Identity, namespace: int | None = None) -> str:
    """Where its lock is."""
    if device.bus:
        return f"{_directory()}/{device.bus.replace('/', '_')}{_SUFFIX}"
    return f"{_directory()}/{namespace_cookie() if namespace is None else namespace:x}-{device.ifindex}{_SUFFIX}"


def holder(device: Identity, namespace: int) -> int | None:
    """The other process that has the lock of a device, which is or was in that namespace; None: nobody has."""
    path, kept = path_of(device, namespace), Kept()
    if path in _descriptors:  # it is ours, and would be lost by closing another descriptor
        return None
    try:
        kept.keep(os.open, path, _FLAGS)
        return _holder(kept, _LOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise failure(f"looking who has {path}", error) from error
    finally:
        kept.close()


def sweep() -> None:
    """Remove the locks that nobody holds: their processes were killed."""
    with suppress(OSError, OfframpError):
        for name in os.listdir(_directory()):
            if name.endswith(_SUFFIX):
                with process.alone():
                    _sweep(f"{_directory()}/{name}")


def _sweep(path: str) -> None:
    if path in _descriptors:  # we hold it, and would lose it by closing another descriptor
        return
    kept = _descriptors.setdefault(path, Kept())
    with suppress(OSError, JournalError):
        _check_plain(os.stat(path, follow_symlinks=False), path)
        kept.keep(os.open, path, _FLAGS)
        if _try(kept, _AT_WORK) is None:
            _try(kept, _LOCK)
    _let_go(path)


def _directory() -> str:
    return os.environ.get(VARIABLE) or _DIRECTORY


def _take(path: str, name: str, briefly: bool) -> None:
    """Make sure that the path's descriptor holds the lock."""
    kept = _descriptors.setdefault(path, Kept())
    deadline = time.monotonic() + _PATIENCE
    while True:
        _open(path, name, kept)
        with trying(f"locking {name} by {path}"):
            holder = _try(kept, _AT_WORK) if briefly else None
            if holder is None:
                holder = _try(kept, _LOCK)
            if holder is None:
                if _is_current(kept, path):
                    return
                kept.close()
            elif time.monotonic() < deadline and _holder(kept, _AT_WORK) is not None:
                kept.close()
                time.sleep(_TURN)
            elif (holder := _try(kept, _LOCK)) is not None:  # or it was given back just now
                raise _busy(name, holder)


def _open(path: str, name: str, kept: Kept) -> None:
    what, directory = f"locking {name} by {path}", os.path.dirname(path)
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        about = os.stat(directory, follow_symlinks=False)
        if not stat.S_ISDIR(about.st_mode) or about.st_mode & 0o022:
            raise JournalError(what, reason=f"others may write to {directory}, or it is a link", hint="chmod go-w")
        with suppress(FileNotFoundError):  # before it is opened: that may do something, if it is a device
            _check_plain(os.stat(path, follow_symlinks=False), what)
        kept.keep(os.open, path, _FLAGS | os.O_CREAT, 0o600)
        _check_plain(os.fstat(kept[0]), what)
    except OSError as error:
        raise failure(what, error) from error


def _check_plain(about: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        raise JournalError(what, reason="not a regular file of one name", hint="somebody else has put it there")


def _let_go(path: str) -> None:
    """Close the path's descriptor, unless somebody wants it. Again: nothing."""
    kept = _descriptors.get(path)
    if kept is None:
        return
    if path in _holders.values():
        with suppress(OSError, IndexError):  # those who stay are not at work for a moment only
            fcntl.lockf(kept[0], fcntl.LOCK_UN, 1, _AT_WORK)
        return
    try:  # no call may come before unlink, so this is not `suppress`
        is_ours = _try(kept, _LOCK) is None and _is_current(kept, path)
        if is_ours and path not in _holders.values():
            os.unlink(path)  # while we hold it: see _is_current
    except OSError:  # the file stays, which does no harm; the lock goes with the descriptor
        pass
    if path not in _holders.values() and path in _descriptors:  # no call may come before close
        del _descriptors[path]
        if kept:
            descriptor = kept[0]
            del kept[:]
            os.close(descriptor)


def _try(kept: Kept, byte: int) -> int | None:
    """Lock a byte. None: nobody else has it. Else the holder's pid, or 0 if we cannot see that pid namespace."""
    while True:
        try:
            if kept:  # no call may come before lockf: a handler may have closed it
                fcntl.lockf(kept[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return None
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: both mean that somebody has it
            if (holder := _holder(kept, byte)) is not None:  # else it was released just now
                return holder


def _holder(kept: Kept, byte: int) -> int | None:
    """The process that has locked the byte, other than this one."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(kept[0], fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(pid)


def _is_current(kept: Kept, path: str) -> bool:
    """Whether the path still leads to this file: a holder that releases the lock removes the file."""
    with suppress(FileNotFoundError):
        if kept:
            return os.path.samestat(os.fstat(kept[0]), os.stat(path, follow_symlinks=False))
    return False


def _busy(name: str, pid: int) -> InterfaceBusy:
    return InterfaceBusy(name, reason=f"in use by {_who(pid)}", hint="one offramp process per interface")


def _who(pid: int) -> str:
    if pid == 0:
        return "a process of another pid namespace"
    name = command(pid)
    return f"pid {pid}" if name is None else f"{name} (pid {pid})"


def _in_child() -> None:
    """A child may not hold locks of other processes; our parent keeps its own, whatever we close."""
    _holders.clear()
    for kept in tuple(_descriptors.values()):
        kept.close()
    _descriptors.clear()


process.holds("locks", in_child=_in_child)
