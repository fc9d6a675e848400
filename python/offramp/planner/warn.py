# SPDX-License-Identifier: Apache-2.0
"""What the user has to know about a plan, besides its steps."""

from __future__ import annotations

from offramp.facts.offloads import OFFLOADS
from offramp.planner.layout import Layout
from offramp.planner.plan import Plan, shortened
from offramp.planner.protect import PROTECTED
from offramp.planner.situation import Situation
from offramp.planner.widen import widened

__all__ = ["warnings_of"]


def warnings_of(plan: Plan, situation: Situation, layout: Layout) -> list[str]:
    """The warnings, in the order of the steps. `plan` has no steps yet; `layout`: all that the plan says of the NIC."""
    link, able = situation.link, situation.nic
    found = _of_interface(plan, situation)
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
            why = f"because {link.driver or link.kind or link.name} has no native XDP"
        found.append(
            f"generic mode, {why}: the program sees packets after the kernel has allocated a buffer for each; "
            "expect about the speed of iptables in raw PREROUTING"
        )
    if link.kind == "veth" and not plan.vlan_metadata:
        found.append(
            f"if {link.name}'s peer keeps VLAN tags outside of its frames, they cannot be seen, and the frames look "
            "untagged; this makes the peer write them into the frames: ethtool -K PEER txvlan off"
        )
    if not options.protect:
        found.append(f"nothing is protected: {PROTECTED} are diverted too if they match")
    if plan.queues and len(plan.queues) < link.rx_queues and plan.layout == "in-driver":
        found.append(
            f"{shortened(plan.match)} is read from queue{'s' * (len(plan.queues) > 1)} "
            f"{', '.join(map(str, plan.queues))} of {link.rx_queues} receive queues: matching packets on the others "
            "stay with the kernel"  # it names the ramp, because Python shows the same text only once
        )
    return found


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
    if _brings_protected(layout, plan):
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


def _brings_protected(layout: Layout, plan: Plan) -> bool:
    """Whether the NIC may bring packets that are never diverted."""
    protected = widened(plan.protection.node).flows if plan.protection is not None else ()
    return any(flow.intersection(other) for flow in layout.flows for other in protected or ())
