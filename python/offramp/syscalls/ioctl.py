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
from offramp.syscalls.failure import trying
from offramp.text import encoded, terminated

__all__ = ["UNKNOWN", "ask", "call", "name_of", "netmask", "tell"]

SIOCETHTOOL = 0x8946
_SIOCGIFNETMASK = 0x891B
_SIOCGIFNAME = 0x8910
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
    try:
        with _socket(f"{what} on {interface}") as any_socket:
            return int(fcntl.ioctl(any_socket, SIOCETHTOOL, bytearray(wanted)))
    except KernelError:
        raise
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
    answer = _answer(_SIOCGIFNETMASK, struct.pack("16s24x", _name(name)), f"the netmask of {name}")
    return int.from_bytes(answer[20:24], "big") if answer else None  # struct ifreq: name, struct sockaddr_in


def name_of(ifindex: int) -> str | None:
    """The name of the interface with that number; None if there is none here (netdevice(7)). if_indextoname(3) does
    not tell that from any other failure.
    """
    if not 0 < ifindex < 1 << 31:
        return None
    answer = _answer(_SIOCGIFNAME, struct.pack("16xi20x", ifindex), f"the name of interface {ifindex}")
    return terminated(answer[:16]) if answer else None


def _answer(command: int, request: bytes, what: str) -> bytes | None:
    """The struct ifreq that the kernel answers; None if there is no such interface, or no such address."""
    with trying(what), _socket(what) as any_socket:
        try:
            return fcntl.ioctl(any_socket, command, request)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
                return None
            raise


def _socket(what: str) -> socket.socket:
    """One that is there only to ask."""
    with trying(what):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


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
