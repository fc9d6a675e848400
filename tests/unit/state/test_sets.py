# SPDX-License-Identifier: Apache-2.0
"""HashSet and PrefixSet as users hold them, without root."""

from __future__ import annotations

import copy
import pickle
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.errors import OptionError
from offramp.state import HashSet, PrefixSet

Make = Callable[..., Any]

FAMILIES = [
    (HashSet, "10.0.0.1", "ip", "10.0.0.1"),
    (HashSet, IPv4Address("10.0.0.1"), "ip", "10.0.0.1"),
    (HashSet, bytes([10, 0, 0, 1]), "ip", "10.0.0.1"),
    (HashSet, "2001:DB8::1", "ip6", "2001:db8::1"),
    (HashSet, IPv6Address("2001:db8::1"), "ip6", "2001:db8::1"),
    (HashSet, bytes(15) + b"\1", "ip6", "::1"),
    (HashSet, 443, "port", 443),
    (HashSet, "443", "port", 443),
    (HashSet, "2:0:0:0:0:A", "ether", "02:00:00:00:00:0a"),
    (HashSet, b"\2\0\0\0\0\12", "ether", "02:00:00:00:00:0a"),
    (PrefixSet, "203.0.113.0/24", "ip", "203.0.113.0/24"),
    (PrefixSet, "203.0.113.7", "ip", "203.0.113.7"),
    (PrefixSet, IPv4Network("203.0.113.0/24"), "ip", "203.0.113.0/24"),
    (PrefixSet, IPv4Address("203.0.113.7"), "ip", "203.0.113.7"),
    (PrefixSet, "2001:db8::/32", "ip6", "2001:db8::/32"),
    (PrefixSet, IPv6Network("::/0"), "ip6", "::/0"),
]


@pytest.mark.parametrize(("make", "element", "family", "canonical"), FAMILIES, ids=repr)
def test_the_family_is_that_of_the_first_element(make: Make, element: object, family: str, canonical: object) -> None:
    for elements in ([element], iter([element]), {element}):
        table = make(elements)
        assert (table.family, list(table), len(table)) == (family, [canonical], 1)
        assert element in table


def test_a_family_that_is_not_known_is_asked_for() -> None:
    for make in (HashSet, PrefixSet):
        with pytest.raises(OptionError, match=r"an empty .*Set needs family="):
            make()
    with pytest.raises(OptionError, match="70000 does not tell the family"):
        HashSet([70000])
    with pytest.raises(OptionError, match="443 cannot be in a PrefixSet"):
        PrefixSet([443])
    with pytest.raises(OptionError, match=r"family='port'.*'ip', 'ip6'"):
        PrefixSet(family="port")
    with pytest.raises(OptionError, match=r"'10.0.0.1' is one element.*list"):
        HashSet("10.0.0.1")
    for make in (HashSet, PrefixSet):
        with pytest.raises(OptionError, match="elements=5: not a list"):
            make(5)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(OptionError, match="None does not tell the family"):
            make([None])  # type: ignore[list-item]  # that is the point


@pytest.mark.parametrize("make", [HashSet, PrefixSet])
def test_what_is_of_the_other_version_of_ip_is_not_in_it(make: type[HashSet | PrefixSet]) -> None:
    """As it is not in a network of the module ipaddress."""
    four, six = make(["10.0.0.1"]), make(["::1"])
    for element in ("::1", IPv6Address("::1"), bytes(15) + b"\1"):
        assert element not in four
        assert element in six
        with pytest.raises(OptionError, match=r"an IPv6 .*address, in a set of family"):
            four.add(element)
    for other in ("10.0.0.1", IPv4Address("10.0.0.1"), bytes([10, 0, 0, 1])):
        assert other not in six
        assert other in four
    with pytest.raises(OptionError, match="'nonsense' is not an IPv4"):
        assert "nonsense" not in four


def test_no_network_of_the_other_version_has_the_address() -> None:
    table = PrefixSet(["10.0.0.0/8"])
    assert "2001:db8::/32" not in table
    assert ip_network("2001:db8::/32") not in table
    assert table.lookup("2001:db8::1") is None


def test_numbers_are_addresses_where_the_family_is_given() -> None:
    column = np.array([0x0A000001, 0x0A000002, 0x0A000001], np.uint32)
    assert list(HashSet(column, family="ip")) == ["10.0.0.1", "10.0.0.2"]
    assert list(PrefixSet(column, family="ip")) == ["10.0.0.1", "10.0.0.2"]
    assert list(HashSet([1 << 127], family="ip6")) == ["8000::"]
    assert list(HashSet(range(3))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("make", "family", "element", "says"),
    [
        (HashSet, "ip", "10.0.0.256", "'10.0.0.256' is not an IPv4 address.*as in \"203.0.113.7\""),
        (HashSet, "ip", "010.0.0.1", "is not an IPv4 address"),
        (HashSet, "ip", "::1", "'::1' is an IPv6 address, in a set of family \"ip\""),
        (HashSet, "ip", IPv6Address("::1"), "is an IPv6 address, in a set of family"),
        (HashSet, "ip", "10.0.0.0/8", "is a network.*use a PrefixSet"),
        (HashSet, "ip", IPv4Network("10.0.0.0/8"), "is a network.*use a PrefixSet"),
        (HashSet, "ip", IPv4Interface("10.0.0.1/8"), "is not an IPv4 address"),
        (HashSet, "ip", 1 << 32, "4294967296 is not an IPv4 address: out of range"),
        (HashSet, "ip", -1, "-1 is not an IPv4 address: out of range"),
        (HashSet, "ip", 1 << 200, "out of range"),
        (HashSet, "ip", 1.5, "1.5 is not an IPv4 address"),
        (HashSet, "ip", None, "None is not an IPv4 address"),
        (HashSet, "ip", True, "True is not an IPv4 address"),
        (HashSet, "ip", b"\1\2\3", "is not an IPv4 address"),
        (HashSet, "ip", "10.0.0.1 ", "is not an IPv4 address"),
        (HashSet, "port", 65536, "65536 is not a port: out of range.*0 to 65535"),
        (HashSet, "port", "http", "'http' is not a port"),
        (HashSet, "ether", "02:00:5e", "is not an Ethernet address"),
        (PrefixSet, "ip", "203.0.113.7/24", "bits set behind its prefix.*is 203.0.113.0/24; for one address leave out"),
        (PrefixSet, "ip", "203.0.113.0/33", "prefix is too long.*0 to 32 bits"),
        (PrefixSet, "ip6", "203.0.113.0/24", 'an IPv4 network or address, in a set of family "ip6"'),
        (PrefixSet, "ip", "network", "'network' is not an IPv4 network or address.*203.0.113.0/24"),
    ],
)
def test_what_is_no_element_is_named(make: Make, family: str, element: object, says: str) -> None:
    table = make(family=family)
    calls: list[Any] = [table.add, table.discard, table.remove]
    if "in a set of family" not in says:
        calls.append(table.__contains__)
    for call in calls:
        with pytest.raises(OptionError, match=says):
            call(element)
    good = {"ip": 1, "ip6": 1, "port": 1, "ether": 1}[family]
    for many in (table.update, table.difference_update, table.replace):
        with pytest.raises(OptionError, match=says):
            many([good, element])
    assert len(table) == 0


def test_it_is_changed_like_a_set() -> None:
    table = HashSet(["10.0.0.2"])
    table.add("10.0.0.1")
    table.add("10.0.0.1")
    assert list(table) == ["10.0.0.1", "10.0.0.2"]
    table.discard("10.0.0.3")
    table.remove("10.0.0.1")
    with pytest.raises(KeyError, match=r"10\.0\.0\.1"):
        table.remove("10.0.0.1")
    table.update(f"10.0.1.{number}" for number in range(10))
    table.difference_update(["10.0.1.0", "192.0.2.1"])
    assert len(table) == 10
    table.replace(["192.0.2.1", "192.0.2.1"])
    assert list(table) == ["192.0.2.1"]
    table.clear()
    assert len(table) == 0
    assert not table
    assert repr(table) == "<HashSet of 0 'ip', capacity 65536>"


def test_it_is_equal_to_itself_alone() -> None:
    one, other = HashSet([1]), HashSet([1])
    assert one != other
    assert len({one, other, one}) == 2


@pytest.mark.parametrize("table", [HashSet([1]), PrefixSet(["10.0.0.0/8"])], ids=repr)
def test_it_is_not_copied(table: HashSet | PrefixSet) -> None:
    for function in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="Set is memory that packets are matched against: it cannot be copied"):
            function(table)


@pytest.mark.parametrize("table", [HashSet(["10.0.0.1"]), PrefixSet(["10.0.0.0/8"]), HashSet(["2001:db8::1"])])
def test_a_number_among_addresses_is_a_mistake(table: HashSet | PrefixSet) -> None:
    """Not 0.0.1.187. With `family=` it is none; and NumPy's numbers are those of a batch's columns."""
    before = list(table)
    with pytest.raises(OptionError, match="443 is not an IP"):
        table.add(443)
    with pytest.raises(OptionError, match="53 is not an IP"):
        table.replace([53])
    assert list(table) == before
    assert list(HashSet([0x0A000001], family="ip")) == ["10.0.0.1"]
    assert list(HashSet(np.array([0x0A000001], np.uint32))) == ["10.0.0.1"]
    assert list(HashSet(np.array([53], np.uint16))) == [53]


def test_a_prefix_set_has_networks_and_contains_addresses() -> None:
    table = PrefixSet(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.1"], family="ip")
    assert list(table) == ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.1"]
    assert "10.9.9.9" in table
    assert ip_address("10.9.9.9") in table
    assert 0x0A090909 in table
    assert "11.0.0.0" not in table
    assert "10.1.0.0/16" in table
    assert "10.2.0.0/16" not in table, "no element, although all its addresses match"
    assert "192.0.2.1/32" in table
    assert ip_network("192.0.2.1") in table
    assert table.lookup("10.1.2.3") == "10.1.2.0/24"
    assert table.lookup("10.1.3.3") == "10.1.0.0/16"
    assert table.lookup("10.255.255.255") == "10.0.0.0/8"
    assert table.lookup(IPv4Address("192.0.2.1")) == "192.0.2.1"
    assert table.lookup("192.0.2.2") is None
    with pytest.raises(OptionError, match=r"'10.1.0.0/16' is a network.*look up an address"):
        table.lookup("10.1.0.0/16")
    table.remove("10.1.0.0/16")
    assert table.lookup("10.1.3.3") == "10.0.0.0/8"
    with pytest.raises(KeyError):
        table.remove("10.9.9.9")


@pytest.mark.parametrize(
    "make",
    [
        lambda: HashSet(range(10), family="ip", capacity=10),
        lambda: HashSet(range(10), family="ip6", capacity=10),
        lambda: PrefixSet(range(10), family="ip", capacity=10),
        lambda: PrefixSet(range(10), family="ip6", capacity=10),
    ],
)
def test_a_full_set_says_so_and_stays_as_it_is(make: Make) -> None:
    table = make()
    before = list(table)
    table.add(3)
    with pytest.raises(OptionError, match=r"full: it holds 10 of 10 elements \(make it with more capacity=\)"):
        table.add(10)
    with pytest.raises(OptionError, match="12 elements do not fit into a set with capacity 10"):
        table.update([3, 10, 11])
    with pytest.raises(OptionError, match="11 elements do not fit"):
        table.replace(range(11))
    assert list(table) == before
    table.remove(0)
    table.update([1, 2, 3, 10])
    assert len(table) == 10


def test_the_capacity() -> None:
    assert HashSet(family="ip").capacity == 65536
    assert HashSet(range(40_000), family="ip").capacity == 80_000
    assert PrefixSet(family="ip6", capacity=5).capacity == 5
    assert HashSet(family="port").capacity == 65536
    for wrong in (0, -1, "10", 1.5):
        with pytest.raises(OptionError, match="capacity="):
            HashSet(family="ip", capacity=wrong)  # type: ignore[arg-type]  # some are wrong in that way
    with pytest.raises(OptionError, match="room for all 65536"):
        HashSet(family="port", capacity=100)
    with pytest.raises(OptionError, match=r"100000000 elements does not fit.*smaller capacity="):
        HashSet(family="ip", capacity=100_000_000)
    with pytest.raises(OptionError, match="3 elements do not fit"):
        HashSet([1, 2, 3], family="ip", capacity=2)


def test_elements_may_come_from_the_set_itself() -> None:
    table = HashSet([1, 2, 3])
    table.update(table)
    table.difference_update(table)
    assert len(table) == 0


def test_an_iterable_may_fail() -> None:
    def failing() -> Any:
        yield 1
        raise RuntimeError("no more")

    table = HashSet([7])
    with pytest.raises(RuntimeError, match="no more"):
        table.update(failing())
    with pytest.raises(OptionError, match="elements=5: not a list"):
        table.update(5)  # type: ignore[arg-type]  # that is the point
    assert list(table) == [7]


networks = st.builds(
    lambda address, length: ip_network((address >> (32 - length) << (32 - length), length)),
    st.integers(0, 63).map(lambda low: 0x0A000000 | low),
    st.integers(26, 32) | st.integers(0, 32),
)


@given(st.lists(st.tuples(st.booleans(), networks), max_size=60), st.lists(st.integers(0, 63), max_size=20))
def test_networks_against_ipaddress(changes: list[tuple[bool, IPv4Network]], lows: list[int]) -> None:
    table, model = PrefixSet(family="ip", capacity=100), set[IPv4Network]()
    for add, network in changes:
        (table.add if add else table.discard)(network)
        (model.add if add else model.discard)(network)
    assert [ip_network(text) for text in table] == sorted(model)
    for low in lows:
        address = IPv4Address(0x0A000000 | low)
        matching = [network for network in model if address in network]
        assert (address in table) == bool(matching)
        longest = max(matching, key=lambda network: network.prefixlen, default=None)
        found = table.lookup(address)
        assert (ip_network(found) if found else None) == longest


# -- large, and by many threads ----------------------------------------------------------------------------------------


def test_a_million_networks_load_in_two_seconds() -> None:
    rng = random.Random(1)
    texts = [f"{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}.0/24" for _ in range(500_000)]
    texts += [str(IPv4Address(rng.getrandbits(32))) for _ in range(500_000)]
    start = time.perf_counter()
    table = PrefixSet(texts)
    assert time.perf_counter() - start < 2
    assert len(table) == len(set(texts))
    assert all(text in table for text in texts[::1000])


def test_threads_change_one_set() -> None:
    tables: list[HashSet | PrefixSet] = [HashSet(family="ip6", capacity=5000), PrefixSet(family="ip", capacity=5000)]
    start = threading.Barrier(4)

    def change(thread: int) -> None:
        start.wait()
        own = range(1000 * thread, 1000 * thread + 1000)
        for table in tables:
            for _ in range(3):
                for key in own:
                    table.add(key)
                table.difference_update(own[::2])
                assert all((key in table) == bool(key % 2) for key in own)
                assert len(list(table)) >= 500

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(change, thread) for thread in range(4)]:
            each.result()
    assert [len(table) for table in tables] == [2000, 2000]
