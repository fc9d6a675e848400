# SPDX-License-Identifier: Apache-2.0
"""Plans for interfaces of this machine, and their programs: what the pure planner gets to see of the machine."""

from __future__ import annotations

from dataclasses import replace

from offramp import process
from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.llvm.programs import xdp
from offramp.lower.meaning import lower
from offramp.matcher import Match
from offramp.nic import netmask, protected_ssh
from offramp.options import Options
from offramp.planner import Plan, Situation, make_plan
from offramp.ramp.interface import Seen, look
from offramp.ramp.wanted import UNTRIED, Tried, Wanted
from offramp.syscalls.failure import trying
from offramp.verdict import Verdict

__all__ = ["continued", "plan_for", "planned", "spec_for"]


def plan_for(interface: str, match: str | Match, verdict: Verdict, options: Options) -> Plan:
    """What would be done. Does nothing."""
    match = Match.of(match)
    with trying(f"a plan for {interface}"):
        with process.alone():  # an interface in use is never seen while it is changed
            seen = look(interface)
        plan = planned(Wanted(match, verdict, options), seen)
    if seen.left:
        left = "; ".join(" ".join(text.split()) for text in seen.left)
        warning = f"what an earlier process has left is given back first, and may change this plan: {left}"
        plan = replace(plan, warnings=(*plan.warnings, warning))
    xdp(spec_for(match, plan))  # this shows now whether the match is too large, or needs a netmask that is missing
    return plan


def planned(wanted: Wanted, seen: Seen, tried: Tried = UNTRIED) -> Plan:
    """The plan for what was seen of the interface, given what was tried. Errors: as `make_plan`."""
    ssh = protected_ssh() if wanted.options.protect else None
    return make_plan(
        Situation(
            wanted.match.node,
            wanted.verdict,
            seen.link,
            wanted.options,
            ssh,
            seen.able,
            seen.beside,
            native_refused=tried.native_refused,
            refused=tried.refused,
        )
    )


def spec_for(match: Match, plan: Plan) -> Spec:
    """The section of the program that carries out a plan."""
    return Spec(
        MatchBody(match.lowered(netmask(plan.interface)), plan.verdict),
        protect=lower(plan.protection.node) if plan.protection is not None else None,
        queues=plan.all_queues,
        stall_ns=round(plan.stall * 1e9) if plan.stall is not None else None,
        vlan_metadata=plan.vlan_metadata,
        hidden_queue=plan.hidden_queue,
    )


def continued(plan: Plan, again: Plan) -> Plan:
    """The first plan up to the step that attaches the program, and the second one from there on."""
    warned = tuple(dict.fromkeys((*plan.warnings, *again.warnings)))
    return replace(again, steps=(*plan.parted("attach")[0], *again.parted("attach")[1]), warnings=warned)
