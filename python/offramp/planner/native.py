# SPDX-License-Identifier: Apache-2.0
"""Why XDP cannot run in the driver here, as far as that is known before it is tried."""

from __future__ import annotations

from offramp.facts.link import Link
from offramp.immutable import immutable
from offramp.planner.obstacles import native_mtu, too_large_for_native
from offramp.planner.situation import Situation

__all__ = ["Obstacle", "lacks_for_native", "peer_of", "why_not_native"]


@immutable
class Obstacle:
    why: str  # after "because"
    reason: str  # where native mode is required
    hint: str = ""


def lacks_for_native(link: Link, *, claim: bool = True) -> list[str]:
    """What native XDP needs and the driver does not declare. Empty if this kernel does not tell."""
    needed = {"basic", "redirect"} if claim else {"basic"}
    return sorted(needed - link.xdp_features) if link.xdp_features is not None else []


def peer_of(link: Link) -> str:
    """The name of a veth's peer, for a command."""
    return (link.peer and link.peer.name) or "PEER"


def why_not_native(situation: Situation) -> Obstacle | None:
    """None if native mode is to be tried. An MTU that is too large is an obstacle only where generic mode does instead:
    in mode auto, for packets that do not come to user space.
    """
    link, nic = situation.link, situation.nic
    missing = lacks_for_native(link, claim=situation.claim)
    if link.driver == "veth" and "basic" in missing:  # it declares that only while its queues allow it
        why = f"{link.name} has fewer receive queues ({link.rx_queues}) than its peer has transmit queues"
        return Obstacle(why, why, f"ethtool -L {peer_of(link)} tx {link.rx_queues}")
    if nic is not None and nic.xdp.with_vfs is False and nic.vfs.in_use:
        missing.append("XDP with virtual functions")
    name = link.driver or link.kind or link.name
    if missing:
        return Obstacle(f"{name} has no native XDP", f"its driver lacks {', '.join(missing)}")
    if situation.native_refused:
        why = situation.native_reason or f"{name} has no native XDP"
        return Obstacle(why, situation.native_reason or "its driver refused")
    known = nic.xdp.max_mtu if nic is not None else None
    if not situation.claim and not situation.options.requires_native and too_large_for_native(link, known):
        most = native_mtu(link, known)
        theirs = link.peer is not None and link.peer.mtu is not None
        whose, name = ("its peer's MTU", peer_of(link)) if theirs else ("its MTU", link.name)
        why = f"{whose} is more than the {most} that {link.driver} takes with XDP (ip link set {name} mtu {most})"
        return Obstacle(why, why)
    return None
