# SPDX-License-Identifier: Apache-2.0
"""How the cases of ports look at a port: what arrives, and what its ledger says."""

from __future__ import annotations

import time
from collections.abc import Iterator

from offramp.ports import Batch, Port, QueueLedger
from tests.rigs.ports import DEADLINE

__all__ = ["batches", "everywhere", "ledger", "lost"]


def batches(port: Port, wanted: int) -> Iterator[Batch]:
    """Batches until this many packets have arrived."""
    deadline = time.monotonic() + DEADLINE
    while wanted > 0 and time.monotonic() < deadline:
        batch = port.rx(timeout=0.1)
        if batch is not None:
            wanted -= len(batch)
            yield batch
        elif port.ended or lost(port) >= wanted:
            return


def ledger(port: Port) -> QueueLedger:
    (only,) = port.ledgers()
    return only


def lost(port: Port) -> int:
    return ledger(port).rx_dropped + ledger(port).rx_ring_full


def everywhere(queue: QueueLedger) -> int:
    return queue.free + queue.filling + queue.sending + queue.application
