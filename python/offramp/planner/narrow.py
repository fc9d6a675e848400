# SPDX-License-Identifier: Apache-2.0
"""A narrower match that a NIC can bring, for somebody whose match it cannot bring: its packets of one IP version.

    udp port 53 or icmp       ->    ip and (udp port 53 or icmp)
    vlan 5 and udp port 53    ->    vlan 5 and udp port 53 and ip         what follows the tag is what it carries

A match that would mean something else then has no such narrower one, and one that has no packets of that version has
none either. So whoever follows the hint gets what it promises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from offramp.match.tree import (
    And,
    AnyVlan,
    Geneve,
    IsProtocol,
    Mpls,
    Node,
    Pppoes,
    Protocol,
    Vlan,
    Vxlan,
    primitives,
    text,
)
from offramp.planner.flow import Flow
from offramp.planner.typed import CannotSteer
from offramp.planner.widen import widened

__all__ = ["narrower"]


def narrower(match: Node, version: Literal[4, 6] | None, bring: Callable[[tuple[Flow, ...]], object]) -> str:
    """The hint that names the narrower match; "" if there is none. `bring` raises CannotSteer for flows that cannot be
    brought.
    """
    found = _of_version(match, version) if version is not None else None
    flows = widened(found).flows if found is not None else None
    if found is None or not flows:
        return ""
    try:
        bring(flows)
    except CannotSteer:
        return ""
    return f"`{text(found)}` can be brought"


def _of_version(match: Node, version: Literal[4, 6]) -> Node | None:
    """The packets of an IP version; None if that cannot be said in front of the match, nor behind it."""
    is_version = IsProtocol(Protocol.IP if version == 4 else Protocol.IP6)
    shifting = [part for part in primitives(match) if isinstance(part, Vlan | AnyVlan | Mpls | Pppoes)]
    if not shifting:
        return And((is_version, match))
    in_tunnel = any(isinstance(part, Vxlan | Geneve) for part in primitives(match))
    joined = match.parts if isinstance(match, And) else (match,)
    if not in_tunnel and all(isinstance(part, Vlan | AnyVlan) and part in joined for part in shifting):
        return And((match, is_version))
    return None
