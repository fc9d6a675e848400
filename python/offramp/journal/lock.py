# SPDX-License-Identifier: Apache-2.0
"""One process per interface: a lock. A second process is refused, and told the pid of the first.

    /run/offramp/<network namespace>-<ifindex>.lock       a virtual interface
    /run/offramp/<PCI address>.lock                       a device, which may lose its interface and get another one

It is a POSIX record lock: the kernel releases it when the process ends, however that happens, and tells who has it. A
forked child does not have it, and cannot lose it for its parent. Several holders in one process share it; the last one
releases it. (The lock is also lost when the process closes another descriptor of the same file: only this module opens
it.)

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

_held: dict[str, tuple[Kept, int]] = {}  # path -> descriptor, number of holders in this process


class InterfaceLock:
    """The right to change an interface. A virtual one is in this thread's network namespace. A context manager.

    Errors: InterfaceBusy, naming the process that has it; PrivilegeError, KernelError about the directory.
    """

    def __init__(self, device: Identity) -> None:
        directory = os.environ.get(VARIABLE) or _DIRECTORY
        key = device.bus.replace("/", "_") or f"{namespace_cookie():x}-{device.ifindex}"
        self._path = f"{directory}/{key}.lock"
        self._pid = os.getpid()
        with process.alone():
            descriptor, holders = _held.get(self._path) or (_lock(self._path, device.name or device.bus), 0)
            _held[self._path] = descriptor, holders + 1

    def close(self) -> None:
        """Release it. Closing twice is allowed."""
        if not self._path or self._pid != os.getpid():  # a forked child has nothing to release
            return
        with process.alone():
            path = self._path
            descriptor, holders = _held[path]
            if holders > 1:
                _held[path], self._path = (descriptor, holders - 1), ""
                return
            with suppress(OSError):
                os.unlink(path)  # while we hold it: see _lock
            descriptor.close()
            del _held[path]
            self._path = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _lock(path: str, name: str) -> Kept:
    """The descriptor that holds the lock."""
    while True:
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = (kept := Kept()).keep(os.open, path, flags, 0o600)
        except OSError as error:
            raise failure(f"locking {name} by {path}", error) from error
        holder = _try(descriptor)
        if holder is None and _is_current(descriptor, path):
            return kept
        kept.close()
        if holder is not None:
            raise InterfaceBusy(name, reason=f"in use by {_who(holder)}", hint="one offramp process per interface")


def _try(descriptor: int) -> int | None:
    """Take the lock. None: we have it. Else the holder's pid, or 0 if it is in a pid namespace that we cannot see."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: both mean that somebody has it
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
            if kind != fcntl.F_UNLCK:  # else it was released just now
                return int(pid)


def _is_current(descriptor: int, path: str) -> bool:
    """Whether the path still leads to this file: a holder that releases the lock removes the file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    return False


def _who(pid: int) -> str:
    if pid == 0:
        return "a process of another pid namespace"
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return f"{file.read().strip()} (pid {pid})"
    return f"pid {pid}"


def _in_child() -> None:
    """A child may not hold locks of other processes; our parent keeps its own, whatever we close."""
    for descriptor, _ in _held.values():
        descriptor.close()
    _held.clear()


process.holds("locks", in_child=_in_child)
