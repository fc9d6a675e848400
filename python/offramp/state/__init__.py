# SPDX-License-Identifier: Apache-2.0
"""State that packets are matched against while Python changes it: sets in memory shared with eBPF.

    blocked = PrefixSet(["203.0.113.0/24"])       usable at once, without privileges: Match(...).verdicts()
    blocked.map()                                 moves it into a BPF map, where programs in the driver see it
    blocked.add("198.51.100.0/24")                they see it at once

    sets.py     HashSet, PrefixSet: what users hold
    shared.py   what all sets are: a shape, memory, a map
    files.py    one element on each line

Only Rust writes the memory (crates/offramp-state), so a packet never sees a half-written element.
"""

from __future__ import annotations

from offramp.state.sets import HashSet, PrefixSet, load
from offramp.state.shared import FixedSet, SharedSet, fixed

__all__ = ["FixedSet", "HashSet", "PrefixSet", "SharedSet", "fixed", "load"]
