# SPDX-License-Identifier: Apache-2.0
"""Another match takes the place of the one in force, from one packet to the next.

    plan anew     for the present layout, queues and mode; if anything else would have to change, it is refused
    add           rules that the new match needs and that are missing: journaled like any change
    exchange      the section's program, by an update of the link: a packet meets the old match or the new one
    remove        rules that only the old match needed

Sockets, heartbeats, counters and ledger go on. If anything fails before the exchange, it is undone, and the old match
stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from offramp import process
from offramp.errors import NotSupported, OfframpError
from offramp.immutable import immutable
from offramp.nic import carrier
from offramp.options import Options
from offramp.planner import Change, Plan, Step
from offramp.ramp.planned import planned, spec_for
from offramp.steering import Rule
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.ramp.execution import Execution
    from offramp.ramp.interface import Seen
    from offramp.ramp.wanted import Wanted

__all__ = ["Succession", "put_in_place", "succession"]

_RULE = "rule."


@immutable
class Succession:
    """The steps from a plan in force to another one."""

    plan: Plan
    add: tuple[Change, ...] = ()  # rules
    drop: tuple[str, ...] = ()  # knobs of rules


def put_in_place(execution: Execution, wanted: Wanted) -> None:
    """Errors: InterfaceGone, NotSupported if it does not fit, and as `open`; then the old match stays in force."""
    with process.alone(), execution.interface.here():
        carrier(execution.plan.ifindex)  # raises InterfaceGone if it is gone
        there = succession(execution.plan, _planned(execution, wanted))
        live = execution.live
        inner = _shown(live.plan, there.plan)
        section = live.section.anew(spec_for(wanted, inner), wanted.state, inner)
        of_inner = replace(wanted, options=live.wanted.options)

        def finish() -> None:
            in_force = live.section is section
            if in_force:
                live.plan, live.wanted = inner, of_inner
                execution.plan, execution.wanted = there.plan, wanted
            _remove(execution, there.drop if in_force else [change.knob for change in there.add])

        try:
            if there.add:
                execution.interface.changes.change(there.add, execution.section)
            live.exchange(section)
        finally:
            try:
                finish()
            except BaseException:  # an interrupt may have come before its first line: once more
                finish()
                raise


def _remove(execution: Execution, knobs: Sequence[str]) -> None:
    """Remove rules that are not needed. If one stays, it brings packets that the program passes on:
    that is no failure.
    """
    try:
        execution.worry(execution.interface.changes.remove(knobs, execution.section))
    except OfframpError as error:
        execution.worry([str(error)])


def succession(old: Plan, new: Plan) -> Succession:
    """The steps from a plan to one that was made for its layout. Pure. Errors: NotSupported."""
    had, needs = _rules(old), _rules(new)
    kept = [change for change in had if any(change.value == other.value for other in needs)]
    added = [change for change in needs if not any(change.value == other.value for other in had)]
    _check(old, new)
    rules = tuple(kept + added)
    warnings = (*old.warnings, *new.warnings) if old.layout == "vf" else new.warnings
    plan = replace(
        _shown(old, new),
        left_out=new.left_out,
        observed="",
        rules=tuple(str(_rule(change)) for change in rules),
        steps=tuple(_renewed(step, rules, new) for step in old.steps),
        warnings=tuple(dict.fromkeys(warnings)),
    )
    return Succession(plan, tuple(added), tuple(change.knob for change in had if change not in kept))


def _planned(execution: Execution, wanted: Wanted) -> Plan:
    """The plan for the present layout."""
    plan = execution.plan
    seen = execution.interface.look(but=execution.section)
    options = _options(plan, wanted.options, claims=wanted.verdict is Verdict.CLAIM)
    if plan.layout == "vf":
        seen = _as_if_free(seen, plan.vf or 0)
    return planned(replace(wanted, options=options), seen)


def _options(plan: Plan, asked: Options, *, claims: bool) -> Options:
    there = replace(asked, layout=plan.layout, hidden_queue=plan.hidden_queue, vf=plan.vf, queues=None, mode=plan.mode)
    if plan.layout == "in-driver" and claims:
        there = replace(there, queues=plan.queues)
    return replace(there, copying=plan.copying) if claims and plan.layout != "vf" else there


def _as_if_free(seen: Seen, number: int) -> Seen:
    """The same, with the VF shown as free: we use it ourselves."""
    vfs = seen.able.vfs
    now = tuple(replace(vf, up=False) if at == number else vf for at, vf in enumerate(vfs.now or ()))
    return replace(seen, able=replace(seen.able, vfs=replace(vfs, now=now or None)))


def _shown(old: Plan, new: Plan) -> Plan:
    """The old plan, with the match and the verdict of the new one, and the text about both."""
    return replace(old, match=new.match, verdict=new.verdict, protection=new.protection)


def _check(old: Plan, new: Plan) -> None:
    """Errors: NotSupported if the new match needs something that the interface does not have now."""
    there = [change for change in old.changes if not change.knob.startswith(_RULE)]
    for change in new.changes:
        known = change in there or change.knob in ("rss.table", "vf.autoprobe", "vf.count")
        known = known or change.knob.startswith(_RULE) or change.knob.endswith(".driver")
        if not known:
            raise _unfit(old, f"{change.knob} would have to be {change.value}")
    if bool(old.rules) != bool(new.rules):
        raise _unfit(old, "rules bring the packets of one match, and something else brings those of the other")
    if old.buckets != new.buckets:
        raise _unfit(old, "other entries of the RSS table bring its packets")
    if old.vlan_metadata != new.vlan_metadata:
        raise _unfit(old, "VLAN tags are now found in another way")


def _unfit(old: Plan, reason: str) -> NotSupported:
    return NotSupported(
        f"another match on {old.interface}, in place", reason=reason, hint="close it, and open it with that match"
    )


def _rules(plan: Plan) -> list[Change]:
    return [change for change in plan.changes if change.knob.startswith(_RULE)]


def _renewed(step: Step, rules: tuple[Change, ...], new: Plan) -> Step:
    """A step that was taken, with the present rules. For attaching, with the words of the new plan."""
    if any(change.knob.startswith(_RULE) for change in step.changes):
        return replace(step, changes=rules)
    return next((each for each in new.steps if each.act == step.act == "attach"), step)


def _rule(change: Change) -> Rule:
    return Rule.from_value(change.value, int(change.knob.removeprefix(_RULE)))
