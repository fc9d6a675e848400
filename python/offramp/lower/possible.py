# SPDX-License-Identifier: Apache-2.0
"""Whether any packet can match: `ip and ip6`, `tcp and udp`, `port 53 and less 20` match none.

The search goes through the ways in which an expression can hold, and gathers what each says of the packet (facts.py),
until one has no contradiction. What has to hold anyway comes first; alternatives are tried after that. A search that
would take long ends with "yes". So "no" is certain, and "yes" is not. tcpdump says "expression rejects all packets" of
what its optimiser finds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from .expression import (
    ALL_ONES,
    All,
    Any,
    Calculation,
    Chain,
    Const,
    Expr,
    Fixed,
    Lowered,
    Member,
    Negate,
    Number,
    SetUse,
    Test,
)
from .facts import Facts

__all__ = ["possible"]

_ROUNDS: Final = (500, 1000, 2000)  # steps of each round of a search: some ten milliseconds together
_MOST_RANGES: Final = 64  # of a set that are tried one by one

_Goal = tuple[Expr, bool]  # an expression, and what it has to be


class _State(NamedTuple):
    """A way that is not followed to its end."""

    goals: list[_Goal]
    choices: list[_Goal]  # goals that can be reached in several ways
    facts: Facts
    choice: int  # whose alternative it is


def possible(match: Lowered) -> bool:
    """Whether a packet on an interface can match. False is certain."""
    search = _Search(match)
    for steps in _ROUNDS:
        found = search.within(steps)
        if found is not None:
            return found
    return True


class _Search:
    """What was a contradiction is tried first, also in the next round: a search that has chosen what does not matter is
    given up, and begun anew.
    """

    def __init__(self, match: Lowered) -> None:
        self.match = match
        self.steps = 0
        self.failures: Counter[int] = Counter()  # by the id of an expression that is a choice
        self.listed: dict[tuple[int, int, int], Expr] = {}  # members of sets, as expressions

    def within(self, steps: int) -> bool | None:
        """The answer; None if it takes more steps."""
        self.steps = 0
        waiting: list[_State] = [_State([(self.match.expr, True)], [], Facts(), 0)]
        while waiting:
            state = waiting.pop()
            facts = self.follow(state)
            open_choices = self.narrowed(state.choices, facts) if facts is not None and facts.consistent else None
            if facts is None or open_choices is None:
                self.failures[state.choice] += 1
                continue
            if not open_choices:
                return True
            if self.steps > steps:
                return None
            waiting += self.alternatives(open_choices, facts)
        return False

    def follow(self, state: _State) -> Facts | None:
        """What the goals say, except for those that are choices, which are put off; None: a contradiction."""
        facts: Facts | None = state.facts
        while state.goals and facts is not None:
            self.steps += 1
            expr, holds = state.goals.pop()
            match expr:
                case Negate(part):
                    state.goals.append((part, not holds))
                case All(parts) | Any(parts) if isinstance(expr, All) == holds:
                    state.goals.extend((part, holds) for part in reversed(parts))
                case Const(value):
                    facts = facts if value == holds else None
                case Chain(_, _, number):
                    facts = facts if number <= 0xFF or not holds else None
                case Test():
                    facts = facts.where(expr, holds)
                case _:
                    state.choices.append((expr, holds))
        return facts

    def narrowed(self, choices: list[_Goal], facts: Facts) -> list[_Choice] | None:
        """The choices without the ways that are contradictions, and without choices that the facts have made. None if
        one has no way left.
        """
        found = []
        for expr, holds in choices:
            choice = self.choice(expr, holds, facts)
            if choice is None:
                continue
            ways = []
            for way in choice.ways:
                self.steps += 1
                outcome = _outcome(way, facts)
                if outcome is True:
                    break
                if outcome is None:
                    ways.append(way)
            else:
                if not ways:
                    self.failures[choice.key] += 1
                    return None
                found.append(choice._replace(ways=ways))
        return found

    def choice(self, expr: Expr, holds: bool, facts: Facts) -> _Choice | None:
        """A goal as a choice; None if it says nothing."""
        if isinstance(expr, Member):
            listed = self.members(expr, self.match.sets[expr.set], facts)
            if listed is None:
                return None
            return _Choice([(listed, holds)], (expr, holds), id(expr))
        assert isinstance(expr, All | Any)
        return _Choice([(part, holds) for part in expr.parts], (expr, holds), id(expr))

    def alternatives(self, choices: list[_Choice], facts: Facts) -> Iterator[_State]:
        """The ways of one of the choices: one that has only one way, or has failed most. The first way comes last."""
        ranks = [(len(choice.ways) > 1, -self.failures[choice.key], len(choice.ways)) for choice in choices]
        chosen = ranks.index(min(ranks))
        others = [choice.goal for choice in choices[:chosen] + choices[chosen + 1 :]]
        for way in reversed(choices[chosen].ways):
            yield _State([way], list(others), facts, choices[chosen].key)

    def members(self, member: Member, use: SetUse, facts: Facts) -> Expr | None:
        """A look-up as comparisons with the members that are not excluded yet; None if it says nothing: the members may
        change, or are too many.
        """
        if not isinstance(use, Fixed):
            return None
        shift = 32 * (len(member.key) - 1)
        first = facts.range(member.key[0])
        begin = bisect_left(use.ranges, first.low, key=lambda one: one[1] >> shift)
        end = bisect_right(use.ranges, first.high, key=lambda one: one[0] >> shift)
        if end - begin > _MOST_RANGES:
            return None
        listed = self.listed.get((id(member), begin, end))
        if listed is None:
            listed = Any(tuple(_in_range(member, low, high) for low, high in use.ranges[begin:end]))
            self.listed[id(member), begin, end] = listed
        return listed


class _Choice(NamedTuple):
    ways: list[_Goal]
    goal: _Goal
    key: int  # tells whether it is the same one


def _outcome(way: _Goal, facts: Facts) -> bool | None:
    """Whether the facts say that it is so, or that it is not; None: neither."""
    expr, holds = way
    while isinstance(expr, Negate):
        expr, holds = expr.part, not holds
    if not isinstance(expr, Test):
        return None
    if facts.where(expr, holds) is None:
        return False
    return True if facts.where(expr, not holds) is None else None


def _in_range(member: Member, low: int, high: int) -> Expr:
    if len(member.key) == 1:
        (word,) = member.key
        return All((Test(word, ">=", Number(low)), Test(word, "<=", Number(high))))
    free = (low ^ high).bit_length()  # the last bits, in which members of the range differ
    tests = []
    for index, word in enumerate(reversed(member.key)):
        mask = ALL_ONES >> max(free - 32 * index, 0) << max(free - 32 * index, 0) if free - 32 * index < 32 else 0
        tests.append(Test(Calculation("&", word, Number(mask)), "==", Number(low >> 32 * index & mask)))
    return All(tuple(tests))
