# SPDX-License-Identifier: Apache-2.0
"""Send every packet that matches back where it came from, not copied: echo.py INTERFACE MATCH. Ctrl-C ends it.

Have it answer what waits for just that, as a UDP client does: echo.py eth0 'udp dst port 7'
"""

from __future__ import annotations

import sys
from contextlib import suppress

import offramp


def main(interface: str, match: str) -> None:
    with offramp.open(interface, match) as ramp, suppress(KeyboardInterrupt):
        print(f"listening on {interface}: {match}", file=sys.stderr, flush=True)
        for batch in ramp:
            batch.swap_addresses()
            ramp.tx(batch)
    print(ramp.ledger())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
