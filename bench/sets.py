# SPDX-License-Identifier: Apache-2.0
"""Sets: how long a million elements take, what one change takes, and what a look-up costs a packet in the driver."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from bench.matching import cost, ours
from offramp import HashSet, Match, PrefixSet
from offramp.gen.packets import eth, ip, ip6, udp
from offramp.lower.expression import Const, Lowered

MILLION = 1_000_000
CHANGES = 20_000

Set = HashSet | PrefixSet
T = TypeVar("T")


def networks(count: int, seed: int = 1) -> list[str]:
    """Different IPv4 networks of 24 to 32 bits."""
    chance, found = random.Random(seed), set[tuple[int, int]]()
    while len(found) < count:
        length = chance.randint(24, 32)
        found.add((chance.getrandbits(length) << 32 - length, length))
    return [f"{IPv4Address(address)}/{length}" for address, length in found]


def addresses(count: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return [str(IPv4Address(address)) for address in chance.sample(range(1 << 32), count)]


def addresses6(count: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return [str(IPv6Address(0x2001_0DB8 << 96 | chance.getrandbits(96))) for _ in range(count)]


def times() -> list[tuple[str, float, str]]:
    """What, how long, and the unit."""
    listed, hosts = networks(MILLION), addresses(MILLION)
    rows = []
    seconds, blocked = _timed(lambda: PrefixSet(listed))
    rows.append(("PrefixSet of 1,000,000 networks, from str", seconds, "s"))
    seconds, talkers = _timed(lambda: HashSet(hosts))
    rows.append(("HashSet of 1,000,000 addresses, from str", seconds, "s"))
    seconds, _ = _timed(lambda: blocked.replace(listed))
    rows.append(("PrefixSet.replace of 1,000,000", seconds, "s"))
    for name, table, more in (
        ("PrefixSet", blocked, networks(CHANGES, 2)),
        ("HashSet", talkers, addresses(CHANGES, 2)),
    ):
        seconds, _ = _timed(lambda table=table, more=more: [table.add(one) for one in more])  # type: ignore[misc]
        rows.append((f"{name}.add at 1,000,000", seconds / CHANGES * 1e6, "µs"))
        seconds, _ = _timed(lambda table=table, more=more: [table.discard(one) for one in more])  # type: ignore[misc]
        rows.append((f"{name}.discard at 1,000,000", seconds / CHANGES * 1e6, "µs"))
    return rows


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def look_ups(rounds: int) -> list[tuple[str, int, float, float]]:
    """Kind, elements, ns for a packet whose source is a member, and for one whose is not, without the empty program."""
    rows = []
    for name, make in (
        ("HashSet ip", lambda count: HashSet(addresses(count))),
        ("PrefixSet ip", lambda count: PrefixSet(networks(count))),
        ("HashSet ip6", lambda count: HashSet(addresses6(count))),
        ("PrefixSet ip6", lambda count: PrefixSet(addresses6(count))),
    ):
        for count in (1_000, MILLION):
            table = make(count)
            member = str(next(iter(table))).partition("/")[0]
            rows.append((name, count, *_look_up(table, member, rounds)))
    return rows


def _look_up(table: Set, member: str, rounds: int) -> tuple[float, float]:
    is_v6 = ":" in member
    other = "2001:db9::1" if is_v6 else next(one for one in addresses(100, 3) if one not in table)
    make, to = (ip6, "2001:db8::2") if is_v6 else (ip, "10.0.0.2")
    frames = [eth(make(udp(sport=1, dport=2), src=source, dst=to)) for source in (member, other)]
    match = Match("src host in @table", table=table)
    with ours(Match("src host in @table", table=table)) as program, ours(Lowered(Const(False))) as empty:
        assert [program.test_run(frame).retval for frame in frames] == [1, 2], match
        costs = [[cost(program, frame) - cost(empty, frame) for frame in frames] for _ in range(rounds)]
    hit, miss = (statistics.median(column) for column in zip(*costs, strict=True))
    return hit, miss
