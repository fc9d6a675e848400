# SPDX-License-Identifier: Apache-2.0
"""One round of the demo: a new lab, one contender or none, and figures.

    host a, on one CPU                        host b, on another CPU
    ┌──────────────────────┐                  ┌─────────────────────────────────────────────────┐
    │ flood ───────────────┼── queue 0 ──────>│ NAPI thread ──> the contender                   │
    │ HTTP client <────────┼── queue 1 ──────>│ NAPI thread ──> kernel stack <──> HTTP server   │
    └──────────────────────┘      veth        └─────────────────────────────────────────────────┘

Each host has one CPU for all that it does, as two small machines would. What makes the figures true:

- The flood does not wait: the receiving end's NAPI has a thread on the other CPU. By default a veth receives on the
  *sender's* CPU, and so slows the sender down to what the receiver can take: a closed loop, in which nothing is lost.
- Two receive queues, as RSS has it on a NIC: the flood fills the ring of its own queue, HTTP arrives in the other (by
  XPS on host a). On a single queue the overflowing ring would lose HTTP packets before any of the contenders sees them.
- A packet is `sent` when the flood's program ran for it, `received` when the contender has it, and otherwise lost:
  `refused` by the full ring of the interface, or dropped behind it.
- CPU time is that of the contender's process, and of the NAPI thread of the flood's queue.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offramp.bench.contenders import CONTENDERS
from offramp.bench.scene import Placement, Scene
from offramp.bench.windows import Window
from offramp.demo.actor import Actor
from offramp.immutable import immutable
from offramp.lab import Lab

if TYPE_CHECKING:
    from offramp.demo.web import Fetched

__all__ = ["Round", "Skipped", "baseline", "perform"]

QUEUES = 2
SETTLE = 0.2  # seconds in which the rings empty themselves


@immutable
class Skipped:
    """A contender that cannot take part here."""

    name: str
    skipped: str
    remedy: str


@immutable
class Round:
    """What one contender did."""

    name: str
    window: Window
    refused: int
    http: Fetched
    ledger: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Times per packet received, in ns; rates in packets per second; None where nothing was received."""
        window = self.window
        each = window.taken
        receiver, softirq = ((ns / each if each else None) for ns in (window.reader_ns, window.softirq_ns))
        total = (window.reader_ns + window.softirq_ns) / each if each else None
        return {
            "name": self.name,
            "sent": window.sent,
            "received": window.taken,
            "lost": window.sent - window.taken,
            "refused": self.refused,
            "seconds": round(window.seconds, 3),
            "offered_pps": round(window.sent / window.seconds),
            "pps": round(window.rate),
            "cpu_ns_per_packet": _rounded(total),
            "cpu_ns_receiver": _rounded(receiver),
            "cpu_ns_softirq": _rounded(softirq),
            "foreign_cpu": round(window.foreign, 3),
            "http": self.http,
        }


def perform(name: str, seconds: float, placement: Placement) -> Round | Skipped:
    """One contender, flooded for `seconds`."""
    with Lab() as lab:
        scene = Scene(lab, placement, queues=QUEUES)
        client = _web(scene, seconds)
        contender = Actor(scene.wire.b.host, "contender", cpu=placement.reader, name=name, **asdict(scene.target))
        answer = contender.hear()
        if not answer.pop("ready"):
            return Skipped(name, **answer)
        with scene.admitted(xdp=CONTENDERS[name].xdp):
            with scene.meter(contender.pid) as meter:
                with scene.flood(seconds) as flood:
                    client.tell()
                    fetched = client.hear()
                    report = flood.wait()
                time.sleep(SETTLE)
                contender.tell()
                outcome = contender.hear()
            window = Window.of(meter.usage, report.sent, outcome["received"])
        return Round(
            name,
            replace(window, seconds=report.seconds),
            report.refused,
            fetched,  # type: ignore[arg-type]
            outcome["ledger"],
        )


def baseline(seconds: float, placement: Placement) -> dict[str, Any]:
    """The same requests without a flood."""
    with Lab() as lab:
        scene = Scene(lab, placement, queues=QUEUES)
        client = _web(scene, seconds)
        with scene.admitted(xdp=False):
            client.tell()
            return client.hear()


def _web(scene: Scene, seconds: float) -> Actor:
    """The kernel's own traffic on the same wire: a server, and a client that waits to be told. Returns the client."""
    wire, placement = scene.wire, scene.placement
    other = (scene.flood_queue + 1) % QUEUES
    xps = Path(f"/sys/class/net/{wire.a.name}/queues/tx-{other}/xps_cpus")
    cpus = _cpumask(placement.flood, placement.reader)  # on b's CPU, too: there the answers to b's packets leave
    wire.a.host.call(xps.write_text, cpus)
    wire.a.tso(False)  # else HTTP goes round NAPI and its ring as long as there is no XDP: no NIC does that
    Actor(wire.b.host, "web", cpu=placement.reader, address=wire.b.ip).hear()
    client = Actor(wire.a.host, "web", cpu=placement.flood, address=wire.b.ip, seconds=0.95 * seconds)
    client.hear()
    return client


def _cpumask(*cpus: int) -> str:
    """In the notation of sysfs: hexadecimal words of 32 bits, the highest first."""
    mask = sum(1 << cpu for cpu in set(cpus))
    words = [mask >> shift & 0xFFFF_FFFF for shift in range(0, mask.bit_length(), 32)]
    return ",".join(f"{word:08x}" for word in reversed(words))


def _rounded(value: float | None) -> float | None:
    return round(value, 1) if value is not None else None
