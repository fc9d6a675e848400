# SPDX-License-Identifier: Apache-2.0
"""Packets per second, queue by queue: the differences that `watch 'ethtool -S eth2 | grep rx'` leaves to the reader.

They come from the driver's own counters if it has them by queue (stats.py), else from the kernel's queue statistics
(qstats.py). If neither counts by queue, there is only the interface's total. No privileges are needed.
"""

from __future__ import annotations

import time

from offramp.immutable import immutable
from offramp.nic import link, qstats, stats

__all__ = ["RateMeter", "Rates"]


@immutable
class Rates:
    """Received packets per second, over the last `seconds`."""

    seconds: float
    total: float  # of the whole interface, as the kernel counts
    queues: dict[int, float]  # {} if nobody counts by queue

    def to_dict(self) -> dict[str, object]:
        return {"seconds": self.seconds, "total": self.total, "queues": {str(q): r for q, r in self.queues.items()}}


class RateMeter:
    """Starts to count when it is made. Errors: InterfaceGone."""

    def __init__(self, interface: str, ifindex: int) -> None:
        self._interface, self._ifindex = interface, ifindex
        self._last = self._read()

    def rates(self) -> Rates:
        """The rates since the last call, or since it was made. A counter that went back (a reset)
        counts as no packets.
        """
        before, self._last = self._last, self._read()
        (then, total_then, queues_then), (now, total_now, queues_now) = before, self._last
        seconds = max(now - then, 1e-6)
        counted = {
            queue: max(count - queues_then.get(queue, count), 0) / seconds for queue, count in queues_now.items()
        }
        return Rates(seconds, max(total_now - total_then, 0) / seconds, dict(sorted(counted.items())))

    def _read(self) -> tuple[float, int, dict[int, int]]:
        queues = stats.queue_packets(stats.statistics(self._interface)) or qstats.queue_packets(self._ifindex)
        return time.monotonic(), link.counters(self._ifindex).rx_packets, queues
