# SPDX-License-Identifier: Apache-2.0
"""Whether a body fits into one program, as far as that is known before there is one, and what the error says if not.

What is found here is known at once, when a `Match` is made. The rest shows when a program is compiled, which takes
seconds for a match of this size, or in the kernel. It depends on the interface: its program may hold the match twice
(for tags out of band), and also has what is protected.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from offramp.emit.limits import FARTHEST_JUMP, OPEN_WAYS
from offramp.emit.state import kind
from offramp.errors import OptionError
from offramp.immutable import immutable
from offramp.lower.expression import (
    MAX_CHAIN,
    All,
    Any,
    Calculation,
    Chain,
    Choice,
    Expr,
    Load,
    Lowered,
    Member,
    Negate,
    Test,
    Value,
)

__all__ = ["MAX_STATE", "Size", "size", "too_deep", "total"]

MAX_TESTS: Final = OPEN_WAYS  # each test is at least one branch
MAX_STATE: Final = 60  # MAX_USED_MAPS is 64; counters, sockets, heartbeats and protected ports take the others
MAX_ACCESSES: Final = FARTHEST_JUMP  # instructions

_TESTS_OF_A_HEADER: Final = 7  # is it the one, the last one, one of the five that name the next

_WHAT: Final = "the match is too large for one program"
_TOGETHER: Final = "the matches of all ramps on this interface are too large for one program"
_FEWER_TESTS: Final = "use networks, port ranges, or sets"
_FEWER_SETS: Final = "put the members of several sets into one: that is one look-up"


@immutable
class Size:
    """The size of all that one program decides."""

    tests: int = 0  # of packet bytes, and calculations beyond the one of an ordinary test
    state: tuple[str, ...] = ()  # the kind of each state that it refers to
    accesses: int = 0  # about how many instructions its accesses to state take
    together: bool = False  # whether it is the sum of several sections

    def check(self) -> None:
        """Errors: OptionError if it can never fit."""
        if self.tests > MAX_TESTS:
            raise self.too_large(f"it has {self.tests} tests of packet bytes, and at most {MAX_TESTS} fit")
        if len(self.state) > MAX_STATE:
            raise self.too_large(f"it looks into {self._state}, and at most {MAX_STATE} fit")
        if self.accesses > MAX_ACCESSES:
            needs = f"its look-ups in {self._state} need about {self.accesses:,} instructions"
            raise self.too_large(f"{needs}, and at most {MAX_ACCESSES:,} fit")

    def too_large(self, reason: str = "") -> OptionError:
        """The error, with a hint that is about the larger part."""
        reason = reason or f"{self.tests} tests of packet bytes, look-ups in {self._state or 'no sets'}"
        hint = _FEWER_SETS if self.accesses > self.tests or len(self.state) > MAX_STATE else _FEWER_TESTS
        return OptionError(_TOGETHER if self.together else _WHAT, reason=reason, hint=hint)

    @property
    def _state(self) -> str:
        """The state in words: "3 sets"."""
        return " and ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in Counter(self.state).items())


def total(*sizes: Size, together: bool = False) -> Size:
    """The size of all of them in one program."""
    return Size(
        tests=sum(size.tests for size in sizes),
        state=sum((size.state for size in sizes), ()),
        accesses=sum(size.accesses for size in sizes),
        together=together,
    )


def too_deep() -> OptionError:
    return OptionError(_WHAT, reason="it is nested too deeply", hint="use fewer parentheses")


def size(match: Lowered) -> Size:
    """How much of a program a match takes."""
    places: set[tuple[Value, ...]] = set()
    costs = [kind(state).instructions(state.shape) for state in match.sets]
    accesses = 0

    def calculations(value: Value) -> int:
        """The calculations in a value; those of a place count once."""
        match value:
            case Calculation(_, left, right):
                return 1 + calculations(left) + calculations(right)
            case Choice(asked, _, yes, no):
                return 1 + sum(map(calculations, (asked, yes, no)))
            case Load(place, _) if place.behind and place.behind not in places:
                places.add(place.behind)
                return 1 + sum(map(calculations, place.behind))
        return 0

    def tests(expr: Expr) -> int:
        nonlocal accesses
        match expr:
            case All(parts) | Any(parts):
                return sum(map(tests, parts))
            case Negate(part):
                return tests(part)
            case Test(left, _, right):
                return max(1, calculations(left) + calculations(right))
            case Member(words, number):
                accesses += costs[number]
                return 1 + sum(map(calculations, words))
            case Chain(network, version, _):
                return MAX_CHAIN * (_TESTS_OF_A_HEADER if version == 6 else 2) + sum(map(calculations, network.behind))
        return 1

    return Size(tests(match.expr), tuple(kind(state).name for state in match.sets), accesses)
