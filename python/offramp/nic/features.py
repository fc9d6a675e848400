# SPDX-License-Identifier: Apache-2.0
"""Offloads and other features that are on or off, by the kernel's own names: "rx-gro", "rx-vlan-hw-parse", ...

    GSTRINGS  the names, each with its bit          GFEATURES  available, requested, active, can never change
    SFEATURES bits to change, and to what           both in blocks of 32 bits

What `ethtool -k` shows and `-K` changes. Source: include/uapi/linux/ethtool.h, net/ethtool/common.c (the names).
"""

from __future__ import annotations

import errno
import struct

from offramp.errors import KernelError, OptionError
from offramp.immutable import immutable
from offramp.syscalls.ioctl import ask, call
from offramp.text import printable, terminated

__all__ = ["Feature", "features", "set_feature", "string_set"]

_GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x1B, 0x37, 0x3A, 0x3B
_NAME_SIZE = 32  # ETH_GSTRING_LEN
_FEATURES = 4  # ETH_SS_FEATURES
_UNSUPPORTED = 1  # ETHTOOL_F_UNSUPPORTED: the driver cannot change that bit
_BLOCK = struct.Struct("4I")  # struct ethtool_get_features_block


@immutable
class Feature:
    """Whether it is on now, and whether anybody can change that."""

    on: bool
    fixed: bool


def string_set(interface: str, number: int) -> list[str]:
    """The names of one kind that the driver has (ETH_SS_*), in the order of their numbers; [] if it has none."""
    asked = bytearray(struct.pack("IIQI", _GSSET_INFO, 0, 1 << number, 0))
    answer = ask(interface, asked, f"string set {number}")
    if not answer:
        return []
    _, _, known, count = struct.unpack("IIQI", answer)
    if not known or not count:
        return []
    names = ask(interface, bytearray(struct.pack("III", _GSTRINGS, number, count) + bytes(count * _NAME_SIZE)), "names")
    if not names:
        return []
    raw = [names[start : start + _NAME_SIZE] for start in range(12, len(names), _NAME_SIZE)]
    return [printable(terminated(name)) for name in raw]


def features(interface: str) -> dict[str, Feature]:
    """All features by name. Empty names are bits that this kernel does not use."""
    names = string_set(interface, _FEATURES)
    blocks = (len(names) + 31) // 32
    asked = bytearray(struct.pack("II", _GFEATURES, blocks) + bytes(blocks * _BLOCK.size))
    answer = ask(interface, asked, "features")
    if not answer:
        return {}
    states = list(_BLOCK.iter_unpack(answer[8:]))
    found = {}
    for position, name in enumerate(names):
        available, _, active, never = (word >> position % 32 & 1 for word in states[position // 32])
        if name:
            found[name] = Feature(bool(active), fixed=bool(never or not available))
    return found


def set_feature(interface: str, name: str, on: bool) -> None:
    """Switch a feature, as `ethtool -K` does. The kernel may leave it as it is because another feature needs it.

    Errors: OptionError (no such feature in this kernel), KernelError EOPNOTSUPP (the driver has it fixed).
    """
    names = string_set(interface, _FEATURES)
    if name not in names:
        raise OptionError(f"feature {name}", reason=f"{interface}'s kernel has no feature of that name")
    position, blocks = names.index(name), (len(names) + 31) // 32
    words = [0, 0] * blocks  # (bits to change, their values)
    words[position // 32 * 2] = 1 << position % 32
    words[position // 32 * 2 + 1] = on << position % 32
    what = f"feature {name} {'on' if on else 'off'}"
    result = call(interface, bytearray(struct.pack(f"II{2 * blocks}I", _SFEATURES, blocks, *words)), what)
    if result & _UNSUPPORTED:
        raise KernelError(f"{what} on {interface}", errno.EOPNOTSUPP, hint="its driver does not allow changing it")
