# SPDX-License-Identifier: Apache-2.0
"""Odd values for each parameter of each public call: what comes of it is an OfframpError or a TypeError, or it works.

    calls(thing, name)       the public calls of a class, a function or an object: found, not listed
    attempts(call, good)     one parameter odd, the others good, in turn; each value of ODD

So a new call, and a new parameter, is tried as soon as it is public.
"""

from __future__ import annotations

import array
import inspect
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from offramp.errors import OfframpError

__all__ = ["ODD", "attempts", "calls", "judged"]


class Liar:
    """Says that it has more elements than any memory."""

    def __len__(self) -> int:
        return 1 << 50

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2, 3])

    def __getitem__(self, place: int) -> int:
        return [1, 2, 3][place]


ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    *(0, -1, 1, 7, 255, 256, 65535, 65536, 1 << 31, 1 << 32, 1 << 40, 1 << 63, 1 << 64, -(1 << 64), 10**400),
    *(0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), 1e308, 1e-300, 1j, Fraction(1, 3), Decimal("NaN")),
    *("", " ", "\0", "a\0b", "\ud800", "\udcff", "é", "\N{PILE OF POO}", "@", "x=1", "-1", "1e999", "nan", "9" * 5000),
    *("a" * 100_000, "(" * 20_000, "not " * 20_000, "udp or " * 20_000, "5" * 400 + "s", "../../etc", "%s", "{0}"),
    *(b"", b"\0", b"\xff\xfe", bytes(100_000), bytearray(3), memoryview(b"abc")[::2], memoryview(b"")),
    *([], [None], [""], ["\ud800"], [b"\xff"], [1 << 64], [-1], [1.5], [[]], [[[]]], (), (0,), (None, None)),
    *({}, {"a": 1}, set(), frozenset({"\0"}), range(1 << 40), range(3), slice(None), ..., NotImplemented),
    *(
        object(),
        object,
        Liar(),
        iter(()),
        iter([b"x"]),
        Path("\0"),
        Path("/dev/full"),
        Path("/"),
        print,
        Exception("x"),
    ),
    *(np.int64(-1), np.uint64((1 << 64) - 1), np.float32("nan"), np.bool_(True), np.array([]), np.zeros((2, 2))),
    *(
        np.array([[b"x"]]),
        np.array(["\ud800"]),
        np.array([None]),
        np.arange(3)[::2],
        np.zeros((0, 3)),
        array.array("d", [1]),
    ),
)


def calls(thing: Any, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """`thing` itself, if it can be called, and its public methods."""
    if inspect.isroutine(thing) or inspect.isclass(thing):
        yield name, thing
    if inspect.isroutine(thing):
        return
    for attribute in dir(thing):
        if attribute.startswith("_") and attribute not in ("__contains__", "__getitem__", "__eq__"):
            continue
        if inspect.isclass(thing) and not inspect.ismethod(inspect.getattr_static(thing, attribute, None)):
            if not isinstance(inspect.getattr_static(thing, attribute), classmethod | staticmethod):
                continue  # an object's: it is asked for when there is one
        found = getattr(thing, attribute)
        if inspect.isroutine(found):
            yield f"{name}.{attribute}", found


def attempts(call: Callable[..., Any], good: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What to try, in words, and to be called. `good`: by parameter; those with a default need none."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except ValueError:
        return
    needed = [each for each in parameters if each.default is each.empty and each.kind not in _SEVERAL]
    for odd in parameters:
        for value in ODD:
            arguments: list[Any] = []
            named: dict[str, Any] = {}
            for each in needed if odd in needed else [*needed, odd]:
                what = value if each is odd else good[each.name]
                if each.kind is each.VAR_KEYWORD:
                    named["odd"] = what
                elif each.kind in (each.KEYWORD_ONLY,) or (
                    each is odd
                    and odd not in needed
                    and each.kind is not each.VAR_POSITIONAL
                    and each.kind is not each.POSITIONAL_ONLY
                ):
                    named[each.name] = what
                else:
                    arguments.append(what)
            yield f"{odd.name}={_short(value)}", lambda arguments=arguments, named=named: call(*arguments, **named)


_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def judged(attempt: Callable[[], Any], also: tuple[type[BaseException], ...] = ()) -> str:
    """What is wrong with it; "" if nothing is."""
    try:
        attempt()
    except (OfframpError, TypeError, *also) as error:
        try:
            str(error).encode()  # it can be shown
        except Exception as second:
            return f"{type(error).__name__} cannot be shown: {second!r}"
        return ""
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]!a}"
    return ""


def _short(value: Any) -> str:
    try:
        return f"{value!r:.40}".encode("ascii", "backslashreplace").decode()
    except Exception:
        return type(value).__name__
