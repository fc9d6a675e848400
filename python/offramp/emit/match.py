# SPDX-License-Identifier: Apache-2.0
"""A match as a body with two exits: it matches, or it does not."""

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

__all__ = ["OTHERS", "MatchBody"]

OTHERS: Final = Exit("passed")  # packets that do not match


@immutable
class MatchBody:
    """Packets of `match` get `verdict`; other packets get none."""

    match: Lowered
    verdict: Verdict

    @property
    def exits(self) -> tuple[Exit, ...]:
        return self._matching, OTHERS

    @property
    def _matching(self) -> Exit:
        return Exit("claimed", self.verdict)  # whatever the verdict is: these packets got it

    @property
    def answers(self) -> dict[Exit, int]:
        """Whether packets of an exit match, for use in place of a verdict."""
        return {self._matching: 1, OTHERS: 0}

    @property
    def size(self) -> size.Size:
        return size.size(self.match)

    def write(self, values: Values, labels: Mapping[Exit, Label]) -> None:
        from offramp.emit.decide import Decision  # needs LLVM's builder, which only the compiler has

        Decision(values, self.match.sets).decide(self.match.expr, labels[self._matching], labels[OTHERS])

    def exit_of_tagged(self, tags: tuple[int, ...]) -> Exit | None:
        answers = {outcome is True for tag in tags for outcome in outcomes(self.match.expr, (tag,))}
        if len(answers) > 1:
            return None
        return self._matching if answers.pop() else OTHERS
