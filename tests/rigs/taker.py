# SPDX-License-Identifier: Apache-2.0
"""A service that its supervisor starts again and again: it tries to attach to eth0 until it may.

python taker.py       prints "waits" if it has to, then "open"; waits for a line, closes, prints "closed"
"""

from __future__ import annotations

import sys
import time

import offramp
from offramp.errors import InterfaceBusy


def attached() -> offramp.Attachment:
    waits = False
    while True:
        try:
            return offramp.attach("eth0", "udp dst port 9", offramp.PASS, mode="generic")
        except InterfaceBusy:
            if not waits:
                print("waits", flush=True)
            waits = True
            time.sleep(0.002)


def main() -> None:
    attachment = attached()
    print("open", flush=True)
    sys.stdin.readline()
    attachment.close()
    print("closed", flush=True)


if __name__ == "__main__":
    main()
