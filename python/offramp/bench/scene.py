# SPDX-License-Identifier: Apache-2.0
"""Two lab hosts, a flood of UDP port 4321 from one to the other, and who runs on which CPU.

    "inline"     flood's CPU: flood, and the receiver's NAPI in its context     reader's: the contender
    "threaded"   flood's CPU: flood                                             reader's: NAPI thread, contender

Inline, the kernel's work on the flood's packets slows the flood down to what the receiver can take: a closed loop, in
which nothing is lost. Threaded, nothing slows it down, and what the receiver cannot take is refused. Frames have 60
bytes (64 on a real wire), 65,536 source addresses in turn, and valid checksums.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from offramp.bench.contender import Running, Target, Timer
from offramp.bench.windows import Window
from offramp.gen.flood import Flood
from offramp.gen.packets import eth, ip, udp
from offramp.immutable import immutable
from offramp.lab import Lab, Meter, Wire

__all__ = ["PORT", "Mode", "Placement", "Scene", "frame", "scene"]

PORT = 4321
Mode = Literal["inline", "threaded"]

_WARM_UP = 0.2  # seconds of flood before a window begins
_SLACK = 2.0  # seconds that a flood would go on if nobody stopped it


def frame(source: str, destination: str, *, to: str = "ff:ff:ff:ff:ff:ff", by: str = "02:00:00:00:00:01") -> bytes:
    """A packet of the flow from one IPv4 address to another, sent `to` a MAC address `by` another."""
    packet = ip(udp(sport=4096, dport=PORT, payload=bytes(18)), src=source, dst=destination)
    return eth(packet, dst=to, src=by)


@immutable
class Placement:
    """The CPU of each host, and where the receiving NAPI runs."""

    flood: int
    reader: int
    mode: Mode

    @classmethod
    def here(cls, mode: Mode) -> Placement:
        """The first two CPUs that this thread may use; the same one for both if there is no other."""
        cpus = sorted(os.sched_getaffinity(0))
        return cls(cpus[0], cpus[1 % len(cpus)], mode)


class Scene:
    """The hosts are `wire.a.host`, which floods, and `wire.b.host`, where contenders take part."""

    def __init__(self, lab: Lab, placement: Placement, *, queues: int = 1) -> None:
        self.wire: Wire = lab.wire(lab.host("a"), lab.host("b"), queues=queues, neighbours=True)
        self.placement = placement
        self.target = Target(self.wire.b.name, self.wire.b.ip, PORT)
        self.flood_queue = placement.flood % queues  # where live frames of that CPU enter a veth
        self._softirq: Sequence[int] = ()  # the NAPI thread of the flood's queue

    @contextmanager
    def admitted(self, *, xdp: bool) -> Iterator[None]:
        """Let the flood in, with NAPI running where the placement says. Enter this when the contender has started.

        xdp: whether the contender has attached an XDP program. Only with one, or with GRO, does a veth have a NAPI and
        take live frames.
        """
        if not xdp:
            self.wire.b.gro(True)
        try:
            if self.placement.mode == "threaded":
                threads = self.wire.b.set_threaded_napi(True, cpu=self.placement.reader)
                self._softirq = threads[self.flood_queue : self.flood_queue + 1]
            yield
        finally:
            if not xdp:
                self.wire.b.gro(False)

    def flood(self, seconds: float) -> Flood:
        """A flood from the other host, on its CPU."""
        template = frame("198.18.0.0", self.wire.b.ip, to=self.wire.b.mac, by=self.wire.a.mac)
        return Flood(self.wire.a, template, seconds=seconds, cpu=self.placement.flood)

    def meter(self, reader: int) -> Meter:
        """A meter of CPU time: of `reader`, a process, and of `softirq`."""
        return Meter(reader=[reader], softirq=self._softirq)

    def window(self, seconds: float, running: Running) -> Window:
        """What a contender takes in this many seconds in the middle of a flood."""
        with self.flood(_WARM_UP + seconds + _SLACK) as flood:
            running.work(Timer(_WARM_UP))
            with self.meter(running.pid) as meter:
                sent, taken = flood.sent, running.taken()
                running.work(Timer(seconds))
                taken = running.taken() - taken
                sent = flood.sent - sent  # read before and after `taken`, which a contender may need a while for
            return Window.of(meter.usage, sent, taken)


@contextmanager
def scene(placement: Placement) -> Iterator[Scene]:
    """A scene in which this thread is the contender: in the receiving host, on the reader's CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {placement.reader})
    try:
        with Lab() as lab:
            stage = Scene(lab, placement)
            with stage.wire.b.host:
                yield stage
    finally:
        os.sched_setaffinity(0, before)
