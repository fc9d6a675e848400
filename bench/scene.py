# SPDX-License-Identifier: Apache-2.0
"""Two lab hosts, a flood of UDP port 4321 from one to the other, and who runs on which CPU.

    "inline"     CPU 0: flood, and the receiver's NAPI in its context     CPU 1: the reader
    "threaded"   CPU 0: flood                                             CPU 1: the receiver's NAPI thread, the reader

Inline, the flood is slowed down by the kernel's work on its packets; threaded, it is not, and what the receiver cannot
take is refused. Frames of 60 bytes (64 on a real wire), 65,536 source addresses in turn, valid checksums.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from bench.measure import Window
from offramp.gen.packets import eth, ip, udp
from offramp.testing import Flood, Lab, Meter, Wire

__all__ = ["MATCH", "Placement", "Scene", "scene"]

MATCH = "udp dst port 4321"
Placement = Literal["inline", "threaded"]

_FLOOD_CPU, _READER_CPU = 0, 1
_WARM_UP = 0.2  # seconds of flood before a window begins
_SLACK = 2.0  # seconds that a flood would go on if nobody stopped it


class Scene:
    """The hosts are `wire.a.host`, which floods, and `wire.b.host`, which is entered."""

    def __init__(self, wire: Wire, placement: Placement) -> None:
        self.wire = wire
        self.placement = placement
        self._softirq: Sequence[int] = ()  # the NAPI threads
        payload = udp(sport=4096, dport=4321, payload=bytes(18))
        self._frame = eth(ip(payload, src="198.18.0.0", dst=wire.b.ip), dst=wire.b.mac, src=wire.a.mac)

    def place(self) -> None:
        """Put NAPI where the placement says. To be called whenever XDP was attached or GRO switched."""
        if self.placement == "threaded":
            self._softirq = self.wire.b.set_threaded_napi(True, cpu=_READER_CPU)

    def window(self, seconds: float, count: Callable[[float], int]) -> Window:
        """One measurement under flood: `count(seconds)` takes that long and returns how many packets were accepted."""
        with Flood(self.wire.a, self._frame, seconds=_WARM_UP + seconds + _SLACK, cpu=_FLOOD_CPU) as flood:
            count(_WARM_UP)
            with Meter(flood=[flood.pid], softirq=self._softirq, reader=[os.getpid()]) as meter:
                packets = count(seconds)
        usage = meter.usage
        return Window(packets / usage.seconds, usage.cpu_ns["reader"] / max(packets, 1), usage.foreign)


@contextmanager
def scene(placement: Placement) -> Iterator[Scene]:
    """This thread in the receiving host, on the reader's CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {_READER_CPU})
    try:
        with Lab() as lab:
            a, b = lab.host("a"), lab.host("b")
            wire = lab.wire(a, b, neighbours=True)
            with b:
                yield Scene(wire, placement)
    finally:
        os.sched_setaffinity(0, before)
