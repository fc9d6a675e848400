# SPDX-License-Identifier: Apache-2.0
"""Where things are in the memory of a set, in bytes.

    bitmap   header, 2 halves: u64[1024]
    hash     header, 2 halves: u64 seeds[2], u64 _[6], u64 slots[S + 32], entries
    ranges   header, nodes: first[32], then last[32] or child[32]

A test compares these sums with those in crates/offramp-state/src (bitmap.rs, hash/half.rs, tree/node.rs).
"""

from __future__ import annotations

from typing import Final

from offramp.immutable import immutable
from offramp.lower.shapes import Shape

__all__ = ["BITMAP", "FANOUT", "HEADER", "WINDOW", "HashLayout", "TreeLayout", "instructions", "size"]

HEADER: Final = 64
BITMAP: Final = 8192  # of one half
WINDOW: Final = 32  # slots in which an element may be
FANOUT: Final = 32  # elements of a node
_FILL, _SLACK = 16, 4096


@immutable
class HashLayout:
    """One half of a hash."""

    bits: int  # bits of a slot's number
    entries: int
    half: int  # bytes

    @classmethod
    def of(cls, shape: Shape) -> HashLayout:
        capacity = shape.capacity
        bits = (max(64, 4 * capacity) - 1).bit_length()
        entries = capacity + capacity // 4 + 64 if shape.family == "ip6" else 0
        return cls(bits, entries, HEADER + 8 * ((1 << bits) + WINDOW) + 16 * entries)

    @property
    def first_entry(self) -> int:
        """Its offset from the start of the half."""
        return HEADER + 8 * ((1 << self.bits) + WINDOW)


@immutable
class TreeLayout:
    """The nodes of ranges."""

    nodes: int
    height: int  # levels above the leaves, at most
    node: int  # bytes

    @classmethod
    def of(cls, shape: Shape) -> TreeLayout:
        level = max(1, -(-shape.capacity // _FILL))
        least, height = level, 0
        while level > 1:
            level = -(-level // _FILL)
            least += level
            height += 1
        nodes = 2 * least + min(4 * least + 64, _SLACK)
        return cls(nodes, height, FANOUT * (32 if shape.family == "ip6" else 8))


def size(shape: Shape) -> int:
    """How many bytes of memory such a set needs."""
    match shape.structure:
        case "bitmap":
            return HEADER + 2 * BITMAP
        case "hash":
            return HEADER + 2 * HashLayout.of(shape).half
        case "ranges":
            tree = TreeLayout.of(shape)
            return HEADER + tree.nodes * tree.node


def instructions(shape: Shape) -> int:
    """About how many eBPF instructions a look-up needs."""
    is_wide = shape.family == "ip6"
    match shape.structure:
        case "bitmap":
            return 12
        case "hash":
            return 750 if is_wide else 120
        case "ranges":
            return (235 if is_wide else 50) * (TreeLayout.of(shape).height + 1)
