# SPDX-License-Identifier: Apache-2.0
"""A Python loop that keeps a NumPy histogram of source addresses, against the native drop loop, on one ramp.

Two loops in between show where the time goes: receiving in Python, and reading one column.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

import offramp
from bench.measure import Window, interleave
from bench.scene import MATCH, Placement, scene

__all__ = ["run"]

SECONDS = 1.5

Work = Callable[[offramp.Batch], object]


def run(placement: Placement, rounds: int) -> tuple[dict[str, list[Window]], int]:
    """The windows of each loop, the native one first, and how many rounds were void."""
    histogram = np.zeros(256, np.int64)

    def count_sources(batch: offramp.Batch) -> None:
        np.add(histogram, np.bincount(batch.ip.src & 0xFF, minlength=256), out=histogram)

    loops: dict[str, Work] = {
        "Python: receive": len,
        "Python: and read `batch.ip.src`": lambda batch: batch.ip.src,
        "Python: and keep the histogram": count_sources,
    }
    with scene(placement) as stage, offramp.open(stage.wire.b.name, MATCH) as ramp:
        stage.place()
        contenders = {"native: receive and drop": partial(stage.window, SECONDS, ramp.port.discard)}
        contenders |= {name: partial(stage.window, SECONDS, _loop(ramp, work)) for name, work in loops.items()}
        windows, void = interleave(contenders, rounds)
        assert ramp.ledger().redirect_lost == 0
    assert histogram.sum() > 0
    return windows, void


def _loop(ramp: offramp.Ramp, work: Work) -> Callable[[float], int]:
    def count(seconds: float) -> int:
        packets, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            batch = ramp.rx(timeout=0.1)
            if batch is not None:
                work(batch)
                packets += len(batch)
        return packets

    return count
