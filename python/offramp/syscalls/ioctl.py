# SPDX-License-Identifier: Apache-2.0
"""ioctl(2) on interfaces. SIOCETHTOOL asks a driver something, or changes it; all kernels and drivers have it.

    ioctl(any socket, SIOCETHTOOL, struct ifreq {name[16], pointer}) ──> struct ethtool_* {command u32, answers ...}

`call` writes the answer into the request. The interface is looked up in the socket's network namespace: the calling
thread's. Asking needs no privileges (except statistics of some drivers, and GRSSH's key); telling needs CAP_NET_ADMIN.
Source: include/uapi/linux/ethtool.h, net/ethtool/ioctl.c.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct

from offramp.errors import InterfaceGone, KernelError, PrivilegeError
from offramp.text import encoded

__all__ = ["UNKNOWN", "ask", "call", "netmask", "tell"]

SIOCETHTOOL = 0x8946
_SIOCGIFNETMASK = 0x891B
_IFNAMSIZ = 16

# The answers of drivers and the kernel to a command that they do not have, or not for this argument.
UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.EINVAL})

_HINTS = {
    errno.EOPNOTSUPP: "the driver has no such setting",
    errno.EINVAL: "the driver does not accept this value",
    errno.EBUSY: "the device is in use or resetting: try again, or first set it down",
    errno.ENOSPC: "its table is full: remove what is not needed",
    errno.EEXIST: "it exists already",
    errno.ENOENT: "it does not exist",
}


def call(interface: str, request: bytearray, what: str) -> int:
    """Carry out a command; the answer is in `request`. Returns what ioctl returns, 0 for most commands.

    Errors: InterfaceGone (ENODEV), PrivilegeError (EPERM), KernelError naming `what` and the interface.
    """
    argument = (ctypes.c_char * len(request)).from_buffer(request)
    wanted = struct.pack("16sQ16x", _name(interface), ctypes.addressof(argument))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            return int(fcntl.ioctl(any_socket, SIOCETHTOOL, bytearray(wanted)))
        except OSError as error:
            raise _error(interface, what, error.errno or 0) from error
        finally:
            del argument  # a bytearray cannot be resized while it is exported


def ask(interface: str, request: bytearray, what: str) -> bytes | None:
    """The answer to a question; None if the driver does not know the question (EOPNOTSUPP, EINVAL)."""
    try:
        call(interface, request, what)
    except KernelError as error:
        if error.errno in UNKNOWN:
            return None
        raise
    return bytes(request)


def tell(interface: str, request: bytes, what: str) -> bytes:
    """Change a setting. Returns the request as the kernel left it. Errors: as `call`."""
    changed = bytearray(request)
    call(interface, changed, what)
    return bytes(changed)


def netmask(name: str) -> int | None:
    """The netmask of the interface's first IPv4 address, as a number; None if it has no address (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFNETMASK, struct.pack("16s24x", _name(name)))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
                return None
            raise KernelError(f"the netmask of {name}", error.errno or 0) from error
    return int.from_bytes(answer[20:24], "big")  # struct ifreq: name, struct sockaddr_in


def _name(interface: str) -> bytes:
    """A longer one would be cut off, and could then be another interface's. Errors: InterfaceGone."""
    raw = encoded(interface)
    if len(raw) >= _IFNAMSIZ:
        raise InterfaceGone(interface, reason="no interface has such a long name")
    return raw


def _error(interface: str, what: str, number: int) -> KernelError | InterfaceGone:
    if number == errno.ENODEV:
        return InterfaceGone(interface, reason=f"it no longer exists ({what})")
    if number in (errno.EPERM, errno.EACCES):
        return PrivilegeError(f"{what} on {interface}", number, hint="CAP_NET_ADMIN is needed")
    return KernelError(f"{what} on {interface}", number, hint=_HINTS.get(number, ""))
