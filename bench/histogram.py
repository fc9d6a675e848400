# SPDX-License-Identifier: Apache-2.0
"""A Python loop that keeps a NumPy histogram of source addresses, against the native drop loop, on one ramp."""

from __future__ import annotations

import time

import numpy as np

import offramp
from bench.measure import Ratio, interleave, ratio
from bench.scene import MATCH, Placement, scene

SECONDS = 1.5


def run(placement: Placement, rounds: int) -> tuple[Ratio, dict[str, float], int]:
    """Python / native, the median rates in packets per second, and how many rounds were void."""
    with scene(placement) as stage, offramp.open(stage.wire.b.name, MATCH) as ramp:
        stage.place()
        loops = {"native": ramp.port.discard, "python": lambda seconds: _histogram(ramp, seconds)}
        windows, void = interleave(
            {name: lambda loop=loop: stage.window(SECONDS, loop) for name, loop in loops.items()},  # type: ignore[misc]
            rounds,
        )
        assert ramp.ledger().redirect_lost == 0
    rates = {name: float(np.median([window.rate for window in seen])) for name, seen in windows.items()}
    return ratio(windows["python"], windows["native"]), rates, void


def _histogram(ramp: offramp.Ramp, seconds: float) -> int:
    histogram = np.zeros(256, np.int64)
    packets, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        batch = ramp.rx(timeout=0.1)
        if batch is not None:
            histogram += np.bincount(batch.ip.src & 0xFF, minlength=256)
            packets += len(batch)
    assert histogram.sum() == packets
    return packets
