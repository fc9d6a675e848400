# SPDX-License-Identifier: Apache-2.0
"""The decisions: where a match runs on this interface, in which mode, with how much memory; or why it cannot run.

choose.py   how claimed packets get to our sockets
steps.py    the steps for it, in order
warn.py     what else the user has to know
cost.py     what a packet costs
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from offramp.errors import InterfaceBusy, NotSupported, OptionError
from offramp.facts.capabilities import Capabilities
from offramp.facts.offloads import Offload
from offramp.match import Everything, text
from offramp.options import Copying
from offramp.planner.choose import choose
from offramp.planner.cost import Cost, break_even, cost
from offramp.planner.layout import Layout
from offramp.planner.native import why_not_native
from offramp.planner.obstacles import COPIED, check_mtu, check_state, check_wire_view, frame_size, offloads_in_the_way
from offramp.planner.plan import Plan
from offramp.planner.situation import Situation
from offramp.planner.steps import Decisions, steps
from offramp.planner.warn import warnings_of

__all__ = ["can_switch", "make_plan"]

_Mode = Literal["native", "generic"]


def make_plan(situation: Situation) -> Plan:
    """The plan, or an error that says what stands in its way.

    Errors: InterfaceDown, InterfaceBusy, InterfaceError (MTU, offloads), NotSupported (`require`, `layout`),
    OptionError.
    """
    link, options, claim = situation.link, situation.options, situation.claim
    check_state(link, sockets=claim)
    mode = _mode(situation)
    layout = choose(situation, mode)
    vlan_metadata = mode == "native" and "vlan-tag" in (link.rx_metadata or ()) and layout.name != "vf"
    decided = Decisions(
        layout=layout,
        mode=mode,
        queues=_queues(situation, layout) if claim else (),
        copying=_copying(situation, layout, mode) if claim else None,
        off=_switched_off(situation, mode, vlan_metadata=vlan_metadata) if layout.name != "vf" else (),
    )
    plan = Plan(
        interface=link.name,
        ifindex=link.ifindex,
        match=text(situation.match),
        verdict=situation.verdict,
        mode=mode,
        copying=decided.copying,
        queues=decided.queues,
        all_queues=link.rx_queues,
        frames=options.frames,
        frame_size=frame_size(link, mode) if claim and layout.name != "vf" else 0,
        ring=options.ring,
        stall=options.stall if claim else None,
        protection=situation.protection,
        vlan_metadata=vlan_metadata,
        steps=tuple(steps(situation, decided)),
        warnings=(),
        layout=layout.name,
        why=layout.why,
        hidden_queue=layout.queue,
        vf=layout.vf,
        rules=tuple(map(str, layout.rules)),
        buckets=layout.buckets,
        left_out=layout.left_out,
        cost=_cost(situation, decided),
        send_queues=tuple(queue for queue in decided.queues if queue < link.tx_queues),
        assumed=situation.assumed,
        names=tuple(f"{name} is {', '.join(addresses)}" for name, addresses in situation.names.items()),
    )
    return replace(plan, warnings=tuple(warnings_of(plan, situation, layout)))


def _mode(situation: Situation) -> _Mode:
    link, options, shared = situation.link, situation.options, situation.beside.mode
    if situation.claim and options.wanted_layout == "vf":  # the VF's driver decides
        return "generic" if options.mode == "generic" else "native"
    native = options.requires_native
    if shared is not None:
        if (native and shared != "native") or options.mode not in ("auto", shared):
            wanted = "native" if native else options.mode
            raise InterfaceBusy(
                f"{link.name} in {wanted} mode", reason=f"another ramp of this process has it in {shared}"
            )
        return shared
    if options.mode == "generic":
        return "generic"
    obstacle = why_not_native(situation)
    if obstacle is None:
        return "native"
    if native:
        what = f"{link.name} ({link.driver or link.kind or 'no driver'}) has no native XDP"
        raise NotSupported(what, reason=obstacle.reason, hint=obstacle.hint)
    return "generic"


def _switched_off(situation: Situation, mode: _Mode, *, vlan_metadata: bool) -> tuple[Offload, ...]:
    """Offloads that hide the frames on the wire. A VF's interface has its own. Errors: InterfaceError."""
    link, nic = situation.link, situation.nic
    hidden_by = offloads_in_the_way(link, mode, vlan_metadata=vlan_metadata)
    off = tuple(offload for offload in hidden_by if can_switch(situation.able, offload.feature))
    check_wire_view(link, mode, [offload for offload in hidden_by if offload not in off])
    if mode == "native":
        check_mtu(link, nic.xdp.max_mtu if nic is not None else None, sockets=situation.claim)
    return off


def can_switch(able: Capabilities | None, feature: str) -> bool:
    """Whether a ramp can switch it and give it back. If nothing is known of the NIC: yes, as for most."""
    if able is None:
        return False
    known = (able.features or {}).get(feature)
    return able.features is None or (known is not None and not known.fixed)


def _queues(situation: Situation, layout: Layout) -> tuple[int, ...]:
    link, options = situation.link, situation.options
    if layout.name == "vf":
        return ()
    if layout.queue is not None:
        return (layout.queue,)
    if options.queues is None:
        free = tuple(queue for queue in range(link.rx_queues) if queue not in situation.beside.queues)
        if not free:
            raise InterfaceBusy(
                f"each receive queue of {link.name} is read by another ramp of this process",
                hint="one ramp can claim both flows: `MATCH or MATCH`",
            )
        return free
    wrong = [queue for queue in options.queues if queue >= link.rx_queues]
    if wrong:
        raise OptionError(f"queues={wrong[0]}", reason=f"{link.name} has queues 0 to {link.rx_queues - 1}")
    return tuple(sorted(set(options.queues)))


def _copying(situation: Situation, layout: Layout, mode: _Mode) -> Copying:
    """Zero-copy is better on a hidden queue; on all queues only if most packets match. Errors: NotSupported."""
    options, nic, link = situation.options, situation.nic, situation.link
    able = nic.xdp.zero_copy if nic is not None else None
    if options.wants_zero_copy:
        declared = link.xdp_features is None or "xsk-zerocopy" in link.xdp_features
        if layout.name != "vf" and (able is False or (nic is None and not declared)):
            what = link.driver or link.kind or link.name
            raise NotSupported(f"{link.name}: no zero-copy with {what}", reason="it does not support it", hint=COPIED)
        return "zero-copy"
    if options.copying is not None:
        return options.copying
    if mode == "generic" or able is False or layout.name == "vf":
        return "copy"
    if layout.queue is not None:
        return "auto"
    share = 1.0 if isinstance(situation.match, Everything) else options.share or 0.0
    return "auto" if able and share > break_even() else "copy"


def _cost(situation: Situation, decided: Decisions) -> Cost:
    """`copying` "auto" counts as zero-copy if the driver is known to support it."""
    nic, copying = situation.nic, decided.copying
    sure = copying == "zero-copy" or (copying == "auto" and nic is not None and nic.xdp.zero_copy)
    assumed: Literal["copy", "zero-copy"] | None = "zero-copy" if sure else "copy" if copying else None
    return cost(decided.mode, assumed, hidden=decided.layout.queue is not None)
