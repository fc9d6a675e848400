# SPDX-License-Identifier: Apache-2.0
"""One option: what it is called, may be, means and applies to; in Python and on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from offramp.arguments import in_words, short
from offramp.errors import OptionError
from offramp.options.kinds import Choices, Duration, Numbers, ValueKind

__all__ = ["Call", "Option"]

Call = Literal["open", "attach"]


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    kind: ValueKind
    sentence: str  # what it means: begins small, ends without a full stop
    default: Any = None
    none: str = ""  # what None means; "": None cannot be
    calls: tuple[Call, ...] = ("open",)  # of Python; `run` and `plan` have them all, and are `attach` with --do drop
    layouts: tuple[str, ...] = ()  # for which it is; (): for any
    annotation: str = ""  # what a public call accepts
    flag: str = ""  # "": made of the name

    @property
    def spelled(self) -> str:
        """On the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"

    @property
    def repeatable(self) -> bool:
        return isinstance(self.kind, (Choices, Numbers))

    @property
    def help(self) -> str:
        """The sentence as a sentence, for `--help`."""
        said = f"{self.sentence[:1].upper()}{self.sentence[1:]}."
        said += " Several: with commas, or repeated." if self.repeatable else ""
        return f"{said}  [default: {self.default_in_words}]" if self.default_in_words else said

    @property
    def default_in_words(self) -> str:
        """ "" if there is none to speak of: a switch that is off, nothing required."""
        if self.default is None:
            return self.none
        if isinstance(self.kind, Duration):
            return in_words(self.default)
        if isinstance(self.default, bool):
            return self.name if self.default else ""
        return "" if self.default == frozenset() else str(self.default)

    def checked(self, value: Any) -> Any:
        """A value given in Python, as it is to be. Errors: OptionError that quotes it."""
        if value is None and self.none:
            return None
        return self.kind.check(self.name, value)

    def typed(self, words: str | Sequence[str]) -> Any:
        """What was typed, several times perhaps, as a value. Errors: OptionError that quotes it as it was typed."""
        word = words if isinstance(words, str) else ",".join(words)
        try:
            return self.kind.check(self.name, self.kind.parse(self.name, word))
        except OptionError as error:
            shown = word if re.fullmatch(r"[\w.,:+-]{1,40}", word) else short(word)
            raise OptionError(f"{self.spelled} {shown}", reason=error.reason, hint=error.hint) from None
