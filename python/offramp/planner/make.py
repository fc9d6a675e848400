# SPDX-License-Identifier: Apache-2.0
"""The decisions: where a match runs on this interface, in which mode, with how much memory. Or why it cannot.

layout.py   how claimed packets get to our sockets
steps.py    what is done for it, in which order
warn.py     what else the user has to know
cost.py     what a packet costs
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from offramp.errors import InterfaceBusy, NotSupported, OptionError
from offramp.facts.capabilities import Capabilities
from offramp.match import Everything, Node, text
from offramp.planner.cost import Cost, break_even, cost
from offramp.planner.layout import ALONE, Beside, Layout, choose, is_virtual
from offramp.planner.obstacles import check_mtu, check_state, check_wire_view, frame_size, hiding
from offramp.planner.options import Copying, Options
from offramp.planner.plan import Method, Plan
from offramp.planner.protect import protection, protection_in_words
from offramp.planner.steps import steps
from offramp.planner.warn import warnings_of
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.facts.link import Link
    from offramp.facts.ssh import Ssh

__all__ = ["can_switch", "lacks_for_native", "make_plan"]

_Mode = Literal["native", "generic"]


def make_plan(
    match: Node,
    verdict: Verdict,
    link: Link,
    options: Options,
    ssh: Ssh | None,
    able: Capabilities | None = None,
    *,
    native_refused: bool = False,
    refused: Mapping[Method, str] = {},
    beside: Beside = ALONE,
    assumed: tuple[str, ...] = (),
) -> Plan:
    """The plan, or an error that says what stands in its way. `able` None changes nothing of the interface but what
    hangs on file descriptors. `native_refused`: the driver was asked and cannot. `refused`: ways to bring flows that
    were tried, and what became of them. `beside`: other ramps of this process there. `ssh` None: nothing is protected.
    `assumed`: see assume.py.

    Errors: InterfaceDown, InterfaceBusy, InterfaceError (MTU, offloads), NotSupported (`require`, `layout`),
    OptionError.
    """
    claim = verdict is Verdict.CLAIM
    nic = None if able is None or is_virtual(able) else able
    check_state(link, sockets=claim)
    mode: _Mode
    if claim and options.wanted_layout == "vf":  # whose driver decides
        mode = "generic" if options.mode == "generic" else "native"
    else:
        mode = _mode(link, nic, options, claim, native_refused, beside.mode)
    layout = choose(match, link, able, options, mode, claim, refused, beside)
    vlan_metadata = mode == "native" and "vlan-tag" in (link.rx_metadata or ()) and layout.name != "vf"
    off: tuple[str, ...] = ()
    if layout.name != "vf":  # which has an interface, and offloads, of its own
        hidden_by = hiding(link, mode, vlan_metadata=vlan_metadata)
        off = tuple(feature for feature in hidden_by if can_switch(able, feature))
        check_wire_view(link, mode, [feature for feature in hidden_by if feature not in off])
        if mode == "native" and nic is not None:
            check_mtu(link, nic.xdp.max_mtu)
    protect = protection(ssh) if ssh is not None else None
    queues = _queues(link, options, layout, beside) if claim else ()
    copying = _copying(match, nic, options, layout, mode) if claim else None
    decided = Plan(
        interface=link.name,
        ifindex=link.ifindex,
        match=text(match),
        verdict=verdict,
        mode=mode,
        copying=copying,
        queues=queues,
        all_queues=link.rx_queues,
        frames=options.frames,
        frame_size=frame_size(link, mode) if claim and layout.name != "vf" else 0,
        ring=options.ring,
        stall=options.stall if claim else None,
        protect=protect,
        protected=protection_in_words(ssh) if ssh is not None else "nothing",
        vlan_metadata=vlan_metadata,
        steps=tuple(steps(link, nic, layout, verdict, mode, queues, copying, options, off)),
        warnings=(),
        layout=layout.name,
        why=layout.why,
        hidden_queue=layout.queue,
        vf=layout.vf,
        rules=tuple(map(str, layout.rules)),
        buckets=layout.buckets,
        left_out=layout.left_out,
        cost=_cost(nic, layout, mode, copying),
        assumed=assumed,
    )
    return replace(decided, warnings=tuple(warnings_of(decided, link, nic, layout, options, beside)))


def _mode(
    link: Link, nic: Capabilities | None, options: Options, claim: bool, native_refused: bool, shared: _Mode | None
) -> _Mode:
    native = options.mode == "native" or "native" in options.require or options.wants_zero_copy
    if shared is not None:
        if (native and shared != "native") or options.mode not in ("auto", shared):
            wanted = "native" if native else options.mode
            raise InterfaceBusy(
                f"{link.name} in {wanted} mode", reason=f"another ramp of this process has it in {shared}"
            )
        return shared
    if options.mode == "generic":
        return "generic"
    missing = lacks_for_native(link, claim=claim)
    if nic is not None and nic.xdp.with_vfs is False and nic.vfs.in_use:
        missing.append("XDP while there are virtual functions")
    if not missing and not native_refused:
        return "native"
    what = f"{link.name} ({link.driver or link.kind or 'no driver'}) has no native XDP"
    if native:
        raise NotSupported(what, reason=f"its driver lacks {', '.join(missing)}" if missing else "its driver refused")
    return "generic"


def lacks_for_native(link: Link, *, claim: bool = True) -> list[str]:
    """What native XDP needs and the driver does not declare; nothing where this kernel does not tell."""
    needed = {"basic", "redirect"} if claim else {"basic"}
    return sorted(needed - link.xdp_features) if link.xdp_features is not None else []


def can_switch(able: Capabilities | None, feature: str) -> bool:
    """Whether a ramp can switch it, and give it back. Of a NIC that is not here nothing is known, and most can."""
    if able is None:
        return False
    known = (able.features or {}).get(feature)
    return able.features is None or (known is not None and not known.fixed)


def _queues(link: Link, options: Options, layout: Layout, beside: Beside) -> tuple[int, ...]:
    if layout.name == "vf":
        return ()
    if layout.queue is not None:
        return (layout.queue,)
    if options.queues is None:
        free = tuple(queue for queue in range(link.rx_queues) if queue not in beside.queues)
        if not free:
            raise InterfaceBusy(
                f"each receive queue of {link.name} is read by another ramp of this process",
                hint="one ramp can claim both: `MATCH or MATCH`",
            )
        return free
    wrong = [queue for queue in options.queues if queue >= link.rx_queues]
    if wrong:
        raise OptionError(f"queue {wrong[0]}", reason=f"{link.name} has queues 0 to {link.rx_queues - 1}")
    return tuple(sorted(set(options.queues)))


def _copying(match: Node, nic: Capabilities | None, options: Options, layout: Layout, mode: str) -> Copying:
    """On a hidden queue zero-copy is better; on all queues only if most packets match. Errors: NotSupported."""
    able = nic.xdp.zero_copy if nic is not None else None
    if options.wants_zero_copy:
        if able is False and layout.name != "vf":
            what = nic.driver if nic is not None else ""
            raise NotSupported(f"zero-copy with {what}", reason="its driver has none")
        return "zero-copy"
    if options.copying is not None:
        return options.copying
    if mode == "generic" or able is False or layout.name == "vf":
        return "copy"
    if layout.queue is not None:
        return "auto"
    share = 1.0 if isinstance(match, Everything) else options.share or 0.0
    return "auto" if able and share > break_even() else "copy"


def _cost(nic: Capabilities | None, layout: Layout, mode: str, copying: str | None) -> Cost:
    """`copying` "auto" is zero-copy where the driver is known to have it."""
    sure = copying == "zero-copy" or (copying == "auto" and nic is not None and nic.xdp.zero_copy)
    assumed: Literal["copy", "zero-copy"] | None = "zero-copy" if sure else "copy" if copying else None
    return cost(mode, assumed, hidden=layout.queue is not None)
