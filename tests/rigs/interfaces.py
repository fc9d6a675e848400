# SPDX-License-Identifier: Apache-2.0
"""An interface in use, without a ramp: its changes are made and given back by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from offramp.emit.match import MatchBody
from offramp.emit.program import Spec
from offramp.facts.knobs import Nic
from offramp.matcher import Match
from offramp.planner import Plan
from offramp.ramp.interface import Interface, Use
from offramp.ramp.section import Section
from offramp.verdict import Verdict

__all__ = ["Nobody", "in_use", "section_of"]


class Nobody:
    """The owner of a section that belongs to no ramp."""

    def detached(self, text: str) -> None:
        raise AssertionError(text)


@contextmanager
def in_use(nic: Nic) -> Iterator[tuple[Interface, Use]]:
    with closing(Use()) as use:
        yield Interface(nic, use), use


def section_of(plan: Plan) -> Section:
    """What a ramp with that plan would add to an interface's program, without its maps."""
    match = Match(plan.match)
    spec = Spec(MatchBody(match.lowered(), Verdict.CLAIM), queues=4, hidden_queue=plan.hidden_queue)
    return Section.of(plan, spec, match.state)
