# SPDX-License-Identifier: Apache-2.0
"""Indirection tables: which queue each value of the hash goes to, as `ethtool -X` fills them.

    equal(128, 4)              0 1 2 3 0 1 2 3 ...
    weighted(128, [3, 1])      96 entries of queue 0, then 32 of queue 1
    without(table, {2})        queue 2's entries are dealt out to the other queues in the table
    hiding(table, {2: (5,)})   the same, and entry 5 leads to queue 2

Source: ethtool(8), "-X --set-rxfh-indir".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from offramp.errors import OptionError

__all__ = ["equal", "hiding", "weighted", "without"]


def equal(size: int, queues: int, start: int = 0) -> list[int]:
    """`size` entries over `queues` queues in turn, from queue `start` on. Errors: OptionError."""
    if queues < 1:
        raise OptionError(f"equal {queues}", reason="at least one queue is needed")
    return [start + entry % queues for entry in range(size)]


def weighted(size: int, weights: Sequence[int], start: int = 0) -> list[int]:
    """`size` entries, in order, for queues from `start` on, in proportion to their weights. Errors: OptionError."""
    total = sum(weights)
    if min(weights, default=0) < 0 or not 0 < total <= size:
        raise OptionError(f"weights {' '.join(map(str, weights))}", reason=f"their sum is not from 1 to {size}")
    table: list[int] = []
    seen = 0
    for queue, weight in enumerate(weights):
        seen += weight
        table += [start + queue] * (size * seen // total - len(table))
    return table


def without(table: Sequence[int], excluded: Collection[int]) -> list[int]:
    """The table; the excluded queues' entries are given to the remaining queues in turn, the others stay as they are.

    Errors: OptionError if no queue remains.
    """
    remaining = sorted(set(table) - set(excluded))
    if not remaining:
        raise OptionError("an RSS table without any queue", reason=f"it has only {sorted(set(table))}")
    turn = 0
    spread = []
    for queue in table:
        if queue in excluded:
            queue, turn = remaining[turn % len(remaining)], turn + 1
        spread.append(queue)
    return spread


def hiding(table: Sequence[int], hidden: Mapping[int, Collection[int]]) -> list[int]:
    """The table without the hidden queues, except for the entries that should lead to each of them.

    Queues are left out one after the other, so one more at the end moves only its own entries. Errors: as `without`.
    """
    spread = list(table)
    for queue in hidden:
        spread = without(spread, {queue})
    for queue, entries in hidden.items():
        for entry in entries:
            spread[entry] = queue
    return spread
