# SPDX-License-Identifier: Apache-2.0
"""Kinds of values: how an option's value is checked, and how a word of the command line becomes one.

check(name, value)    the value in the form that it should have    both raise OptionError with the reason, and the
parse(name, word)     the value that a command-line word means     range or the nearest choice
metavar, range        words for people
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from offramp.arguments import duration, in_words, number, one_of, several, short, truth, whole_number
from offramp.errors import OptionError
from offramp.immutable import immutable

__all__ = ["Choice", "Choices", "Duration", "Matching", "Number", "Numbers", "Packets", "Real", "Switch", "ValueKind"]


class ValueKind(Protocol):
    @property
    def metavar(self) -> str: ...

    @property
    def range(self) -> str:
        """The values that are allowed; "" if the metavar says so."""

    def check(self, name: str, value: Any) -> Any: ...

    def parse(self, name: str, word: str) -> Any: ...


@immutable
class Choice:
    """One of several words."""

    choices: tuple[str, ...]

    @property
    def metavar(self) -> str:
        return "|".join(self.choices)

    @property
    def range(self) -> str:
        return ", ".join(self.choices)

    def check(self, name: str, value: str) -> str:
        return one_of(name, value, self.choices)

    def parse(self, name: str, word: str) -> str:
        return word


class Choices(Choice):
    """A set of words. A single word stands for the set that holds it alone."""

    __slots__ = ()

    def check(self, name: str, value: str | Iterable[str]) -> Any:
        words = (value,) if isinstance(value, str) else several(name, value)
        return frozenset([one_of(name, word, self.choices) for word in sorted(words, key=str)])

    def parse(self, name: str, word: str) -> Any:
        return word.split(",")


@immutable
class Number:
    """A whole number."""

    least: int = 0
    most: int | None = None
    power_of_two: bool = False
    metavar: str = "N"

    @property
    def range(self) -> str:
        limits = f"{self.least} or more" if self.most is None else f"{self.least} to {self.most:,}"
        return f"a power of two, {limits}" if self.power_of_two else limits

    def check(self, name: str, value: int) -> int:
        found = whole_number(name, value)
        if self.power_of_two and (not self.least <= found <= (self.most or found) or found & (found - 1)):
            raise OptionError(f"{name}={found}", reason=f"not a power of two from {self.least} to {self.most}")
        return whole_number(name, found, self.least, self.most)

    def parse(self, name: str, word: str) -> int:
        if not re.fullmatch(r"-?\d{1,20}", word, re.ASCII):
            raise OptionError(f"{name}={word}", reason="not a whole number")
        return int(word)


@immutable
class Numbers:
    """Several whole numbers, at least one."""

    each: Number
    metavar: str = "N,..."

    @property
    def range(self) -> str:
        return f"each {self.each.range}"

    def check(self, name: str, value: Iterable[int]) -> tuple[int, ...]:
        if isinstance(value, str):
            raise OptionError(f"{name}={value!r}", reason="not a list of whole numbers")
        found = tuple([self.each.check(name, number) for number in several(name, value)])
        if not found:
            raise OptionError(f"{name}=()", reason="at least one number is needed")
        return found

    def parse(self, name: str, word: str) -> list[int]:
        return [self.each.parse(name, part) for part in word.split(",")]


@immutable
class Real:
    """A number that may have a fraction."""

    least: float
    most: float
    metavar: str

    @property
    def range(self) -> str:
        return f"{self.least:g} to {self.most:,.0f}"

    def check(self, name: str, value: float) -> float:
        found = number(name, value)
        if not self.least <= found <= self.most:
            raise OptionError(f"{name}={value}", reason=f"not from {self.range}")
        return found

    def parse(self, name: str, word: str) -> float:
        try:
            return float(word)
        except ValueError:
            raise OptionError(f"{name}={word}", reason="not a number") from None


@immutable
class Duration:
    """Seconds, or text such as 500ms; also "never" where there may be no end."""

    least: float
    most: float
    never: bool = False

    @property
    def metavar(self) -> str:
        return "TIME|never" if self.never else "TIME"

    @property
    def range(self) -> str:
        return f"{in_words(self.least)} to {in_words(self.most)}{', or never' if self.never else ''}"

    def check(self, name: str, value: float | str) -> float | None:
        if self.never and isinstance(value, str) and value == "never":
            return None
        try:
            found = duration(name, value)
        except OptionError as error:
            error.reason = "neither a time nor never" if self.never else error.reason
            raise
        if not self.least <= found <= self.most:
            shown = repr(value) if isinstance(value, str) else value
            raise OptionError(f"{name}={shown}", reason=f"not from {self.range}")
        return found

    def parse(self, name: str, word: str) -> str:
        return word


@immutable
class Switch:
    """True or False."""

    metavar: str = ""
    range: str = ""

    def check(self, name: str, value: bool) -> bool:
        return truth(name, value)

    def parse(self, name: str, word: str) -> bool:
        raise AssertionError(f"{name} takes no value")


@runtime_checkable
class Matching(Protocol):
    """A match as a value (matcher/match.py), of which nothing has to be known here."""

    @property
    def node(self) -> object:
        """Its tree."""


@immutable
class Packets:
    """True, False, or some packets: a match, or its text. The text is parsed by whoever uses it."""

    metavar: str = "MATCH"
    range: str = "`True`, `False`, or a match"

    def check(self, name: str, value: bool | str | Matching) -> bool | str | Matching:
        if not isinstance(value, bool | str | Matching):
            raise OptionError(f"{name}={short(value)}", reason="not True, False or a match")
        return value

    def parse(self, name: str, word: str) -> str:
        return word
