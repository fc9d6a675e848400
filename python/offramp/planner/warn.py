# SPDX-License-Identifier: Apache-2.0
"""What the user has to know about a plan, besides its steps."""

from __future__ import annotations

from typing import Final

from offramp.facts.link import Link, Peer
from offramp.facts.offloads import OFFLOADS, SEGMENTATION_OFF, TAG_INSERTION_OFF
from offramp.planner.layout import Layout
from offramp.planner.native import peer_of, why_not_native
from offramp.planner.plan import Plan, shortened
from offramp.planner.situation import Situation
from offramp.protection import KEPT, PROTECTED
from offramp.verdict import Verdict

__all__ = ["NO_PACKET", "warnings_of"]

NO_PACKET: Final = "no packet can match: what the match asks for excludes itself"

# Kinds of links whose packets come out of others, which any interface may have received.
_TUNNELS = frozenset({"erspan", "geneve", "gretap", "ip6erspan", "ip6gretap", "vxlan"})


def warnings_of(plan: Plan, situation: Situation, layout: Layout) -> list[str]:
    """The warnings, in the order of the steps. `plan` has no steps yet; `layout`: all that the plan says of the NIC."""
    link, able = situation.link, situation.nic
    found = [] if situation.can_match else [NO_PACKET]
    found += _of_interface(plan, situation)
    found += [
        f"{offload.words} is off while this is in force: the kernel does that work instead"
        for offload in OFFLOADS
        if any(change.knob == offload.knob for change in plan.changes)
    ]
    if able is None:
        return found
    if plan.layout == "vf":
        costs = f" ({'; '.join(able.vfs.costs)})" if able.vfs.costs else ""
        found.append(f"virtual functions affect the rest of {link.name}; how depends on the driver{costs}")
    elif plan.mode == "native":
        if able.xdp.resets_link:
            found.append(f"attaching and detaching XDP resets the link of {link.name}: its carrier goes for a moment")
        if able.xdp.needs:
            found.append(f"its driver has conditions for XDP: {'; '.join(able.xdp.needs)}")
    found += _of_steering(plan, layout)
    if plan.layout == "in-driver" and plan.copying in ("zero-copy", "auto") and plan.queues:
        found.append("packets that a zero-copy queue passes on to the kernel are copied")
    return found


def _of_interface(plan: Plan, situation: Situation) -> list[str]:
    link, options, beside = situation.link, situation.options, situation.beside
    found = []
    if plan.mode == "generic" and plan.layout != "vf":
        if options.mode == "generic":
            why = "as asked"
        elif beside.mode is not None:
            why = "because another ramp of this process uses it"
        else:
            obstacle = why_not_native(situation)
            why = f"because {obstacle.why}" if obstacle is not None else "as before"
        found.append(
            f"generic mode, {why}: the program sees packets after the kernel has allocated a buffer for each; "
            f"expect about the speed of iptables in raw PREROUTING{_uncut(link)}"
        )
    found += _of_senders(plan, link)
    found += _of_protection(plan)
    if plan.queues and len(plan.queues) < link.rx_queues and plan.layout == "in-driver":
        found.append(
            f"{shortened(plan.match)} is read from queue{'s' * (len(plan.queues) > 1)} "
            f"{', '.join(map(str, plan.queues))} of {link.rx_queues} receive queues: matching packets on the others "
            "stay with the kernel"  # it names the ramp, because Python shows the same text only once
        )
    return found


def _of_senders(plan: Plan, link: Link) -> list[str]:
    """Warnings about frames that are not as a wire has them, and about frames that the peer does not take."""
    found, peer = [], peer_of(link)
    if link.vnet_headers:
        found.append(f"who writes to {link.name}, such as a virtual machine, {_leaves_uncut('PEER')}, in the machine")
    if plan.mode == "native" and plan.verdict is Verdict.TX and link.driver == "veth" and not (link.peer or Peer()).xdp:
        found.append(
            f"{link.name}'s peer takes what is sent back only while it runs XDP in its driver, too; until then such "
            'packets are lost, and counted as tx_failed: mode="generic" sends them'
        )
    if link.kind == "veth" and not plan.vlan_metadata and (link.peer is None or link.peer.tags_beside is not False):
        found.append(
            f"if {link.name}'s peer keeps VLAN tags outside of its frames, they cannot be seen, and the frames look "
            f"untagged; this makes the peer write them into the frames: ethtool -K {peer} {TAG_INSERTION_OFF}"
        )
    return found


def _uncut(link: Link) -> str:
    """In generic mode, what the other end of a virtual wire may send."""
    if link.kind in _TUNNELS:
        return (
            "; what comes out of a tunnel was perhaps merged by the interface that it came in on, and a match sees "
            "such packets as one large frame; this makes it leave frames as they are: ethtool -K LOWER gro off; and "
            f"its sender {_leaves_uncut('PEER')}"
        )
    virtual = link.kind == "veth" or link.peer is not None
    if not virtual or (link.peer is not None and link.peer.segmentation == ()):
        return ""
    who = f"{link.name}'s peer" if link.kind == "veth" else f"who sends on {peer_of(link)}"
    return f"; {who} {_leaves_uncut(peer_of(link))}"


def _leaves_uncut(name: str) -> str:
    return (
        "may leave it to others to cut packets into frames, and a match sees such a packet as one large frame; this "
        f"makes it send frames: ethtool -K {name} {SEGMENTATION_OFF}"
    )


def _of_steering(plan: Plan, layout: Layout) -> list[str]:
    """Warnings about a NIC that brings the flow."""
    found = []
    where = "the hidden queue" if layout.name == "hidden-queue" else "the VF"
    if layout.rules or layout.buckets:
        strays = "IP fragments, IPv6 packets with extension headers and doubly tagged ones"
        strays += ", and ARP of the match's addresses," if layout.arp else ""
        counted = ", counted as missed_by_nic" if layout.queue is not None else ""
        found.append(f"the NIC does not bring {strays} to {where}; they stay with the kernel{counted}")
    if layout.first:
        found.append(
            f"rules already on the interface come first, and may take matching packets: {'; '.join(layout.first)}"
        )
    if layout.buckets:
        share = f"{len(layout.buckets)}/{len(layout.base)}"
        found.append(f"{share} of all other flows also arrive on {where}, and are passed on to the kernel")
    elif layout.left_out and layout.queue is not None:
        found.append(f"the NIC also brings packets that do not match to {where}; they are passed on to the kernel")
    if plan.protection is not None and plan.protection.rows:
        found.append(f"protected packets of the flow also come to {where}, and are passed on to the kernel")
    if (layout.buckets or layout.left_out) and plan.copying in ("zero-copy", "auto"):
        found.append("passing on a packet from a zero-copy queue costs a copy")
    if layout.queue == 0:
        found.append(
            f"most NICs send packets that they do not hash, such as ARP, to queue 0 of {plan.interface}, the hidden one"
        )
    if layout.name == "vf" and not layout.rules:
        found.append(f"only packets to the address {layout.mac} reach the VF, so senders have to use it")
    return found


def _of_protection(plan: Plan) -> list[str]:
    protection = plan.protection
    if protection is None:
        return [f"nothing is protected: {KEPT} is diverted too if it matches ({PROTECTED})"]
    found = [
        f"{count} or more SSH or BGP sessions of user {user} are not protected: there is a limit for each user"
        for user, count in protection.left_out
    ]
    if protection.whole:
        found.append("every packet of this match is protected and stays with the kernel; protect=False takes them")
    return found
