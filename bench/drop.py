# SPDX-License-Identifier: Apache-2.0
"""Getting rid of a flood: in the driver, by iptables in raw PREROUTING, and in user space by AF_XDP.

Each contender is set up for its window and taken away again. What is compared is what each accepted: packets dropped
by the rule or by the program, as they count them, and packets received by the application.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median

import offramp
from bench.measure import Ratio, Window, interleave, ratio
from bench.scene import MATCH, Placement, Scene, scene

SECONDS = 1.5

Counter = Callable[[float], int]

_RULE = ["PREROUTING", "-p", "udp", "--dport", "4321", "-j", "DROP"]


def run(placement: Placement, rounds: int) -> tuple[dict[str, Ratio], dict[str, float], int]:
    """The ratios, the median rates in packets per second, and how many rounds were void."""
    contenders = {"iptables raw": _iptables, "driver": _driver, "AF_XDP": _af_xdp}
    with scene(placement) as stage:
        windows, void = interleave(
            {name: lambda made=made: _window(stage, made) for name, made in contenders.items()},  # type: ignore[misc]
            rounds,
        )
    ratios = {
        "driver / iptables raw": ratio(windows["driver"], windows["iptables raw"]),
        "AF_XDP / driver": ratio(windows["AF_XDP"], windows["driver"]),
        "AF_XDP / iptables raw": ratio(windows["AF_XDP"], windows["iptables raw"]),
    }
    return ratios, {name: median(window.rate for window in seen) for name, seen in windows.items()}, void


def _window(stage: Scene, contender: Callable[[Scene], AbstractContextManager[Counter]]) -> Window:
    with contender(stage) as count:
        stage.place()
        return stage.window(SECONDS, count)


@contextmanager
def _iptables(stage: Scene) -> Iterator[Counter]:
    stage.wire.b.gro(True)  # else veth takes no live frames without XDP
    subprocess.run(["iptables", "-t", "raw", "-A", *_RULE], check=True)
    try:
        yield _over_time(_dropped_by_rule)
    finally:
        subprocess.run(["iptables", "-t", "raw", "-D", *_RULE], check=True)
        stage.wire.b.gro(False)


@contextmanager
def _driver(stage: Scene) -> Iterator[Counter]:
    with offramp.attach(stage.wire.b.name, MATCH, offramp.DROP) as guard:
        yield _over_time(lambda: guard.ledger().claimed)


@contextmanager
def _af_xdp(stage: Scene) -> Iterator[Counter]:
    with offramp.open(stage.wire.b.name, MATCH) as ramp:
        yield ramp.port.discard


def _over_time(read: Callable[[], int]) -> Counter:
    def count(seconds: float) -> int:
        before = read()
        time.sleep(seconds)
        return read() - before

    return count


def _dropped_by_rule() -> int:
    listing = subprocess.run(
        ["iptables", "-t", "raw", "-L", "PREROUTING", "-n", "-v", "-x"], check=True, capture_output=True, text=True
    )
    return next(int(line.split()[0]) for line in listing.stdout.splitlines() if "dpt:4321" in line)
