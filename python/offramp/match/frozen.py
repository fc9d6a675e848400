# SPDX-License-Identifier: Apache-2.0
"""Frozen records with slots: the part of dataclasses that a tree needs, without their start-up cost.

dataclasses imports inspect, and compiles the methods of each class from text: 20 ms for tree.py, as long as everything
else that a process does for an ordinary match. Here all classes share the same functions.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """As `dataclass(frozen=True, slots=True)`: fields, defaults, __post_init__, equality, hash, repr."""
    names = tuple(vars(cls).get("__annotations__", ()))
    body = {name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__")}
    defaults = {name: body.pop(name) for name in names if name in body}
    values = _values(names)
    body.update(
        __slots__=names,
        __match_args__=names,
        __eq__=_equality(values),
        __hash__=lambda self: hash(values(self)),
        __repr__=lambda self: f"{cls.__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in names])})",
        __reduce__=lambda self: (self.__class__, values(self)),
        __setattr__=_frozen,
        __delattr__=_frozen,
    )
    made: Any = type(cls.__name__, cls.__bases__, body)
    made.__init__ = _initializer(made, names, defaults)
    return made  # type: ignore[no-any-return]  # the same class, with slots


def alike(cls: type[T], firsts: Sequence[object], *rest: object) -> list[T]:
    """Many records that differ only in their first field; without __post_init__, whose checks are the caller's."""
    made = [cls.__new__(cls) for _ in firsts]
    setters = _setters(cls, cls.__match_args__)  # type: ignore[attr-defined]  # a record has it
    for put, values in zip(setters, (firsts, *map(repeat, rest)), strict=True):
        deque(map(put, made, values), maxlen=0)  # runs the map, keeps nothing
    return made


def _setters(cls: type, names: tuple[str, ...]) -> tuple[Callable[[Any, object], None], ...]:
    return tuple(vars(cls)[name].__set__ for name in names)


def _values(names: tuple[str, ...]) -> Any:
    """The function from a record to the tuple of its values."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda self: ()
    single = attrgetter(*names)
    return lambda self: (single(self),)


def _equality(values: Any) -> Any:
    def __eq__(self: Any, other: Any) -> Any:
        return values(self) == values(other) if self.__class__ is other.__class__ else NotImplemented

    return __eq__


def _frozen(self: object, name: str, value: object = None) -> NoReturn:
    raise AttributeError(f"cannot change '{name}': {self.__class__.__name__} is immutable")


def _initializer(cls: Any, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    setters = _setters(cls, names)
    check = getattr(cls, "__post_init__", None)

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        if named or len(values) != len(setters):
            values = _bind(cls.__name__, names, defaults, values, named)
        for put, value in zip(setters, values, strict=True):
            put(self, value)
        if check is not None:
            check(self)

    return __init__


def _bind(
    what: str, names: tuple[str, ...], defaults: dict[str, Any], values: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Any, ...]:
    """All values in order, as Python binds arguments to parameters."""
    given = dict(zip(names, values, strict=False))
    if len(values) > len(names) or any(name in given or name not in names for name in named):
        raise TypeError(f"{what}({', '.join(names)}) does not take {len(values)} values and {sorted(named)}")
    bound = defaults | given | named
    if missing := [name for name in names if name not in bound]:
        raise TypeError(f"{what}({', '.join(names)}) lacks {', '.join(missing)}")
    return tuple(bound[name] for name in names)
