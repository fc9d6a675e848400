# SPDX-License-Identifier: Apache-2.0
"""A match as a body with two exits: it matches, or it does not. A third one is for packets that it spares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from offramp.emit import size
from offramp.emit.body import Exit
from offramp.emit.intervals import outcomes
from offramp.immutable import immutable
from offramp.lower.expression import Lowered
from offramp.verdict import Verdict

if TYPE_CHECKING:
    from offramp.emit.emitter import Label
    from offramp.emit.values import Values

__all__ = ["OTHERS", "SPARED", "MatchBody"]

OTHERS: Final = Exit("passed")  # packets that do not match
SPARED: Final = Exit("protected")  # packets that match, but are spared


@immutable
class MatchBody:
    """Packets of `match` get `verdict`; other packets get none, and so do those that are also of `spared`."""

    match: Lowered
    verdict: Verdict
    spared: Lowered | None = None

    @property
    def exits(self) -> tuple[Exit, ...]:
        return (self._matching, OTHERS) if self.spared is None else (self._matching, SPARED, OTHERS)

    @property
    def _matching(self) -> Exit:
        return Exit("claimed", self.verdict)  # whatever the verdict is: these packets got it

    @property
    def answers(self) -> dict[Exit, int]:
        """Whether packets of an exit match, for use in place of a verdict."""
        return {self._matching: 1, OTHERS: 0}

    @property
    def size(self) -> size.Size:
        return size.total(size.size(self.match), *([size.size(self.spared)] if self.spared is not None else []))

    def write(self, values: Values, labels: Mapping[Exit, Label]) -> None:
        from offramp.emit.decide import Decision  # needs LLVM's builder, which only the compiler has

        matching = labels[self._matching]
        if self.spared is None:
            Decision(values, self.match.sets).decide(self.match.expr, matching, labels[OTHERS])
            return
        perhaps = values.emit.label()
        Decision(values, self.match.sets).decide(self.match.expr, perhaps, labels[OTHERS])
        values.emit.enter(perhaps)
        Decision(values.rejecting(matching), self.spared.sets).decide(self.spared.expr, labels[SPARED], matching)

    def exit_of_tagged(self, tags: tuple[int, ...]) -> Exit | None:
        matches = _certain(self.match, tags)
        spared = False if self.spared is None else _certain(self.spared, tags)
        if matches is False:
            return OTHERS
        return None if matches is None or spared is None else SPARED if spared else self._matching


def _certain(match: Lowered, tags: tuple[int, ...]) -> bool | None:
    """Whether all frames with such a tag match; None: it depends on the frame."""
    answers = {outcome is True for tag in tags for outcome in outcomes(match.expr, (tag,))}
    return None if len(answers) > 1 else answers.pop()
