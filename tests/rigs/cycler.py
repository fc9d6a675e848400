# SPDX-License-Identifier: Apache-2.0
"""Processes that open and close ramps without end, to be killed at any moment.

    python cycler.py            prints "ready"; for each line on stdin, the pid of a new one

They are forked, because a new process would take a quarter of a second until there is something to kill. Each switches
GRO and VLAN stripping of eth0 off while its ramp is open, and back on after that.
"""

from __future__ import annotations

import os
import sys
import warnings

import offramp
from offramp.llvm import child as llvm

MATCH = "udp dst port 4321"


def cycle() -> None:
    while True:
        with offramp.open("eth0", MATCH, mode="generic") as ramp:
            for _ in range(10):
                ramp.rx(0.02)


def main() -> None:
    warnings.simplefilter("ignore")
    with offramp.open("eth0", MATCH, mode="generic"):  # compiled now, for all of them
        pass
    llvm.stop()
    print("ready", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            cycle()
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
