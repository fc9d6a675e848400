# SPDX-License-Identifier: Apache-2.0
"""An interface's driver, queues and rings; offloads that have an ioctl command of their own.

If the driver does not know a question, the answer is None. Asking needs no privileges; changing needs CAP_NET_ADMIN.
Source: include/uapi/linux/ethtool.h; each function names ethtool's option for it.
"""

from __future__ import annotations

import struct

from offramp.facts.link import Rings
from offramp.immutable import immutable
from offramp.syscalls.ioctl import ask, tell
from offramp.text import printable, terminated

__all__ = [
    "Channels",
    "Driver",
    "channels",
    "channels_request",
    "driver",
    "drvinfo",
    "gro",
    "lro",
    "rings",
    "rings_request",
    "rx_vlan_offload",
    "set_channels",
    "set_rings",
]

_GDRVINFO, _GRINGPARAM, _SRINGPARAM = 0x03, 0x10, 0x11
_GFLAGS, _GGRO, _GCHANNELS, _SCHANNELS = 0x25, 0x2B, 0x3C, 0x3D
_FLAG_RXVLAN, _FLAG_LRO = 1 << 8, 1 << 15
_NINE = struct.Struct("9I")  # struct ethtool_channels, struct ethtool_ringparam


@immutable
class Driver:
    """The interface's driver; "" where it does not say."""

    name: str
    version: str
    firmware: str
    bus: str  # "0000:02:00.0", "virtio1", "usb-0000:00:14.0-1"


@immutable
class Channels:
    """Queues: in use and at most. A combined channel receives and transmits."""

    rx: int
    tx: int
    combined: int
    rx_max: int
    tx_max: int
    combined_max: int


def drvinfo(name: str) -> Driver | None:
    """What `ethtool -i` shows."""
    answer = _ask(name, _GDRVINFO, 196, "the driver's name")
    if not answer:
        return None
    texts = struct.unpack_from("32s32s32s32s", answer, 4)
    return Driver(*(printable(terminated(text)) for text in texts))


def driver(name: str) -> str | None:
    """The driver's name, as `ethtool -i` shows it."""
    found = drvinfo(name)
    return (found.name or None) if found else None


def channels(name: str) -> Channels | None:
    """The number of queues, as `ethtool -l` shows it."""
    answer = _ask(name, _GCHANNELS, _NINE.size, "the number of channels")
    if not answer:
        return None
    _, rx_max, tx_max, _, combined_max, rx, tx, _, combined = _NINE.unpack(answer)
    return Channels(rx, tx, combined, rx_max, tx_max, combined_max)


def channels_request(now: bytes, rx: int, tx: int, combined: int) -> bytes:
    """The bytes of `ethtool -L`: the answer to GCHANNELS with other counts (struct ethtool_channels)."""
    _, *most, _, _, other, _ = _NINE.unpack(now)
    return _NINE.pack(_SCHANNELS, *most, rx, tx, other, combined)


def set_channels(name: str, rx: int, tx: int, combined: int) -> None:
    """Change the number of queues, as `ethtool -L` does. Most drivers reset the link for it."""
    what = f"channels rx {rx} tx {tx} combined {combined}"
    now = tell(name, struct.pack("I", _GCHANNELS) + bytes(_NINE.size - 4), what)
    tell(name, channels_request(now, rx, tx, combined), what)


def rings(name: str) -> Rings | None:
    """The sizes of the hardware's rings, as `ethtool -g` shows them."""
    answer = _ask(name, _GRINGPARAM, _NINE.size, "the size of its rings")
    if not answer:
        return None
    _, rx_max, _, _, tx_max, rx, _, _, tx = _NINE.unpack(answer)
    return Rings(rx, tx, rx_max, tx_max)


def rings_request(now: bytes, rx: int, tx: int) -> bytes:
    """The bytes of `ethtool -G`: the answer to GRINGPARAM with other sizes (struct ethtool_ringparam)."""
    _, *most, _, mini, jumbo, _ = _NINE.unpack(now)
    return _NINE.pack(_SRINGPARAM, *most, rx, mini, jumbo, tx)


def set_rings(name: str, rx: int, tx: int) -> None:
    """Change the rings' sizes, as `ethtool -G` does. Most drivers reset the link for it, and round up."""
    what = f"rings rx {rx} tx {tx}"
    now = tell(name, struct.pack("I", _GRINGPARAM) + bytes(_NINE.size - 4), what)
    tell(name, rings_request(now, rx, tx), what)


def gro(name: str) -> bool | None:
    """Generic receive offload: whether the kernel merges received packets (before XDP, in generic mode)."""
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
    answer = _ask(name, command, 8, f"ethtool command {command:#x}")
    return int(struct.unpack("II", answer)[1]) if answer else None


def _ask(name: str, command: int, size: int, what: str) -> bytes | None:
    """The driver's answer as a structure of `size` bytes; None if it has none."""
    return ask(name, bytearray(struct.pack("I", command) + bytes(size - 4)), what)
