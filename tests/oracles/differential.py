# SPDX-License-Identifier: Apache-2.0
"""Three answers to one question: does this packet match? They must be the same.

    libpcap       its program as generated (tcpdump -O), run by its interpreter      libpcap.py
    eBPF          our program for the driver, in the kernel                           BPF_PROG_TEST_RUN
    native        our code for this CPU, called directly

Expressions and packets are those of tests/generators, by seed; a third of the packets are made for their expression
(aim.py). Every program loads, except a few that are refused for their size. Native code is asked again about packets
that a capture has cut off: their length on the wire is different.

    python -m tests.oracles.differential [--seed N] [--seconds S] [--packets M]

It continues where it stopped: `make fuzz`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from offramp import DROP, Match, OptionError
from offramp.bpf import Map, MapType, Program, Scope, bind
from offramp.emit.match import MatchBody
from offramp.emit.program import COUNTERS, MapSlot, Spec
from offramp.llvm.programs import xdp
from offramp.lower.expression import AUTHENTICATION
from tests.generators.aim import Aim
from tests.generators.expressions import Expressions
from tests.generators.packets import Packet, Packets
from tests.generators.realworld import EXPRESSIONS
from tests.oracles.libpcap import Filter
from tests.oracles.reference import Reference

PROGRESS = Path(__file__).parents[2] / ".fuzz-seed"  # the next seed
EXPRESSIONS_PER_SEED = 50
SHORTEST = 14  # that the kernel runs a program on
BEHIND_ADDRESSES = 14 + 6 * 4 + 40  # of IPv6, behind tags and labels


@dataclass
class Outcome:
    """What was compared, and what differed."""

    expressions: int = 0
    too_large: int = 0
    impossible: int = 0  # no packet can match them
    triples: int = 0
    matching: int = 0
    instructions: int = 0  # of the largest program
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.expressions:,} expressions ({self.too_large} too large, {self.impossible} impossible), "
            f"{self.triples:,} triples, "
            f"{self.matching:,} matching, {len(self.differences)} differences; "
            f"the largest program has {self.instructions:,} instructions"
        )


class Differential:
    """Compares, and counts in `outcome`. A context manager. With `native` False, only the kernel is tested."""

    def __init__(self, *, native: bool = True) -> None:
        self.native = native

    def __enter__(self) -> Differential:
        self.outcome = Outcome()
        self.counters = Map.create(MapType.PERCPU_ARRAY, 4, 8 * len(COUNTERS), 1, name="differential")
        return self

    def __exit__(self, *error: object) -> None:
        self.counters.close()

    def run(self, seed: int, packets: int) -> None:
        """Compare EXPRESSIONS_PER_SEED expressions, each on this many packets."""
        expressions, pool, aim = Expressions(seed), Packets(seed), Aim(seed)
        for _ in range(EXPRESSIONS_PER_SEED):
            self.compare(expressions(), [pool() for _ in range(packets)], aim)

    def run_written(self, packets: int) -> None:
        """Compare the expressions that people write, each on this many packets."""
        pool, aim = Packets(1).pool(packets), Aim(1)
        for expression in EXPRESSIONS:
            self.compare(expression, pool, aim)

    def compare(self, text: str, packets: list[Packet], aim: Aim) -> None:
        self.outcome.expressions += 1
        match, reference = Match(text), Reference(text)
        self.impossible = not match.can_match()
        self.outcome.impossible += self.impossible
        try:
            program = self.load(match)
        except OptionError:
            self.outcome.too_large += 1
            return
        with program, Filter(text, optimize=False) as oracle:
            self.outcome.instructions = max(self.outcome.instructions, program.instructions)
            packets = [_aimed(aim, reference, packet) if i % 3 == 0 else packet for i, packet in enumerate(packets)]
            if reference.looks_up_ip6:  # see unions.py
                packets = [packet for packet in packets if len(packet.data) >= BEHIND_ADDRESSES]
            if "protochain" in text:  # libpcap goes round for ever behind some authentication headers
                packets = [packet for packet in packets if AUTHENTICATION not in packet.data]
            native = self._native(match, packets)
            for index, (data, length) in enumerate(packets):
                answers = {"libpcap": oracle(data)}
                if len(data) >= SHORTEST:
                    answers["eBPF"] = program.test_run(data).retval == DROP
                if native:
                    answers["native"], cut = native[index]
                    if length != len(data):
                        self._count(text, data, {"libpcap": oracle(data, length), f"native, of {length} bytes": cut})
                self._count(text, data, answers)

    def _native(self, match: Match, packets: list[Packet]) -> list[tuple[bool, bool]]:
        """The answers for each packet, whole and as it was cut off; [] if native code is not asked."""
        if not self.native or not packets:
            return []
        whole = match.verdicts([packet.data for packet in packets]).tolist()
        return list(zip(whole, match.verdicts(*map(list, zip(*packets, strict=True))).tolist(), strict=True))

    def _count(self, text: str, data: bytes, answers: dict[str, bool]) -> None:
        self.outcome.triples += 1
        self.outcome.matching += answers["libpcap"]
        if answers["libpcap"] and self.impossible:
            self.outcome.differences.append(f"{text!r} matches {data.hex()}, although no packet can match it")
        if len(set(answers.values())) > 1:
            self.outcome.differences.append(f"{text!r} on {data.hex()}: {answers}")

    def load(self, match: Match) -> Program:
        """Load its program. Errors: OptionError if it is too large."""
        compiled = xdp(Spec(MatchBody(match.lowered(), DROP)))
        with bind(compiled, Scope({MapSlot.COUNTERS: self.counters}, match.state)) as maps:
            return Program.load(compiled, name="differential", maps=maps)


def _aimed(aim: Aim, reference: Reference, packet: Packet) -> Packet:
    """A packet that matches more often than not."""
    data = aim(reference.lowered.expr, packet.data, sets=reference.sets)
    return Packet(data, len(data))


def seeds(first: int) -> Iterator[int]:
    """Endless seeds. Each is written down before it is used, so an interrupted run continues there."""
    while True:
        PROGRESS.write_text(f"{first}\n")
        yield first
        first += 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.oracles.differential", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seed", type=int, help=f"start here (default: where {PROGRESS.name} says)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long (default: Ctrl-C)")
    parser.add_argument("--packets", type=int, default=200, help="packets for each expression (default 200)")
    arguments = parser.parse_args()
    written = int(PROGRESS.read_text()) if PROGRESS.exists() else 1_000_000
    end = time.monotonic() + arguments.seconds
    with Differential() as differential, suppress(KeyboardInterrupt):
        for seed in seeds(arguments.seed if arguments.seed is not None else written):
            differential.run(seed, arguments.packets)
            print(f"\rseed {seed}: {differential.outcome}", end="", flush=True)
            if differential.outcome.differences or time.monotonic() > end:
                break
    print("", *differential.outcome.differences, sep="\n")
    return bool(differential.outcome.differences)


if __name__ == "__main__":
    sys.exit(main())
