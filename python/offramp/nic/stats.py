# SPDX-License-Identifier: Apache-2.0
"""The driver's own counters, as `ethtool -S` shows them, and those among them that belong to one receive queue.

Every driver names them in its own way. A counter counts as a queue's if its name has the queue's number and a word for
packets. Known drivers: rx_queue_0_packets (ixgbe, ice, igb; veth's rx_queue_0_xdp_packets), rx-0.packets (i40e),
rx0_packets (mlx5), queue_0_rx_cnt (ena). Some drivers have moved them to netlink's queue statistics: qstats.py.
Source: include/uapi/linux/ethtool.h; the drivers.
"""

from __future__ import annotations

import re
import struct

from offramp.nic.features import string_set
from offramp.syscalls.ioctl import ask

__all__ = ["failed_sends", "queue_packets", "statistics"]

_GSTATS = 0x1D
_STATS = 1  # ETH_SS_STATS
_QUEUE = (
    re.compile(r"rx[_-]queue[_-](\d+)_(?:xdp_)?packets"),
    re.compile(r"rx[_-]?(\d+)[._]packets"),
    re.compile(r"queue_(\d+)_rx_cnt"),
)

# Packets that XDP sent back and the driver did not take: rx_queue_0_xdp_tx_errors (veth), tx_queue_0_xdp_tx_drops
# (virtio-net), rx0_xdp_tx_err and rx0_xdp_tx_full (mlx5), rx_xdp_tx_errors[0] (gve). Many drivers have the sum as well.
_FAILED = re.compile(r"(?:[rt]x_?)?(?:queue_)?(\d+)?_?xdp_tx_(?:errors|err|drops|full)(?:\[(\d+)\])?")


def statistics(interface: str) -> dict[str, int]:
    """All counters by name, in the driver's order; {} if it has none."""
    names = string_set(interface, _STATS)
    if not names:
        return {}
    answer = ask(interface, bytearray(struct.pack("II", _GSTATS, len(names)) + bytes(8 * len(names))), "statistics")
    if not answer:
        return {}
    return dict(zip(names, struct.unpack_from(f"{len(names)}Q", answer, 8), strict=True))


def failed_sends(counters: dict[str, int]) -> int | None:
    """How many packets XDP sent back that the driver did not send; None if it has no such counter."""
    found = [(known, count) for name, count in counters.items() if (known := _FAILED.fullmatch(name))]
    of_queues = [count for known, count in found if known[1] or known[2]]
    return sum(of_queues or [count for _, count in found]) if found else None


def queue_packets(counters: dict[str, int]) -> dict[int, int]:
    """Packets received by each queue; {} if no counter is known to belong to one queue."""
    found: dict[int, int] = {}
    for name, count in counters.items():
        for pattern in _QUEUE:
            if known := pattern.fullmatch(name):
                found.setdefault(int(known[1]), count)
    return found
