# SPDX-License-Identifier: Apache-2.0
"""The process that a flood runs in:  python -m offramp.gen.generator '{"fd": 5, ...}'

It inherits the loaded program as a descriptor and does nothing but run it, in slices, until `count` frames or `seconds`
have passed. A line on stdout tells that it starts, and another how long it took; errors go to stderr.

At a rate, frames leave in bursts, because each system call costs about 15 us. A burst has at most BURST frames, which
fit the receiver's ring (a veth's has 256 places), and a frame waits at most PATIENCE for the others.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable

from offramp.bpf import Program, xdp_context
from offramp.errors import KernelError
from offramp.immutable import immutable

__all__ = ["Orders", "main"]

BURST = 64  # frames in one batch of the kernel's, and the most that a paced flood sends at once
SLICE = 1 << 13  # frames between two looks at the clock, if there is no rate: a few ms
PATIENCE = 500e-6  # seconds that a paced frame may wait to leave together with others
PR_SET_TIMERSLACK = 29


@immutable
class Orders:
    """What to run and for how long; passed to the process as JSON."""

    fd: int  # the program
    frame: str  # hex
    count: int | None
    seconds: float
    rate: float | None  # frames per second
    cpu: int | None


def run(orders: Orders) -> float:
    """Returns how many seconds the flood lasted."""
    frame = bytes.fromhex(orders.frame)
    context = xdp_context(len(frame))
    total = orders.count if orders.count is not None else sys.maxsize
    with Program(orders.fd, "flood", 0) as program:

        def send(frames: int) -> int:
            program.test_run(frame, frames, context, live=True, batch=BURST)
            return frames

        start = time.perf_counter()
        if orders.rate is None:
            _unpaced(send, total, start + orders.seconds)
        else:
            _paced(send, total, start + orders.seconds, orders.rate)
        return time.perf_counter() - start


def _unpaced(send: Callable[[int], int], total: int, end: float) -> None:
    sent = 0
    while sent < total and time.perf_counter() < end:
        sent += send(min(SLICE, total - sent))


def _paced(send: Callable[[int], int], total: int, end: float, rate: float) -> None:
    """Frame i is due i / rate seconds after the start. Late frames are also sent."""
    start = now = time.perf_counter()
    sent, least = 0, min(BURST // 2, max(1, int(rate * PATIENCE)))
    while sent < total and now < end:
        wanted = min(least, total - sent)
        due = min(int((now - start) * rate) + 1, total) - sent
        if due >= wanted:
            sent += send(min(due, BURST))
        else:
            time.sleep(max(0.0, min(start + (sent + wanted - 1) / rate, end) - now))
        now = time.perf_counter()


def main() -> None:
    orders = Orders(**json.loads(sys.argv[1]))
    if orders.cpu is not None:
        os.sched_setaffinity(0, {orders.cpu})
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # wake up in time, not up to 50 us later
    print("started", flush=True)
    try:
        print(run(orders), flush=True)
    except KernelError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
