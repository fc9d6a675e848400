# SPDX-License-Identifier: Apache-2.0
"""Sets that Python changes while eBPF looks into them: nothing missed, nothing mixed, nothing left."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

import pytest

from offramp import _native
from offramp.bpf import Map, MapFlag, MapType
from offramp.errors import Closed, KernelError, PrivilegeError
from offramp.lower.expression import Fixed
from offramp.lower.shapes import Family, Shape
from offramp.state import HashSet, PrefixSet, SharedSet, fixed
from offramp.syscalls import privileges
from tests.rigs.lookups import Lookups
from tests.rigs.processes import in_child

pytestmark = pytest.mark.skipif(bool(privileges.missing()), reason=privileges.hint())

Answers: TypeAlias = dict[tuple[int, ...], set[int]]  # keys of a packet, and the one or two verdicts it may have

BITS: dict[Family, int] = {"ip": 32, "ip6": 128, "ether": 48, "port": 16}
IPS: tuple[Family, ...] = ("ip", "ip6")
HASHES: tuple[Family, ...] = ("ip", "ip6", "ether", "port")


def probes(keys: Sequence[int], bits: int, rng: random.Random) -> list[int]:
    around = [key + step for key in rng.sample(keys, min(len(keys), 60)) for step in (-1, 0, 1)]
    others = [rng.getrandbits(bits) for _ in range(40)]
    return [key for key in (*around, *others, 0, (1 << bits) - 1) if 0 <= key < 1 << bits]


@pytest.mark.parametrize("count", [1, 100, 20_000])
@pytest.mark.parametrize("family", HASHES)
def test_hashes_and_bitmaps_in_the_kernel(family: Family, count: int) -> None:
    rng = random.Random(count)
    keys = [rng.getrandbits(BITS[family]) for _ in range(count)]
    table = HashSet(keys, family=family)
    members = set(keys)
    with Lookups([table]) as lookups:
        for key in probes(keys, BITS[family], rng):
            assert lookups.contains(key) == (key in members) == (key in table), key


@pytest.mark.parametrize("count", [0, 1, 100, 20_000])
@pytest.mark.parametrize("family", IPS)
def test_networks_in_the_kernel(family: Family, count: int) -> None:
    rng = random.Random(count)
    bits = BITS[family]
    kind: Callable[..., IPv4Network | IPv6Network] = IPv4Network if family == "ip" else IPv6Network
    hosts = [rng.choice((0, 1, 4, 8, bits // 2, bits - 12)) for _ in range(count)]
    networks = [kind((rng.getrandbits(bits) >> host << host, bits - host)) for host in hosts]
    table = PrefixSet(networks, family=family)
    with Lookups([table]) as lookups:
        for key in probes([int(edge) for network in networks for edge in (network[0], network[-1])], bits, rng):
            found = lookups.contains(key)
            assert found == (key in table), key
            if count <= 100:
                assert found == any(int(network[0]) <= key <= int(network[-1]) for network in networks)


@pytest.mark.parametrize("family", IPS)
def test_each_change_is_seen_at_once(family: Family) -> None:
    network, inside = ("10.0.0.0/8", 0x0A000001) if family == "ip" else ("2001:db8::/32", 0x20010DB8 << 96)
    table = PrefixSet(family=family, capacity=10)
    with Lookups([table]) as lookups:
        assert not lookups.contains(inside)
        for _ in range(3):
            table.add(network)
            assert lookups.contains(inside)
            table.discard(network)
            assert not lookups.contains(inside)
        table.replace([network])
        assert lookups.contains(inside)
        table.clear()
        assert not lookups.contains(inside)


def test_the_largest_sets_load() -> None:
    """The verifier follows their addresses; 4 of them take 750 MB for a moment."""
    for table in (
        HashSet(family="ip", capacity=2_000_000),
        HashSet(family="ip6", capacity=1_000_000),
        PrefixSet(family="ip", capacity=2_000_000),
        PrefixSet(family="ip6", capacity=1_000_000),
    ):
        with Lookups([table]) as lookups:
            assert not lookups.contains(1)
            table.add(1)
            assert lookups.contains(1)


def test_eight_sets_in_one_program() -> None:
    tables: list[SharedSet] = [
        HashSet([7], family="ip"),
        HashSet([7], family="ip6"),
        HashSet([7], family="ether"),
        HashSet([7], family="port"),
        PrefixSet([7], family="ip"),
        PrefixSet([7], family="ip6"),
        fixed(Fixed(Shape("ranges", "ip6", 1), ((5, 7),))),
        PrefixSet([7], family="ip6", capacity=1_000_000),
    ]
    with Lookups(tables) as lookups:
        assert lookups.run([7] * 8) == [True] * 8
        for place in range(8):
            keys = [7] * 8
            keys[place] = 9
            assert lookups.run(keys) == [number != place for number in range(8)]
        assert lookups.program.info().verified_instructions < 50_000


@contextmanager
def packets(lookups: Lookups, answers: Answers, repeat: int = 2000) -> Iterator[None]:
    """Two cores run packets of these keys all the time, and each verdict has to be one of its two answers."""
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            for keys, allowed in answers.items():
                lookups.program.test_run(lookups.packet(keys, allowed), repeat=repeat)

    before, _ = lookups.counted()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run) for _ in range(2)]
        try:
            yield
        finally:
            done.set()
        for each in runs:
            each.result()
    ran, wrong = lookups.counted()
    assert ran - before >= repeat
    assert wrong == 0


def of_single_keys(staying: Sequence[int], never: Sequence[int]) -> Answers:
    answers: Answers = {}
    for verdict, keys in ((1, staying), (0, never)):
        for key in keys:
            answers[(key,)] = {verdict}
    return answers


@pytest.mark.parametrize("family", HASHES)
def test_what_stays_is_found_while_others_come_and_go(family: Family) -> None:
    staying, never = range(1000, 1020), range(5000, 5010)
    table = HashSet(staying, family=family, capacity=None if family == "port" else 200)
    with Lookups([table]) as lookups:
        answers = of_single_keys(staying, never)
        churn(table, lookups, answers, staying)


@pytest.mark.parametrize("family", IPS)
def test_networks_that_stay_are_found_while_others_come_and_go(family: Family) -> None:
    staying, never = range(1000, 1040, 2), range(1 << 20, (1 << 20) + 10)
    table = PrefixSet(staying, family=family, capacity=300)
    with Lookups([table]) as lookups:
        answers = of_single_keys(staying, never)
        churn(table, lookups, answers, staying)
        around = "0.0.0.0/20" if family == "ip" else "::/116"
        with packets(lookups, answers):
            for _ in range(2000):
                table.add(around)
                table.discard(around)


def churn(table: HashSet | PrefixSet, lookups: Lookups, answers: Answers, staying: Sequence[int]) -> None:
    rng = random.Random(1)
    deadline = time.monotonic() + 2
    with packets(lookups, answers):
        while time.monotonic() < deadline:
            for _ in range(200):
                key = rng.randrange(2000, 2150)
                rng.choice((table.add, table.discard))(key)
            table.replace([*staying, *rng.sample(range(2000, 2150), 100)])


@pytest.mark.parametrize(
    "make",
    [
        lambda keys: HashSet(keys, family="ip", capacity=1000),
        lambda keys: HashSet(keys, family="ip6", capacity=1000),
        lambda keys: HashSet(keys, family="port"),
        lambda keys: PrefixSet(keys, family="ip", capacity=1000),
        lambda keys: PrefixSet(keys, family="ip6", capacity=1000),
    ],
    ids=["hash ip", "hash ip6", "bitmap", "ranges ip", "ranges ip6"],
)
def test_a_packet_sees_the_old_elements_or_the_new_ones(make: Callable[[Sequence[int]], HashSet | PrefixSet]) -> None:
    """Two look-ups in one program: of a key that only the old set has, and one that only the new set has."""
    one, other = range(1, 800, 2), range(2, 800, 2)
    table = make(one)
    with Lookups([table] * 2, together=True) as lookups:
        answers: Answers = {(number, number + 1): {0b01, 0b10} for number in range(101, 700, 60)}
        with packets(lookups, answers):
            for turn in range(60):
                table.replace(one if turn % 2 else other)


def test_moving_into_a_map_is_not_noticed() -> None:
    """By native code, which reads all the time. Afterwards the map is the memory."""
    table = HashSet(range(500), family="ip")
    with table.core.read() as before:
        pass
    made = table.map()
    with table.core.read() as after:
        assert after != before
    assert made is table.map()
    assert (made.type, made.value_size, made.entries) == (MapType.ARRAY, table.nbytes, 1)
    assert list(table) == [f"0.0.{key >> 8}.{key & 255}" for key in range(500)]
    memory = made.memory()
    content = memory[:8]
    table.replace([1, 2, 3])
    assert memory[:8] != content
    memory.close()


def test_a_set_that_is_forgotten_closes_its_map() -> None:
    table = HashSet([1], family="ip")
    fd = table.map().fd
    del table
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        os.fstat(fd)
    assert caught.value.errno == errno.EBADF


def test_a_map_that_is_no_memory_is_refused() -> None:
    core = _native.SetCore("hash", "ip", 10)
    core.add(1)
    with (
        Map.create(MapType.ARRAY, 4, core.size, 1, MapFlag.NONE, "offramp_plain") as plain,
        pytest.raises(KernelError),
    ):
        core.rehome(plain.fd)
    assert 1 in core
    assert 2 not in core


def test_a_forked_child_reads_and_does_not_change() -> None:
    table = HashSet([1, 2], family="ip")
    networks = PrefixSet(["10.0.0.0/8"])

    def reads_and_does_not_change() -> None:
        assert 1 in table
        assert list(networks) == ["10.0.0.0/8"]
        assert networks.lookup("10.1.2.3") == "10.0.0.0/8"
        with pytest.raises(Closed, match="forked"):
            table.add(3)
        with pytest.raises(Closed, match="forked"):
            table.clear()
        with pytest.raises(Closed, match="forked"):
            networks.discard("10.0.0.0/8")

    for move in (False, True):
        if move:
            table.map()
            networks.map()
        assert in_child(reads_and_does_not_change) == 0
        assert list(table) == ["0.0.0.1", "0.0.0.2"]


def test_without_privileges_it_says_which() -> None:
    """The child drops them; the set stays usable there, in its own memory."""

    def stays_usable() -> None:
        os.setgid(65534)
        os.setuid(65534)
        table = HashSet([1], family="ip")
        with pytest.raises(PrivilegeError):
            table.map()
        table.add(2)
        assert len(table) == 2

    assert in_child(stays_usable) == 0


def test_a_wrong_answer_is_seen() -> None:
    answers: Answers = {(1,): {1}, (2,): {1}}
    with (
        Lookups([HashSet([1], family="ip")]) as lookups,
        pytest.raises(AssertionError, match="== 0"),
        packets(lookups, answers, repeat=100),
    ):
        time.sleep(0.1)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", [HashSet, PrefixSet])
@pytest.mark.parametrize("family", IPS)
def test_a_hundred_million_packets(kind: type[HashSet | PrefixSet], family: Family) -> None:
    """On two cores, while Python changes the set all the time; 30 million for each kind. Each asks for 24 keys that
    stay, and for 8 that are never there, and every answer is looked at.
    """
    staying, never = range(1000, 1048, 2), range(5000, 5008)
    table = kind(staying, family=family, capacity=1000)
    rng = random.Random(1)
    changes = 0
    with Lookups([table] * 32) as lookups:
        with packets(lookups, {(*staying, *never): {0x00FF_FFFF}}, repeat=500_000):
            while lookups.counted()[0] < 30_000_000:
                for _ in range(300):
                    rng.choice((table.add, table.discard))(rng.randrange(1048, 1800))
                table.replace([*staying, *rng.sample(range(1048, 1800), 700)])
                changes += 301
        print(f"{kind.__name__} {family}: {lookups.counted()[0]:,} packets, {changes:,} changes")
