# SPDX-License-Identifier: Apache-2.0
"""What alternating windows allow to conclude."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from offramp.bench.windows import ATTEMPTS, FOREIGN_LIMIT, Window, interleave, ratio


def window(taken: int = 1000, *, seconds: float = 1.0, foreign: float = 0.0) -> Window:
    return Window(seconds, 2 * taken, taken, 100 * taken, 0, foreign)


def test_rate_and_cost_are_of_what_was_taken() -> None:
    assert (window(600, seconds=2.0).rate, window(600).cpu_ns) == (300.0, 100.0)
    assert window(0).cpu_ns == 0.0


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def run(name: str) -> Window:
        order.append(name)
        return window()

    windows, void = interleave({name: partial(run, name) for name in "AB"}, 3)
    assert order == list("ABABAB")
    assert (len(windows["A"]), len(windows["B"]), void) == (3, 3, 0)


def test_a_disturbed_round_is_repeated_as_a_whole() -> None:
    seen: Iterator[Window] = iter([window(1), window(2, foreign=2 * FOREIGN_LIMIT), window(3), window(4)])
    windows, void = interleave({name: lambda: next(seen) for name in "AB"}, 1)
    assert (windows, void) == ({"A": [window(3)], "B": [window(4)]}, 1)


def test_a_machine_that_is_always_busy_gives_figures_all_the_same() -> None:
    windows, void = interleave({"A": lambda: window(foreign=1.0)}, 2)
    assert (len(windows["A"]), void) == (2, 2 * (ATTEMPTS - 1))


def test_ratios_are_of_pairs() -> None:
    """Each pair has the same ratio, whatever the machine did to both: then there is no doubt about it."""
    paces = [1000, 10, 500]
    found = ratio([window(3 * pace) for pace in paces], [window(2 * pace) for pace in paces])
    assert (found.median, found.low, found.high, found.pairs) == (1.5, 1.5, 1.5, 3)
    assert str(found) == "1.50 (1.50 to 1.50, 3 pairs)"


def test_the_interval_is_around_the_median() -> None:
    found = ratio([window(100 + 10 * place) for place in range(11)], [window(100)] * 11)
    assert found.median == pytest.approx(1.5)
    assert 1.0 <= found.low < found.median < found.high <= 2.0
