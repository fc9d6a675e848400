# SPDX-License-Identifier: Apache-2.0
"""Offloads that change frames before XDP sees them: the names that the kernel, people and `Link` have for each."""

from __future__ import annotations

from offramp.immutable import immutable

__all__ = ["GRO", "LRO", "OFFLOADS", "VLAN_STRIPPING", "Offload"]


@immutable
class Offload:
    """A feature of an interface."""

    feature: str  # the kernel's name
    words: str
    flag: str  # the short name that `ethtool -K` takes
    field: str  # of `Link`

    @property
    def knob(self) -> str:
        return f"feature.{self.feature}"


GRO = Offload("rx-gro", "GRO", "gro", "gro")
LRO = Offload("rx-lro", "LRO", "lro", "lro")
VLAN_STRIPPING = Offload("rx-vlan-hw-parse", "VLAN stripping", "rxvlan", "rx_vlan_offload")

OFFLOADS = (GRO, LRO, VLAN_STRIPPING)
