# SPDX-License-Identifier: Apache-2.0
"""What the framework itself costs, on a port with no kernel behind it: ns per packet, 60-byte UDP frames."""

from __future__ import annotations

import time
from collections.abc import Callable

from offramp import Batch
from offramp._native import FIELDS
from offramp.bench.scene import frame
from offramp.ports.port import Port

FRAME = frame("10.77.0.1", "10.77.0.2")
SECONDS = 0.5
ROUNDS = 5


def run() -> dict[str, float]:
    """ns per packet of each loop, the best of several rounds: what is measured is our code, not the machine's moods."""
    loops: dict[str, Callable[[Port], int]] = {
        "native: receive and drop": lambda port: port.discard(SECONDS),
        "Python: for batch in port": lambda port: _loop(port, len),
        "Python: batch.ip.src": lambda port: _loop(port, lambda batch: batch.ip.src),
        "Python: every column": lambda port: _loop(port, _every_column),
        "Python: batch[i], every packet": lambda port: _loop(port, _every_view),
    }
    with Port.null([FRAME]) as port:
        return {name: min(_cost(loop, port) for _ in range(ROUNDS)) for name, loop in loops.items()}


def _cost(loop: Callable[[Port], int], port: Port) -> float:
    start = time.perf_counter()
    packets = loop(port)
    return (time.perf_counter() - start) / packets * 1e9


def _loop(port: Port, work: Callable[[Batch], object]) -> int:
    packets, end = 0, time.perf_counter() + SECONDS
    for batch in port:
        work(batch)
        packets += len(batch)
        if time.perf_counter() > end:
            break
    return packets


def _every_column(batch: Batch) -> None:
    for name in FIELDS:
        batch._column(name)


def _every_view(batch: Batch) -> None:
    for view in batch:
        view[0]
