# SPDX-License-Identifier: Apache-2.0
"""offramp's ways to take a flow, as any program would ask for them.

    offramp-user      batches of offramp.open(...), counted in a Python loop    packets end in the application
    offramp-native    offramp.open(...), received and dropped by native code    in the application
    offramp-driver    offramp.attach(..., DROP)                                 in the driver

offramp-user has room for 8,192 packets in its ring, as kernel-socket has in its buffer. If they share their CPU with
the kernel's receive thread, they need that room for the milliseconds in which it is not their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import offramp
from offramp.bench.contender import Contender, Running, Target, receiving

__all__ = ["OFFRAMP_DRIVER", "OFFRAMP_NATIVE", "OFFRAMP_USER", "batches"]

RING = 8192  # packets


def batches(ramp: offramp.Ramp, work: Callable[[offramp.Batch], object]) -> Running:
    """A Python loop over the batches of a ramp; `work` is called with each."""

    def turn(patience: float) -> int:
        batch = ramp.rx(patience)
        if batch is None:
            return 0
        work(batch)
        return len(batch)

    return receiving(turn, ramp.ledger)


@contextmanager
def _user(target: Target) -> Iterator[Running]:
    with offramp.open(target.interface, target.match, ring=RING, frames=2 * RING) as ramp:
        yield batches(ramp, len)


@contextmanager
def _native(target: Target) -> Iterator[Running]:
    with offramp.open(target.interface, target.match) as ramp:
        yield receiving(ramp.port.discard, ramp.ledger)


@contextmanager
def _driver(target: Target) -> Iterator[Running]:
    with offramp.attach(target.interface, target.match, offramp.DROP) as guard:
        yield Running(lambda: guard.ledger().claimed, ledger=guard.ledger)


OFFRAMP_USER = Contender("offramp-user", _user, xdp=True)
OFFRAMP_NATIVE = Contender("offramp-native", _native, xdp=True)
OFFRAMP_DRIVER = Contender("offramp-driver", _driver, xdp=True)
