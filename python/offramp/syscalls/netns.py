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
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import chain, takewhile

from offramp.errors import KernelError, PrivilegeError
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
_FIRST = "/proc/1/ns/net"
_PATIENCE = 2.0  # seconds
_KIND = "net:["  # how the links of network namespaces begin
_ESCAPED = re.compile(r"\\([0-7]{3})")
_libc = ctypes.CDLL(None, use_errno=True)


def namespace() -> int:
    """A descriptor of this thread's network namespace, which keeps it alive. Errors: KernelError (EMFILE)."""
    try:
        return os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("this thread's network namespace", error.errno or 0, hint=f"opening {_HERE}") from error


def namespace_file() -> FileIO:
    """The same, owned by an object. It is closed when nobody refers to it, even if a signal handler
    raises right now.
    """
    try:
        return open(_HERE, "rb", buffering=0)
    except OSError as error:
        raise KernelError("this thread's network namespace", error.errno or 0, hint=f"opening {_HERE}") from error


@contextmanager
def first() -> Iterator[int]:
    """A descriptor of process 1's namespace, the machine's own unless this is a container. Errors: OSError (needs
    root).
    """
    descriptor = os.open(_FIRST, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def namespace_cookie() -> int:
    """The number of this thread's network namespace. Unlike its inode number, it is not used again in this boot."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Be in a network namespace, by its descriptor. Errors: PrivilegeError (CAP_SYS_ADMIN), KernelError."""
    if os.path.samestat(os.fstat(namespace), os.stat(_HERE)):
        yield
        return
    with namespace_file() as home:
        number = home.fileno()
        try:
            enter(namespace)
            yield
        finally:
            try:
                enter(number)
            except BaseException:  # once more: an interrupt may have come before
                enter(number)
                raise


def other_namespaces() -> Iterator[int]:
    """Descriptors of all other network namespaces: of threads, mounted ones, and those that somebody has a descriptor
    of. Use each before the next one.

    A namespace that only a socket keeps alive is not found. Errors: PrivilegeError if some may not be looked at.
    """
    here = os.stat(_HERE)
    seen = {here.st_ino}
    refused = ""
    for path in chain(_mounted(), _of_threads(), _of_descriptors()):
        try:
            if os.stat(path).st_ino in seen:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            refused = path
            continue
        except OSError:  # it ended just now
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
    with suppress(OSError):
        for line in content("/proc/thread-self/mountinfo").split("\n"):
            _, _, _, root, place, *_ = [*line.split(" "), *[""] * 5]
            if root.startswith(_KIND):
                yield _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), place)


def _of_threads() -> Iterator[str]:
    for process in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            yield from (f"/proc/{process}/task/{thread}/ns/net" for thread in os.listdir(f"/proc/{process}/task"))


def _of_descriptors() -> Iterator[str]:
    """For some time only: there may be many millions."""
    deadline = time.monotonic() + _PATIENCE
    for process in takewhile(lambda _: time.monotonic() < deadline, processes()):
        with suppress(OSError):
            found = [number for number, target in process.descriptors() if target.startswith(_KIND)]
            yield from (f"/proc/{process.pid}/fd/{number}" for number in found)


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
