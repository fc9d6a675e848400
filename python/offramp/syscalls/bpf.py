# SPDX-License-Identifier: Apache-2.0
"""bpf(2) by ctypes: the single place where offramp enters the kernel's eBPF subsystem.

    bpf(command, attributes) -> a descriptor, or 0

`attributes` is one C union whose layout depends on the command. Callers build it with `struct.pack`, in the order of
include/uapi/linux/bpf.h. Attributes left out at the end read as zero, in every kernel. Memory that the attributes point
to belongs to the caller, and has to live until the call returns.

The GIL is released during the call. Needs: see privileges.py. Source: bpf(2), include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from enum import IntEnum

from offramp.errors import KernelError, NotSupported, PrivilegeError
from offramp.syscalls import privileges
from offramp.syscalls.kept import Kept

__all__ = ["Buffer", "Command", "bpf", "buffer", "check_name", "info"]

Buffer = ctypes.Array[ctypes.c_char]

_NUMBERS = {"x86_64": 321, "aarch64": 280}
_NAME = re.compile(r"[A-Za-z0-9_.]{0,15}")  # BPF_OBJ_NAME_LEN is 16, with the final NUL


class Command(IntEnum):
    """enum bpf_cmd."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    RAW_TRACEPOINT_OPEN = 17
    BTF_LOAD = 18
    BTF_GET_FD_BY_ID = 19
    MAP_FREEZE = 22
    LINK_CREATE = 28
    LINK_UPDATE = 29


_DESCRIPTORS = {
    Command.MAP_CREATE,
    Command.PROG_LOAD,
    Command.PROG_GET_FD_BY_ID,
    Command.RAW_TRACEPOINT_OPEN,
    Command.BTF_LOAD,
    Command.BTF_GET_FD_BY_ID,
    Command.LINK_CREATE,
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long)


def bpf(command: Command, attributes: bytes | Buffer, what: str = "", kept: Kept | None = None) -> int:
    """Make the system call. A ctypes buffer as `attributes` lets the caller read what the kernel wrote into it.
    `kept` gets the descriptor that it returns, and is needed if it does.

    Errors: `PrivilegeError` for EPERM, else `KernelError`; both say that `what` failed.
    """
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise NotSupported("bpf(2)", reason=f"unknown system call number on {os.uname().machine}")
    block = buffer(attributes) if isinstance(attributes, bytes) else attributes
    assert kept is not None or command not in _DESCRIPTORS, command
    results: list[int] = [] if kept is None else kept
    call = _libc["syscall"]
    call.argtypes, call.restype = _libc.syscall.argtypes, results.append
    call(number, command, ctypes.addressof(block), len(block))
    result = results[0] if results else 0  # a forked child has closed it already
    if result < 0:
        del results[:]
        code = ctypes.get_errno()
        subject = what or f"bpf({command.name})"
        if code == errno.EPERM:
            raise PrivilegeError(subject, code, hint=privileges.hint())
        raise KernelError(subject, code)
    return result


def buffer(content: bytes) -> Buffer:
    """Memory with a fixed address that holds `content` (and no final NUL)."""
    return ctypes.create_string_buffer(content, len(content))


def info(fd: int, size: int, what: str = "") -> bytes:
    """The first `size` bytes of the kernel's struct bpf_{map,prog,link}_info; zeros if this kernel
    knows fewer fields.
    """
    answer = ctypes.create_string_buffer(size)
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("IIQ", fd, size, ctypes.addressof(answer)), what)
    return answer.raw


def check_name(name: str) -> bytes:
    """An object's name in the kernel's form: up to 15 letters, digits, '_' and '.'."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name for a bpf object (at most 15 of A-Z a-z 0-9 _ .): {name!r}")
    return name.encode()
