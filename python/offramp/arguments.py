# SPDX-License-Identifier: Apache-2.0
"""The arguments of public calls, looked at before anything is done: what cannot be is an OptionError that shows it.

Each function returns the argument as the type that it is to have. Pure: no I/O.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from reprlib import repr as short
from typing import SupportsIndex, TypeVar

from offramp.errors import OptionError

__all__ = ["number", "several", "short", "text", "truth", "whole_number"]

T = TypeVar("T")


def text(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{name}={short(value)}", reason="not text")
    return value


def truth(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{name}={short(value)}", reason="neither True nor False")
    return value


def whole_number(name: str, value: SupportsIndex, least: int | None = None, most: int | None = None) -> int:
    """Also NumPy's integers; not True and False. From `least` to `most`, or from `least` on."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise OptionError(f"{name}={short(value)}", reason="not a whole number")
    found = operator.index(value)
    if (least is not None and found < least) or (most is not None and found > most):
        limits = f"from {least} to {most}" if most is not None else f"{least} or more"
        raise OptionError(f"{name}={found}", reason=f"not {limits}")
    return found


def number(name: str, value: float) -> float:
    """Any number, `nan` and infinity included; not True and False."""
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise OptionError(f"{name}={short(value)}", reason="not a number") from None


def several(name: str, values: Iterable[T]) -> tuple[T, ...]:
    try:
        return tuple(values)
    except TypeError:
        raise OptionError(f"{name}={short(values)}", reason="not a list") from None
