# SPDX-License-Identifier: Apache-2.0
"""A process that holds an XDP program on eth0 of the network namespace it is in.

    python holder.py NAME

It loads a program of that name that passes everything, attaches it, prints its id, and waits until stdin ends.
"""

from __future__ import annotations

import socket
import sys

from offramp.bpf import XdpLink
from tests.rigs.bytecode import load


def main() -> None:
    with load(name=sys.argv[1]) as program, XdpLink.attach(program, socket.if_nametoindex("eth0")):
        print(program.id, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
