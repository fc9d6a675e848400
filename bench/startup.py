# SPDX-License-Identifier: Apache-2.0
"""How long it takes until packets come, and how much memory that needs. Each in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

from offramp.testing import Lab

ROUNDS = 7

IMPORT = """
import time
start = time.perf_counter()
import offramp
print((time.perf_counter() - start) * 1e3)
"""

OPEN = """
import time, offramp
start = time.perf_counter()
ramp = offramp.open("eth0", "udp dst port 4321")
opened = (time.perf_counter() - start) * 1e3
ramp.send(bytes(60))
batch = ramp.rx(timeout=0)
import numpy
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
again = time.perf_counter()
ramp.close()
with offramp.open("eth0", "udp dst port 4321"):
    again = (time.perf_counter() - again) * 1e3
print(opened, again, int(peak.split()[1]) / 1024, ramp.plan.umem_bytes / 2**20)
"""


def run() -> dict[str, float]:
    """Medians: milliseconds and MiB."""
    imports = [float(_python(IMPORT)) for _ in range(ROUNDS)]
    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.wire(a, b)
        opens = [[float(word) for word in b.run([sys.executable, "-c", OPEN]).stdout.split()] for _ in range(ROUNDS)]
    opened, again, peak, umem = (statistics.median(column) for column in zip(*opens, strict=True))
    return {
        "import offramp, ms": statistics.median(imports),
        "first open, everything imported and compiled on the way, ms": opened,
        "close and open again, ms": again,
        "VmHWM with an open ramp and NumPy, MiB": peak,
        "of which umem, MiB": umem,
    }


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
