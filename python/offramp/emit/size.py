# SPDX-License-Identifier: Apache-2.0
"""Whether a match fits into one program, as far as that can be told before there is one, and what is said if not.

What is found here is known at once, when a `Match` is made. The rest shows when a program is compiled, which takes
seconds for a match of this size, or in the kernel: it depends on the interface, whose program may hold the match twice
(for tags out of band) and has what is protected besides.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from offramp.emit import memory as layout
from offramp.emit.limits import FARTHEST_JUMP, OPEN_WAYS
from offramp.errors import OptionError
from offramp.lower.expression import All, Any, Calculation, Expr, Load, Lowered, Member, Negate, Test, Value

__all__ = ["Size", "check", "size", "too_deep"]

MAX_TESTS: Final = OPEN_WAYS  # each is a branch at least
MAX_SETS: Final = 60  # MAX_USED_MAPS is 64; counters, sockets, heartbeats and protected ports are others
MAX_LOOKUPS: Final = FARTHEST_JUMP  # instructions

_WHAT: Final = "the match is too large for one program"
_TOGETHER: Final = "the matches of all ramps on this interface are too large for one program"
_FEWER_TESTS: Final = "use networks, port ranges, or sets"
_FEWER_SETS: Final = "one set with the members of several is one look-up"


class Size(NamedTuple):
    """Of all that one program decides."""

    tests: int  # of packet bytes, and calculations beyond the one of an ordinary test
    sets: int
    lookups: int  # instructions, about
    together: bool = False  # of several matches

    def check(self) -> None:
        """Errors: OptionError for what never fits."""
        if self.tests > MAX_TESTS:
            raise self.too_large(f"{self.tests} tests of packet bytes, and more than {MAX_TESTS} never fit")
        if self.sets > MAX_SETS:
            raise self.too_large(f"it looks into {self.sets} sets, and {MAX_SETS} is the most")
        if self.lookups > MAX_LOOKUPS:
            needs = f"its look-ups in {self.sets} sets need about {self.lookups:,} instructions"
            raise self.too_large(f"{needs}, and {MAX_LOOKUPS:,} is the most")

    def too_large(self, reason: str = "") -> OptionError:
        """The error, with a hint that fits the larger part."""
        reason = reason or f"{self.tests} tests of packet bytes, look-ups in {self.sets} sets"
        hint = _FEWER_SETS if self.lookups > self.tests or self.sets > MAX_SETS else _FEWER_TESTS
        return OptionError(_TOGETHER if self.together else _WHAT, reason=reason, hint=hint)


def check(match: Lowered) -> None:
    """Errors: OptionError for a match that is too large for any program."""
    size(match).check()


def size(*parts: Lowered, together: bool = False) -> Size:
    sizes = [_size(part) for part in parts]
    return Size(
        tests=sum(each.tests for each in sizes),
        sets=sum(each.sets for each in sizes),
        lookups=sum(each.lookups for each in sizes),
        together=together,
    )


def too_deep() -> OptionError:
    return OptionError(_WHAT, reason="it is nested too deeply", hint="use fewer parentheses")


def _size(match: Lowered) -> Size:
    places: set[tuple[Value, ...]] = set()
    lookups = [layout.instructions(use.shape) for use in match.sets]
    looking = 0

    def calculations(value: Value) -> int:
        """Those of a place count once."""
        match value:
            case Calculation(_, left, right):
                return 1 + calculations(left) + calculations(right)
            case Load(place, _) if place.behind and place.behind not in places:
                places.add(place.behind)
                return 1 + sum(map(calculations, place.behind))
        return 0

    def tests(expr: Expr) -> int:
        nonlocal looking
        match expr:
            case All(parts) | Any(parts):
                return sum(map(tests, parts))
            case Negate(part):
                return tests(part)
            case Test(left, _, right):
                return max(1, calculations(left) + calculations(right))
            case Member(words, number):
                looking += lookups[number]
                return 1 + sum(map(calculations, words))
        return 1

    return Size(tests(match.expr), len(match.sets), looking)
