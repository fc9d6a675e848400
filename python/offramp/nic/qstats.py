# SPDX-License-Identifier: Apache-2.0
"""Packets by queue, from the kernel's own queue statistics: the "netdev" family of generic netlink.

Drivers that have no counters by queue in `ethtool -S` have them here: virtio_net, mlx5, bnxt, gve and others.
Minimum kernel: 6.9, and a driver that supports it; otherwise there are none. No privileges are needed.
Source: Documentation/netlink/specs/netdev.yaml, operation qstats-get.
"""

from __future__ import annotations

import errno
import struct

from offramp.errors import KernelError
from offramp.syscalls import netlink

__all__ = ["queue_packets"]

_QSTATS_GET = 12
_IFINDEX, _QUEUE_TYPE, _QUEUE_ID, _SCOPE, _RX_PACKETS = 1, 2, 3, 4, 8
_BY_QUEUE = 1
_RECEIVE = 0


def queue_packets(ifindex: int) -> dict[int, int]:
    """Packets received by each queue; {} where the kernel or driver does not count them."""
    wanted = netlink.attribute(_IFINDEX, struct.pack("I", ifindex)) + netlink.attribute(
        _SCOPE, struct.pack("I", _BY_QUEUE)
    )
    try:
        found = netlink.generic_dump(netlink.family("netdev"), _QSTATS_GET, wanted, f"queue statistics of {ifindex}")
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL):
            return {}
        raise
    return {
        netlink.unsigned(queue.get(_QUEUE_ID)): netlink.unsigned(queue[_RX_PACKETS])
        for queue in found
        if netlink.unsigned(queue.get(_QUEUE_TYPE)) == _RECEIVE and _RX_PACKETS in queue
    }
