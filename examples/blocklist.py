# SPDX-License-Identifier: Apache-2.0
"""Drop in the driver what a file of addresses and networks lists. blocklist.py INTERFACE FILE: follows the file."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import offramp


def main(interface: str, path: str) -> None:
    blocked = offramp.PrefixSet.load(path, family="ip", capacity=1_000_000)
    seen = Path(path).stat().st_mtime_ns
    match = offramp.Match("src host in @blocked", blocked=blocked)
    with offramp.attach(interface, match) as guard:
        print(f"{len(blocked):,} networks", flush=True)
        try:
            while True:
                time.sleep(0.2)
                changed = Path(path).stat().st_mtime_ns if Path(path).exists() else seen
                if changed == seen:
                    continue
                seen = changed
                try:
                    blocked.replace(offramp.PrefixSet.load(path, family="ip"))  # packets meet the old ones or the new
                except offramp.OfframpError as error:  # half written, or mistyped: what was in force stays so
                    print(error, file=sys.stderr)
                print(f"{len(blocked):,} networks; {guard.ledger().dropped:,} packets dropped", flush=True)
        except KeyboardInterrupt:
            pass
    print(guard.ledger())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
