# SPDX-License-Identifier: Apache-2.0
"""A TAP or TUN interface whose other end is this process: what a virtual machine's host has. tun(4)."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from offramp.testing import Host

__all__ = ["HEADER", "opened_tap", "segments"]

_SETIFF = 0x400454CA
_TUN, _TAP, _NO_PI, _VNET_HDR = 0x0001, 0x0002, 0x1000, 0x4000
_NEEDS_CSUM, _GSO_UDP_L4, _GSO_TCPV4 = 1, 5, 1
HEADER = struct.Struct("<BBHHHH")  # struct virtio_net_hdr


@contextmanager
def opened_tap(host: Host, name: str, *, headers: bool = False, tap: bool = True) -> Iterator[int]:
    """The descriptor to write frames to; with `headers`, each with a struct virtio_net_hdr in front."""
    flags = (_TAP if tap else _TUN) | _NO_PI | (_VNET_HDR if headers else 0)
    with host:  # the descriptor belongs to the namespace that it was opened in
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with host:
            fcntl.ioctl(file, _SETIFF, struct.pack("16sH22x", name.encode(), flags))
        yield file
    finally:
        os.close(file)


def segments(frame: bytes, size: int, *, udp: bool) -> bytes:
    """A frame of IPv4 without options that is still to be cut into segments of `size` bytes of payload."""
    transport = 14 + 20
    kind = _GSO_UDP_L4 if udp else _GSO_TCPV4
    length = transport + (8 if udp else 20)
    return HEADER.pack(_NEEDS_CSUM, kind, length, size, transport, 6 if udp else 16) + frame
