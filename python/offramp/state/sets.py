# SPDX-License-Identifier: Apache-2.0
"""The sets that users hold: `HashSet` of addresses or ports, `PrefixSet` of networks.

    blocked = PrefixSet(["203.0.113.0/24"])                      one family in each set
    blocked = PrefixSet(["203.0.113.0/24"], capacity=1_000_000)
    blocked.add("198.51.100.7")                                  packets see it at once
    blocked.replace(feed)                                        packets see the old networks, or the new ones

Elements are str, packed bytes, objects of the module `ipaddress`, and NumPy's numbers, so a column of a batch can be
added as it is. Python's own numbers are ports; they are addresses only if `family=` was given. The capacity is fixed,
because programs are compiled for it.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice
from typing import Final, Self, SupportsIndex, TypeAlias, get_args

from offramp import _native, arguments
from offramp.arguments import short
from offramp.errors import OptionError
from offramp.lower.shapes import Family, Shape, Structure
from offramp.state import files
from offramp.state.shared import SharedSet
from offramp.text import printable

__all__ = ["Element", "HashSet", "PrefixSet", "load"]

Address: TypeAlias = str | SupportsIndex | bytes | IPv4Address | IPv6Address
Element: TypeAlias = Address | IPv4Network | IPv6Network

_LEAST_CAPACITY: Final = 65536
_PORTS: Final = 65536
_MOST_CAPACITY: Final = 1 << 29  # less fits into memory that programs can look into; the shape knows how much


class _Set(SharedSet):
    """What both kinds of sets have in common; see there."""

    _families: tuple[Family, ...]

    def __init__(
        self, elements: Iterable[Element] = (), *, family: Family | None = None, capacity: int | None = None
    ) -> None:
        if isinstance(elements, str | bytes):
            raise OptionError(f"{elements!r} is one element, but several are expected", hint="put it in a list")
        listed = elements if isinstance(elements, Collection) else arguments.several("elements", elements)
        count = _count(listed)
        is_told = family is not None
        if family is None:
            family = self._infer(*islice(listed, 1))
        elif not any(family is each or str(family) == each for each in self._families):
            raise OptionError(f"family={short(family)}", reason=f"a {type(self).__name__} has one of {self._choices()}")
        shape = Shape(self._structure(family), family, self._capacity(family, capacity, count))
        super().__init__(shape, numbers=is_told)
        if count or not isinstance(listed, list | tuple):  # others may hold more than they say
            self.replace(listed)

    @classmethod
    def _structure(cls, family: Family) -> Structure:
        raise NotImplementedError

    @classmethod
    def _choices(cls) -> str:
        return ", ".join(repr(family) for family in cls._families)

    @classmethod
    def _infer(cls, *first: Element) -> Family:
        """The family of the first element, if there is one."""
        if not first:
            raise OptionError(f"an empty {cls.__name__} needs family=", hint=f"one of {cls._choices()}")
        found = _native.SetCore.family_of(first[0])
        if found is None:
            what = f"{short(first[0])} does not tell the family of the set"
            raise OptionError(what, hint=f"give an address, or family= as one of {cls._choices()}")
        for family in cls._families:
            if family == found:
                return family
        raise OptionError(
            f"{short(first[0])} cannot be in a {cls.__name__}", hint=f"its family is one of {cls._choices()}"
        )

    @classmethod
    def _capacity(cls, family: Family, wanted: int | None, count: int) -> int:
        if cls._structure(family) == "bitmap":
            if wanted is not None and arguments.whole_number("capacity", wanted) != _PORTS:
                raise OptionError(f"capacity={short(wanted)}", reason=f"a set of ports has room for all {_PORTS}")
            return _PORTS
        if wanted is None:
            return _possible(max(_LEAST_CAPACITY, 2 * count))
        try:
            capacity = operator.index(wanted)
        except TypeError:
            capacity = 0
        if capacity < 1:
            raise OptionError(f"capacity={short(wanted)}", reason="not a number of elements, 1 or more, in any memory")
        return _possible(capacity)

    @property
    def family(self) -> Family:
        """What the elements are: "ip", "ip6", "port" or "ether"."""
        return self._shape.family

    @property
    def capacity(self) -> int:
        """How many elements the set can hold."""
        return self._shape.capacity

    def add(self, element: Element) -> None:
        """Add one element. Errors: OptionError if it is not of this family, or if the set is full."""
        self._core.add(element)

    def discard(self, element: Element) -> None:
        """Remove one element, if it is there."""
        self._core.remove(element)

    def remove(self, element: Element) -> None:
        """Remove one element. Errors: KeyError if it is not there."""
        if not self._core.remove(element):
            raise KeyError(element)

    def update(self, elements: Iterable[Element]) -> None:
        """Add all of them. If one is not an element of this family, or they do not fit, add none.

        Packets may see some of them before others.
        """
        self._core.extend(elements)

    def difference_update(self, elements: Iterable[Element]) -> None:
        """Remove those that are there. If one is not an element of this family, remove none."""
        self._core.subtract(elements)

    def replace(self, elements: Iterable[Element]) -> None:
        """Hold these elements and no others. Each look-up sees the old elements or the new ones, never a mixture.

        This writes over the memory of an earlier list, so it first waits for programs that may still read that memory:
        about 20 ms, in which other threads can run.
        """
        self._core.replace(elements)

    def clear(self) -> None:
        """Hold nothing."""
        self._core.clear()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the elements to a text file, one on each line, sorted. A file at `path` is replaced as a whole.

        Errors: KernelError.
        """
        header = files.Header(type(self).__name__, self.family, self.capacity)
        files.write(path, header, self._core.lines())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, family: Family | None = None, capacity: int | None = None) -> Self:
        """A set from the lines of a text file; docs/sets.md has the formats of lists from elsewhere.

        Family and capacity are those of the saved set, unless given; for other files they are found as for a new set.
        Errors: KernelError; OptionError, with the line.
        """
        text, header = files.read(path)
        name = printable(os.fspath(path))
        if header is not None:
            if header.kind != cls.__name__:
                raise OptionError(f"{name} does not hold a {cls.__name__}", hint=f"{header.kind}.load() reads it")
            family = family if family is not None else _family(header.family, name)
            capacity = capacity if capacity is not None else header.capacity
        if family is None:
            first = _known(files.first_element(text), name)
            family = cls._infer(*(() if first is None else (first,)))
        if capacity is None:
            capacity = cls._capacity(family, None, text.count("\n") + 1)
        made = cls(family=family, capacity=capacity)
        made._core.replace_lines(text, name)
        return made

    def __contains__(self, element: Element) -> bool:
        """An element of the other IP version is not in the set; a value that is not an address is an OptionError."""
        return element in self._core

    def __iter__(self) -> Iterator[str | int]:
        return iter(self._core.elements())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} {self.family!r}, capacity {self.capacity}>"


class HashSet(_Set):
    """Addresses or ports that packets are matched against: `Match("src host in @talkers", talkers=HashSet(...))`.

    `family` is "ip", "ip6", "port" or "ether" (of Ethernet addresses); without it, that of the first element.
    `capacity` is fixed: max(65536, twice as many as given). A set of ports has room for all of them.

    Memory: with `capacity` N, 64 to 128 bytes for each of N elements; for "ip6" 40 bytes more; for ports 16 KiB. A
    look-up takes the same time, however many elements there are.

    It works like a Python set: add, discard, remove, update, in, len, iteration (sorted: str; ports: int). Several
    threads may change it while packets are matched, in the driver and here. Each packet finds an element that stays,
    and none finds one that was never added. In a forked child it can be read; changing it raises Closed.

    Needs no privileges, until it is used on an interface (see `map`). Errors: OptionError.
    """

    _families = get_args(Family)

    @classmethod
    def _structure(cls, family: Family) -> Structure:
        return "bitmap" if family == "port" else "hash"


class PrefixSet(_Set):
    """IP networks that packets are matched against: `Match("src host in @blocked", blocked=PrefixSet(...))`.

    Elements are networks ("203.0.113.0/24"), also within each other, and addresses ("203.0.113.7": the network of one
    address). `family` is "ip" or "ip6"; without it, that of the first element. `capacity` is fixed: max(65536, twice as
    many as given).

    Memory that packets look into: with `capacity` N, 1 MiB and about 34 bytes for each of N networks; for "ip6" four
    times that. In addition, some 20 (40) bytes for each network that it holds.

    `address in prefixes` says whether a packet with that address matches. `network in prefixes`, for text with a '/' or
    an ipaddress network, says whether that very network was added. Otherwise it is like a HashSet: several threads
    may change it while packets are matched, and each change is seen as a whole.

    Needs no privileges, until it is used on an interface (see `map`). Errors: OptionError.
    """

    _families = ("ip", "ip6")

    @classmethod
    def _structure(cls, family: Family) -> Structure:
        return "ranges"

    def lookup(self, address: Address) -> str | None:
        """The longest network that contains the address; None if there is none."""
        return self._core.longest(address)

    def __iter__(self) -> Iterator[str]:
        """The networks as they are now, ascending, a network before those inside it."""
        return (str(element) for element in self._core.elements())


def _possible(capacity: int) -> int:
    if capacity > _MOST_CAPACITY:
        what = f"a set for {short(capacity)} elements does not fit into memory that programs can look into"
        raise OptionError(what, hint="choose a smaller capacity=, from 1 on")
    return capacity


def _count(elements: Collection[Element]) -> int:
    """How many elements it says that it has."""
    try:
        return len(elements)
    except (OverflowError, ValueError) as error:
        raise OptionError(f"elements={short(elements)}", reason=f"its length is impossible: {error}") from error


def _known(first: files.First | None, name: str) -> str | None:
    """The first element of a file, if it tells the family of the set."""
    if first is None:
        return None
    if _native.SetCore.family_of(first.element) is None:
        what = f"{name}, line {first.number}: {short(first.line)} does not begin with an address, a network or a port"
        raise OptionError(what, hint="one on each line, '#' or ';' begins a comment")
    return first.element


def _family(text: str, name: str) -> Family:
    for family in get_args(Family):
        if family == text:
            return family  # type: ignore[no-any-return]  # a Literal's arguments have no type
    raise OptionError(f"{name}, line 1: {text!r} is not a family")


def load(path: str | os.PathLike[str], *, empty: Family | None = None) -> HashSet | PrefixSet:
    """A set from the lines of a text file, of the kind that was saved.

    Lists from elsewhere can be read too: IP addresses and networks become a PrefixSet, ports and Ethernet addresses a
    HashSet. `empty` is the family if such a list holds nothing yet.

    Errors: KernelError; OptionError, with the line.
    """
    text, header = files.read(path)
    first = files.first_element(text)
    if header is not None:
        kind = header.kind
    elif first is None and empty is None:
        hint = "name the family: with empty=, or on the file's first line, as in a saved set"
        raise OptionError(f"{printable(os.fspath(path))} holds no element", hint=hint)
    else:
        found = empty if first is None else _native.SetCore.family_of(_known(first, printable(os.fspath(path))))
        kind = "PrefixSet" if found in ("ip", "ip6") else "HashSet"
    for one in (HashSet, PrefixSet):
        if one.__name__ == kind:
            return one.load(path, family=empty if first is None and header is None else None)
    raise OptionError(f"{printable(os.fspath(path))}, line 1: {kind!r} is not a kind of set")
