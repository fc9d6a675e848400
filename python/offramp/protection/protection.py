# SPDX-License-Identifier: Apache-2.0
"""What a program leaves to the kernel: the rows that its match can meet, and what the user protects beside them."""

from __future__ import annotations

from functools import lru_cache
from typing import Self

from offramp.facts.found import Found
from offramp.immutable import immutable
from offramp.lower.expression import Any, Const, Lowered
from offramp.lower.meaning import lower
from offramp.match import parse
from offramp.protection.factor import factored
from offramp.protection.found import rows
from offramp.protection.meet import Met
from offramp.protection.table import Row

__all__ = ["Protection"]

_LONGEST = 200  # characters of the user's own match that are shown


@immutable
class Protection:
    """The packets that are never diverted. Packets of the rows are recognised in the frame as it is in memory; those of
    the user's own match, as any match's, on the wire.
    """

    rows: tuple[Row, ...]
    own: str | None = None  # the user's match, as canonical text
    left_out: tuple[tuple[int, int], ...] = ()  # user, and how many sessions of theirs are not protected
    whole: bool = False  # every packet of the match is protected

    @classmethod
    def of(cls, found: Found, match: Lowered, own: str | None = None) -> Self:
        """What of the table, and of what was found here, a match can meet."""
        here = tuple(rows(found))
        if match.expr == Const(True):  # it meets all
            return cls(here, own, found.left_out)
        met = Met(match)
        kept = tuple(row for row in here if met.meets(_lowered(row.match)))
        left_out = found.left_out if found.left_out and met.meets(_lowered("tcp")) else ()
        made = cls(kept, own, left_out)
        whole = made.lowered is not None and met.is_within(made.lowered)
        return cls(kept, own, left_out, whole) if whole else made

    @property
    def text(self) -> str | None:
        """The rows as one match; None if there are none."""
        return f"vlan any and ({' or '.join(f'({row.match})' for row in self.rows)})" if self.rows else None

    @property
    def words(self) -> str:
        """What is protected, in a line."""
        own = [] if self.own is None else [f"packets of your own: {_shortened(self.own)}"]
        return ", ".join([*(row.name for row in self.rows), *own]) or "nothing that can match"

    @property
    def lowered(self) -> Lowered | None:
        """The rows, ready to be compiled; None if there are none."""
        return _together(tuple([row.match for row in self.rows])) if self.rows else None


@lru_cache(1024)
def _lowered(match: str) -> Lowered:
    return lower(parse(f"vlan any and ({match})"))


@lru_cache(16)
def _together(matches: tuple[str, ...]) -> Lowered:
    alternatives = [_lowered(match) for match in matches]
    assert not any(each.sets for each in alternatives)
    return Lowered(factored(Any(tuple([each.expr for each in alternatives]))))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
