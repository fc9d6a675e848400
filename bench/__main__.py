# SPDX-License-Identifier: Apache-2.0
"""python -m bench [NAME ...] [--rounds N] [--write]: run the benchmarks, print what they found, or write RESULTS.md."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from bench import drop, framework, histogram, matching, sets, startup
from offramp.bench.machine import machine
from offramp.bench.scene import Mode, Placement
from offramp.bench.windows import ATTEMPTS, FOREIGN_LIMIT, ratio

RESULTS = Path(__file__).with_name("RESULTS.md")
MODES: tuple[Mode, ...] = ("inline", "threaded")
Lines = list[str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="which; all if none is named")
    parser.add_argument("--rounds", type=int, default=10, help="windows of each contender (default 10)")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} (all benchmarks)")
    arguments = parser.parse_args()
    names = list(BENCHES) if arguments.write else arguments.names or list(BENCHES)
    sections = [[f"## {BENCHES[name].__doc__}", "", *BENCHES[name](arguments.rounds)] for name in names]
    text = "\n".join(line for section in [_machine(arguments.rounds), *sections] for line in [*section, ""])
    print(text)
    if arguments.write:
        RESULTS.write_text(f"<!-- SPDX-License-Identifier: Apache-2.0 -->\n{text}")


def _framework(rounds: int) -> Lines:
    """The framework alone: ns per packet on the null port"""
    del rounds
    return _table(("loop", "ns per packet"), [(name, f"{cost:.0f}") for name, cost in framework.run().items()])


def _startup(rounds: int) -> Lines:
    """Start and memory: medians of fresh processes"""
    del rounds
    return _table(("what", "median"), [(name, f"{value:.1f}") for name, value in startup.run().items()])


def _histogram(rounds: int) -> Lines:
    """A Python loop with a histogram of `batch.ip.src`, against the native drop loop, on one AF_XDP port"""
    lines = []
    for mode in MODES:
        windows, void = histogram.run(Placement.here(mode), rounds)
        native, *_ = windows.values()
        rows = [
            (
                name,
                _mpps(median(w.rate for w in seen)),
                f"{median(w.cpu_ns for w in seen):.0f}",
                f"{ratio(seen, native)}",
            )
            for name, seen in windows.items()
        ]
        lines += [_heading(mode, void, rounds), ""]
        lines += [*_table(("loop", "Mpps", "reader's CPU ns per packet", "rate / native"), rows), ""]
    return lines


def _drop(rounds: int) -> Lines:
    """Dropping a flood: what each contender accepted"""
    lines = []
    for mode in MODES:
        ratios, rates, void = drop.run(Placement.here(mode), rounds)
        lines += [_heading(mode, void, rounds), ""]
        lines += _table(("contender", "Mpps"), [(name, _mpps(rate)) for name, rate in rates.items()])
        lines += ["", *_table(("ratio", "median"), [(name, f"**{found}**") for name, found in ratios.items()]), ""]
    return lines


def _matching(rounds: int) -> Lines:
    """Matches: in the driver against C by clang -O2, natively against libpcap's interpreter, and to compile"""
    costs = matching.in_driver(rounds)
    total = sum(one.ours for one in costs), sum(one.theirs for one in costs)
    driver = [(f"`{one.match}`", one.outcome, f"{one.ours:.1f}", f"{one.theirs:.1f}") for one in costs]
    driver.append(("all", "", f"{total[0]:.1f}", f"{total[1]:.1f}, ours / C: **{total[0] / total[1]:.2f}**"))
    native = [
        (f"`{one.match}`", one.packets, f"{one.ours:.2f}", f"{one.libpcap:.1f}", f"**{one.ratio:.1f}**")
        for one in matching.natively(rounds)
    ]
    loads = [(name, *(f"{spent:.0f}" for spent in spends), str(size)) for name, *spends, size in matching.to_compile()]
    return [
        "A single row of the first table is exact to a nanosecond at best; their sum is better.",
        "",
        *_table(("match", "packet", "ours, ns", "C, ns"), driver),
        "",
        *_table(("match", "packets", "native, ns", "libpcap, ns", "libpcap / native"), native),
        "",
        *_table(("text to program in the kernel", "imports, ms", "first, ms", "another, ms", "instructions"), loads),
    ]


def _sets(rounds: int) -> Lines:
    """Sets"""
    found = [(what, f"{value:.2f} {unit}") for what, value, unit in sets.times()]
    costs = [(name, f"{count:,}", f"{hit:.1f}", f"{miss:.1f}") for name, count, hit, miss in sets.look_ups(rounds)]
    return [*_table(("what", "time"), found), "", *_table(("look-up", "elements", "member, ns", "other, ns"), costs)]


BENCHES: dict[str, Callable[[int], Lines]] = {
    "framework": _framework,
    "startup": _startup,
    "matching": _matching,
    "sets": _sets,
    "histogram": _histogram,
    "drop": _drop,
}


def _machine(rounds: int) -> Lines:
    here = machine()
    return f"""# Results

`python -m bench --rounds {rounds} --write` on {here["cpus"]} CPUs ({here["cpu"]}, virtual),
Linux {here["kernel"]}, Python {platform.python_version()}.

veth, 60-byte UDP frames, flood by XDP live frames. *inline*: CPU 0 runs the flood and, in its context, the
receiver's NAPI; CPU 1 the reader. *threaded*: CPU 0 runs the flood, CPU 1 the receiver's NAPI thread and the
reader. Windows of 1.5 s alternate; ratios are medians of pairs with a 95 % bootstrap interval. A round in which
others used more than {FOREIGN_LIMIT:.0%} of the CPUs is void and repeated, up to three times as many rounds.
""".splitlines()


def _heading(mode: Mode, void: int, rounds: int) -> str:
    disturbed = ", and those that are shown were disturbed, too" if void >= rounds * (ATTEMPTS - 1) else ""
    return f"{mode}, {void} void rounds{disturbed}:"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Lines:
    return [_row(head), _row(("---",) * len(head)), *map(_row, rows)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _mpps(rate: float) -> str:
    return f"{rate / 1e6:.2f}"


if __name__ == "__main__":
    main()
