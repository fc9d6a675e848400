# SPDX-License-Identifier: Apache-2.0
"""What a driver declares that it can do with XDP: the "netdev" family of generic netlink.

| feature       | meaning                                             |
|---------------|-----------------------------------------------------|
| basic         | DROP, PASS, TX and ABORTED in native mode           |
| redirect      | REDIRECT, which AF_XDP needs                        |
| ndo-xmit      | frames may be redirected *to* it                    |
| xsk-zerocopy  | AF_XDP sockets without a copy                       |
| hw-offload    | the program runs on the NIC                         |
| rx-sg         | received packets of several buffers (jumbo frames)  |
| ndo-xmit-sg   | the same for frames that are redirected to it       |

Some depend on current settings (veth's depend on its peer). Minimum kernel: 6.3, for metadata 6.5; before: None. No
privileges are needed. Source: Documentation/netlink/specs/netdev.yaml.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TypeVar

from offramp.errors import KernelError
from offramp.immutable import immutable
from offramp.syscalls import netlink

__all__ = ["XdpFeatures", "queues", "xdp_features"]

_DEV_GET, _QUEUE_GET = 1, 10
_QUEUE_IFINDEX, _QUEUE_TYPE = 2, 3
_IFINDEX, _XDP_FEATURES, _ZC_MAX_SEGMENTS, _RX_METADATA = 1, 3, 4, 5
_FEATURES = ("basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg")
_METADATA = ("timestamp", "hash", "vlan-tag")
_UNTOLD = frozenset({errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.ENETDOWN})

_Answer = TypeVar("_Answer")


@immutable
class XdpFeatures:
    """What the driver declares."""

    features: frozenset[str]  # of the table above
    zero_copy_segments: int  # buffers that a packet may have on a zero-copy socket; 0 without zero-copy
    rx_metadata: frozenset[str]  # what kfuncs can tell about a packet: "timestamp", "hash", "vlan-tag"


def xdp_features(ifindex: int) -> XdpFeatures | None:
    """What the driver declares; None if this kernel has no such list, or the interface is gone."""
    wanted = netlink.attribute(_IFINDEX, struct.pack("I", ifindex))
    found = _told(netlink.generic, _DEV_GET, wanted, f"XDP features of interface {ifindex}")
    if found is None:
        return None
    return XdpFeatures(
        _names(_FEATURES, netlink.unsigned(found.get(_XDP_FEATURES))),
        netlink.unsigned(found.get(_ZC_MAX_SEGMENTS)),
        _names(_METADATA, netlink.unsigned(found.get(_RX_METADATA))),
    )


def queues(ifindex: int) -> tuple[int, int] | None:
    """Receive and transmit queues in use; None if this kernel does not list them (Linux 6.8), or the interface is
    down.
    """
    wanted = netlink.attribute(_QUEUE_IFINDEX, struct.pack("I", ifindex))
    listed = _told(netlink.generic_dump, _QUEUE_GET, wanted, f"queues of interface {ifindex}")
    kinds = [netlink.unsigned(queue.get(_QUEUE_TYPE)) for queue in listed or ()]
    return (kinds.count(0), kinds.count(1)) if kinds else None


def _told(ask: Callable[[int, int, bytes, str], _Answer], command: int, wanted: bytes, what: str) -> _Answer | None:
    """The family's answer; None if this kernel has no such family or command, or nothing to say of the interface."""
    try:
        return ask(netlink.family("netdev"), command, wanted, what)
    except KernelError as error:
        if error.errno in _UNTOLD:
            return None
        raise


def _names(names: tuple[str, ...], bits: int) -> frozenset[str]:
    return frozenset(name for position, name in enumerate(names) if bits >> position & 1)
