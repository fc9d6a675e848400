# SPDX-License-Identifier: Apache-2.0
"""Odd values for each parameter of each public call: what comes of it is an OfframpError or a TypeError, or it works.

    calls(thing, name)     the public calls of a class, a function or an object: found, not listed
    wrong(call, good)      what came out that should not: one parameter odd, the others good, in turn; each value of ODD

So a new call, and a new parameter, is tried as soon as it is public.
"""

from __future__ import annotations

import array
import inspect
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from offramp import Attachment
from offramp.errors import OfframpError

__all__ = ["ODD", "calls", "wrong"]


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
    *({}, {"a": 1}, set(), frozenset({"\0"}), range(3), slice(None), ..., NotImplemented),
    *(
        object(),
        object,
        iter(()),
        iter([b"x"]),
        Path("\0"),
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


_CALLED = ("__contains__", "__getitem__", "__eq__")  # of those with underscores, what users write as operators


def calls(thing: Any, name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """`thing` itself, if it is a function or a class, and its public methods; of a class, those that need no object."""
    if inspect.isroutine(thing):
        yield name, thing
        return
    if inspect.isclass(thing):
        yield name, thing
    for attribute in dir(thing):
        kind = inspect.getattr_static(thing, attribute, None)
        is_there = not inspect.isclass(thing) or isinstance(kind, classmethod | staticmethod)
        if is_there and (not attribute.startswith("_") or attribute in _CALLED):
            found = getattr(thing, attribute)
            if inspect.isroutine(found):
                yield f"{name}.{attribute}", found


_MAY_RAISE: dict[str, tuple[type[Exception], ...]] = {
    "remove": (KeyError,),
    "__getitem__": (IndexError,),
    "select": (IndexError,),
    "tx": (IndexError,),
}  # as their docstrings say
_WAITS = ("timeout", "seconds")


def wrong(call: Callable[..., Any], good: Mapping[str, Any]) -> list[str]:
    """Whatever came out that should not. A wait that is as long as asked is none of it."""
    found = []
    for what, attempt in _attempts(call, good):
        if what.partition("=")[0] in _WAITS and _is_a_wait(attempt):
            continue
        if said := _judged(attempt, _MAY_RAISE.get(call.__name__, ())):
            found.append(f"{what}: {said}")
    return found


def _is_a_wait(attempt: Any) -> bool:
    """Whether it would wait for half a second or more."""
    for value in (*attempt.args, *attempt.keywords.values()):
        try:
            if value is None or float(value) > 0.5:
                return True
        except (TypeError, ValueError, OverflowError):
            continue
    return False


def _attempts(call: Callable[..., Any], good: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What to try, in words, and as a function. `good`: by parameter; used where there is one. Errors: KeyError for a
    parameter that has neither that nor a default.
    """
    try:
        parameters = inspect.signature(call).parameters.values()
    except ValueError:  # it is object's own
        return
    single = [each for each in parameters if each.kind not in _SEVERAL]
    needed = [each for each in single if each.default is each.empty or each.name in good]
    for odd in parameters:
        for value in ODD:
            arguments: list[Any] = []
            named: dict[str, Any] = {}
            for each in needed if odd in needed else [*needed, odd]:
                what = value if each is odd else good[each.name]
                if each.kind in _IN_PLACE or (each in needed and each.kind is not each.KEYWORD_ONLY):
                    arguments.append(what)
                else:
                    named["odd" if each.kind is each.VAR_KEYWORD else each.name] = what
            yield f"{odd.name}={_short(value)}", partial(call, *arguments, **named)


_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_IN_PLACE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)


def _judged(attempt: Callable[[], Any], also: tuple[type[Exception], ...]) -> str:
    """What is wrong with it; "" if nothing is. `also`: what it may raise besides, as its documentation says."""
    allowed: tuple[type[BaseException], ...] = (OfframpError, TypeError, *also)
    try:
        found = attempt()
        if isinstance(found, Attachment):
            found.close()
    except allowed as error:
        try:
            f"{error} {error!r}".encode()
        except Exception as second:
            return f"{type(error).__name__} cannot be shown: {second!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]!a}"
    return ""


def _short(value: Any) -> str:
    try:
        return ascii(value)[:40]
    except Exception:
        return type(value).__name__
