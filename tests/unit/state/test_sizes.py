# SPDX-License-Identifier: Apache-2.0
"""Sizes come from outside: iterables that lie about theirs, or never end. A set is as it was, and its process lives."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import offramp
from offramp.errors import OptionError
from offramp.state import HashSet, PrefixSet
from tests.rigs.processes import in_child

METHODS = ("update", "replace", "difference_update")
BEFORE = ["10.0.0.1", "10.0.0.2"]


class Lying:
    """An iterable that says a length of its own choice."""

    def __init__(self, length: Callable[[], int], elements: Iterable[Any]) -> None:
        self._length, self._elements = length, elements

    def __len__(self) -> int:
        return self._length()

    def __contains__(self, element: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self._elements)


def raises() -> int:
    raise RuntimeError("no length")


def broken() -> Iterator[str]:
    yield "10.9.9.9"
    raise RuntimeError("no more")


def addresses(start: int = 0) -> Iterator[str]:
    """More than fit into any set, if it does not stop reading."""
    return (f"{n >> 24 & 255}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in itertools.count(start))


LENGTHS: dict[str, Callable[[], int]] = {
    "much": lambda: 1 << 50,
    "most": lambda: (1 << 63) - 1,
    "too much": lambda: 1 << 64,
    "negative": lambda: -1,
    "nothing": lambda: 0,
    "raises": raises,
}
ENDLESS: dict[str, Callable[[], Any]] = {
    "range": lambda: range(10**10),
    "generator": addresses,
    "lying": lambda: Lying(lambda: 3, addresses()),
    "NumPy's": lambda: np.broadcast_to(np.arange(1 << 20, dtype=np.uint32), (1 << 30, 1 << 20)).flat,
}
KINDS = (HashSet, PrefixSet)


def made(kind: Any) -> Any:
    return kind(BEFORE, family="ip", capacity=1000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("method", METHODS)
def test_a_length_is_not_believed(kind: Any, length: str, method: str) -> None:
    """What it gives is what counts."""
    table = made(kind)
    getattr(table, method)(Lying(LENGTHS[length], ["10.0.0.1", "10.0.0.9"]))
    after = {
        "update": [*BEFORE, "10.0.0.9"],
        "replace": ["10.0.0.1", "10.0.0.9"],
        "difference_update": ["10.0.0.2"],
    }
    assert list(table) == after[method]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("endless", ENDLESS)
@pytest.mark.parametrize("method", ["update", "replace"])
def test_what_never_ends_is_refused_as_soon_as_it_does_not_fit(kind: Any, endless: str, method: str) -> None:
    table = made(kind)
    with pytest.raises(OptionError, match="do not fit into a set with capacity 1000"):
        getattr(table, method)(ENDLESS[endless]())
    assert list(table) == BEFORE


@pytest.mark.parametrize("kind", KINDS)
def test_repetitions_take_no_room(kind: Any) -> None:
    table = made(kind)
    table.update(itertools.chain.from_iterable(itertools.repeat(("10.0.0.3", "10.0.0.4"), 200_000)))
    assert len(table) == 4
    table.difference_update(itertools.islice(addresses(10 << 24), 200_000))
    assert len(table) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("elements", [broken, lambda: [*BEFORE, "x"], lambda: [*BEFORE, None], lambda: 7, lambda: b"1"])
def test_none_of_them_if_one_is_wrong(kind: Any, method: str, elements: Callable[[], Any]) -> None:
    table = made(kind)
    with pytest.raises((OptionError, RuntimeError)):
        getattr(table, method)(elements())
    assert list(table) == BEFORE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_set_is_made_of_them_or_refused(kind: Any, length: str) -> None:
    try:
        assert list(kind(Lying(LENGTHS[length], ["10.0.0.1"]))) == ["10.0.0.1"]
    except OptionError:
        assert length in ("much", "most", "too much", "negative")
    except RuntimeError:
        assert length == "raises"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capacity", [2**29, 2**32, 2**62, 2**63, 2**64, 2**200, 0, -1, -(2**64)])
def test_a_capacity_that_no_set_can_have(kind: Any, capacity: int) -> None:
    with pytest.raises(OptionError):
        kind(family="ip", capacity=capacity)


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u4", "u8", "i4", "f4", "c8", "S4", "U9", "O", "M8[s]", "V4", "?"])
@pytest.mark.parametrize("step", [1, -3])
def test_arrays_of_every_type_and_stride(dtype: str, step: int) -> None:
    table = made(HashSet)
    elements = np.zeros(30, np.dtype(dtype))[::step]
    try:
        table.replace(elements)
        assert list(table) == ["0.0.0.0"]
    except (OptionError, TypeError):
        assert list(table) == BEFORE


def test_a_selection_of_packets_that_has_no_memory() -> None:
    port = offramp.Port.null([bytes(60)], repeat=False)
    batch = port.rx()
    assert batch is not None
    much: Any
    long: Any = np.broadcast_to(np.zeros(1, np.uint8), (1 << 40,))
    for much in (np.broadcast_to(np.zeros(1, np.uint16), (1 << 40,)),):
        with pytest.raises(OptionError, match="packets of a batch of 1"):
            batch._burst.select(much.data)
        with pytest.raises(OptionError):
            port.send(np.broadcast_to(np.zeros(1, np.uint8), (1 << 40,)))
        with pytest.raises(OptionError):
            offramp.Port.null([long])
        with pytest.raises(OptionError):
            offramp.Port.null(itertools.repeat(b"x" * 60))
    port.close()


# -- little memory -----------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[], object]] = {
    "update": lambda: made(HashSet).update(range(10**10)),
    "large sets": lambda: [HashSet(family="ip6", capacity=1 << 21) for _ in range(9)],
    "large and full": lambda: PrefixSet(family="ip6", capacity=1 << 20).update(map(str, range(10**10))),
    "numbers": lambda: HashSet(family="ip", capacity=1 << 21).replace(range(1 << 21)),
    "networks": lambda: PrefixSet(family="ip6", capacity=1 << 19).replace(range(1 << 19)),
    "of a list": lambda: HashSet(itertools.repeat("10.0.0.1")),
    "lying": lambda: HashSet(Lying(lambda: 1 << 50, BEFORE)),
    "elements": lambda: list(PrefixSet(range(1 << 17), family="ip6")),
    "packets": lambda: offramp.Port.null(itertools.repeat(bytes(1500))),
    "frames": lambda: offramp.Port.null(frames=1 << 31),
    "ring": lambda: offramp.open_port("loop:", ring=1 << 30, frames=1 << 31),
    "match": lambda: offramp.Match("host 10.0.0.1 or " * (10 << 20 >> 4) + "udp"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_process_with_little_memory_lives(call: str) -> None:
    """It ends by its own will: with an error that Python can catch, or done."""

    def work() -> None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        for more in (8, 24, 64):
            resource.setrlimit(resource.RLIMIT_AS, (size + (more << 20), resource.RLIM_INFINITY))
            with suppress(offramp.OfframpError, MemoryError):
                CALLS[call]()

    assert in_child(work) == 0
