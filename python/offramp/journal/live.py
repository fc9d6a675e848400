# SPDX-License-Identifier: Apache-2.0
"""The knobs of a live interface that need nothing but an ioctl: mtu, up, feature.rx-gro.

The interface is named by its number, so it stays the same one when it is renamed. Everything happens in the network
namespace of the calling thread. `set` needs CAP_NET_ADMIN.
Source: netdevice(7), include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from pathlib import Path

from offramp import netlink
from offramp.errors import InterfaceGone, KernelError, NotSupported
from offramp.journal.knobs import Identity, Value

__all__ = ["LiveNic", "find", "identify", "open_nic"]

_SIOCGIFNAME, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFMTU, _SIOCSIFMTU = 0x8910, 0x8913, 0x8914, 0x8921, 0x8922
_SIOCETHTOOL, _GDRVINFO, _GGRO, _SGRO = 0x8946, 0x03, 0x2B, 0x2C
_UP = 1
_ADDRESS, _PERM_ADDRESS, _NAME = 1, 54, 3


class LiveNic:
    """An interface of this thread's network namespace."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def get(self, knob: str) -> Value:
        match knob:
            case "mtu":
                return self._ask(_SIOCGIFMTU)
            case "up":
                return bool(self._ask(_SIOCGIFFLAGS) & _UP)
            case "feature.rx-gro":
                return bool(self._ethtool(_GGRO, 0))
        raise NotSupported(f"{knob} of {self.identity.name}")

    def set(self, knob: str, value: Value) -> None:
        match knob:
            case "mtu":
                self._ask(_SIOCSIFMTU, value)
            case "up":
                flags = self._ask(_SIOCGIFFLAGS) & 0xFFFF
                self._ask(_SIOCSIFFLAGS, flags | _UP if value else flags & ~_UP)
            case "feature.rx-gro":
                self._ethtool(_SGRO, int(value))
            case _:
                raise NotSupported(f"{knob} of {self.identity.name}")

    def _ask(self, request: int, value: int = 0) -> int:
        answer = self._ioctl(request, struct.pack("i20x", value))
        return int(struct.unpack_from("i" if request in (_SIOCGIFMTU, _SIOCSIFMTU) else "H", answer, 16)[0])

    def _ethtool(self, command: int, value: int) -> int:
        block = ctypes.create_string_buffer(struct.pack("II", command, value), 8)
        self._ioctl(_SIOCETHTOOL, struct.pack("Q16x", ctypes.addressof(block)))
        return int(struct.unpack("II", block.raw)[1])

    def _ioctl(self, request: int, argument: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            try:
                found = fcntl.ioctl(control, _SIOCGIFNAME, struct.pack("16xi20x", self.identity.ifindex))
                return fcntl.ioctl(control, request, found[:16] + argument)
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ENXIO):
                    raise InterfaceGone(self.identity.name, reason="not in this network namespace") from None
                raise KernelError(f"ioctl {request:#x} on {self.identity.name}", error.errno or 0) from error


def open_nic(interface: str) -> LiveNic:
    """The interface of that name here. Errors: KernelError (ENODEV)."""
    return LiveNic(identify(interface))


def identify(interface: str | int) -> Identity:
    """Which device this is. Errors: KernelError (ENODEV)."""
    ifindex, _, found = netlink.link(interface)
    name = netlink.text(found.get(_NAME)) or ""
    mac = found.get(_PERM_ADDRESS) or found.get(_ADDRESS, b"")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    driver, bus = _driver(name)
    return Identity(name, ifindex, mac.hex(":"), bus, driver, os.stat("/proc/thread-self/ns/net").st_ino, boot)


def find(identity: Identity) -> LiveNic | None:
    """The same device, in this thread's network namespace, by whatever name it has now."""
    for ifindex, _ in socket.if_nameindex():
        try:
            found = identify(ifindex)
        except KernelError:  # removed just now
            continue
        if found.same_device(identity):
            return LiveNic(found)
    return None


def _driver(name: str) -> tuple[str, str]:
    block = ctypes.create_string_buffer(struct.pack("I", _GDRVINFO), 196)
    request = struct.pack("16sQ16x", name.encode(), ctypes.addressof(block))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, request)
        except OSError:
            return "", ""
    driver, bus = (block.raw[start : start + 32].split(b"\0")[0].decode() for start in (4, 100))
    return driver, bus if ":" in bus else ""
