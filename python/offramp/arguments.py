# SPDX-License-Identifier: Apache-2.0
"""Checks for the arguments of public calls. A bad value raises an OptionError that quotes it.

Each function returns the argument in the type that it should have. Pure: no I/O.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from reprlib import repr as short
from typing import Final, SupportsIndex, TypeVar

from offramp.errors import OptionError
from offramp.text import encoded

__all__ = ["duration", "in_words", "meant", "number", "one_of", "several", "short", "text", "truth", "whole_number"]

T = TypeVar("T")

MOST: Final = 1 << 22  # values in a list: as many as the largest set that is made for twice as many elements holds

_NUMBER: Final = r"(\d+(?:\.\d*)?|\.\d+)"
_PLAIN: Final = re.compile(_NUMBER, re.ASCII)
_WITH_UNITS: Final = re.compile("".join(f"(?:{_NUMBER}{unit})?" for unit in ("h", "m", "s", "ms")), re.ASCII)
_UNITS: Final = (3600.0, 60.0, 1.0, 0.001)
_FORMS: Final = "a time is 5, 5s, 500ms, 1m or 1h30m"


def text(name: str, value: str) -> str:
    """Accept letters that stand for bytes, as in names of files and interfaces (PEP 383), but no other half letters."""
    if not isinstance(value, str):
        raise OptionError(f"{name}={short(value)}", reason="not text")
    try:
        encoded(value)
    except UnicodeEncodeError:
        raise OptionError(f"{name}={short(value)}", reason="not text: half of a letter is in it") from None
    return value


def truth(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{name}={short(value)}", reason="neither True nor False")
    return value


def whole_number(name: str, value: SupportsIndex, least: int | None = None, most: int | None = None) -> int:
    """Accept NumPy's integers too, but not True and False. From `least` to `most`, or from `least` up."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise OptionError(f"{name}={short(value)}", reason="not a whole number")
    found = operator.index(value)
    if (least is not None and found < least) or (most is not None and found > most):
        limits = f"from {least} to {most}" if most is not None else f"{least} or more"
        raise OptionError(f"{name}={found}", reason=f"not {limits}")
    return found


def number(name: str, value: float) -> float:
    """Accept any number, `nan` and infinity included, but not True and False."""
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise OptionError(f"{name}={short(value)}", reason="not a number") from None
    except OverflowError:
        raise OptionError(f"{name}={short(value)}", reason="too large a number") from None


def duration(name: str, value: float | str) -> float:
    """Return seconds. The value is a number of them, or text such as `5`, `5s`, `500ms`, `1m`, `1h30m`."""
    if not isinstance(value, str):
        return number(name, value)
    if _PLAIN.fullmatch(value):
        return float(value)
    found = _WITH_UNITS.fullmatch(value)
    if not value or not found:
        raise OptionError(f"{name}={short(value)}", reason="not a time", hint=_FORMS)
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part is not None)


def in_words(seconds: float) -> str:
    """The time as text that `duration` reads: 500ms, 1s, 1h."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    unit = "h" if seconds and not seconds % 3600 else "m" if seconds and not seconds % 60 else "s"
    return f"{seconds / {'h': 3600, 'm': 60, 's': 1}[unit]:g}{unit}"


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    choices = tuple(choices)
    if text(name, value) not in choices:
        reason = f"not one of {', '.join(choices)}"
        raise OptionError(f"{name}={short(value)}", reason=reason, hint=meant(value, choices))
    return value


def meant(word: str, words: Iterable[str]) -> str:
    """A hint that names the nearest of the words; "" if none is near."""
    return next((f"did you mean {near}?" for near in get_close_matches(word, tuple(words), 1)), "")


def several(name: str, values: Iterable[T], of: str = "") -> tuple[T, ...]:
    """The values as a tuple, whatever they say of their number; `of`: what they are. Errors: OptionError, if they may
    never end.
    """
    try:
        listed = tuple(islice(iter(values), MOST + 1))
    except TypeError:
        raise OptionError(f"{name}={short(values)}", reason=f"not a list{of and ' of '}{of}") from None
    if len(listed) > MOST:
        raise OptionError(f"{name}={short(values)}", reason=f"more than {MOST:,} values")
    return listed
