# SPDX-License-Identifier: Apache-2.0
"""Send every UDP packet for a port back where it came from, not copied. echo.py INTERFACE PORT; Ctrl-C ends it."""

from __future__ import annotations

import sys
from contextlib import suppress

import offramp


def main(interface: str, port: str) -> None:
    with offramp.open(interface, f"udp dst port {port}") as ramp, suppress(KeyboardInterrupt):
        for batch in ramp:
            batch.swap_addresses()
            ramp.tx(batch)
    print(ramp.ledger())


if __name__ == "__main__":
    main(*sys.argv[1:3])
