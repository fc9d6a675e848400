# SPDX-License-Identifier: Apache-2.0
"""A thread for each receive queue: one_thread_per_queue.py INTERFACE MATCH [SECONDS]. Receiving frees the GIL."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import offramp
from offramp.ports.port import Queue


def count(queue: Queue) -> tuple[int, int]:
    """Packets and bytes, until the ramp is closed."""
    packets = size = 0
    for batch in queue:
        packets += len(batch)
        size += int(batch.length.sum())
    return packets, size


def main(interface: str, match: str, seconds: float = 10.0) -> None:
    ramp = offramp.open(interface, match)
    with ThreadPoolExecutor(len(ramp.queues)) as threads:
        with ramp:
            counts = [threads.submit(count, queue) for queue in ramp.queues]
            print(f"listening on {interface}: {match}", file=sys.stderr, flush=True)
            time.sleep(seconds)
        for queue, counted in zip(ramp.queues, counts, strict=True):
            print(queue, "{:,} packets, {:,} bytes".format(*counted.result()))


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
