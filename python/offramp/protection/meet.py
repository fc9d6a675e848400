# SPDX-License-Identifier: Apache-2.0
"""Which packets two matches can both hold for: whether any packet can match both at once (lower/possible.py).

`vlan any` makes places depend on the number of tags, so each number is looked at by itself. A match is about the frame
on the wire. What is protected is about the frame in memory, which may lack the first tag; from the third tag on, the
two differ in what is behind `vlan any`. All places are counted on the wire.

That "every packet of a match is protected" is certain, too, if what is protected looks at the bytes of a protocol
behind a test for it. So none of its tests ends the program before the one that holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from offramp.immutable import immutable
from offramp.lower.expression import TAG_BYTES, All, Expr, Lowered
from offramp.lower.possible import Matching
from offramp.lower.tags import passing, tagged

__all__ = ["Met"]


@immutable
class _Frames:
    """Frames with so many tags, and how many bytes of tags `vlan any` passes in them."""

    has_tags: Expr
    wire: int  # where it is about the frame on the wire
    memory: int  # where it is about the frame in memory, counted on the wire: a tag that is not there counts


_THREE: Final = tagged(3, or_more=True)
_ALL: Final = (
    _Frames(tagged(0), 0, 0),
    _Frames(tagged(1), TAG_BYTES, TAG_BYTES),
    _Frames(tagged(2), 2 * TAG_BYTES, 2 * TAG_BYTES),
    _Frames(_THREE, 2 * TAG_BYTES, 2 * TAG_BYTES),
    _Frames(_THREE, 2 * TAG_BYTES, 3 * TAG_BYTES),  # the first tag is beside the frame
)


class Met:
    """A match, to be asked which packets of other matches it can meet. It is about frames on the wire."""

    def __init__(self, match: Lowered) -> None:
        self._sets = match.sets
        behind = {size: passing(size, match.expr) for size in {frames.wire for frames in _ALL}}
        ways = [(frames, Matching(All((frames.has_tags, behind[frames.wire])), match.sets)) for frames in _ALL]
        self._ways = [(frames, packets) for frames, packets in ways if packets.exist()]

    def meets(self, other: Lowered, *, on_wire: bool = False) -> bool:
        """Whether a packet can be of both. The other one is about frames in memory, unless it is `on_wire` too."""
        return any(packets.exist(expr) for packets, expr in self._beside(other, on_wire))

    def is_within(self, other: Lowered) -> bool:
        """Whether every packet of the match is certainly of the other one too, which is about frames in memory."""
        return not any(packets.exist_beside(expr) for packets, expr in self._beside(other, on_wire=False))

    def _beside(self, other: Lowered, on_wire: bool) -> Iterator[tuple[Matching, Expr]]:
        """The packets of the match with each number of tags, and what the other one is for these."""
        for frames, packets in self._ways:
            packets.sets = self._sets + other.sets
            yield packets, passing(frames.wire if on_wire else frames.memory, other.expr, len(self._sets))
