# SPDX-License-Identifier: Apache-2.0
"""One option: its name, values, meaning and scope, in Python and on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from offramp.arguments import in_words, short
from offramp.errors import OptionError
from offramp.immutable import immutable
from offramp.options.kinds import Choices, Duration, Numbers, Switch, ValueKind

__all__ = ["Call", "Option"]

Call = Literal["open", "attach"]


@immutable
class Option:
    name: str
    kind: ValueKind
    sentence: str  # the meaning: starts in lower case, ends without a full stop
    default: Any = None
    none: str = ""  # what None means; "": None is not allowed
    calls: tuple[Call, ...] = ("open",)  # in Python; `run` and `plan` have all, and are `attach` with --do drop
    layouts: tuple[str, ...] = ()  # the layouts that it applies to; (): any
    annotation: str = ""  # the type that a public call accepts
    flag: str = ""  # "": made from the name
    off: str = ""  # the flag that says False, where the other one takes a value
    typed_default: bool | None = None  # of a switch on the command line, if it differs from `default`

    @property
    def spelled(self) -> str:
        """The option's name on the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"

    @property
    def repeatable(self) -> bool:
        return isinstance(self.kind, (Choices, Numbers))

    @property
    def help(self) -> str:
        """The meaning as a whole sentence, for `--help`."""
        said = f"{self.sentence[:1].upper()}{self.sentence[1:]}."
        said += " Give several with commas, or repeat the flag." if self.repeatable else ""
        return f"{said}  [default: {self.default_in_words}]" if self.default_in_words else said

    @property
    def default_in_words(self) -> str:
        """The default in words; "" if there is none worth naming: a switch that is off, nothing required."""
        if self.default is None:
            return self.none
        if isinstance(self.kind, Duration):
            return in_words(self.default)
        if isinstance(self.default, bool):
            return self.name if self.default and isinstance(self.kind, Switch) else ""
        return "" if self.default == frozenset() else str(self.default)

    def checked(self, value: Any) -> Any:
        """Check a value given in Python, and return it in its final form. Errors: OptionError that quotes it."""
        if value is None and self.none:
            return None
        return self.kind.check(self.name, value)

    def typed(self, words: str | Sequence[str]) -> Any:
        """Turn what was typed, perhaps several times, into a value. Errors: OptionError that quotes it as typed."""
        word = words if isinstance(words, str) else ",".join(words)
        try:
            return self.kind.check(self.name, self.kind.parse(self.name, word))
        except OptionError as error:
            shown = word if re.fullmatch(r"[\w.,:+-]{1,40}", word) else short(word)
            raise OptionError(f"{self.spelled} {shown}", reason=error.reason, hint=error.hint) from None
