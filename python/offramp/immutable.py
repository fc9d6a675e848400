# SPDX-License-Identifier: Apache-2.0
"""Immutable values with named fields: what dataclasses are for, without their start-up cost.

dataclasses compiles the methods of each class from text: half a millisecond a class, which would be a quarter of the
time until the first ramp is open. Here all classes share the same functions. To others an immutable value is a
dataclass: `fields`, `replace`, `asdict`, `inspect.signature` and `match` statements work. What these need is made when
they first ask.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["alike", "field", "immutable"]

T = TypeVar("T")


class _Fresh:
    """A default that is made anew for each value."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], T]) -> T:
    """A field whose default is made anew for each value."""
    return _Fresh(default_factory)  # type: ignore[return-value]  # as in dataclasses: a default of the field's type


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """As `dataclass(frozen=True, slots=True)`: fields, defaults, __post_init__, equality, hash, repr.

    A subclass has the fields of its base, and no more.
    """
    names = tuple(vars(cls).get("__annotations__", ()))
    body = {name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__")}
    defaults = {name: body.pop(name) for name in names if name in body}
    values = _values(names)
    shared: dict[str, Any] = {
        "__slots__": names,
        "__match_args__": names,
        "__dataclass_fields__": _Later(lambda made: _twin(made, defaults, **_BARE).__dataclass_fields__),
        "__dataclass_params__": _Later(lambda made: _twin(made, defaults, frozen=True).__dataclass_params__),
        "__signature__": _Later(lambda made: _signature(_twin(made, defaults))),
        "__eq__": _equality(values),
        "__hash__": lambda self: hash(values(self)),
        "__repr__": _representation(names),
        "__reduce__": lambda self: (self.__class__, values(self)),
        "__replace__": _replaced,
        "__setattr__": _frozen,
        "__delattr__": _frozen,
    }
    made: Any = type(cls.__name__, cls.__bases__, shared | body)
    made.__init__ = _initializer(made, names, defaults)
    return made  # type: ignore[no-any-return]  # the same class, with slots


class _Later:
    """What others look for in a dataclass, made when one of them asks."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, value: object, cls: type) -> Any:
        found = self._make(self._owner)
        setattr(self._owner, self._name, found)  # in place of this object
        return found


_BARE = {"init": False, "repr": False, "eq": False}  # quickly made


def _twin(cls: type, defaults: dict[str, Any], **how: bool) -> Any:
    """A dataclass with the same fields."""
    import dataclasses

    body = {"__annotations__": cls.__annotations__, "__module__": cls.__module__, "__doc__": "a twin"}
    for name, default in defaults.items():
        fresh = isinstance(default, _Fresh)
        body[name] = dataclasses.field(default_factory=default.make) if fresh else default
    return dataclasses.dataclass(**how)(type(cls.__name__, (), body))


def _signature(cls: type) -> Any:
    import inspect

    return inspect.signature(cls)


def alike(cls: type[T], firsts: Sequence[object], *rest: object) -> list[T]:
    """Many values that differ only in their first field; without __post_init__, whose checks are the caller's."""
    made = [cls.__new__(cls) for _ in firsts]
    setters = _setters(cls, cls.__match_args__)  # type: ignore[attr-defined]  # an immutable one has it
    for put, values in zip(setters, (firsts, *map(repeat, rest)), strict=True):
        deque(map(put, made, values), maxlen=0)  # runs the map, keeps nothing
    return made


def _setters(cls: type, names: tuple[str, ...]) -> tuple[Callable[[Any, object], None], ...]:
    return tuple([vars(cls)[name].__set__ for name in names])


def _values(names: tuple[str, ...]) -> Any:
    """The function from an object to the tuple of its values."""
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


def _representation(names: tuple[str, ...]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in names])})"

    return __repr__


def _replaced(self: Any, /, **changes: Any) -> Any:
    return self.__class__(**{name: getattr(self, name) for name in self.__match_args__} | changes)


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
    """All values in order, as Python binds arguments to parameters; defaults made where they are made anew."""
    given = dict(zip(names, values, strict=False))
    if len(values) > len(names):
        raise TypeError(f"{what}({', '.join(names)}) does not take {len(values)} values")
    if wrong := [name for name in named if name in given or name not in names]:
        raise TypeError(f"{what}({', '.join(names)}) does not take {', '.join(wrong)}, or has it already")
    bound = defaults | given | named
    if missing := [name for name in names if name not in bound]:
        raise TypeError(f"{what}({', '.join(names)}) lacks {', '.join(missing)}")
    return tuple([value.make() if isinstance(value := bound[name], _Fresh) else value for name in names])
