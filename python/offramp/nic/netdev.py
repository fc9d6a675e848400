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

from offramp.errors import KernelError
from offramp.immutable import immutable
from offramp.syscalls import netlink

__all__ = ["XdpFeatures", "queues", "xdp_features"]

_DEV_GET, _QUEUE_GET = 1, 10
_QUEUE_IFINDEX, _QUEUE_TYPE = 2, 3
_IFINDEX, _XDP_FEATURES, _ZC_MAX_SEGMENTS, _RX_METADATA = 1, 3, 4, 5
_FEATURES = ("basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg")
_METADATA = ("timestamp", "hash", "vlan-tag")


@immutable
class XdpFeatures:
    """What the driver declares."""

    features: frozenset[str]  # of the table above
    zero_copy_segments: int  # buffers that a packet may have on a zero-copy socket; 0 without zero-copy
    rx_metadata: frozenset[str]  # what kfuncs can tell about a packet: "timestamp", "hash", "vlan-tag"


def xdp_features(ifindex: int) -> XdpFeatures | None:
    """What the driver declares; None if this kernel has no such list, or the interface is gone."""
    try:
        found = netlink.generic(
            netlink.family("netdev"),
            _DEV_GET,
            netlink.attribute(_IFINDEX, struct.pack("I", ifindex)),
            f"XDP features of interface {ifindex}",
        )
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise
    return XdpFeatures(
        _names(_FEATURES, netlink.unsigned(found.get(_XDP_FEATURES))),
        netlink.unsigned(found.get(_ZC_MAX_SEGMENTS)),
        _names(_METADATA, netlink.unsigned(found.get(_RX_METADATA))),
    )


def queues(ifindex: int) -> tuple[int, int] | None:
    """Receive and transmit queues in use; None if this kernel does not list them (Linux 6.8), or the interface is
    down.
    """
    try:
        listed = netlink.generic_dump(
            netlink.family("netdev"),
            _QUEUE_GET,
            netlink.attribute(_QUEUE_IFINDEX, struct.pack("I", ifindex)),
            f"queues of interface {ifindex}",
        )
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.ENETDOWN):
            return None
        raise
    kinds = [netlink.unsigned(queue.get(_QUEUE_TYPE)) for queue in listed]
    return (kinds.count(0), kinds.count(1)) if kinds else None


def _names(names: tuple[str, ...], bits: int) -> frozenset[str]:
    return frozenset(name for position, name in enumerate(names) if bits >> position & 1)
