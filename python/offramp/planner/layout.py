# SPDX-License-Identifier: Apache-2.0
"""How claimed packets get to our sockets, as a value, and what the layouts that need a NIC have in common."""

from __future__ import annotations

from dataclasses import replace

from offramp.facts.capabilities import NTUPLE, Capabilities
from offramp.immutable import immutable
from offramp.match import Everything, Node
from offramp.planner.flow import Flow
from offramp.planner.plan import METHODS, LayoutName, Method
from offramp.planner.situation import Situation
from offramp.planner.steer import Steered
from offramp.planner.typed import CannotSteer
from offramp.planner.widen import Widened, widened
from offramp.steering import Rule

__all__ = ["Layout", "by_rules", "check_refused", "check_rules", "flows_of"]


@immutable
class Layout:
    name: LayoutName
    why: str
    queue: int | None = None
    vf: int | None = None
    mac: str | None = None  # of the VF
    vf_driver: str = ""  # the driver to bind the VF to
    vf_bound: str = ""  # the driver that it is bound to now
    base: tuple[int, ...] = ()  # the RSS table without the hidden queue
    rules: tuple[Rule, ...] = ()
    buckets: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    first: tuple[str, ...] = ()  # rules of others that see packets before ours
    arp: bool = False  # the match is about ARP, which the NIC does not bring
    flows: tuple[Flow, ...] = ()  # what the NIC has to bring, at least


def flows_of(match: Node) -> Widened:
    """What the NIC has to bring. Errors: CannotSteer."""
    wide = widened(match)
    if isinstance(match, Everything):
        raise CannotSteer("every packet matches")
    if wide.flows is None:
        raise CannotSteer("the match names no flow that a NIC could tell from others")
    if not wide.flows:
        raise CannotSteer("no packet can match")
    return wide


def by_rules(layout: Layout, made: Steered, wide: Widened) -> Layout:
    """The layout with n-tuple rules that bring the flows."""
    count = len(made.rules)
    why = f"{count} n-tuple rule{'s bring' if count > 1 else ' brings'} the match's flows to a queue of their own"
    left_out = tuple(dict.fromkeys((*wide.left_out, *made.left_out)))
    return replace(
        layout, why=why, rules=made.rules, left_out=left_out, first=made.first, arp=wide.arp, flows=wide.flows or ()
    )


def check_refused(method: Method, situation: Situation) -> None:
    """Errors: CannotSteer if this method was tried already."""
    if method in situation.refused:
        raise CannotSteer(f"{METHODS[method]} {situation.refused[method]}")


def check_rules(able: Capabilities, *, sure: bool) -> None:
    """Errors: CannotSteer if the NIC takes no n-tuple rules; with `sure`, also if that is not known."""
    if able.ntuple.supported is False:
        raise CannotSteer("its driver takes no n-tuple rules")
    if able.ntuple.supported is None and sure:
        raise CannotSteer("it is not known whether it takes n-tuple rules")
    switch = (able.features or {}).get(NTUPLE)
    if able.ntuple.needs_feature and able.ntuple.on is False and switch and switch.fixed:
        raise CannotSteer("its n-tuple rules are off and cannot be switched on")
