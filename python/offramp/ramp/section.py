# SPDX-License-Identifier: Apache-2.0
"""One ramp's part of the program that runs on an interface, and what is changed of the interface for it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from offramp.planner.plan import shortened

if TYPE_CHECKING:
    from offramp.bpf import Map
    from offramp.bpf.references import Mapped
    from offramp.emit.program import MapSlot, Spec
    from offramp.emit.state import State
    from offramp.planner import Plan

__all__ = ["Section"]


@dataclass(eq=False)
class Section:
    """See the module. Two sections are never equal; one takes the place of another by `SharedProgram.exchange`."""

    spec: Spec
    state: Callable[[State], Mapped]  # finds what its body refers to: a match's sets
    maps: Mapping[MapSlot, Map]
    queues: tuple[int, ...] = ()  # the queues that it reads
    hidden: int | None = None
    entries: tuple[int, ...] = ()  # the RSS table's entries that lead to its hidden queue
    knobs: list[str] = field(default_factory=list)  # the knobs changed for it alone: rules, a VF
    source: str = ""  # what it does, for people

    @classmethod
    def of(
        cls, plan: Plan, spec: Spec, state: Callable[[State], Mapped], maps: Mapping[MapSlot, Map] | None = None
    ) -> Section:
        """The section that carries out a plan."""
        source = f"{shortened(plan.match)} -> {plan.verdict.name}"
        return cls(spec, state, maps or {}, plan.queues, plan.hidden_queue, plan.buckets, source=source)

    def anew(
        self, spec: Spec, state: Callable[[State], Mapped], plan: Plan, maps: Mapping[MapSlot, Map] | None = None
    ) -> Section:
        """Another section to take its place, by that plan. It has this one's knobs, and its maps unless others are
        given.
        """
        maps = self.maps if maps is None else maps
        return replace(Section.of(plan, spec, state, maps), knobs=self.knobs)
