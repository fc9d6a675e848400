# SPDX-License-Identifier: Apache-2.0
"""Calls into libc that fail: needs failing.c, which is built and preloaded by `preloaded`."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ERRORS", "counted", "failing", "preloaded"]

_SOURCE = Path(__file__).with_name("failing.c")

_OPENING = (errno.EMFILE, errno.EACCES, errno.ENOENT, errno.EIO)
_SOCKET = (errno.EMFILE, errno.ENOBUFS, errno.EACCES)
_TALKING = (errno.ENOBUFS, errno.ECONNREFUSED, errno.EINTR)
_MEMORY = (errno.ENOMEM, errno.EPERM)
_FILE = (errno.EIO, errno.ENOSPC)

ERRORS: dict[str, tuple[int, ...]] = {  # what each call may say
    **dict.fromkeys(("open", "open64", "openat", "openat64", "opendir"), _OPENING),
    **dict.fromkeys(("socket", "socketpair"), _SOCKET),
    **dict.fromkeys(("send", "recv", "sendto", "recvfrom", "sendmsg", "recvmsg"), _TALKING),
    **dict.fromkeys(("mmap", "mmap64", "madvise", "mprotect"), _MEMORY),
    **dict.fromkeys(("read", "pread64", "write", "fsync", "close", "renameat"), _FILE),
    **dict.fromkeys(("unlink", "unlinkat", "mkdir"), (errno.EROFS, errno.EIO)),
    **dict.fromkeys(("stat64", "fstat64", "fstatat64", "readlink"), (errno.EACCES, errno.ENOMEM)),
    **dict.fromkeys(("dup", "pipe2", "memfd_create", "eventfd"), (errno.EMFILE, errno.ENFILE)),
    **dict.fromkeys(("fcntl", "fcntl64", "flock"), (errno.ENOLCK, errno.EINTR)),
    **dict.fromkeys(("if_nametoindex", "if_indextoname", "if_nameindex"), (errno.EMFILE, errno.ENODEV)),
    "bpf": (errno.EPERM, errno.ENOMEM, errno.EINVAL, errno.EMFILE, errno.EBUSY),
    "ioctl": (errno.EPERM, errno.ENOMEM, errno.EOPNOTSUPP, errno.EBUSY, errno.ENODEV),
    "setsockopt": (errno.ENOMEM, errno.EPERM, errno.EINVAL),
    "getsockopt": (errno.ENOBUFS, errno.EINVAL),
    "bind": (errno.ENOMEM, errno.EBUSY, errno.EPERM),
    "poll": (errno.ENOMEM, errno.EINTR),
    "fork": (errno.EAGAIN, errno.ENOMEM),
    "setns": (errno.EPERM, errno.ENOMEM),
    "membarrier": (errno.ENOSYS,),
}


def preloaded(directory: Path) -> dict[str, str]:
    """The environment of a process in which calls can fail."""
    library = directory / "failing.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.failing_arm.argtypes = (ctypes.c_long, ctypes.c_char_p, ctypes.c_int, ctypes.c_long)
    library.failing_disarm.restype = library.failing_failed.restype = ctypes.c_long
    library.failing_kinds.argtypes, library.failing_kinds.restype = (ctypes.c_long,), ctypes.c_char_p
    return library


def counted(work: Callable[[], object]) -> list[str]:
    """The calls that this thread makes while the work is done."""
    library = _library()
    library.failing_arm(0, b"", 0, 0)
    try:
        work()
    finally:
        passed = library.failing_disarm()
    return [library.failing_kinds(number + 1).decode() for number in range(passed)]


@contextmanager
def failing(number: int, kind: str, error: int, times: int) -> Iterator[None]:
    """From call number `number` of this thread on (from 1), the next `times` of this kind fail."""
    library = _library()
    library.failing_arm(number, kind.encode(), error, times)
    try:
        yield
    finally:
        library.failing_disarm()
