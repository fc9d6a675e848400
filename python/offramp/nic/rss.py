# SPDX-License-Identifier: Apache-2.0
"""Receive side scaling on a real interface: indirection table, key, hash function, hashed fields.

    GRSSH, SRSSH  struct ethtool_rxfh    sizes | function | table: u32 each | key      ethtool -x, -X
    GRXFH, SRXFH  struct ethtool_rxnfc   the fields that a flow type is hashed by      ethtool -n, -N ... rx-flow-hash

    letter  field                      letter  field
    m       destination MAC            s, d    source, destination address
    v       VLAN tag                   f, n    first, second two bytes behind IP: source, destination port
    t       layer 3 protocol           r       discard: no hash, the packet is dropped

Reading the key needs CAP_NET_ADMIN on some kernels. Source: include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from contextlib import suppress

from offramp.errors import KernelError, OptionError, PrivilegeError
from offramp.immutable import immutable
from offramp.nic.features import string_set
from offramp.steering import equal
from offramp.syscalls import netns
from offramp.syscalls.failure import if_there
from offramp.syscalls.ioctl import ask, tell
from offramp.syscalls.procfs import content

__all__ = [
    "FIELD_FLOWS",
    "RssState",
    "fields",
    "fields_request",
    "kernel_key",
    "read",
    "request",
    "set_fields",
    "set_rss",
]

_GRSSH, _SRSSH, _GRXFH, _SRXFH, _GRXRINGS = 0x46, 0x47, 0x29, 0x2A, 0x2D
_HEAD = struct.Struct("4IB3xI")  # struct ethtool_rxfh without table and key
_NO_CHANGE = 0xFFFFFFFF  # ETH_RXFH_INDIR_NO_CHANGE
_FUNCTION_NAMES = 3  # ETH_SS_RSS_HASH_FUNCS
_RXNFC_SIZE = 192
_KERNEL_KEY = "/proc/sys/net/core/netdev_rss_key"

# What can have hash fields of its own. AH and ESP share theirs; the kernel has no other numbers for hashing.
FIELD_FLOWS = {
    "tcp4": 0x01, "udp4": 0x02, "sctp4": 0x03, "ah4": 0x04, "esp4": 0x04, "ip4": 0x10,
    "tcp6": 0x05, "udp6": 0x06, "sctp6": 0x07, "ah6": 0x08, "esp6": 0x08, "ip6": 0x11,
    "ether": 0x12,
}  # fmt: skip
_LETTERS = {"m": 1 << 1, "v": 1 << 2, "t": 1 << 3, "s": 1 << 4, "d": 1 << 5, "f": 1 << 6, "n": 1 << 7, "r": 1 << 31}


@immutable
class RssState:
    """Receive side scaling now. An empty table or key: the driver has none, or does not tell."""

    table: tuple[int, ...]
    key: bytes
    function: str | None  # "toeplitz", "xor", "crc32"; None: the driver does not say
    functions: tuple[str, ...]  # those that this kernel has names for


def read(interface: str) -> RssState | None:
    """What `ethtool -x` shows; None for an interface without receive side scaling."""
    what = "its RSS table"
    sizes = ask(interface, bytearray(_HEAD.pack(_GRSSH, 0, 0, 0, 0, 0)), what)
    if not sizes:
        return None
    _, _, entries, key_size, _, _ = _HEAD.unpack(sizes)
    asked = bytearray(_HEAD.pack(_GRSSH, 0, entries, key_size, 0, 0) + bytes(4 * entries + key_size))
    answer = ask(interface, asked, what)
    if not answer:
        return None
    _, _, _, _, function, _ = _HEAD.unpack_from(answer)
    table = struct.unpack_from(f"{entries}I", answer, _HEAD.size)
    key = answer[_HEAD.size + 4 * entries :]
    names = tuple(string_set(interface, _FUNCTION_NAMES))
    chosen = next((name for bit, name in enumerate(names) if function == 1 << bit), None)
    return RssState(table, key if any(key) else b"", chosen, names)


def kernel_key() -> bytes:
    """The key that drivers without their own get from the kernel (net.core.netdev_rss_key); b"": not readable.

    Only the first network namespace has it; looking there from another one needs root.
    """
    with if_there(_KERNEL_KEY):
        return _read_key()
    with suppress(PrivilegeError), if_there(_KERNEL_KEY), netns.first() as there, netns.inside(there):
        return _read_key()
    return b""


def _read_key() -> bytes:
    key = bytes.fromhex(content(_KERNEL_KEY).strip().replace(":", ""))
    return key if any(key) else b""  # zeros: no driver has asked for it yet


def request(table: Sequence[int] | None = None, key: bytes = b"", function: int = 0) -> bytes:
    """The bytes of `ethtool -X`; parts that are left out stay as they are. An empty table is the driver's default."""
    entries = _NO_CHANGE if table is None else len(table)
    body = struct.pack(f"{len(table or ())}I", *(table or ())) + key
    return _HEAD.pack(_SRSSH, 0, entries, len(key), function, 0) + body


def set_rss(
    interface: str, *, table: Sequence[int] | None = None, key: bytes = b"", function: str | None = None
) -> None:
    """Change the parts that are given. A table that spreads over all queues in turn is written as the default one: the
    kernel then forgets that somebody has chosen a table, and again changes it with the number of channels.

    Errors: OptionError (size, function); KernelError: EINVAL for a queue that does not exist, EOPNOTSUPP if the driver
    does not allow a change.
    """
    now = read(interface)
    if now is None:
        raise KernelError(f"RSS of {interface}", errno.EOPNOTSUPP, hint="its driver has no receive side scaling")
    if table is not None and len(table) not in (0, len(now.table)):
        raise OptionError(f"an RSS table of {len(table)} entries", reason=f"{interface} has {len(now.table)}")
    if key and now.key and len(key) != len(now.key):
        raise OptionError(f"an RSS key of {len(key)} bytes", reason=f"{interface} has {len(now.key)}")
    if function is not None and function not in now.functions:
        raise OptionError(f"RSS hash function {function}", reason=f"not one of {', '.join(now.functions)}")
    if table and list(table) == equal(len(table), _queues(interface) or 1):
        table = ()
    chosen = 0 if function is None else 1 << now.functions.index(function)
    tell(interface, request(table, key, chosen), "its RSS settings")


def fields(interface: str, flow: str) -> str | None:
    """The letters of the fields that a flow type is hashed by; "": no fields; None: the driver does not say."""
    answer = ask(interface, bytearray(_rxnfc(_GRXFH, FIELD_FLOWS[flow], 0)), f"hash fields of {flow}")
    if not answer:
        return None
    (data,) = struct.unpack_from("Q", answer, 8)
    return "".join(letter for letter, bit in _LETTERS.items() if data & bit)


def fields_request(flow: str, letters: str) -> bytes:
    """The bytes of `ethtool -N ... rx-flow-hash FLOW LETTERS`. Errors: OptionError."""
    for letter in letters:
        if letter not in _LETTERS:
            raise OptionError(f"hash field {letter}", reason=f"not one of {' '.join(_LETTERS)}")
    return _rxnfc(_SRXFH, FIELD_FLOWS[flow], sum({_LETTERS[letter] for letter in letters}))


def set_fields(interface: str, flow: str, letters: str) -> None:
    """Change the fields. Errors: OptionError; KernelError: EINVAL, EOPNOTSUPP if the driver cannot hash by them."""
    tell(interface, fields_request(flow, letters), f"hash fields {letters} for {flow}")


def _queues(interface: str) -> int | None:
    answer = ask(interface, bytearray(_rxnfc(_GRXRINGS, 0, 0)), "the number of its queues")
    return int(struct.unpack_from("Q", answer, 8)[0]) if answer else None


def _rxnfc(command: int, flow: int, data: int) -> bytes:
    """struct ethtool_rxnfc up to `data`, in its full size: for some commands the kernel copies all of it."""
    return struct.pack("IIQ", command, flow, data).ljust(_RXNFC_SIZE, b"\0")
