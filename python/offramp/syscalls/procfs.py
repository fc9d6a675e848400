# SPDX-License-Identifier: Apache-2.0
"""What /proc, /sys and /run say, and other processes. All of it is bytes that others have chosen: see `offramp.text`.

    content(path)     the text of one such file: it is never strict, never waits for a FIFO, and has a bound
    processes()       all processes, each by a descriptor of its directory in /proc

Such a descriptor is of one process for good. When it has ended, reading fails, also if another one has its number by
now. Source: proc(5); openat(2), section "NOTES".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import partial

from offramp.syscalls.failure import if_there, trying
from offramp.syscalls.kept import Kept
from offramp.text import decoded, printable

__all__ = ["Process", "command", "content", "processes", "raw"]

_MOST = 64 << 20  # bytes: hundreds of thousands of connections
_PIECE = 1 << 16


def content(path: str | os.PathLike[str], most: int = _MOST, *, within: int | None = None) -> str:
    """The text of a file, `most` bytes at most; `within`: a directory that the path begins at. Errors: OSError."""
    return decoded(raw(path, most, within=within))


def raw(path: str | os.PathLike[str], most: int = _MOST, *, within: int | None = None) -> bytes:
    """The same as bytes."""
    kept = Kept()
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = kept.keep(partial(os.open, dir_fd=within), path, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        pieces, length = [], 0
        while length < most and (piece := os.read(descriptor, min(_PIECE, most - length))):
            pieces.append(piece)
            length += len(piece)
        return b"".join(pieces)
    finally:
        kept.close()


class Process:
    """A process, by a descriptor of its directory in /proc. Errors of all its methods: OSError."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._kept = Kept()
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._kept.keep(os.open, f"/proc/{pid}", flags)

    @property
    def user(self) -> int:
        """Its effective user. (Files in its directory may belong to root instead: see prctl(2), PR_SET_DUMPABLE.)"""
        return os.fstat(self._kept[0]).st_uid

    @property
    def users(self) -> list[int]:
        """Its real, effective, saved and file system user."""
        line = next(line for line in self.content("status").split("\n") if line.startswith("Uid:"))
        return [int(user) for user in line.split()[1:]]

    @property
    def is_roots(self) -> bool:
        """Whether root has started it. (A program that anybody may run as root, such as su, has another real user.)"""
        return set(self.users) == {0}

    @property
    def name(self) -> str:
        """Its name, which it may choose itself: as it is."""
        return content("comm", within=self._kept[0]).removesuffix("\n")

    def content(self, path: str) -> str:
        """The text of a file in its directory."""
        return content(path, within=self._kept[0])

    @property
    def open_files(self) -> int:
        """How many descriptors it has; 0 before Linux 6.2."""
        return os.stat("fd", dir_fd=self._kept[0]).st_size

    def descriptors(self) -> Iterator[tuple[str, str]]:
        """Each of its descriptors: number, and what it leads to."""
        kept = Kept()
        within = kept.keep(partial(os.open, dir_fd=self._kept[0]), "fd", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with os.scandir(within) as entries:
                for number in (entry.name for entry in entries):
                    target = ""
                    with if_there(f"descriptor {number} of process {self.pid}"):  # else it was closed just now
                        target = os.readlink(number, dir_fd=within)
                    if target:
                        yield number, target
        finally:
            kept.close()

    def close(self) -> None:
        self._kept.close()


def processes() -> Iterator[Process]:
    """All processes that are visible here; each is closed when the next one comes."""
    with trying("listing /proc"):
        numbers = [name for name in os.listdir("/proc") if name.isdecimal()]
    for number in numbers:
        process = None
        with if_there(f"process {number}"):  # else it ended just now
            process = Process(int(number))
        if process is not None:
            try:
                yield process
            finally:
                process.close()


def command(pid: int) -> str | None:
    """The name of a process, for people; None if it has ended."""
    with if_there(f"the name of process {pid}"):
        return printable(content(f"/proc/{pid}/comm").strip())
    return None
