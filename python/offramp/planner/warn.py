# SPDX-License-Identifier: Apache-2.0
"""What the user has to know of a plan, besides its steps."""

from __future__ import annotations

from offramp.facts.offloads import OFFLOADS
from offramp.planner.layout import Layout
from offramp.planner.plan import Plan
from offramp.planner.protect import PROTECTED
from offramp.planner.situation import Situation
from offramp.planner.widen import widened

__all__ = ["warnings_of"]


def warnings_of(plan: Plan, situation: Situation, layout: Layout) -> list[str]:
    """In the order of the steps. `plan`: without them; `layout`: what it says about the NIC, whole."""
    link, able = situation.link, situation.nic
    found = _of_interface(plan, situation)
    found += [
        f"{offload.words} is off while this is in force: the kernel does that work itself"
        for offload in OFFLOADS
        if any(change.knob == offload.knob for change in plan.changes)
    ]
    if able is None:
        return found
    if plan.layout == "vf":
        costs = f" ({'; '.join(able.vfs.costs)})" if able.vfs.costs else ""
        found.append(f"virtual functions cost the rest of {link.name}: what they change is up to the driver{costs}")
    elif plan.mode == "native":
        if able.xdp.resets_link:
            found.append(f"attaching and detaching XDP resets the link of {link.name}: its carrier goes for a moment")
        if able.xdp.needs:
            found.append(f"its driver has conditions for XDP: {'; '.join(able.xdp.needs)}")
    found += _of_steering(plan, layout)
    if plan.layout == "in-driver" and plan.copying in ("zero-copy", "auto") and plan.queues:
        found.append("packets that are passed on to the kernel are copied where a queue is in zero-copy mode")
    return found


def _of_interface(plan: Plan, situation: Situation) -> list[str]:
    link, options, beside = situation.link, situation.options, situation.beside
    found = []
    if plan.mode == "generic" and plan.layout != "vf":
        if options.mode == "generic":
            why = "as asked"
        elif beside.mode is not None:
            why = "as another ramp of this process has it"
        else:
            why = f"as {link.driver or link.kind or link.name} has no native XDP"
        found.append(
            f"generic mode, {why}: packets are looked at after the kernel has allocated a buffer for each; "
            "expect about the speed of iptables in raw PREROUTING"
        )
    if link.kind == "veth" and not plan.vlan_metadata:
        found.append(
            f"VLAN tags that {link.name}'s peer leaves beside its frames cannot be seen, and those frames are taken "
            "for untagged ones: ethtool -K PEER txvlan off writes them into the frames"
        )
    if not options.protect:
        found.append(f"nothing is protected: {PROTECTED} are diverted too if they match")
    if plan.queues and len(plan.queues) < link.rx_queues and plan.layout == "in-driver":
        found.append(
            f"{link.name} has {link.rx_queues} receive queues: matching packets on the others stay with the kernel"
        )
    return found


def _of_steering(plan: Plan, layout: Layout) -> list[str]:
    """Of a NIC that brings the flow."""
    found = []
    where = "the hidden queue" if layout.name == "hidden-queue" else "the VF"
    if layout.rules or layout.buckets:
        strays = "IP fragments, IPv6 packets with extension headers and doubly tagged ones"
        strays += ", and ARP of the match's addresses," if layout.arp else ""
        counted = ", counted as missed_by_nic" if layout.queue is not None else ""
        found.append(f"the NIC does not bring {strays} to {where}: they stay with the kernel{counted}")
    if layout.first:
        found.append(
            f"rules that are there come first, and may take matching packets elsewhere: {'; '.join(layout.first)}"
        )
    if layout.buckets:
        share = f"{len(layout.buckets)}/{len(layout.base)}"
        found.append(f"{share} of all other flows arrive on {where}, too, and are passed on to the kernel")
    elif layout.left_out and layout.queue is not None:
        found.append(f"the NIC brings more than matches to {where}; the rest is passed on to the kernel")
    if _brings_protected(layout, plan):
        found.append(f"protected packets of the flow come to {where}, too, and are passed on to the kernel")
    if (layout.buckets or layout.left_out) and plan.copying in ("zero-copy", "auto"):
        found.append("a packet that is passed on from a zero-copy queue costs a copy")
    if layout.queue == 0:
        found.append(
            f"most NICs send what they do not hash (ARP, for one) to queue 0 of {plan.interface}, the hidden one"
        )
    if layout.name == "vf" and not layout.rules:
        found.append(f"only packets to the address {layout.mac} get to the VF: senders have to use it")
    return found


def _brings_protected(layout: Layout, plan: Plan) -> bool:
    """Whether the NIC may bring packets that are never diverted."""
    protected = widened(plan.protection.node).flows if plan.protection is not None else ()
    return any(flow.intersection(other) for flow in layout.flows for other in protected or ())
