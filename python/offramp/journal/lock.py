# SPDX-License-Identifier: Apache-2.0
"""One process per interface: a lock. A second process is refused, and told the pid of the first.

    /run/offramp/<network namespace>-<ifindex>.lock       a virtual interface
    /run/offramp/<PCI address>.lock                       a device, which may lose its interface and get another one

It is a record lock of POSIX: the kernel releases it when the process ends, however that happens, and tells who has it.
A forked child does not have it, and cannot lose it for its parent. Several holders in one process share it; the last
releases it. It is also lost when the process closes another descriptor of the same file. So only this module opens it,
and there is never more than one descriptor of a path.

What is held is told by two tables, in whatever place an interrupt comes, or a handler that locks and unlocks itself:

    _holders        who wants a path, from before it is locked until after it is to be let go of
    _descriptors    the one descriptor of a path, from before it is opened: locked by each holder anew, which is nothing
                    if it is; closed when nobody wants it, with no call in between, where a handler could want it

A holder that an interrupt has lost is collected, which lets go of it.

Needs write access to /run/offramp, or to $OFFRAMP_STATE_DIR. Source: fcntl(2), "Advisory record locking".
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from offramp import process
from offramp.errors import InterfaceBusy
from offramp.facts.identity import Identity
from offramp.journal.store import VARIABLE, failure
from offramp.syscalls.kept import Kept
from offramp.syscalls.netns import namespace_cookie

__all__ = ["InterfaceLock"]

_DIRECTORY = "/run/offramp"
_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid

_holders: dict[object, str] = {}  # token of a lock in this process: path
_descriptors: dict[str, Kept] = {}  # by path


class InterfaceLock:
    """The right to change an interface. A virtual one is in this thread's network namespace. A context manager.

    Errors: InterfaceBusy, naming the process that has it; PrivilegeError, KernelError about the directory.
    """

    _token: object = None  # of one whose __init__ did not get far
    _path = ""

    def __init__(self, device: Identity) -> None:
        directory = os.environ.get(VARIABLE) or _DIRECTORY
        key = device.bus.replace("/", "_") or f"{namespace_cookie():x}-{device.ifindex}"
        self._generation = process.generation()
        self._token = object()
        self._path = f"{directory}/{key}.lock"
        with process.alone():
            try:
                _holders[self._token] = self._path
                _take(self._path, device.name or device.bus)
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


def _take(path: str, name: str) -> None:
    """Make sure that the path's descriptor holds the lock."""
    kept = _descriptors.setdefault(path, Kept())
    while True:
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            kept.keep(os.open, path, flags, 0o600)
        except OSError as error:
            raise failure(f"locking {name} by {path}", error) from error
        if (holder := _try(kept)) is not None:
            raise InterfaceBusy(name, reason=f"in use by {_who(holder)}", hint="one offramp process per interface")
        if _is_current(kept, path):
            return
        kept.close()


def _let_go(path: str) -> None:
    """Close the path's descriptor, unless somebody wants it. Again: nothing."""
    kept = _descriptors.get(path)
    if kept is None or path in _holders.values():
        return
    is_ours = _try(kept) is None and _is_current(kept, path)
    try:  # no call may come before unlink, so this is not `suppress`
        if is_ours and path not in _holders.values():
            os.unlink(path)  # while we hold it: see _is_current
    except OSError:
        pass
    if path not in _holders.values() and path in _descriptors:  # no call may come before close
        del _descriptors[path]
        if kept:
            descriptor = kept[0]
            del kept[:]
            os.close(descriptor)


def _try(kept: Kept) -> int | None:
    """Take the lock. None: nobody else has it. Else the holder's pid, or 0 if we cannot see that pid namespace."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    while True:
        try:
            if kept:  # no call may come before lockf: a handler may have closed it
                fcntl.lockf(kept[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: both mean that somebody has it
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(kept[0], fcntl.F_GETLK, asked))
            if kind != fcntl.F_UNLCK:  # else it was released just now
                return int(pid)


def _is_current(kept: Kept, path: str) -> bool:
    """Whether the path still leads to this file: a holder that releases the lock removes the file."""
    with suppress(FileNotFoundError):
        if kept:
            return os.path.samestat(os.fstat(kept[0]), os.stat(path, follow_symlinks=False))
    return False


def _who(pid: int) -> str:
    if pid == 0:
        return "a process of another pid namespace"
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return f"{file.read().strip()} (pid {pid})"
    return f"pid {pid}"


def _in_child() -> None:
    """A child may not hold locks of other processes; our parent keeps its own, whatever we close."""
    _holders.clear()
    for kept in tuple(_descriptors.values()):
        kept.close()
    _descriptors.clear()


process.holds("locks", in_child=_in_child)
