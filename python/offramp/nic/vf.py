# SPDX-License-Identifier: Apache-2.0
"""The virtual functions of an interface, as `ip link show` shows them and `ip link set ... vf N` changes them.

    IFLA_VFINFO_LIST { IFLA_VF_INFO { IFLA_VF_MAC, IFLA_VF_VLAN, IFLA_VF_SPOOFCHK, IFLA_VF_TRUST, ... } ... }

pci.py knows how many there are. Reading needs no privileges; changing needs CAP_NET_ADMIN.
Source: include/uapi/linux/if_link.h; ip-link(8).
"""

from __future__ import annotations

import errno
import struct

from offramp.errors import KernelError
from offramp.immutable import immutable
from offramp.syscalls import netlink

__all__ = ["Vf", "read", "set_mac", "set_spoof_check", "set_trust", "set_vlan"]

_VFINFO_LIST, _VF_INFO = 22, 1
_MAC, _VLAN, _SPOOFCHK, _TRUST = 1, 2, 4, 9
_WITH_VFS, _NO_STATISTICS = 1 << 0, 1 << 3  # RTEXT_FILTER_*
_UNKNOWN = 0xFFFFFFFF
_ID_BITS, _PRIORITY_SHIFT = 0xFFF, 13


@immutable
class Vf:
    """What the physical function allows a virtual one. None: the driver does not say."""

    mac: str  # "00:00:00:00:00:00" if the VF chooses for itself
    vlan: int  # control information of the tag that it adds and removes: id, priority << 13; 0: no tag
    spoof_check: bool | None  # frames with another source address than `mac` are dropped
    trust: bool | None  # the VF may change its address and go promiscuous


def read(interface: str | int) -> dict[int, Vf]:
    """The virtual functions by number; {} if there are none. Errors: KernelError ENODEV."""
    _, _, found = netlink.link(interface, _WITH_VFS | _NO_STATISTICS)
    return dict(decode(block) for kind, block in netlink.each(found.get(_VFINFO_LIST, b"")) if kind == _VF_INFO)


def decode(block: bytes) -> tuple[int, Vf]:
    """One IFLA_VF_INFO: number and settings."""
    found = netlink.attributes(block)
    number, mac = struct.unpack_from("I6s", found[_MAC])
    _, vlan, priority = struct.unpack("III", found[_VLAN]) if _VLAN in found else (0, 0, 0)
    return number, Vf(
        mac.hex(":"), vlan | priority << _PRIORITY_SHIFT, _setting(found.get(_SPOOFCHK)), _setting(found.get(_TRUST))
    )


def set_mac(interface: str | int, number: int, mac: str) -> None:
    """`ip link set ... vf N mac ADDRESS`. A bound VF takes it at its next reset."""
    payload = struct.pack("I32s", number, bytes.fromhex(mac.replace(":", "")))
    _change(interface, number, _MAC, payload, f"mac {mac}")


def set_vlan(interface: str | int, number: int, vlan: int) -> None:
    """`ip link set ... vf N vlan ID qos PRIORITY`, both in one number (see Vf.vlan); 0 removes the tag."""
    payload = struct.pack("III", number, vlan & _ID_BITS, vlan >> _PRIORITY_SHIFT)
    _change(interface, number, _VLAN, payload, f"vlan {vlan & _ID_BITS} qos {vlan >> _PRIORITY_SHIFT}")


def set_spoof_check(interface: str | int, number: int, on: bool) -> None:
    """`ip link set ... vf N spoofchk on|off`."""
    _change(interface, number, _SPOOFCHK, struct.pack("II", number, on), f"spoofchk {'on' if on else 'off'}")


def set_trust(interface: str | int, number: int, on: bool) -> None:
    """`ip link set ... vf N trust on|off`."""
    _change(interface, number, _TRUST, struct.pack("II", number, on), f"trust {'on' if on else 'off'}")


def request(kind: int, payload: bytes) -> bytes:
    """IFLA_VFINFO_LIST with one setting of one VF."""
    return netlink.attribute(_VFINFO_LIST, netlink.attribute(_VF_INFO, netlink.attribute(kind, payload)))


def _change(interface: str | int, number: int, kind: int, payload: bytes, what: str) -> None:
    what = f"vf {number} {what} of interface {interface}"
    try:
        netlink.set_link(interface, what, request(kind, payload))
    except KernelError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            raise KernelError(what, error.errno, hint="no such VF, or its driver has no such setting") from None
        raise


def _setting(payload: bytes | None) -> bool | None:
    value = struct.unpack("II", payload)[1] if payload else _UNKNOWN
    return None if value == _UNKNOWN else bool(value)
