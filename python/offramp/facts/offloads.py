# SPDX-License-Identifier: Apache-2.0
"""Offloads that change frames before XDP sees them: the names that the kernel, people and `Link` have for each."""

from __future__ import annotations

from offramp.immutable import immutable

__all__ = ["GRO", "LRO", "OFFLOADS", "SEGMENTATION_OFF", "TAG_INSERTION_OFF", "VLAN_STRIPPING", "Offload"]


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

# What `ethtool -K` takes to make an interface send frames that a wire could carry, and no packets yet to be cut.
SEGMENTATION_OFF = "tso off gso off tx-udp-segmentation off"

# The same for VLAN tags: into the frames, also those of IEEE 802.1ad.
TAG_INSERTION_OFF = "txvlan off tx-vlan-stag-hw-insert off"

OFFLOADS = (GRO, LRO, VLAN_STRIPPING)
