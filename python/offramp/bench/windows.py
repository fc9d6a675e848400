# SPDX-License-Identifier: Apache-2.0
"""Alternating windows, and what they allow to conclude.

A B A B A B ...     one ratio for each pair A, B: what disturbs the machine disturbs both
median, and the interval that holds 95 % of the medians of resampled ratios (bootstrap)
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence

from offramp.immutable import immutable
from offramp.lab import Usage

__all__ = ["ATTEMPTS", "FOREIGN_LIMIT", "Ratio", "Window", "interleave", "ratio"]

FOREIGN_LIMIT = 0.05  # of all CPUs: if strangers use more of them, a window is void
RESAMPLES = 2000
ATTEMPTS = 3


@immutable
class Window:
    """One measurement."""

    seconds: float
    sent: int  # packets offered
    taken: int  # packets accepted
    reader_ns: int  # CPU time of the contender
    softirq_ns: int  # CPU time of the kernel's receive thread, if it has one
    foreign: float  # share of all CPUs that strangers used

    @classmethod
    def of(cls, usage: Usage, sent: int, taken: int) -> Window:
        """The window that a scene's meter found."""
        return cls(usage.seconds, sent, taken, usage.cpu_ns["reader"], usage.cpu_ns["softirq"], usage.foreign)

    @property
    def rate(self) -> float:
        """Packets accepted per second."""
        return self.taken / self.seconds

    @property
    def cpu_ns(self) -> float:
        """The contender's CPU time per packet."""
        return self.reader_ns / max(self.taken, 1)


@immutable
class Ratio:
    """The median of paired ratios, and its 95 % interval."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f}, {self.pairs} pairs)"


def interleave(contenders: Mapping[str, Callable[[], Window]], rounds: int) -> tuple[dict[str, list[Window]], int]:
    """`rounds` rounds of one window for each contender, in turn, and the number of void rounds.

    A round with a void window is repeated, up to ATTEMPTS times as many rounds in all. The last ones are then kept as
    they are, so a busy machine gives figures that say so.
    """
    kept: list[dict[str, Window]] = []
    void = 0
    while len(kept) < rounds:
        windows = {name: run() for name, run in contenders.items()}
        disturbed = max(window.foreign for window in windows.values()) > FOREIGN_LIMIT
        if disturbed and void < rounds * (ATTEMPTS - 1):
            void += 1
            continue
        kept.append(windows)
    return {name: [windows[name] for windows in kept] for name in contenders}, void


def ratio(numerator: Sequence[Window], denominator: Sequence[Window]) -> Ratio:
    """The ratio of the rates, pair by pair."""
    ratios = [one.rate / other.rate for one, other in zip(numerator, denominator, strict=True)]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    low, high = medians[RESAMPLES // 40], medians[-RESAMPLES // 40]
    return Ratio(statistics.median(ratios), low, high, len(ratios))
