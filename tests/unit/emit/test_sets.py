# SPDX-License-Identifier: Apache-2.0
"""Look-ups in native code: the same answers as Python's sets, for sets small and large."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network

import numpy as np
import pytest

from offramp import _native
from offramp.emit.sets.layout import size
from offramp.lower.expression import Fixed
from offramp.lower.shapes import Family, Shape
from offramp.state import HashSet, PrefixSet, SharedSet, fixed
from tests.rigs.lookups import Native

CAPACITIES = (1, 2, 15, 16, 17, 64, 255, 256, 257, 4096, 4097, 65536, 1_000_000)
BITS: dict[Family, int] = {"ip": 32, "ip6": 128, "port": 16, "ether": 48}
SHAPES = [
    Shape("bitmap", "port", 65536),
    *(Shape("hash", family, capacity) for family in ("ip", "ether", "ip6") for capacity in CAPACITIES),
    *(Shape("ranges", family, capacity) for family in ("ip", "ip6") for capacity in CAPACITIES),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_compiler_knows_how_much_memory_a_set_has(shape: Shape) -> None:
    core = _native.SetCore(shape.structure, shape.family, shape.capacity)
    assert size(shape) == core.size


def answers(table: SharedSet, keys: Sequence[int]) -> list[bool]:
    native = Native(table.shape)
    with table.core.read() as address:
        found: list[bool] = native(address, native.keys(keys)).tolist()
    return found


def near(keys: Sequence[int], bits: int, rng: random.Random) -> list[int]:
    """Those keys, their neighbours, and others."""
    chosen = rng.sample(keys, min(len(keys), 3000))
    around = [key + step for key in chosen for step in (-1, 0, 1)]
    others = [rng.getrandbits(bits) for _ in range(1000)]
    return [key for key in (*around, *others, 0, (1 << bits) - 1) if 0 <= key < 1 << bits]


@pytest.mark.parametrize("count", [1, 30, 3000, 50_000])
@pytest.mark.parametrize(("family", "bits"), [("ip", 32), ("ip6", 128), ("ether", 48), ("port", 16)])
def test_hashes_and_bitmaps(family: str, bits: int, count: int) -> None:
    rng = random.Random(count)
    keys = [rng.getrandbits(bits) for _ in range(count)]
    table = HashSet(keys, family=family, capacity=65536)  # type: ignore[arg-type]  # of the parameters
    probes = near(keys, bits, rng)
    members = set(keys)
    assert answers(table, probes) == [key in members for key in probes]


@pytest.mark.parametrize("count", [0, 1, 30, 3000, 50_000])
@pytest.mark.parametrize(("family", "bits"), [("ip", 32), ("ip6", 128)])
def test_networks(family: str, bits: int, count: int) -> None:
    rng = random.Random(count)
    kind: Callable[..., IPv4Network | IPv6Network] = IPv4Network if bits == 32 else IPv6Network
    networks = []
    for _ in range(count):
        host = rng.choice((0, 1, 4, 8)) if rng.random() < 0.9 else rng.randrange(min(bits, 100))
        networks.append(kind((rng.getrandbits(bits) >> host << host, bits - host)))
    table = PrefixSet(networks, family=family, capacity=50_000)  # type: ignore[arg-type]
    edges = [int(edge) for network in networks for edge in (network[0], network[-1])]
    probes = near(edges, bits, rng)
    found = answers(table, probes)
    assert found == [key in table for key in probes]
    by_hand = probes[:: len(probes) // 100 + 1]
    inside = [any(int(network[0]) <= key <= int(network[-1]) for network in networks) for key in by_hand]
    assert found[:: len(probes) // 100 + 1] == inside


def test_everything_and_nothing() -> None:
    for family, everything in (("ip", "0.0.0.0/0"), ("ip6", "::/0")):
        bits = 32 if family == "ip" else 128
        table = PrefixSet(family=family, capacity=100)  # type: ignore[arg-type]
        probes = [0, 1, 1 << 31, (1 << bits) - 1]
        assert answers(table, probes) == [False] * 4
        table.add(everything)
        assert answers(table, probes) == [True] * 4


def test_fixed_sets() -> None:
    for shape, ranges in (
        (Shape("ranges", "ip", 3), ((5, 9), (11, 11), (1 << 31, (1 << 32) - 1))),
        (Shape("ranges", "ip6", 2), ((1 << 64, (1 << 64) + 5), (1 << 127, (1 << 127)))),
        (Shape("hash", "ip", 4), ((5, 6), (1 << 31, 1 << 31), ((1 << 32) - 1, (1 << 32) - 1))),
        (Shape("hash", "ether", 2), ((0, 0), ((1 << 48) - 1, (1 << 48) - 1))),
        (Shape("hash", "ip6", 2), ((0, 0), ((1 << 128) - 1, (1 << 128) - 1))),
        (Shape("bitmap", "port", 65536), ((0, 0), (80, 443), (65535, 65535))),
    ):
        table = fixed(Fixed(shape, ranges))
        bits = BITS[shape.family]
        edges = [key + step for pair in ranges for key in pair for step in (-1, 0, 1)]
        probes = [key for key in edges if 0 <= key < 1 << bits]
        assert answers(table, probes) == [any(first <= key <= last for first, last in ranges) for key in probes]


def test_native_code_finds_members_while_others_come_and_go() -> None:
    """Two threads that read as fast as they can, and one that changes."""
    from concurrent.futures import ThreadPoolExecutor

    table = PrefixSet([f"10.0.{number}.0/24" for number in range(256)], capacity=600)
    native = Native(table.shape)
    staying = native.keys([0x0A000000 + (number << 8) for number in range(256)] * 50)
    never = native.keys([0x0C000000 + (number << 8) for number in range(256)] * 50)
    done = False

    def read() -> int:
        rounds = 0
        while not done:
            with table.core.read() as address:
                assert native(address, staying).all()
                assert not native(address, never).any()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for number in range(3000):
                network = f"11.0.{number % 200}.0/24"
                (table.add if number % 400 < 200 else table.discard)(network)
                if number % 500 == 0:
                    table.add("8.0.0.0/6")
                    table.discard("8.0.0.0/6")
        finally:
            done = True
        assert all(reader.result() for reader in readers)
    assert np.count_nonzero(np.array(answers(table, [0x0A000001, 0x0A010001, 0x0C000000]))) == 1
