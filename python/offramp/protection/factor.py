# SPDX-License-Identifier: Apache-2.0
"""Alternatives as one expression, in which those that begin with the same test share it.

    ether proto ip and proto 1 and A                      ether proto ip ─┬─ proto 1 ── A
    or ether proto ip6 and B                      ->                      └─ proto 6 ── C
    or ether proto ip and proto 6 and C                   ether proto ip6 ─ B

So a packet meets each test once, and the program is smaller. The meaning stays, also for packets that end early: an
alternative moves only past such as no packet that passes its first test can enter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from offramp.lower.expression import All, Any, Const, Expr, Number, Test

__all__ = ["factored"]

_Way: TypeAlias = tuple[Expr, ...]  # all of these, from left to right
_Known: TypeAlias = frozenset[int]  # the ids of tests that have been passed


def factored(expr: Expr) -> Expr:
    """The same expression, in fewer tests."""
    factoring = _Factoring()
    return factoring.any(list(factoring.ways(expr)), frozenset())


class _Factoring:
    """Equal conditions are one object, so that each is hashed once."""

    def __init__(self) -> None:
        self.same: dict[Expr, Expr] = {}

    def ways(self, expr: Expr) -> Iterator[_Way]:
        """The ways on which it is true, each as far as it is one."""
        conditions = tuple(self.conditions(expr))
        if len(conditions) == 1 and isinstance(conditions[0], Any):
            for part in conditions[0].parts:
                yield from self.ways(part)
        else:
            yield conditions

    def conditions(self, expr: Expr) -> Iterator[Expr]:
        match expr:
            case All(parts) | Any((_,) as parts):
                for part in parts:
                    yield from self.conditions(part)
            case Const(True):
                return
            case _:
                yield self.same.setdefault(expr, expr)

    def any(self, ways: Sequence[_Way], known: _Known) -> Expr:
        """Any of the ways, where the tests in `known` have been passed."""
        groups: list[list[_Way]] = []
        for way in ways:
            way = tuple([condition for condition in way if id(condition) not in known])
            group = _group(groups, way)
            if group is None:
                groups.append([way])
            else:
                group.append(way)
        parts = tuple([self.of_group(group, known) for group in groups])
        return parts[0] if len(parts) == 1 else Any(parts)

    def of_group(self, group: list[_Way], known: _Known) -> Expr:
        if not all(group):  # one of them is through
            return Const(True)
        first = group[0][0]
        if len(group) > 1 or isinstance(first, Test):
            known = known | {id(first)}
        if len(group) == 1 and isinstance(first, Any):
            first = self.any(list(self.ways(first)), known)
        rest = self.any([way[1:] for way in group], known)
        if rest == Const(True):
            return first
        return All((first, *rest.parts) if isinstance(rest, All) else (first, rest))


def _group(groups: list[list[_Way]], way: _Way) -> list[_Way] | None:
    """The group of the same first test, if the way may stand there."""
    for group in reversed(groups):
        first = group[0]
        if first[:1] == way[:1]:
            return group
        if not (first and way and _exclude(first[0], way[0])):
            return None
    return None


def _exclude(one: Expr, other: Expr) -> bool:
    """Whether no packet passes both tests, which read the same number."""
    match one, other:
        case Test(left, "==", Number(number)), Test(right, op, Number(limit)) if left == right:
            return _fails(number, op, limit)
        case Test(left, op, Number(limit)), Test(right, "==", Number(number)) if left == right:
            return _fails(number, op, limit)
    return False


def _fails(number: int, op: str, limit: int) -> bool:
    return number != limit if op == "==" else number < limit if op == ">=" else number > limit
