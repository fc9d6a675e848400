# SPDX-License-Identifier: Apache-2.0
"""A flow: packets that agree in some of what NICs compare. It is a value; a set of flows is a list of them."""

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
        """The numbers in both; None if there are none."""
        if (self.value ^ other.value) & self.mask & other.mask:
            return None
        return Bits(self.value | other.value, self.mask | other.mask)


class Flow(NamedTuple):
    """Packets that agree in every part that is not None."""

    ethertype: Bits | None = None  # behind a VLAN tag, if there is one
    vlan: Bits | None = None  # the tag's identifier, 12 bits; mask 0: any tag. None: tagged or not
    protocol: Bits | None = None  # the IP protocol
    src: Bits | None = None  # IP addresses, of the version that the ethertype says
    dst: Bits | None = None
    sport: Bits | None = None
    dport: Bits | None = None
    esrc: Bits | None = None  # Ethernet addresses
    edst: Bits | None = None

    def intersection(self, other: Flow) -> Flow | None:
        """The packets in both; None if there are none."""
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
        """The flow without the bits that are not in the masks."""
        return Flow(*(part and _masked(part, mask) for part, mask in zip(self, masks, strict=True)))

    @property
    def version(self) -> int | None:
        """The IP version; None: not IP, or any."""
        return {IP: 4, IP6: 6}.get(self.ethertype.value) if self.ethertype else None


def _masked(part: Bits, mask: int | None) -> Bits | None:
    return None if mask is None else Bits(part.value & mask, part.mask & mask)


def least(flows: Iterable[Flow]) -> list[Flow]:
    """The flows, sorted, without those that are part of another one."""
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
