# SPDX-License-Identifier: Apache-2.0
"""Plans for interfaces of this machine, and their programs: what the pure planner gets to see of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from offramp import process
from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.facts.found import Found
from offramp.llvm.programs import xdp
from offramp.matcher import Match
from offramp.nic import find, netmask
from offramp.options import Options
from offramp.planner import Plan, Situation, make_plan
from offramp.protection import Met, Protection
from offramp.ramp.interface import Seen, look
from offramp.ramp.wanted import UNTRIED, Tried, Wanted, read, renamed
from offramp.syscalls.failure import trying
from offramp.verdict import Verdict

__all__ = ["continued", "plan_for", "planned", "protection_for", "spec_for"]


def plan_for(interface: str, match: str | Match, verdict: Verdict, options: Options) -> Plan:
    """What would be done. Does nothing."""
    wanted = Wanted(Match.of(match, resolve=options.resolve), verdict, read(options))
    with trying(f"a plan for {interface}"):
        with process.alone():  # an interface in use is never seen while it is changed
            seen = look(interface)
        plan = planned(wanted, seen)
    if seen.left:
        left = "; ".join(" ".join(text.split()) for text in seen.left)
        warning = f"what an earlier process has left is given back first, and may change this plan: {left}"
        plan = replace(plan, warnings=(*plan.warnings, warning))
    xdp(spec_for(wanted, plan))  # this shows now whether the match is too large, or needs a netmask that is missing
    return plan


def planned(wanted: Wanted, seen: Seen, tried: Tried = UNTRIED) -> Plan:
    """The plan for what was seen of the interface, given what was tried. Errors: as `make_plan`."""
    mask = netmask(seen.link.name)
    return make_plan(
        Situation(
            wanted.match.node,
            wanted.verdict,
            seen.link,
            wanted.options,
            protection_for(wanted, find, mask),
            seen.able,
            seen.beside,
            native_refused=tried.native_refused,
            native_reason=tried.native_reason,
            refused=tried.refused,
            names=wanted.match.names,
            can_match=wanted.match.can_match(mask),
        )
    )


def protection_for(wanted: Wanted, finding: Callable[[], Found], mask: int | None) -> Protection | None:
    """What of all that is protected the match can meet; `finding`: what is on the machine; `mask`: the netmask."""
    if wanted.options.protect is False:
        return None
    match, own = wanted.match.lowered(mask), wanted.own
    if own is not None and not Met(match).meets(own.lowered(mask), on_wire=True):
        own = None
    return Protection.of(finding(), match, None if own is None else str(own))


def spec_for(wanted: Wanted, plan: Plan) -> Spec:
    """The section of the program that carries out a plan."""
    mask, protection = netmask(plan.interface), plan.protection
    spared = wanted.own if protection is not None and protection.own is not None else None
    own = None if spared is None else renamed(spared.lowered(mask))
    return Spec(
        MatchBody(wanted.match.lowered(mask), plan.verdict, own),
        protect=protection.lowered if protection is not None else None,
        queues=plan.all_queues,
        stall_ns=round(plan.stall * 1e9) if plan.stall is not None else None,
        vlan_metadata=plan.vlan_metadata,
        longest=plan.longest,
        hidden_queue=plan.hidden_queue,
    )


def continued(plan: Plan, again: Plan) -> Plan:
    """The first plan up to the step that attaches the program, and the second one from there on."""
    warned = tuple(dict.fromkeys((*plan.warnings, *again.warnings)))
    return replace(again, steps=(*plan.parted("attach")[0], *again.parted("attach")[1]), warnings=warned)
