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
from collections.abc import Iterator, Sequence
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
    Value,
)
from .facts import Facts

__all__ = ["Matching", "possible"]

_ROUNDS: Final = (500, 1000, 2000)  # steps of each round of a search: some ten milliseconds together
_MOST_STEPS: Final = 6000  # of all searches for the same match; after that, the answer is "yes"
_MOST_RANGES: Final = 64  # of a set that are tried one by one
_MOST_BEGUN: Final = 12  # ways that are remembered
_TRUE: Final = Const(True)

_Goal = tuple[Expr, bool]  # an expression, and what it has to be


class _Choice(NamedTuple):
    """A goal that can be reached in several ways."""

    ways: list[_Goal]
    goal: _Goal
    key: int  # tells whether it is the same one


class _State(NamedTuple):
    """A way that is not followed to its end."""

    goals: list[_Goal]
    choices: list[_Goal]
    facts: Facts
    choice: int = 0  # whose alternative it is
    may_end: bool = False  # the packet may end before what a goal looks at, and that is as good


class _Settled(NamedTuple):
    """A way that is followed up to the choices."""

    facts: Facts
    choices: list[_Choice]


def possible(match: Lowered) -> bool:
    """Whether a packet on an interface can match. False is certain."""
    return Matching(match.expr, match.sets).exist()


class Matching:
    """The packets that can match. If there are few ways to match, these are followed once, for all questions. `sets`
    are those of all expressions that are asked about.

    What was a contradiction is tried first, also in the next round: a search that has chosen what does not matter is
    given up, and begun anew.
    """

    def __init__(self, expr: Expr, sets: Sequence[SetUse]) -> None:
        self.sets = sets
        self.steps = self.spent = 0
        self.failures: Counter[int] = Counter()  # by the id of an expression that is a choice
        self.origins: dict[int, int] = {}  # the choice that a choice is a part of
        self.listed: dict[tuple[int, int, int], Expr] = {}  # members of sets, as expressions
        self.asked = [expr]  # they live as long as their ids are in use
        self.begun = self.begin(expr)

    def begin(self, expr: Expr) -> list[_Settled]:
        """The ways to match, as far as they are few."""
        first = self.settled(_State([(expr, True)], [], Facts.none()))
        found = [first] if first else []
        while split := next((way for way in found if way.choices), None):
            parts = list(self.alternatives(split))
            if len(found) + len(parts) > _MOST_BEGUN:
                break
            found.remove(split)
            found += filter(None, map(self.settled, parts))
        return found

    def exist(self, also: Expr = _TRUE) -> bool:
        """Whether there are any for which the other expression holds, too. False is certain."""
        return self.search(also, True)

    def exist_beside(self, other: Expr) -> bool:
        """Whether there are any for which the other expression does not hold, or which are too short for it. False is
        certain, if it rejects no packet in front of the part that holds.
        """
        return self.search(other, False)

    def search(self, expr: Expr, holds: bool) -> bool:
        self.asked.append(expr)
        for steps in _ROUNDS:
            if self.spent > _MOST_STEPS:
                break
            found = self.within(steps, expr, holds)
            self.spent += self.steps
            if found is not None:
                return found
        return True

    def within(self, steps: int, expr: Expr, holds: bool) -> bool | None:
        """The answer; None if it takes more steps."""
        self.steps = 0
        last = [] if holds else [(expr, False)]  # what is in the packet is known then
        waiting = [
            _State([(expr, True)] if holds else [], [choice.goal for choice in way.choices], way.facts)
            for way in self.begun
        ]
        while waiting:
            state = waiting.pop()
            settled = self.settled(state)
            if settled is None:
                continue
            if self.steps > steps:
                return None
            if settled.choices:
                waiting += self.alternatives(settled, state.may_end)
            elif state.may_end or not last:
                return True
            else:
                waiting.append(_State(list(last), [], settled.facts, state.choice, True))
        return False

    def settled(self, state: _State) -> _Settled | None:
        """What the state says; None if it is a contradiction."""
        facts = self.follow(state)
        choices = self.narrowed(state, facts) if facts is not None and facts.consistent else None
        if facts is None or choices is None:
            self.blame(state.choice)
            return None
        return _Settled(facts, choices)

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
                    facts = facts.where(expr, holds) if not state.may_end or facts.reads(expr) else facts
                case Any(parts) if holds and not state.may_end and (few := _numbers(parts)):
                    facts = facts.among(*few)
                case _:
                    state.choices.append((expr, holds))
                    self.origins[id(expr)] = state.choice
        return facts

    def blame(self, choice: int) -> None:
        """It was a contradiction, and so is a way of the choice that it is a part of."""
        while choice:
            self.failures[choice] += 1
            choice = self.origins.get(choice, 0)

    def narrowed(self, state: _State, facts: Facts) -> list[_Choice] | None:
        """The choices without the ways that are contradictions, and without choices that the facts have made. None if
        one has no way left.
        """
        found = []
        for expr, holds in state.choices:
            choice = self.choice(expr, holds, facts)
            if choice is None:
                continue
            ways = []
            for way in choice.ways:
                self.steps += 1
                outcome = _outcome(way, facts, state.may_end)
                if outcome is True:
                    break
                if outcome is None:
                    ways.append(way)
            else:
                if not ways:
                    self.blame(choice.key)
                    return None
                found.append(choice._replace(ways=ways))
        return found

    def choice(self, expr: Expr, holds: bool, facts: Facts) -> _Choice | None:
        """A goal as a choice; None if it says nothing."""
        if isinstance(expr, Member):
            listed = self.members(expr, self.sets[expr.set], facts)
            if listed is None:
                return None
            return _Choice([(listed, holds)], (expr, holds), id(expr))
        assert isinstance(expr, All | Any)
        return _Choice([(part, holds) for part in expr.parts], (expr, holds), id(expr))

    def alternatives(self, settled: _Settled, may_end: bool = False) -> Iterator[_State]:
        """The ways of one of the choices: one that has only one way, or has failed most. The first way comes last."""
        facts, choices = settled
        ranks = [(len(choice.ways) > 1, -self.failures[choice.key], len(choice.ways)) for choice in choices]
        chosen = ranks.index(min(ranks))
        others = [choice.goal for choice in choices[:chosen] + choices[chosen + 1 :]]
        for way in reversed(choices[chosen].ways):
            yield _State([way], list(others), facts, choices[chosen].key, may_end)

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


def _outcome(way: _Goal, facts: Facts, may_end: bool) -> bool | None:
    """Whether the facts say that it is so, or that it is not; None: neither. `may_end`: the packet may be too short."""
    expr, holds = way
    while isinstance(expr, Negate):
        expr, holds = expr.part, not holds
    if isinstance(expr, All | Any):
        parts = expr.parts[:1] if isinstance(expr, All) == holds else expr.parts  # of those that all have to be so, one
        none = parts and all(_outcome((part, holds), facts, may_end) is False for part in parts)
        return False if none else None
    if not isinstance(expr, Test) or (may_end and not facts.reads(expr)):
        return None
    if facts.where(expr, holds) is None:
        return False
    return True if facts.where(expr, not holds) is None else None


def _numbers(parts: tuple[Expr, ...]) -> tuple[Value, frozenset[int]] | None:
    """If each of the parts compares the same value with a number: the value, and the numbers."""
    numbers = []
    for part in parts:
        match part:
            case Test(value, "==", Number(number)) if value == parts[0].left:  # type: ignore[union-attr]  # it is one
                numbers.append(number)
            case _:
                return None
    return (value, frozenset(numbers)) if numbers else None


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
