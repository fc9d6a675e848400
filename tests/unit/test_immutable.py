# SPDX-License-Identifier: Apache-2.0
"""Immutable values: to everybody who looks, what `dataclass(frozen=True, slots=True)` makes of the same class."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import pprint
from typing import Any

import pytest

from offramp.immutable import alike, field, immutable


def point(field: Any) -> type:
    class Point:
        """Where."""

        __qualname__ = "Point"

        x: int
        y: int | None = None
        notes: list[str] = field(default_factory=list)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("left of everything")

        @property
        def sum(self) -> int:
            return self.x + (self.y or 0)

    return Point


Theirs: Any = dataclasses.dataclass(frozen=True, slots=True)(point(dataclasses.field))
Point: Any = immutable(point(field))


@immutable
class Nothing:
    pass


@immutable
class One:
    it: object


class Heir(One):
    __slots__ = ()


Call = tuple[tuple[Any, ...], dict[str, Any]]


@pytest.mark.parametrize(
    "call",
    [
        ((1,), {}),
        ((1, 2), {}),
        ((1, 2, ["a"]), {}),
        ((), {"x": 1}),
        ((1,), {"notes": ["b"]}),
        ((), {"notes": ["c"], "y": 3, "x": 2}),
    ],
)
def test_made_read_and_shown_alike(call: Call) -> None:
    mine, theirs = Point(*call[0], **call[1]), Theirs(*call[0], **call[1])
    assert repr(mine) == repr(theirs)
    assert mine.sum == theirs.sum
    assert dataclasses.asdict(mine) == dataclasses.asdict(theirs)
    assert dataclasses.astuple(mine) == dataclasses.astuple(theirs)
    assert [(each.name, each.type) for each in dataclasses.fields(mine)] == [
        (each.name, each.type) for each in dataclasses.fields(theirs)
    ]
    assert repr(dataclasses.replace(mine, y=9)) == repr(dataclasses.replace(theirs, y=9))
    assert mine == Point(*call[0], **call[1]) != dataclasses.replace(mine, x=77)


@pytest.mark.parametrize(
    "call", [((), {}), ((1, 2, [], 4), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1}), ((-1,), {})]
)
def test_refused_alike(call: Call) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011  # theirs is the oracle
        Theirs(*call[0], **call[1])
    with pytest.raises(type(theirs.value)):
        Point(*call[0], **call[1])


def test_a_default_is_made_anew_for_each() -> None:
    assert Point(1).notes is not Point(1).notes


def test_nothing_changes_it() -> None:
    point = Point(1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match="Point is immutable"):
            setattr(point, name, 2)
    with pytest.raises(AttributeError, match="Point is immutable"):
        del point.x
    assert not hasattr(point, "__dict__")


def test_copies_and_pickles() -> None:
    point = Point(1, 2, ["a"])
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
    assert copy.deepcopy(point).notes is not point.notes
    assert point.__replace__(y=3) == dataclasses.replace(point, y=3)  # what copy.replace calls, from Python 3.13 on


def test_equal_only_within_a_class() -> None:
    assert One(1) == One(1)
    assert Heir(1) == Heir(1) != One(1)
    assert repr(Heir(1)) == "Heir(it=1)"
    assert One(1) != object()
    assert hash(One(1)) == hash(One(1))
    assert len({One(1), One(1), Heir(1), Nothing(), Nothing()}) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))  # as in a dataclass: its list has none


def test_match_statements_and_help() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
        case _:
            pytest.fail("no match")
    assert inspect.getdoc(Point) == "Where."
    assert str(inspect.signature(Point)).replace("'", "") == str(inspect.signature(Theirs)).replace("'", "")
    assert dataclasses.is_dataclass(Point)
    assert [each.default for each in dataclasses.fields(Point)] == [dataclasses.MISSING, None, dataclasses.MISSING]


def test_whoever_asks_first() -> None:
    """A subclass is asked before its base."""
    assert [each.name for each in dataclasses.fields(Heir)] == ["it"]
    assert [each.name for each in dataclasses.fields(One)] == ["it"]
    assert dataclasses.asdict(Heir(2)) == {"it": 2}
    assert pprint.pformat(Point(1, 2, ["long" * 30])) == repr(Point(1, 2, ["long" * 30]))
    assert pprint.pformat(One("long" * 30), width=20)
    assert Point.__dataclass_params__.frozen


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(TypeError, match=r"Point\(x, y, notes\) does not take z, or has it already"):
        Point(1, z=2)


def test_many_alike() -> None:
    assert alike(Point, [1, 2], None, "n") == [Point(1, None, "n"), Point(2, None, "n")]
