# SPDX-License-Identifier: Apache-2.0
"""A flow: packets that agree in some of what NICs compare. A value; sets of flows are lists of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from offramp.match.protocols import IP, IP6

__all__ = ["Bits", "Flow", "least"]


class Bits(NamedTuple):
    """The numbers `n` with `n & mask == value`."""

    value: int
    mask: int

    def intersection(self, other: Bits) -> Bits | None:
        """Those of both; None if there are none."""
        if (self.value ^ other.value) & self.mask & other.mask:
            return None
        return Bits(self.value | other.value, self.mask | other.mask)


class Flow(NamedTuple):
    """Packets that agree in all that is not None."""

    ethertype: Bits | None = None  # behind a tag
    vlan: Bits | None = None  # identifier of the tag, 12 bits; mask 0: whichever. None: tagged or not
    protocol: Bits | None = None  # of IP
    src: Bits | None = None  # IP addresses of the ethertype
    dst: Bits | None = None
    sport: Bits | None = None
    dport: Bits | None = None
    esrc: Bits | None = None  # Ethernet addresses
    edst: Bits | None = None

    def intersection(self, other: Flow) -> Flow | None:
        """The packets of both; None if there are none."""
        merged: list[Bits | None] = []
        for one, two in zip(self, other, strict=True):
            both = one.intersection(two) if one and two else one or two
            if both is None and one:
                return None
            merged.append(both)
        return Flow(*merged)

    @property
    def masks(self) -> tuple[int | None, ...]:
        return tuple(None if part is None else part.mask for part in self)

    def masked(self, masks: Iterable[int | None]) -> Flow:
        """Without the bits that are not in the masks."""
        return Flow(*(part and _masked(part, mask) for part, mask in zip(self, masks, strict=True)))

    @property
    def version(self) -> int | None:
        """Of IP; None: not IP, or any."""
        return {IP: 4, IP6: 6}.get(self.ethertype.value) if self.ethertype else None


def _masked(part: Bits, mask: int | None) -> Bits | None:
    return None if mask is None else Bits(part.value & mask, part.mask & mask)


def least(flows: Iterable[Flow]) -> list[Flow]:
    """Without those that are part of another one, sorted."""
    by_masks: dict[tuple[int | None, ...], set[Flow]] = defaultdict(set)
    for flow in flows:
        by_masks[flow.masks].add(flow)
    kept = [
        flow
        for masks, same in by_masks.items()
        for flow in same
        if not any(other != masks and flow.masked(other) in wider for other, wider in by_masks.items())
    ]
    return sorted(kept, key=lambda flow: [(-1, 0) if part is None else part for part in flow])
