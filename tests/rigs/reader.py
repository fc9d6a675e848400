# SPDX-License-Identifier: Apache-2.0
"""A process with a ramp, for tests that stop, interrupt or kill it.

    python reader.py [STALL] [--wait]

It opens eth0 of its network namespace, prints "open", and receives. On an interrupt it prints "interrupted", and exits
with status 3. With --wait it first waits for a line on stdin, and sets eth0 up.
"""

from __future__ import annotations

import subprocess
import sys

import offramp
from offramp.ramp.ramp import Ramp


def receive(ramp: Ramp) -> None:
    for batch in ramp:
        assert batch.udp.dport.any()


def main() -> int:
    if "--wait" in sys.argv:
        sys.stdin.readline()
        subprocess.run(["ip", "link", "set", "eth0", "up"], check=True)
    stall = [float(argument) for argument in sys.argv[1:] if argument != "--wait"]
    try:
        with offramp.open("eth0", "udp dst port 4321", stall=stall[0] if stall else 1.0) as ramp:
            print("open", flush=True)
            receive(ramp)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
