# SPDX-License-Identifier: Apache-2.0
"""A Python loop that keeps a NumPy histogram of source addresses, against the native drop loop, on one ramp.

Two loops in between show where the time goes: receiving in Python, and reading one column.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

import offramp
from offramp.bench.contender import Running, receiving
from offramp.bench.ours import batches
from offramp.bench.scene import Placement, scene
from offramp.bench.windows import Window, interleave

__all__ = ["run"]

SECONDS = 1.5


def run(placement: Placement, rounds: int) -> tuple[dict[str, list[Window]], int]:
    """The windows of each loop, the native one first, and how many rounds were void."""
    histogram = np.zeros(256, np.int64)

    def count_sources(batch: offramp.Batch) -> None:
        np.add(histogram, np.bincount(batch.ip.src & 0xFF, minlength=256), out=histogram)

    works: dict[str, Callable[[offramp.Batch], object]] = {
        "Python: receive": len,
        "Python: and read `batch.ip.src`": lambda batch: batch.ip.src,
        "Python: and keep the histogram": count_sources,
    }
    with (
        scene(placement) as stage,
        offramp.open(stage.target.interface, stage.target.match) as ramp,
        stage.admitted(xdp=True),
    ):
        loops: dict[str, Running] = {"native: receive and drop": receiving(ramp.port.discard)}
        loops |= {name: batches(ramp, work) for name, work in works.items()}
        windows, void = interleave({name: partial(stage.window, SECONDS, loop) for name, loop in loops.items()}, rounds)
        assert ramp.ledger().redirect_lost == 0
    assert histogram.sum() > 0
    return windows, void
