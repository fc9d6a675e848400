# SPDX-License-Identifier: Apache-2.0
"""Matches that name sets, on an interface and in test runs: packets meet what Python changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import offramp
from offramp import DROP, HashSet, Match, OptionError, PrefixSet
from offramp.bpf import Map, MapType, Program, Scope, bind
from offramp.emit.match import MatchBody
from offramp.emit.program import COUNTERS, MapSlot, Spec
from offramp.gen.packets import eth, ip, udp
from offramp.llvm.programs import xdp
from offramp.testing import Interface, Wire
from tests.rigs.waiting import eventually
from tests.rigs.wiretap import Sender

A, B = "10.0.0.1", "10.0.0.2"
FRAME = eth(ip(udp(sport=53, dport=4321), src=A, dst=B))
RUNS = 3_000_000


@contextmanager
def loaded(match: Match) -> Iterator[tuple[Program, Map]]:
    """The program, which drops what matches, and its counters."""
    compiled = xdp(Spec(MatchBody(match.lowered(), DROP)))
    with (
        Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1, name="test_counts") as counters,
        bind(compiled, Scope({MapSlot.COUNTERS: counters}, match.state)) as maps,
        Program.load(compiled, name="test_sets", maps=maps) as program,
    ):
        yield program, counters


def matching(counters: Map) -> int:
    return dict(zip(COUNTERS, counters.sum(), strict=True))["claimed"]


@pytest.mark.parametrize("kind", [HashSet, PrefixSet])
def test_a_packet_sees_one_state_of_a_set_that_it_asks_twice(kind: type[HashSet | PrefixSet]) -> None:
    """The set is {A} or {B}, swapped as a whole: never both ends of the packet are in it, and always one of them."""
    table = kind([A])
    both = Match("src host in @t and dst host in @t", t=table)
    one = Match("src host in @t or dst host in @t", t=table)
    with loaded(both) as (asks_both, of_both), loaded(one) as (asks_one, of_one), ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(program.test_run, FRAME, RUNS) for program in (asks_both, asks_one)]
        swaps = 0
        while not all(run.done() for run in runs):
            table.replace([(A, B)[swaps % 2]])
            swaps += 1
        for run in runs:
            run.result()
        assert swaps > 1
        assert matching(of_both) == 0
        assert matching(of_one) == RUNS


def test_a_change_acts_at_once_on_an_interface(wire: Wire) -> None:
    blocked = PrefixSet(family="ip")
    with wire.b.host, offramp.attach(wire.b.name, Match("src host in @blocked", blocked=blocked)) as guard:
        inject(wire.a, [FRAME] * 10)
        assert guard.ledger().claimed == 0
        blocked.add("10.0.0.0/8")
        inject(wire.a, [FRAME] * 10)
        assert eventually(lambda: guard.ledger().claimed == 10, 10.0)
        blocked.clear()
        inject(wire.a, [FRAME] * 10)
        time.sleep(0.1)
        assert guard.ledger().claimed == 10


def test_two_attachments_share_a_set_and_outlive_it(wire: Wire) -> None:
    ports = HashSet([4321])
    match = Match("udp dst port in @ports", ports=ports)
    with wire.a.host, offramp.attach(wire.a.name, match) as one, wire.b.host, offramp.open(wire.b.name, match) as two:
        del match
        inject(wire.a, [FRAME])
        batch = two.rx(timeout=5)
        assert batch is not None
        assert batch[0] == FRAME
        ports.discard(4321)
        inject(wire.a, [FRAME])
        assert two.rx(timeout=0.2) is None
        assert one.ledger().claimed == 0


def test_a_set_that_is_missing_or_of_the_wrong_family_changes_nothing(wire: Wire) -> None:
    with wire.b.host:
        with pytest.raises(OptionError, match="names a set, @blocked"):
            offramp.attach(wire.b.name, "src host in @blocked")
        with pytest.raises(
            OptionError, match=r"@ports holds ports, but the match looks up IPv4 addresses or IPv6 addresses"
        ):
            offramp.attach(wire.b.name, Match("src host in @ports", ports=HashSet([53])))
        with offramp.attach(wire.b.name, "udp"):
            pass


def test_a_long_list_is_a_look_up(wire: Wire) -> None:
    """10,000 hosts, and 1,000 ports: one program of ordinary size."""
    hosts = " or ".join(f"10.{n >> 8}.{n & 255}.1" for n in range(10_000))
    ports = " or ".join(f"dst port {port}" for port in range(3322, 4322))
    with wire.b.host, offramp.attach(wire.b.name, f"udp and src host ({hosts}) and ({ports})") as guard:
        inject(wire.a, [FRAME] * 10)
        assert eventually(lambda: guard.ledger().claimed == 10, 10.0)


@pytest.mark.speed
def test_sets_of_the_command_line(wire: Wire, tmp_path: Path) -> None:
    listed = tmp_path / "blocked.txt"
    listed.write_text("# our own list\n10.0.0.0/24\n192.0.2.7  # that one\n")
    offramp_plan = (sys.executable, "-m", "offramp", "plan", wire.b.name)
    command = (*offramp_plan, "src host in @blocked", "--set", f"blocked={listed}", "--do", "drop")
    assert "src host in @blocked" in wire.b.host.run(command).stdout


def inject(end: Interface, frames: list[bytes]) -> None:
    with Sender(end) as sender:
        sender(frames)
