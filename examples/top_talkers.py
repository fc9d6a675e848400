# SPDX-License-Identifier: Apache-2.0
"""Who sends most of what matches? top_talkers.py INTERFACE MATCH [SECONDS]: only those packets come here."""

from __future__ import annotations

import sys
import time
from collections import Counter
from ipaddress import IPv4Address

import numpy as np

import offramp


def main(interface: str, match: str, seconds: float = 10.0) -> None:
    talkers: Counter[int] = Counter()
    with offramp.open(interface, match) as ramp:
        print(f"listening on {interface}: {match}", file=sys.stderr, flush=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            batch = ramp.rx(timeout=0.1)
            if batch is None:
                continue
            sources, packets = np.unique(batch.ip.src[batch.ip.present], return_counts=True)
            talkers.update(dict(zip(sources.tolist(), packets.tolist(), strict=True)))
    for source, count in talkers.most_common(10):
        print(f"{IPv4Address(source)!s:>15} {count:>12,}")
    print(ramp.ledger())


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
