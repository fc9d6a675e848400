# SPDX-License-Identifier: Apache-2.0
"""The counters of one queue of a port."""

from __future__ import annotations

from offramp.immutable import immutable

__all__ = ["QueueLedger"]


@immutable
class QueueLedger:
    """One queue of a port. Counts packets, except where it says frames."""

    received: int = 0
    waiting: int = 0
    sent: int = 0  # put into the tx ring
    completed: int = 0  # the sent packets that the kernel reported as done
    tx_ring_full: int = 0  # to be sent, and not accepted: the ring had no room in time
    tx_dropped: int = 0  # of the completed packets: dropped by the interface: no carrier, or its peer is down
    rx_dropped: int = 0
    rx_ring_full: int = 0
    fill_ring_empty: int = 0  # how often it was; in copy mode each time counts in rx_dropped, too
    rx_invalid: int = 0  # descriptors that the kernel refused
    tx_invalid: int = 0
    strays: int = 0  # addresses that the kernel returned without having borrowed them
    free: int = 0  # frames in the free list
    filling: int = 0  # frames lent to the kernel for receiving
    sending: int = 0  # frames lent to the kernel for sending
    application: int = 0  # frames in live batches and views
    ended: str | None = None  # how the stream of packets ended, once its reader was told
