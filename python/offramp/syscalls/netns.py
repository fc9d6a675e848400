# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: which one this thread is in, and how to be in another one for a while.

Only the calling thread enters a namespace and leaves it again. That needs CAP_SYS_ADMIN; staying does not.
Source: namespaces(7), setns(2); SO_NETNS_COOKIE: include/uapi/asm-generic/socket.h, Linux 5.14.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import chain, takewhile
from types import TracebackType

from offramp.errors import KernelError, PrivilegeError
from offramp.syscalls.failure import if_there, trying
from offramp.syscalls.procfs import content, processes

__all__ = [
    "enter",
    "enter_new",
    "first",
    "inside",
    "namespace",
    "namespace_cookie",
    "namespace_file",
    "other_namespaces",
]

_CLONE_NEWNS, _CLONE_NEWNET = 0x0002_0000, 0x4000_0000
_MS_REC, _MS_PRIVATE = 0x4000, 0x4_0000
_SO_NETNS_COOKIE = 71
_HERE = "/proc/thread-self/ns/net"
_THIS = "this thread's network namespace"
_FIRST = "/proc/1/ns/net"
_PATIENCE = 2.0  # seconds
_KIND = "net:["  # how the links of network namespaces begin
_ESCAPED = re.compile(r"\\([0-7]{3})")
_libc = ctypes.CDLL(None, use_errno=True)


def namespace() -> int:
    """A descriptor of this thread's network namespace, which keeps it alive. Errors: KernelError (EMFILE)."""
    with trying(_THIS, f"opening {_HERE}"):
        return os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)


def namespace_file() -> FileIO:
    """The same, owned by an object. It is closed when nobody refers to it, even if a signal handler
    raises right now.
    """
    with trying(_THIS, f"opening {_HERE}"):
        return open(_HERE, "rb", buffering=0)


@contextmanager
def first() -> Iterator[int]:
    """A descriptor of process 1's namespace, the machine's own unless this is a container. Errors: PrivilegeError
    (needs root), KernelError.
    """
    with trying("the network namespace of process 1", f"opening {_FIRST}"):
        descriptor = os.open(_FIRST, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def namespace_cookie() -> int:
    """The number of this thread's network namespace. Unlike its inode number, it is not used again in this boot."""
    with trying(_THIS), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


class inside:
    """Be in a network namespace, by its descriptor. A context manager; of a generator's, an interrupt could leave the
    end to whichever thread drops it. Errors: PrivilegeError (CAP_SYS_ADMIN), KernelError.
    """

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        self._home: FileIO | None = None

    def __enter__(self) -> None:
        with trying(_THIS):
            is_here = os.path.samestat(os.fstat(self._namespace), os.stat(_HERE))
        if not is_here:
            self._home = namespace_file()
            try:
                enter(self._namespace)
            except BaseException:  # an interrupt may have come when it was done
                self._go_back()
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._go_back()

    def _go_back(self) -> None:
        if self._home is None:
            return
        try:
            enter(self._home.fileno())
        except BaseException:  # once more: an interrupt may have come before
            enter(self._home.fileno())
            raise
        finally:
            self._home.close()


def other_namespaces() -> Iterator[int]:
    """Descriptors of all other network namespaces: of threads, mounted ones, and those that somebody has a descriptor
    of. Use each before the next one.

    A namespace that only a socket keeps alive is not found. Errors: PrivilegeError if some may not be looked at,
    KernelError (EMFILE).
    """
    with trying(_THIS):
        here = os.stat(_HERE)
    seen = {here.st_ino}
    refused = ""
    for path in chain(_mounted(), _of_threads(), _of_descriptors()):
        descriptor = -1
        with if_there(f"looking at {path}"):  # else it ended just now
            try:
                if os.stat(path).st_ino not in seen:
                    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except PermissionError:
                refused = path
        if descriptor < 0:
            continue
        try:
            seen.add(os.fstat(descriptor).st_ino)
            if os.fstat(descriptor).st_dev == here.st_dev:  # else something else is mounted over it
                yield descriptor
        finally:
            os.close(descriptor)
    if refused:
        raise PrivilegeError(f"looking at {refused}", errno.EACCES, hint="needs CAP_SYS_PTRACE: run as root")


def _mounted() -> Iterator[str]:
    """Where namespaces are mounted, so that they live without a process: ip-netns(8), container engines."""
    with if_there("the mounts of this thread"):
        for line in content("/proc/thread-self/mountinfo").split("\n"):
            _, _, _, root, place, *_ = [*line.split(" "), *[""] * 5]
            if root.startswith(_KIND):
                yield _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), place)


def _of_threads() -> Iterator[str]:
    for process in processes():
        tasks = f"/proc/{process.pid}/task"
        with if_there(f"the threads of process {process.pid}"):
            yield from [f"{tasks}/{thread}/ns/net" for thread in os.listdir(tasks)]


def _of_descriptors() -> Iterator[str]:
    """For some time only: there may be many millions."""
    deadline = time.monotonic() + _PATIENCE
    for process in takewhile(lambda _: time.monotonic() < deadline, processes()):
        with if_there(f"process {process.pid}"):
            found = [number for number, target in process.descriptors() if target.startswith(_KIND)]
            yield from [f"/proc/{process.pid}/fd/{number}" for number in found]


def enter(namespace: int) -> None:
    """Move this thread into a network namespace, for good. Errors: PrivilegeError (CAP_SYS_ADMIN), KernelError."""
    _check(_libc.setns(namespace, _CLONE_NEWNET), "entering another network namespace")


def enter_new() -> int:
    """Move this thread into a new network namespace, with its own mounts and a /sys that shows it. It cannot go back,
    so only a thread that does nothing else should do this. Returns a descriptor of the namespace. Errors:
    PrivilegeError, KernelError.
    """
    _check(_libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS), "making a network namespace")
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "making the mounts private")
    _check(_libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None), "mounting the namespace's own /sys")
    return namespace()


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.EACCES):
            raise PrivilegeError(what, code, hint="needs CAP_SYS_ADMIN: run as root")
        raise KernelError(what, code)
