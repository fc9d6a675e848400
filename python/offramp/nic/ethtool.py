# SPDX-License-Identifier: Apache-2.0
"""SIOCETHTOOL: ask an interface's driver, by the ioctl that every kernel and driver has.

    ioctl(any socket, SIOCETHTOOL, struct ifreq {name[16], pointer}) ──> struct ethtool_* {command u32, answers ...}

A question that a driver does not know (EOPNOTSUPP) is answered with None. The interface is looked up in the network
namespace that the socket was made in: the calling thread's. No privileges are needed.
Source: include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass

from offramp.errors import InterfaceGone, KernelError

__all__ = ["Channels", "Rings", "channels", "driver", "gro", "lro", "rings", "rx_vlan_offload"]

_SIOCETHTOOL = 0x8946
_GDRVINFO, _GRINGPARAM, _GFLAGS, _GGRO, _GCHANNELS = 0x03, 0x10, 0x25, 0x2B, 0x3C
_FLAG_RXVLAN, _FLAG_LRO = 1 << 8, 1 << 15


@dataclass(frozen=True, slots=True)
class Channels:
    """Queues: in use and at most. A combined channel receives and transmits."""

    rx: int
    tx: int
    combined: int
    rx_max: int
    tx_max: int
    combined_max: int


@dataclass(frozen=True, slots=True)
class Rings:
    """Descriptors per hardware ring: in use and at most."""

    rx: int
    tx: int
    rx_max: int
    tx_max: int


def driver(name: str) -> str | None:
    """The driver's name, as `ethtool -i` shows it."""
    answer = _ask(name, _GDRVINFO, 196)
    return answer[4:36].split(b"\0")[0].decode(errors="replace") or None if answer else None


def channels(name: str) -> Channels | None:
    """The number of queues, as `ethtool -l` shows it."""
    answer = _ask(name, _GCHANNELS, 36)
    if not answer:
        return None
    _, rx_max, tx_max, _, combined_max, rx, tx, _, combined = struct.unpack("9I", answer)
    return Channels(rx, tx, combined, rx_max, tx_max, combined_max)


def rings(name: str) -> Rings | None:
    """The sizes of the hardware's rings, as `ethtool -g` shows them."""
    answer = _ask(name, _GRINGPARAM, 36)
    if not answer:
        return None
    _, rx_max, _, _, tx_max, rx, _, _, tx = struct.unpack("9I", answer)
    return Rings(rx, tx, rx_max, tx_max)


def gro(name: str) -> bool | None:
    """Generic receive offload: whether the kernel merges received packets (before XDP in generic mode)."""
    value = _value(name, _GGRO)
    return None if value is None else bool(value)


def rx_vlan_offload(name: str) -> bool | None:
    """Whether the NIC takes VLAN tags out of received frames, so that they travel out of band."""
    value = _value(name, _GFLAGS)
    return None if value is None else bool(value & _FLAG_RXVLAN)


def lro(name: str) -> bool | None:
    """Large receive offload: whether the NIC merges received packets."""
    value = _value(name, _GFLAGS)
    return None if value is None else bool(value & _FLAG_LRO)


def _value(name: str, command: int) -> int | None:
    """The answer to a question with a single number (struct ethtool_value)."""
    answer = _ask(name, command, 8)
    return int(struct.unpack("II", answer)[1]) if answer else None


def _ask(name: str, command: int, size: int) -> bytes | None:
    """The kernel's answer in a structure of `size` bytes; None where the driver has none."""
    answer = ctypes.create_string_buffer(struct.pack("I", command), size)
    request = struct.pack("16sQ16x", name.encode(), ctypes.addressof(answer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return None
            if error.errno == errno.ENODEV:
                raise InterfaceGone(name, reason="removed while it was being asked") from error
            raise KernelError(f"SIOCETHTOOL {command:#x} on {name}", error.errno or 0) from error
    return answer.raw
